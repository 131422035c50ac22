import Foundation

/// TCP ports of 127.0.0.1.
enum LoopbackPort {
  /// A port nobody listens on, chosen by the system.
  /// - Throws: `CommandFailure` with status 5 when there is none.
  static func free() throws -> Int {
    guard let port = bind(0) else {
      throw CommandFailure(.unreachable, "no_port", "the system gives no free port on 127.0.0.1")
    }
    return port
  }

  static func isFree(_ port: Int) -> Bool { bind(port) != nil }

  /// Whether a broker answers there: it greets whoever sends the AMQP header.
  static func speaksAMQP(_ port: Int, timeoutMilliseconds: Int32 = 2_000) -> Bool {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    var address = address(port)
    let connected = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard connected == 0 else { return false }
    let header: [UInt8] = Array("AMQP".utf8) + [0, 0, 9, 1]
    guard send(descriptor, header, header.count, Int32(MSG_NOSIGNAL)) == header.count else { return false }
    var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    guard poll(&entry, 1, timeoutMilliseconds) == 1 else { return false }
    var byte: UInt8 = 0
    // A method frame begins with 1; anything else (nothing, or a header) is a refusal.
    return recv(descriptor, &byte, 1, 0) == 1 && byte == 1
  }

  /// The port when it could be bound, else nil.
  private static func bind(_ port: Int) -> Int? {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    // Connections that just ended must not keep a restarted broker from its port.
    var on: Int32 = 1
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
    var address = address(port)
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let bound = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { Glibc.bind(descriptor, $0, length) }
    }
    guard bound == 0 else { return nil }
    let known = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
    }
    return known == 0 ? Int(UInt16(bigEndian: address.sin_port)) : nil
  }

  private static func address(_ port: Int) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = UInt16(port).bigEndian
    address.sin_addr = in_addr(s_addr: UInt32(0x7F00_0001).bigEndian)
    return address
  }
}
