import Foundation

enum LoopbackPort {
  /// A free port below those the kernel gives to outgoing connections.
  static func free() throws -> Int {
    for _ in 0..<1_000 {
      let port = Int.random(in: 20_000..<31_000)
      let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
      guard descriptor >= 0 else { break }
      defer { close(descriptor) }
      var address = sockaddr_in()
      address.sin_family = sa_family_t(AF_INET)
      address.sin_port = UInt16(port).bigEndian
      address.sin_addr.s_addr = inet_addr("127.0.0.1")
      let status = withUnsafePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
          bind(descriptor, pointer, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
      }
      if status == 0 { return port }
    }
    throw BenchError("no free loopback port between 20000 and 31000")
  }
}
