import AMQPClient
import Logging
import TaskBridgeCore
import TaskBridgeStore

/// Takes submissions and moved dead letters from `taskbridge.submit`; acknowledges after the commit.
struct SubmissionConsumer: Sendable {
  static let prefetch: UInt16 = 500

  let bridge: BridgeContext
  let connection: AMQPConnection
  let replies: ReplySender
  let drain: DrainGate

  /// What one message asks for.
  private enum Wish: Sendable {
    case take(SubmissionWish)
    case quarantine(QuarantinedMessage, Problem)
  }

  private struct Request: Sendable {
    var wish: Wish
    var delivery: AMQPDelivery
  }

  func run() async throws {
    let consumer = try await connection.consume(bridge.names.submit, prefetch: Self.prefetch)
    drain.began()
    for try await deliveries in consumer {
      try await waitForRoom()
      try await take(deliveries)
    }
  }

  /// Past the backlog's bound messages stay in the broker.
  private func waitForRoom() async throws {
    while bridge.store.backlog >= bridge.configuration.backlogLimit {
      try await Task.sleep(for: .milliseconds(500))
    }
  }

  private func take(_ deliveries: [AMQPDelivery]) async throws {
    let now = bridge.clock.now()
    let requests = deliveries.map { Request(wish: wish(of: $0, now: now), delivery: $0) }
    let answers: [[UInt8]?]
    do {
      answers = try await bridge.writing { transaction throws(StoreError) in
        try requests.map { request throws(StoreError) in try settle(request, in: transaction, now: now) }
      }
    } catch let error as StoreError where error.kind == .other && deliveries.count > 1 {
      // One of them is more than the store can take: find it by taking each alone.
      for delivery in deliveries { try await take([delivery]) }
      return
    } catch let error as StoreError where error.kind == .other {
      let problem = Problem(500, "store_refused", error.message)
      let message = quarantined(deliveries[0], problem)
      bridge.logger.error("the store refuses a submission", metadata: ["error": "\(error.message)"])
      try await bridge.writing { transaction throws(StoreError) in try transaction.quarantine(message, now: now) }
      answers = [problem.json]
    }
    connection.settle(acknowledged: deliveries.map(\.deliveryTag))
    for (request, answer) in zip(requests, answers) {
      if let answer, let replyTo = request.delivery.properties.replyTo {
        replies.send(answer, to: replyTo, correlationID: request.delivery.properties.correlationID)
      }
    }
  }

  private func wish(of delivery: AMQPDelivery, now: Timestamp) -> Wish {
    if let problem = delivery.refusal { return .quarantine(quarantined(delivery, problem), problem) }
    do {
      return .take(try bridge.wish(of: delivery.submissionMessage, now: now))
    } catch {
      return .quarantine(quarantined(delivery, error), error)
    }
  }

  private func quarantined(_ delivery: AMQPDelivery, _ problem: Problem) -> QuarantinedMessage {
    QuarantinedMessage(
      source: .submit, code: problem.code, detail: problem.detail, routingKey: delivery.routingKey,
      properties: delivery.propertiesText, headers: delivery.headersText, body: delivery.body,
      bodyBytes: delivery.claimedBytes)
  }

  /// - Returns: the answer's body, when somebody waits for one.
  private func settle(
    _ request: Request, in transaction: Transaction, now: Timestamp
  ) throws(StoreError) -> [UInt8]? {
    let isAnswered = request.delivery.properties.replyTo != nil
    let result: Result<SubmissionResult, Problem>
    switch request.wish {
    case .quarantine(let message, let problem):
      try transaction.quarantine(message, now: now)
      return isAnswered ? problem.json : nil
    case .take(let wish):
      result = try bridge.fulfil(
        wish, routingKey: request.delivery.routingKey, in: transaction, now: now, actor: "amqp")
    }
    switch result {
    case .success(let result):
      if result.outcome == .rejected, !isAnswered {
        var message = quarantined(
          request.delivery, Problem(409, "rejected", "run \(result.runID) holds the dedup key"))
        message.isRejected = true
        try transaction.quarantine(message, now: now)
        bridge.logger.notice("submission rejected", metadata: ["active": "\(result.runID)"])
      }
      return isAnswered ? try bridge.answer(result, in: transaction).json : nil
    case .failure(let problem):
      try transaction.quarantine(quarantined(request.delivery, problem), now: now)
      return isAnswered ? problem.json : nil
    }
  }
}

extension AMQPDelivery {
  /// Why the message cannot be used as it arrived.
  var refusal: TaskBridgeCore.Problem? {
    typealias Problem = TaskBridgeCore.Problem
    return switch problem {
    case .tooLarge(let bytes):
      Problem(413, "payload_too_large", "the message is \(bytes) bytes, more than this connection takes")
    case .malformedHeaders(let reason): Problem(422, "malformed", "the headers cannot be read: \(reason)")
    case nil: nil
    }
  }

  var claimedBytes: Int {
    if case .tooLarge(let bytes) = problem { Int(clamping: bytes) } else { body.count }
  }
}
