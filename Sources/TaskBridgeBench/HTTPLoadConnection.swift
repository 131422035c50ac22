import Foundation

/// One keep-alive HTTP/1.1 connection that costs little: requests are bytes made beforehand, answers are read into one
/// buffer and not parsed further than needed. Blocking; not thread-safe.
final class HTTPLoadConnection {
  let descriptor: Int32
  private var buffer = [UInt8](repeating: 0, count: 1 << 16)

  /// - Parameter port: on loopback.
  init(port: Int) throws {
    descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { throw BenchError("no socket: \(String(cString: strerror(errno)))") }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = UInt16(port).bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    let status = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
        connect(descriptor, pointer, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard status == 0 else {
      close(descriptor)
      throw BenchError("nobody listens on port \(port)")
    }
    var on: Int32 = 1
    setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
    var limit = timeval(tv_sec: 60, tv_usec: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
  }

  deinit { close(descriptor) }

  /// The bytes of a request.
  static func request(_ method: String, _ path: String, body: [UInt8]? = nil) -> [UInt8] {
    var head = "\(method) \(path) HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    if let body { head += "Content-Type: application/json\r\nContent-Length: \(body.count)\r\n" }
    return Array((head + "\r\n").utf8) + (body ?? [])
  }

  func write(_ request: [UInt8]) throws {
    var at = 0
    while at < request.count {
      let count = request.withUnsafeBytes { bytes in
        send(descriptor, bytes.baseAddress?.advanced(by: at), bytes.count - at, Int32(MSG_NOSIGNAL))
      }
      guard count > 0 else { throw BenchError("the bridge takes no request: \(String(cString: strerror(errno)))") }
      at += count
    }
  }

  /// An answer; its body is only valid inside the call.
  struct Answer {
    let status: Int
    let body: UnsafeRawBufferPointer
  }

  /// Reads one answer.
  ///
  /// - Throws: `BenchError` when it is none, has no length, or does not come within 60 s.
  func read<T>(_ body: (Answer) throws -> T) throws -> T {
    var filled = 0
    var head: HTTPLoadHead?
    while true {
      if head == nil {
        head = try buffer.withUnsafeBytes { try HTTPLoadHead(UnsafeRawBufferPointer(rebasing: $0[..<filled])) }
      }
      if let head {
        let wanted = head.bytes + head.bodyBytes
        if filled == wanted {
          return try buffer.withUnsafeBytes {
            try body(Answer(status: head.status, body: UnsafeRawBufferPointer(rebasing: $0[head.bytes..<wanted])))
          }
        }
        guard filled < wanted else { throw BenchError("the bridge sent more than its answer") }
        if wanted > buffer.count { buffer += [UInt8](repeating: 0, count: wanted - buffer.count) }
      }
      guard filled < buffer.count else { throw BenchError("the head of an answer is too long") }
      let count = buffer.withUnsafeMutableBytes {
        recv(descriptor, $0.baseAddress?.advanced(by: filled), $0.count - filled, 0)
      }
      guard count > 0 else { throw BenchError("the bridge did not answer: \(String(cString: strerror(errno)))") }
      filled += count
    }
  }

  /// Sends a request and reads its answer.
  func call(_ request: [UInt8]) throws -> (status: Int, body: [UInt8]) {
    try write(request)
    return try read { ($0.status, [UInt8]($0.body)) }
  }
}

/// What of an answer's head is needed.
struct HTTPLoadHead {
  let status: Int
  /// Length of the head, the empty line included.
  let bytes: Int
  let bodyBytes: Int

  /// - Returns: nil when it is not whole yet.
  init?(_ bytes: UnsafeRawBufferPointer) throws {
    guard let end = Self.find("\r\n\r\n", in: bytes) else { return nil }
    guard end > 12, bytes[8] == UInt8(ascii: " "), let status = Self.number(in: bytes, from: 9) else {
      throw BenchError("the answer is not HTTP")
    }
    guard let field = Self.find("content-length:", in: UnsafeRawBufferPointer(rebasing: bytes[..<end])),
      let length = Self.number(in: bytes, from: field + 15)
    else { throw BenchError("the answer does not tell its length") }
    self.status = status
    self.bytes = end + 4
    bodyBytes = length
  }

  /// Where `text`, in lower case, begins in `bytes`, in either case.
  private static func find(_ text: StaticString, in bytes: UnsafeRawBufferPointer) -> Int? {
    let count = text.utf8CodeUnitCount
    guard bytes.count >= count else { return nil }
    let start = text.utf8Start
    for at in 0...(bytes.count - count) {
      var matched = 0
      while matched < count {
        let byte = bytes[at + matched]
        let lower = byte >= 65 && byte <= 90 ? byte | 0x20 : byte
        guard lower == start[matched] else { break }
        matched += 1
      }
      if matched == count { return at }
    }
    return nil
  }

  private static func number(in bytes: UnsafeRawBufferPointer, from start: Int) -> Int? {
    var at = start
    while at < bytes.count, bytes[at] == UInt8(ascii: " ") { at += 1 }
    var value: Int?
    while at < bytes.count, bytes[at] >= 48, bytes[at] <= 57 {
      value = (value ?? 0) * 10 + Int(bytes[at] - 48)
      at += 1
    }
    return value
  }
}
