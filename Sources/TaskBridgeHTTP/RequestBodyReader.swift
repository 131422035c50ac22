import HTTPTypes
import HummingbirdCore
import NIOCore
import NIOHTTP1
import TaskBridgeCore

/// Collects the body of one request, bounded.
struct RequestBodyReader {
  private let request: Request
  private let declared: Int?
  private var iterator: RequestBody.AsyncIterator?
  private var isAtEnd = false

  init(_ request: Request) {
    self.request = request
    declared = request.headers[.contentLength].flatMap { Int($0) }
  }

  /// Whether the request says that it has a body.
  var isDeclared: Bool { declared != nil || request.headers[.transferEncoding] != nil }
  var isEmpty: Bool { (declared ?? 0) == 0 && request.headers[.transferEncoding] == nil }

  /// What can be said before a byte of the body is read.
  func check(_ rule: BodyRule) throws(Problem) {
    let contentType = request.headers[.contentType].map { ContentType.essence($0) }
    if rule.isRead, !rule.contentTypes.isEmpty, contentType != nil || rule.isRequired || !isEmpty {
      guard let contentType, rule.contentTypes.contains(contentType) else {
        throw Problem(
          415, "unsupported_media_type",
          "the content type is \(contentType.map { "\"\($0.prefix(64))\"" } ?? "not given"), \(rule.contentTypes.joined(separator: " or ")) is wanted",
          allowed: rule.contentTypes)
      }
    }
    if rule.isRequired, !isDeclared {
      throw Problem(411, "length_required", "a body is wanted: give Content-Length or Transfer-Encoding: chunked")
    }
    let limit = rule.isRead ? rule.bytesMax : HTTPLimits.bodyBytesMax
    if let declared, declared > limit { throw Self.tooLarge(limit) }
  }

  private static func tooLarge(_ limit: Int) -> Problem {
    Problem(413, "payload_too_large", "the body is larger than \(limit) bytes, the most that is taken here")
  }

  /// The whole body.
  /// - Throws: `Problem` 413, 400, 408; anything else: the connection is gone.
  mutating func collect(limit: Int) async throws -> [UInt8] {
    var reader = request.body.makeAsyncIterator()
    defer { iterator = reader }
    do {
      guard var bytes = try await reader.next() else { return try finished([]) }
      while let next = try await reader.next() {
        guard bytes.readableBytes + next.readableBytes <= limit else { throw Self.tooLarge(limit) }
        bytes.writeImmutableBuffer(next)
      }
      guard bytes.readableBytes <= limit else { throw Self.tooLarge(limit) }
      return try finished([UInt8](bytes.readableBytesView))
    } catch let error as HTTPParserError {
      throw ConnectionGuard.problem(for: error)
    } catch is ReadDeadlineExceeded {
      throw Problem(
        408, "request_timeout", "the body did not arrive within \(HTTPLimits.readSeconds) s")
    }
  }

  /// A connection that ends in the middle of a body looks like its end.
  private mutating func finished(_ bytes: [UInt8]) throws -> [UInt8] {
    isAtEnd = true
    if let declared, declared != bytes.count { throw ConnectionEnded() }
    return bytes
  }

  /// Reads a little of what is left and throws it away, so that the answer reaches a client that is still sending.
  mutating func linger(_ channel: any Channel) async {
    guard !isAtEnd else { return }
    let timer = channel.eventLoop.scheduleTask(in: .seconds(HTTPLimits.lingerSeconds)) {
      channel.close(promise: nil)
    }
    defer { timer.cancel() }
    var reader = iterator ?? request.body.makeAsyncIterator()
    var count = 0
    do {
      while count < HTTPLimits.lingerBytesMax, let next = try await reader.next() { count += next.readableBytes }
    } catch {
      // The client went away or broke HTTP once more: the connection ends either way.
      return
    }
  }
}

/// The connection is to be closed; everything there was to say was said.
struct ConnectionEnded: Error {}
