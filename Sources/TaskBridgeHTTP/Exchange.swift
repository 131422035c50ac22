import HTTPTypes
import TaskBridgeCore
import TaskBridgeEngine

/// One request on its way through a route.
struct Exchange: Sendable {
  let bridge: TaskBridge
  let head: HTTPRequest
  /// What stands in the place of the route's `{…}`, in order.
  let captures: [String]
  let query: Substring
  var body: [UInt8] = []

  /// Who asks, for the audit.
  var actor: String { "local" }

  /// - Throws: 400 for a query that cannot be decoded.
  func parameters() throws(Problem) -> [Parameter] { try RequestTarget.parameters(query) }

  /// For routes that take no parameter.
  /// - Throws: 422 `unknown_field`.
  func refuseParameters() throws(Problem) {
    if query.isEmpty { return }
    var reader = ParameterReader(try parameters())
    try reader.finish(known: [])
  }

  /// The body of a route that takes a reason and nothing else.
  /// - Throws: 400, 422 `unknown_field`, `invalid_field`.
  func reason() throws(Problem) -> String? {
    try refuseParameters()
    var fields = try BodyFields(body)
    let reason = fields.text("reason", bytesMax: RunsController.reasonBytesMax)
    try fields.finish()
    return reason
  }

  /// The run the path names.
  /// - Throws: 422 `invalid_run_id`.
  func runID() throws(Problem) -> RunID {
    let text = captures.first ?? ""
    if let id = RunID(text) { return id }
    throw Problem(
      422, "invalid_run_id",
      "\"\(text.prefix(64))\" is no run id; a run id is a UUID such as 019a0b1c-2d3e-7f40-8a5b-6c7d8e9f0a1b")
  }
}
