/// One place in a request that is not allowed, and why.
public struct Fault: Equatable, Sendable {
  /// A JSON pointer (`/runs/3/priority`); for a message `/headers/tb-priority`; empty for the whole.
  public var pointer: String
  public var detail: String
  /// The problem code that this fault stands for when it is the only kind there is.
  public var code: String

  public init(pointer: String, detail: String, code: String = "invalid_field") {
    self.pointer = pointer
    self.detail = detail
    self.code = code
  }
}

/// What is wrong with a request, as RFC 9457 problem details: the answer over HTTP, AMQP and `--output json` alike.
public struct Problem: Error, Equatable, Sendable {
  /// The HTTP status, 400...599.
  public var status: Int
  /// Stable, snake_case; what programs switch on.
  public var code: String
  /// Names the value, what is allowed and the next step, for people.
  public var detail: String
  public var errors: [Fault]
  public var runID: RunID?
  public var allowed: [String]
  public var retryAfterSeconds: Int?
  /// The path that was asked for, when known.
  public var instance: String?

  public init(
    _ status: Int, _ code: String, _ detail: String, errors: [Fault] = [], runID: RunID? = nil,
    allowed: [String] = [], retryAfterSeconds: Int? = nil, instance: String? = nil
  ) {
    self.status = status
    self.code = code
    self.detail = detail
    self.errors = errors
    self.runID = runID
    self.allowed = allowed
    self.retryAfterSeconds = retryAfterSeconds
    self.instance = instance
  }

  /// The standard reason phrase of ``status``.
  public var title: String {
    switch status {
    case 400: "Bad Request"
    case 401: "Unauthorized"
    case 403: "Forbidden"
    case 404: "Not Found"
    case 405: "Method Not Allowed"
    case 406: "Not Acceptable"
    case 408: "Request Timeout"
    case 409: "Conflict"
    case 410: "Gone"
    case 411: "Length Required"
    case 412: "Precondition Failed"
    case 413: "Content Too Large"
    case 414: "URI Too Long"
    case 415: "Unsupported Media Type"
    case 421: "Misdirected Request"
    case 422: "Unprocessable Content"
    case 429: "Too Many Requests"
    case 431: "Request Header Fields Too Large"
    case 500: "Internal Server Error"
    case 501: "Not Implemented"
    case 502: "Bad Gateway"
    case 503: "Service Unavailable"
    case 504: "Gateway Timeout"
    case 507: "Insufficient Storage"
    default: status < 500 ? "Request Refused" : "Server Error"
    }
  }
}

extension Problem: JSONWritable {
  public func write(to json: inout JSONWriter) {
    json.object { json in
      json.member("type", "urn:taskbridge:problem:\(code)")
      json.member("title", title)
      json.member("status", status)
      json.member("detail", detail)
      if let instance { json.member("instance", instance) }
      json.member("code", code)
      if !errors.isEmpty { json.member("errors", array: errors) }
      if let runID { json.member("run_id", runID) }
      if !allowed.isEmpty { json.member("allowed", array: allowed) }
      if let retryAfterSeconds { json.member("retry_after_seconds", retryAfterSeconds) }
    }
  }
}

extension Fault: JSONWritable {
  public func write(to json: inout JSONWriter) {
    json.object { json in
      json.member("pointer", pointer)
      json.member("detail", detail)
    }
  }
}

extension Problem: CustomStringConvertible {
  public var description: String { "\(status) \(code): \(detail)" }
}

extension Problem {
  /// What is in the report about faults at most: a batch of 10,000 wrong runs must not become an answer of megabytes.
  public static let faultsMax = 100

  /// One problem out of all faults of a request. The first fault with a code of its own names the problem; 413 is only
  /// said when size is all that is wrong.
  /// - Parameter faults: not empty.
  public init(faults: [Fault]) {
    let tooLarge = "payload_too_large"
    let leading =
      faults.first { $0.code != "invalid_field" && $0.code != tooLarge } ?? faults.first { $0.code != tooLarge }
      ?? faults[0]
    let text = leading.pointer.isEmpty ? leading.detail : "\(leading.pointer): \(leading.detail)"
    let more = faults.count > 1 ? " (and \(faults.count - 1) more, see errors)" : ""
    self.init(
      leading.code == tooLarge ? 413 : 422, leading.code, text + more, errors: Array(faults.prefix(Self.faultsMax)))
  }
}
