import HTTPTypes
import TaskBridgeCore
import TaskBridgeEngine

/// What workers say over HTTP.
enum AttemptsController {
  /// Most tokens of one heartbeat.
  static let tokensMax = 1_000

  static func addRoutes(to router: inout Router) {
    // Workers send what their library sends: the body is read as JSON whatever it is called.
    let report = BodyRule(bytesMax: HTTPLimits.reportBytesMax, contentTypes: [], isRequired: true)
    router.on(.post, "/v1/attempts/report", body: report) { exchange throws(Problem) in
      try await self.report(exchange)
    }
    router.on(.post, "/v1/attempts/heartbeat", body: .json) { exchange throws(Problem) in
      try await heartbeat(exchange)
    }
  }

  /// A report that could be read is answered with its verdict, refused or not; only one that could not is a problem.
  private static func report(_ exchange: Exchange) async throws(Problem) -> Answer {
    try exchange.refuseParameters()
    let report: WorkerReport
    do {
      report = try WorkerReport.parse(ReportMessage(body: exchange.body))
    } catch {
      try await exchange.bridge.quarantine(reportBody: exchange.body, because: error)
      if error.status == 400 { throw error }
      return Answer(ReportAnswer(.malformed, action: .continue, detail: error.detail))
    }
    return Answer(try await exchange.bridge.report(report, body: exchange.body))
  }

  private static func heartbeat(_ exchange: Exchange) async throws(Problem) -> Answer {
    try exchange.refuseParameters()
    var fields = try BodyFields(exchange.body)
    let tokens = fields.list("tokens", count: 1...tokensMax, of: "tokens (strings)") { $0 }
    // As in a report, what is out of range is brought into it.
    let nextReportSeconds = fields.number("next_report_seconds").map { min(max($0, 1), 86_400) }
    try fields.finish()
    guard let tokens else {
      throw Problem(
        422, "invalid_field", "tokens is missing: a list of 1...\(tokensMax) tokens is wanted",
        errors: [Fault(pointer: "/tokens", detail: "missing")])
    }
    let answers = try await exchange.bridge.heartbeat(
      tokens: tokens, nextReportSeconds: nextReportSeconds, body: exchange.body)
    return Answer { json in json.member("items", array: answers) }
  }
}
