/// What a bridge says to a report (`contract.md` §2.3).
struct ReportAnswer: Sendable, Equatable {
  var verdict: String
  var code: String
  var action: String
  var detail: String?

  init?(_ body: [UInt8]) {
    let json = JSONSlice(body)
    guard let verdict = json["verdict"]?.string else { return nil }
    self.verdict = verdict
    code = json["code"]?.string ?? ""
    action = json["action"]?.string ?? "continue"
    detail = json["detail"]?.string
  }

  /// Whether the work may be started, or was taken.
  var isAccepted: Bool { verdict == "accept" && action != "stop" }
  var tellsToStop: Bool { action == "stop" }
}
