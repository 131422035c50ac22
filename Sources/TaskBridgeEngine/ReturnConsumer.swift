import AMQPClient
import Logging
import TaskBridgeCore
import TaskBridgeStore

/// Takes run messages that the broker gave back: rejected by a worker, or given up by a limit.
struct ReturnConsumer: Sendable {
  static let prefetch: UInt16 = 200

  let bridge: BridgeContext
  let connection: AMQPConnection
  let drain: DrainGate

  func run() async throws {
    let consumer = try await connection.consume(bridge.names.returned, prefetch: Self.prefetch)
    drain.began()
    for try await deliveries in consumer {
      try await take(deliveries)
      drain.took(deliveries.count)
    }
  }

  private func take(_ deliveries: [AMQPDelivery]) async throws {
    let (now, policies) = (bridge.clock.now(), bridge.policyLookup)
    let messages = deliveries.compactMap(message)
    do {
      try await bridge.writing { transaction throws(StoreError) in
        for message in messages { _ = try transaction.returned(message, policies: policies, now: now) }
      }
    } catch let error as StoreError where error.kind == .other && deliveries.count > 1 {
      for delivery in deliveries { try await take([delivery]) }
      return
    } catch let error as StoreError where error.kind == .other {
      // The orphan rule, or the lease of its attempt, brings the run back.
      bridge.logger.error("a returned message cannot be applied", metadata: ["error": "\(error)"])
      let delivery = deliveries[0]
      let message = QuarantinedMessage(
        source: .returned, code: "store_refused", detail: error.message, routingKey: delivery.routingKey,
        properties: delivery.propertiesText, body: delivery.body, bodyBytes: delivery.claimedBytes)
      try await bridge.writing { transaction throws(StoreError) in try transaction.quarantine(message, now: now) }
    }
    connection.settle(acknowledged: deliveries.map(\.deliveryTag))
    if messages.count < deliveries.count {
      bridge.logger.warning(
        "returned messages without a valid token dropped",
        metadata: ["messages": "\(deliveries.count - messages.count)"])
    }
  }

  /// A message without a token of this store is nobody's run: anybody may publish to this exchange.
  private func message(_ delivery: AMQPDelivery) -> ReturnedMessage? {
    guard let token = delivery.properties.correlationID, let dispatch = bridge.signer.verify(token) else { return nil }
    let reason = Self.reason(delivery.properties.headers)
    let event: SystemEvent =
      switch reason {
      case "rejected": .rejected
      case "delivery_limit": .givenUp(.deliveryLimit)
      default: .givenUp(.lost)
      }
    let detail =
      reason == "rejected"
      ? "a worker rejected the message without requeue" : "the broker gave the message up: \(reason)"
    return ReturnedMessage(dispatch: dispatch, event: event, detail: detail, jitter: bridge.jitter())
  }

  /// The broker's own first entry.
  private static func reason(_ headers: [String: AMQPValue]) -> String {
    if let first = headers["x-first-death-reason"]?.stringValue { return first }
    guard case .array(let deaths) = headers["x-death"], case .table(let death) = deaths.first else { return "unknown" }
    return death["reason"]?.stringValue ?? "unknown"
  }
}

/// Opens when a queue of the bridge has its consumer and what waited in it at connect has been worked off.
final class DrainGate: Sendable {
  private let expected: Int
  private let counter = Signal()
  private let begun = AtomicCount()
  private let taken = AtomicCount()

  /// - Parameter expected: messages that were waiting.
  init(expected: Int) { self.expected = expected }

  /// The broker has taken the consumer.
  func began() {
    begun.add(1)
    counter.raise()
  }

  func took(_ count: Int) {
    taken.add(count)
    counter.raise()
  }

  /// - Parameter isEmpty: looks at the queue: what was counted may have been purged, or taken by somebody else.
  func wait(isEmpty: () async throws -> Bool) async throws {
    while begun.value == 0 {
      try Task.checkCancellation()
      await counter.wait(atMost: 60)
    }
    var quiet = 0
    while taken.value < expected {
      try Task.checkCancellation()
      let before = taken.value
      await counter.wait(atMost: 1)
      quiet = taken.value == before ? quiet + 1 : 0
      if quiet >= 2, try await isEmpty() { return }
    }
  }
}
