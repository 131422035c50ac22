import NIOCore
import NIOPosix
import TaskBridgeCore

/// What came back.
struct Reply: Sendable {
  var status: Int
  /// Names in lower case.
  var headers: [String: String]
  var body: [UInt8]

  var text: String { String(decoding: body, as: UTF8.self) }
  var json: JSONValue {
    get throws { try JSONValue.parse(body) }
  }
  var code: String? {
    get throws { try json["code"]?.stringValue }
  }
  var items: [JSONValue] {
    get throws { try json["items"]?.arrayValue ?? [] }
  }
}

enum ClientError: Error {
  case closedWithoutAnswer
}

/// A tiny HTTP client over a real socket; every call has a connection of its own, so that bytes can be sent as they are.
struct HTTPClient: Sendable {
  let port: Int

  func get(_ path: String) async throws -> Reply { try await request("GET", path) }

  func post(_ path: String, _ body: String, headers: [String] = []) async throws -> Reply {
    try await request("POST", path, headers: ["Content-Type: application/json"] + headers, body: Array(body.utf8))
  }

  func request(
    _ method: String, _ path: String, headers: [String] = [], body: [UInt8]? = nil
  ) async throws -> Reply {
    var head = "\(method) \(path) HTTP/1.1\r\nHost: test\r\n"
    for header in headers { head += "\(header)\r\n" }
    if let body { head += "Content-Length: \(body.count)\r\n" }
    return try await send(Array("\(head)\r\n".utf8) + (body ?? []), hasBody: method != "HEAD")
  }

  func send(_ text: String) async throws -> Reply { try await send(Array(text.utf8)) }

  /// Sends bytes as they are and reads one answer.
  func send(_ bytes: [UInt8], hasBody: Bool = true) async throws -> Reply {
    try await connected { inbound, outbound in
      var reader = ReplyReader(inbound)
      try await outbound.write(ByteBuffer(bytes: bytes))
      return try await reader.next(hasBody: hasBody)
    }
  }

  /// A connection that `body` may use for several requests.
  func connected<T: Sendable>(
    _ body:
      @Sendable (
        NIOAsyncChannelInboundStream<ByteBuffer>, NIOAsyncChannelOutboundWriter<ByteBuffer>
      ) async throws -> T
  ) async throws -> T {
    let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .connect(host: "127.0.0.1", port: port) { channel in
        channel.eventLoop.makeCompletedFuture {
          try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
        }
      }
    return try await channel.executeThenClose { inbound, outbound in try await body(inbound, outbound) }
  }
}

/// Reads answers one after the other.
struct ReplyReader {
  private var iterator: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
  private var bytes: [UInt8] = []

  init(_ inbound: NIOAsyncChannelInboundStream<ByteBuffer>) { iterator = inbound.makeAsyncIterator() }

  /// - Throws: `ClientError` when the server closes before a whole answer came.
  mutating func next(hasBody: Bool = true) async throws -> Reply {
    let end = Array("\r\n\r\n".utf8)
    while bytes.firstRange(of: end) == nil { try await more() }
    guard let split = bytes.firstRange(of: end) else { throw ClientError.closedWithoutAnswer }
    let lines = String(decoding: bytes[..<split.lowerBound], as: UTF8.self).split(separator: "\r\n")
    bytes.removeSubrange(..<split.upperBound)
    var headers: [String: String] = [:]
    for line in lines.dropFirst() {
      guard let colon = line.firstIndex(of: ":") else { continue }
      headers[line[..<colon].lowercased()] = String(line[line.index(after: colon)...].drop { $0 == " " })
    }
    let count = hasBody ? Int(headers["content-length"] ?? "") ?? 0 : 0
    while bytes.count < count { try await more() }
    let body = Array(bytes.prefix(count))
    bytes.removeFirst(count)
    let status = lines.first.flatMap { Int($0.split(separator: " ").dropFirst().first ?? "") } ?? 0
    return Reply(status: status, headers: headers, body: body)
  }

  /// Whether the server has closed the connection and sent nothing more.
  mutating func isAtEnd() async throws -> Bool { try await iterator.next() == nil && bytes.isEmpty }

  private mutating func more() async throws {
    guard let buffer = try await iterator.next() else { throw ClientError.closedWithoutAnswer }
    bytes += buffer.readableBytesView
  }
}
