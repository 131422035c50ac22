import AMQPClient
import TaskBridgeCore

/// A queue of our own that the bridge answers to. An answer is sent after the commit, so it is the moment at which a
/// submission or a report is stored.
struct AnswerQueue: Sendable {
  let name: String
  private let connection: AMQPConnection
  private let consumer: AMQPConsumer

  init(_ broker: BenchBroker) async throws {
    connection = try await broker.connect("bench-answers")
    name = try await connection.declareQueue("", durable: false, exclusive: true).name
    consumer = try await connection.consume(name, prefetch: 0, noAck: true)
  }

  /// Waits for the next answer.
  /// - Returns: when it came and the JSON object it holds.
  /// - Throws: `BenchError` after `seconds`.
  func next(seconds: Double) async throws -> (at: ContinuousClock.Instant, answer: JSONObject) {
    try await withThrowingTaskGroup(of: (at: ContinuousClock.Instant, answer: JSONObject)?.self) { group in
      group.addTask {
        for try await batch in consumer {
          guard let first = batch.first else { continue }
          return (.now, try JSONValue.parse(first.body).objectValue ?? JSONObject())
        }
        throw BenchError("the connection that waits for an answer ended")
      }
      group.addTask {
        try await Task.sleep(for: .seconds(seconds))
        return nil
      }
      defer { group.cancelAll() }
      guard let answer = try await group.next() ?? nil else { throw BenchError("no answer after \(seconds) s") }
      return answer
    }
  }

  func close() async { await connection.close() }
}
