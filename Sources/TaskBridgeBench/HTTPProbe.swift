import Foundation
import TaskBridgeCore

/// Single questions over HTTP, each on a connection of its own. For watching, not for load.
enum HTTPProbe {
  struct Answer: Sendable {
    var status: Int
    var body: [UInt8]

    func json() throws -> JSONValue { try JSONValue.parse(body) }
  }

  /// Asks and waits on a thread that the measurement does not need.
  /// - Throws: `BenchError` when nobody answers within `seconds`.
  static func call(
    _ method: String = "GET", port: Int, _ path: String, body: [UInt8]? = nil, seconds: Double = 30
  ) async throws -> Answer {
    try await withCheckedThrowingContinuation { continuation in
      DispatchQueue.global().async {
        continuation.resume(
          with: Result { try blockingCall(method, port: port, path, body: body, seconds: seconds) })
      }
    }
  }

  private static func blockingCall(
    _ method: String, port: Int, _ path: String, body: [UInt8]?, seconds: Double
  ) throws -> Answer {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { throw BenchError("no socket: \(String(cString: strerror(errno)))") }
    defer { close(descriptor) }
    var limit = timeval(tv_sec: Int(seconds), tv_usec: Int((seconds - seconds.rounded(.down)) * 1e6))
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = UInt16(port).bigEndian
    address.sin_addr.s_addr = inet_addr("127.0.0.1")
    let connected = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
        connect(descriptor, pointer, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard connected == 0 else { throw BenchError("nobody listens on port \(port)") }

    var head = "\(method) \(path) HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\nConnection: close\r\n"
    if let body { head += "Content-Type: application/json\r\nContent-Length: \(body.count)\r\n" }
    var left = ArraySlice(Array((head + "\r\n").utf8) + (body ?? []))
    while !left.isEmpty {
      let count = left.withUnsafeBytes { send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
      guard count > 0 else { throw BenchError("port \(port) takes no request") }
      left = left.dropFirst(count)
    }
    var received: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = recv(descriptor, &chunk, chunk.count, 0)
      guard count >= 0 else { throw BenchError("port \(port) did not answer \(path) in \(seconds) s") }
      if count == 0 { break }
      received += chunk[..<count]
    }
    return try parse(received, path)
  }

  private static func parse(_ bytes: [UInt8], _ path: String) throws -> Answer {
    let gap = Array("\r\n\r\n".utf8)
    guard let end = bytes.indices.first(where: { bytes[$0...].starts(with: gap) }) else {
      throw BenchError("the answer to \(path) is cut off")
    }
    let head = String(decoding: bytes[..<end], as: UTF8.self).lowercased()
    guard let status = head.split(separator: " ").dropFirst().first.flatMap({ Int($0) }) else {
      throw BenchError("the answer to \(path) is not HTTP")
    }
    var body = Array(bytes[(end + gap.count)...])
    if head.contains("transfer-encoding: chunked") { body = unchunked(body) }
    return Answer(status: status, body: body)
  }

  private static func unchunked(_ bytes: [UInt8]) -> [UInt8] {
    var body: [UInt8] = []
    var at = bytes.startIndex
    while let lineEnd = bytes[at...].firstIndex(of: 13) {
      let digits = String(decoding: bytes[at..<lineEnd], as: UTF8.self)
      guard let size = Int(digits, radix: 16), size > 0, lineEnd + 2 + size <= bytes.count else { break }
      body += bytes[(lineEnd + 2)..<(lineEnd + 2 + size)]
      at = min(bytes.count, lineEnd + 4 + size)
    }
    return body
  }
}
