import AMQPClient
import Logging
import TaskBridgeCore
import TaskBridgeStore

/// Takes workers' reports from `taskbridge.events`: verdicts by the store, acknowledged after the commit.
struct ReportConsumer: Sendable {
  static let prefetch: UInt16 = 500

  let bridge: BridgeContext
  let connection: AMQPConnection
  let replies: ReplySender
  let drain: DrainGate

  private enum Judged: Sendable {
    case verified(VerifiedReport)
    case refused(ReportAnswer, QuarantinedMessage)

    var dispatch: DispatchID? {
      switch self {
      case .verified(let report): report.dispatch
      case .refused: nil
      }
    }
  }

  func run() async throws {
    let consumer = try await connection.consume(bridge.names.events, prefetch: Self.prefetch)
    drain.began()
    for try await deliveries in consumer {
      try await take(deliveries)
      drain.took(deliveries.count)
    }
  }

  private func take(_ deliveries: [AMQPDelivery]) async throws {
    let now = bridge.clock.now()
    var last: (token: String, dispatch: DispatchID)?
    let judged = deliveries.map { judge($0, now: now, last: &last) }
    let policies = bridge.policyLookup
    let confirmed = bridge.confirms.take(judged.lazy.compactMap(\.dispatch))
    let answers: [ReportAnswer]
    do {
      answers = try await bridge.writing { transaction throws(StoreError) in
        try transaction.together { () throws(StoreError) in
          try transaction.confirm(confirmed)
          return try judged.indices.map { index throws(StoreError) in
            switch judged[index] {
            case .verified(let report):
              let answer = try transaction.report(
                report, policies: policies, isAnswered: deliveries[index].properties.replyTo != nil)
              if answer.code == .unknownToken {
                try transaction.quarantine(
                  quarantined(deliveries[index], code: .unknownToken, detail: answer.detail ?? "run unknown"), now: now)
              }
              return answer
            case .refused(let answer, let message):
              try transaction.quarantine(message, now: now)
              return answer
            }
          }
        }
      }
    } catch let error as StoreError where error.kind == .other && deliveries.count > 1 {
      try await bridge.write(confirmed)
      for delivery in deliveries { try await take([delivery]) }
      return
    } catch let error as StoreError where error.kind == .other {
      let message = quarantined(deliveries[0], code: .malformed, detail: error.message)
      bridge.logger.error("the store refuses a report", metadata: ["error": "\(error.message)"])
      try await bridge.write(confirmed)
      try await bridge.writing { transaction throws(StoreError) in try transaction.quarantine(message, now: now) }
      answers = [.malformed(error.message)]
    }
    // Ack after COMMIT. If we crash between the two the broker delivers again and the ledger shows duplicates; the
    // other order would lose the report.
    connection.settle(acknowledged: deliveries.map(\.deliveryTag))
    for (delivery, answer) in zip(deliveries, answers) {
      if let replyTo = delivery.properties.replyTo {
        replies.send(answer.json, to: replyTo, correlationID: delivery.properties.correlationID)
      }
    }
  }

  /// - Parameter last: the newest token verified: `running` and `completed` of a short run come one after the other.
  private func judge(
    _ delivery: AMQPDelivery, now: Timestamp, last: inout (token: String, dispatch: DispatchID)?
  ) -> Judged {
    if let problem = delivery.refusal { return refuse(.malformed(problem.detail), delivery) }
    let report: WorkerReport
    do {
      report = try WorkerReport.parse(delivery.reportMessage)
    } catch {
      return refuse(.malformed(error.detail), delivery)
    }
    let dispatch: DispatchID
    if let last, last.token == report.token {
      dispatch = last.dispatch
    } else if let verified = bridge.signer.verify(report.token) {
      dispatch = verified
      last = (report.token, verified)
    } else {
      return refuse(.notIssued, delivery)
    }
    return .verified(
      VerifiedReport(report, dispatch: dispatch, via: .amqp, receivedAt: now, jitter: bridge.jitter()))
  }

  private func refuse(_ answer: ReportAnswer, _ delivery: AMQPDelivery) -> Judged {
    .refused(answer, quarantined(delivery, code: answer.code, detail: answer.detail ?? ""))
  }

  private func quarantined(_ delivery: AMQPDelivery, code: VerdictCode, detail: String) -> QuarantinedMessage {
    // Only a token that means nothing here may be stored; what is malformed is so for good.
    let isReleasable = code == .unknownToken
    return QuarantinedMessage(
      source: .events, code: code.rawValue, detail: detail, routingKey: delivery.routingKey,
      properties: delivery.propertiesText, headers: isReleasable ? delivery.headersText : nil,
      correlationID: isReleasable ? delivery.properties.correlationID : nil, body: delivery.body,
      bodyBytes: delivery.claimedBytes)
  }
}
