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
  }

  func run() async throws {
    let consumer = try await connection.consume(bridge.names.events, prefetch: Self.prefetch)
    for try await deliveries in consumer {
      try await take(deliveries)
      drain.took(deliveries.count)
    }
  }

  private func take(_ deliveries: [AMQPDelivery]) async throws {
    let now = bridge.clock.now()
    let judged = deliveries.map { judge($0, now: now) }
    let policies = bridge.policyLookup
    let answers: [ReportAnswer]
    do {
      answers = try await bridge.writing { transaction throws(StoreError) in
        try judged.indices.map { index throws(StoreError) in
          switch judged[index] {
          case .verified(let report):
            let answer = try transaction.report(report, policies: policies)
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
    } catch let error as StoreError where error.kind == .other && deliveries.count > 1 {
      for delivery in deliveries { try await take([delivery]) }
      return
    } catch let error as StoreError where error.kind == .other {
      let message = quarantined(deliveries[0], code: .malformed, detail: error.message)
      try await bridge.writing { transaction throws(StoreError) in try transaction.quarantine(message, now: now) }
      connection.settle(acknowledged: deliveries.map(\.deliveryTag))
      return
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

  private func judge(_ delivery: AMQPDelivery, now: Timestamp) -> Judged {
    if let problem = delivery.refusal { return refuse(.malformed, problem.detail, delivery) }
    let report: WorkerReport
    do {
      report = try WorkerReport.parse(delivery.reportMessage)
    } catch {
      return refuse(.malformed, error.detail, delivery)
    }
    guard let dispatch = bridge.signer.verify(report.token) else {
      return refuse(.unknownToken, "the token was not issued by this store", delivery)
    }
    return .verified(
      VerifiedReport(report, dispatch: dispatch, via: .amqp, receivedAt: now, jitter: bridge.jitter()))
  }

  private func refuse(_ code: VerdictCode, _ detail: String, _ delivery: AMQPDelivery) -> Judged {
    .refused(
      ReportAnswer(code, action: code == .unknownToken ? .stop : .continue, detail: detail),
      quarantined(delivery, code: code, detail: detail))
  }

  private func quarantined(_ delivery: AMQPDelivery, code: VerdictCode, detail: String) -> QuarantinedMessage {
    QuarantinedMessage(
      source: .events, code: code.rawValue, detail: detail, routingKey: delivery.routingKey,
      properties: delivery.propertiesText, body: delivery.body, bodyBytes: delivery.claimedBytes)
  }
}
