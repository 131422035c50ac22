import AMQPClient
import TaskBridgeCore

/// A producer that knows only the contract: plain submissions, persistent, each confirmed by the broker.
struct LoadSubmitter: Sendable {
  /// Messages handed over in one call.
  static let batch = 128
  /// Size of a payload unless a row says otherwise.
  static let payloadBytes = 256

  let connection: AMQPConnection
  /// Exchange that is published to.
  let exchange: String
  private let properties: AMQPProperties

  /// A JSON text of that many bytes, at least 2.
  static func payload(bytes: Int = payloadBytes, marked text: String = "") -> [UInt8] {
    let marked = Array(text.utf8)
    return [34] + marked + [UInt8](repeating: 65, count: max(0, bytes - 2 - marked.count)) + [34]
  }

  /// - Parameter headers: on every submission.
  init(_ broker: BenchBroker, exchange: String, headers: [String: AMQPValue] = [:]) async throws {
    connection = try await broker.connect("bench-submitter")
    self.exchange = exchange
    properties = AMQPProperties(contentType: "application/json", headers: headers, deliveryMode: 2)
  }

  private func message(task: String, body: [UInt8], answerTo: String? = nil) -> AMQPMessage {
    var properties = properties
    if let answerTo {
      properties.replyTo = answerTo
      properties.correlationID = "bench"
    }
    return AMQPMessage(exchange: exchange, routingKey: task, properties: properties, body: body)
  }

  /// Submits `count` runs as fast as the broker takes them and returns when it has confirmed them all. They are
  /// committed when the answer has come that the last one asks for.
  /// - Parameters:
  ///   - answerTo: queue that gets the bridge's answer to the last submission.
  ///   - body: the payload of each.
  ///   - task: the task key of the n-th run.
  /// - Throws: `BenchError` for a message that was not confirmed.
  func submit(
    _ count: Int, answerTo: String? = nil, body: [UInt8] = LoadSubmitter.payload(),
    task: @escaping @Sendable (Int) -> String
  ) async throws {
    try await confirming(count) {
      var next = 0
      while next < count {
        let end = min(count, next + Self.batch)
        try await connection.publish(
          (next..<end).map { index in
            (
              UInt64(index),
              message(task: task(index), body: body, answerTo: index == count - 1 ? answerTo : nil)
            )
          })
        next = end
      }
    }
  }

  /// Submits at a steady rate, whatever comes back (open loop), each when it is due.
  /// - Parameter body: the payload of the n-th, made from its number and the moment at which it was due.
  func submit(
    _ count: Int, perSecond rate: Double, task: String,
    body: @escaping @Sendable (Int, ContinuousClock.Instant) -> [UInt8]
  ) async throws {
    try await confirming(count) {
      let start = ContinuousClock.now
      for index in 0..<count {
        let due = start + .seconds(Double(index) / rate)
        try await Task.sleep(until: due, tolerance: .zero, clock: .continuous)
        try await connection.publish([(UInt64(index), message(task: task, body: body(index, due)))])
      }
    }
  }

  /// Publishes by `body` and reads outcomes until there were `count`.
  private func confirming(_ count: Int, _ body: @escaping @Sendable () async throws -> Void) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await confirmed(count) }
      group.addTask { try await body() }
      try await group.waitForAll()
    }
  }

  private func confirmed(_ count: Int) async throws {
    var seen = 0
    guard count > 0 else { return }
    for await outcomes in connection.outcomes {
      for outcome in outcomes where outcome.result != .confirmed {
        throw BenchError("message \(outcome.id) was not confirmed: \(outcome.result)")
      }
      seen += outcomes.count
      if seen >= count { return }
    }
    try Task.checkCancellation()
    throw BenchError("the broker confirmed \(seen) of \(count) messages, then the connection ended")
  }

  func close() async { await connection.close() }
}
