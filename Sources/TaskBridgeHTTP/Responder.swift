import HTTPTypes
import HummingbirdCore
import Logging
import NIOCore
import TaskBridgeCore
import TaskBridgeEngine

/// Answers requests: finds the route, checks head and body, runs the handler, writes the answer.
struct Responder: Sendable {
  let bridge: TaskBridge
  let router: Router
  let logger: Logger
  private let date = HTTPDate()

  init(bridge: TaskBridge, logger: Logger) {
    self.bridge = bridge
    self.logger = logger
    router = Router.build(bridge.configuration)
  }

  /// - Throws: `ConnectionEnded` after an answer that ends the connection; the client's own failures.
  func respond(to request: Request, _ writer: consuming ResponseWriter, channel: any Channel) async throws {
    var body = RequestBodyReader(request)
    var answer: Answer
    do {
      let (route, exchange) = try prepare(request, body)
      if request.headers[.expect]?.lowercased() == "100-continue" {
        try await writer.writeInformationalHead(HTTPResponse(status: .continue))
      }
      answer = try await handle(route, exchange, &body)
    } catch let problem as Problem {
      answer = refuse(problem, request)
    }
    let now = bridge.clockNow
    if answer.rest == nil, answer.status != .noContent {
      answer.fields[.contentLength] = String(answer.body.readableBytes)
    }
    answer.fields[.date] = date.text(at: now)
    if answer.closesConnection { answer.fields[.connection] = "close" }
    let head = HTTPResponse(status: answer.status, headerFields: answer.fields)
    if request.method == .head {
      try await writer.writeResponse(head)
    } else if let rest = answer.rest {
      let begin = answer.body
      // A failure in the middle cuts the connection: the client sees that the answer is not whole.
      try await writer.write(
        response: head,
        body: ResponseBody { writer in
          if begin.readableBytes > 0 { try await writer.write(begin) }
          while let chunk = try await rest() { try await writer.write(ByteBuffer(bytes: chunk)) }
          try await writer.finish(nil)
        })
    } else {
      try await writer.write(response: head, body: ResponseBody(byteBuffer: answer.body))
    }
    if answer.closesConnection {
      await body.linger(channel)
      throw ConnectionEnded()
    }
  }

  /// Everything that can be said by the head alone.
  private func prepare(_ request: Request, _ body: RequestBodyReader) throws(Problem) -> (Route, Exchange) {
    let text = request.head.path ?? "/"
    try checkSize(of: request.head, target: text)
    if request.method == .connect {
      throw Problem(405, "method_not_allowed", "CONNECT is not supported", allowed: ["GET", "HEAD", "PATCH", "POST"])
    }
    let target = try RequestTarget(text)
    switch router.match(request.method, target.segments) {
    case .notFound:
      throw Problem(
        404, "not_found", "there is no \(text.prefix { $0 != "?" }.prefix(256)); GET / lists every route")
    case .methodNotAllowed(let methods):
      throw Problem(
        405, "method_not_allowed",
        "\(request.method.rawValue) is not allowed here, \(methods.joined(separator: ", ")) is", allowed: methods)
    case .route(let route, let captures):
      try refuseCrossOrigin(request)
      try body.check(route.body)
      return (route, Exchange(bridge: bridge, head: request.head, captures: captures, query: target.query))
    }
  }

  private func checkSize(of head: HTTPRequest, target: String) throws(Problem) {
    guard target.utf8.count <= HTTPLimits.targetBytesMax else {
      throw Problem(
        414, "target_too_long",
        "the path and query have \(target.utf8.count) bytes, at most \(HTTPLimits.targetBytesMax) are taken")
    }
    var bytes = 0
    for field in head.headerFields { bytes += field.name.rawName.utf8.count + field.value.utf8.count }
    guard bytes <= HTTPLimits.headerBytesMax, head.headerFields.count <= HTTPLimits.headerFieldsMax else {
      throw Problem(
        431, "headers_too_large",
        "\(head.headerFields.count) header fields with \(bytes) bytes, at most \(HTTPLimits.headerFieldsMax) with \(HTTPLimits.headerBytesMax) are taken"
      )
    }
  }

  /// A page of another site in somebody's browser must not operate the bridge of this machine: forms are stopped by
  /// their content type, a request without a body by what the browser says of its origin.
  private func refuseCrossOrigin(_ request: Request) throws(Problem) {
    guard request.method != .get, request.method != .head, let site = request.headers[.secFetchSite] else { return }
    guard site == "same-origin" || site == "none" else {
      throw Problem(403, "cross_origin", "a web page of another origin cannot change anything here")
    }
  }

  private func handle(_ route: Route, _ exchange: Exchange, _ body: inout RequestBodyReader) async throws -> Answer {
    var exchange = exchange
    if route.body.isRead, !body.isEmpty { exchange.body = try await body.collect(limit: route.body.bytesMax) }
    return try await route.handler(exchange)
  }

  private func refuse(_ problem: Problem, _ request: Request) -> Answer {
    if problem.status >= 500 {
      logger.warning(
        "request failed", metadata: ["code": "\(problem.code)", "detail": "\(problem.detail)"])
    }
    var problem = problem
    problem.instance = request.head.path.map { String($0.prefix { $0 != "?" }.prefix(256)) }
    var answer = Answer(problem)
    switch problem.status {
    case 405:
      answer.fields[.allow] = problem.allowed.joined(separator: ", ")
      // After CONNECT and the like no further request can be told from a tunnel's bytes.
      answer.closesConnection = request.method == .connect
    case 400, 408, 411, 413, 414, 415, 431:
      // The body was not read, or cannot be told from the next request.
      answer.closesConnection = problem.status == 408 || !RequestBodyReader(request).isEmpty && problem.isBeforeBody
    default: break
    }
    return answer
  }
}

extension Problem {
  /// Whether the request was refused before its body had been read whole.
  fileprivate var isBeforeBody: Bool {
    switch code {
    case "unsupported_media_type", "payload_too_large", "length_required", "target_too_long", "headers_too_large",
      "invalid_request", "request_timeout":
      true
    default: false
    }
  }
}

extension HTTPField.Name {
  static let secFetchSite = Self("Sec-Fetch-Site")!
}
