import HTTPTypes
import NIOCore
import TaskBridgeCore

/// What a route answers.
struct Answer: Sendable {
  var status: HTTPResponse.Status
  var fields: HTTPFields
  var body: ByteBuffer
  /// The rest of the request is not read: the connection ends with this answer.
  var closesConnection = false
  /// What follows ``body``, chunk by chunk; nil at the end. Its length is then not known beforehand.
  var rest: (@Sendable () async throws(Problem) -> [UInt8]?)?

  init(status: HTTPResponse.Status, fields: HTTPFields, body: [UInt8]) {
    self.status = status
    self.fields = fields
    self.body = ByteBuffer(bytes: body)
  }

  /// A JSON object.
  init(status: HTTPResponse.Status = .ok, _ value: some JSONWritable) {
    var json = JSONWriter(reserving: 1_024)
    value.write(to: &json)
    self.init(status: status, fields: Self.jsonFields, body: json.bytes)
  }

  /// A JSON object written in place.
  init(status: HTTPResponse.Status = .ok, object: (inout JSONWriter) -> Void) {
    var json = JSONWriter()
    json.object(object)
    self.init(status: status, fields: Self.jsonFields, body: json.bytes)
  }

  init(_ problem: Problem) {
    self.init(status: HTTPResponse.Status(code: problem.status), fields: Self.problemFields, body: problem.json)
    if let seconds = problem.retryAfterSeconds { fields[.retryAfter] = String(seconds) }
  }

  /// Nothing an answer holds is to be kept by caches or taken for another type.
  private static func fields(contentType: String) -> HTTPFields {
    [.contentType: contentType, .cacheControl: "no-store", .xContentTypeOptions: "nosniff"]
  }

  static let emptyFields: HTTPFields = [.cacheControl: "no-store", .xContentTypeOptions: "nosniff"]
  static let jsonFields = fields(contentType: "application/json")
  static let linesFields = fields(contentType: "application/x-ndjson")
  static let problemFields = fields(contentType: "application/problem+json")
  static let metricsFields = fields(contentType: "text/plain; version=0.0.4; charset=utf-8")
}
