import Foundation

/// An HTTP server on loopback that answers every request with what a closure says. It lives as long as its object.
final class FakeBridge: Sendable {
  let url: String
  private let listener: Int32

  /// - Parameter answer: status and JSON body for a request, which is given whole.
  init(_ answer: @escaping @Sendable (String) -> (Int, String)) throws {
    listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr = in_addr(s_addr: UInt32(0x7F00_0001).bigEndian)
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let listener = self.listener
    let isListening = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { socketAddress in
        bind(listener, socketAddress, length) == 0 && listen(listener, 64) == 0
          && getsockname(listener, socketAddress, &length) == 0
      }
    }
    guard isListening else { throw POSIXError(.EADDRNOTAVAIL) }
    url = "http://127.0.0.1:\(UInt16(bigEndian: address.sin_port))"
    Thread.detachNewThread {
      while true {
        let connection = accept(listener, nil, nil)
        guard connection >= 0 else { return }
        Self.serve(connection, answer)
      }
    }
  }

  deinit {
    shutdown(listener, Int32(SHUT_RDWR))
    close(listener)
  }

  private static func serve(_ connection: Int32, _ answer: (String) -> (Int, String)) {
    defer { close(connection) }
    var request: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 64 << 10)
    while !isWhole(request) {
      let count = read(connection, &chunk, chunk.count)
      guard count > 0 else { return }
      request += chunk[..<count]
    }
    let (status, body) = answer(String(decoding: request, as: UTF8.self))
    let head =
      "HTTP/1.1 \(status) X\r\nContent-Type: application/json\r\nContent-Length: "
      + "\(body.utf8.count)\r\nConnection: close\r\n\r\n"
    let bytes = Array((head + body).utf8)
    _ = send(connection, bytes, bytes.count, Int32(MSG_NOSIGNAL))
  }

  private static func isWhole(_ request: [UInt8]) -> Bool {
    let text = String(decoding: request, as: UTF8.self)
    guard let end = text.range(of: "\r\n\r\n") else { return false }
    let lengths = text[..<end.lowerBound].lowercased().split(separator: "\r\n").compactMap { line -> Int? in
      line.hasPrefix("content-length:") ? Int(line.dropFirst(15).drop { $0 == " " }) : nil
    }
    return text[end.upperBound...].utf8.count >= lengths.first ?? 0
  }
}
