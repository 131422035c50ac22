public import TaskBridgeCore
import TaskBridgeStore

extension TaskBridge {
  /// Keeps a report that came over HTTP and could not be understood, as one over AMQP is kept.
  /// - Throws: 503 when the store cannot write.
  public func quarantine(reportBody body: [UInt8], because problem: Problem) async throws(Problem) {
    let now = now()
    let message = QuarantinedMessage(
      source: .events, code: VerdictCode.malformed.rawValue, detail: problem.detail, routingKey: nil,
      properties: #"{"via":"http"}"#, body: body)
    try await answering { transaction throws(StoreError) in
      try transaction.quarantine(message, now: now)
      return .success(())
    }
  }
}

extension ReportAnswer {
  /// Its token is none of this store's.
  static let notIssued = ReportAnswer(
    .unknownToken, action: .stop, detail: "the token was not issued by this store")

  /// It could not be understood, and changes nothing.
  static func malformed(_ detail: String) -> ReportAnswer {
    ReportAnswer(.malformed, action: .continue, detail: detail)
  }
}

extension QuarantinedMessage {
  /// A report over HTTP that belongs to no run of this store.
  init(unknownToken answer: ReportAnswer, body: [UInt8]) {
    self.init(
      source: .events, code: VerdictCode.unknownToken.rawValue, detail: answer.detail ?? "", routingKey: nil,
      properties: #"{"via":"http"}"#, body: body)
  }
}
