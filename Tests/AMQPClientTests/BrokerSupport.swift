import AMQPClient
import Glibc
import Logging
import Testing

/// The broker that `scripts/test` starts for these tests.
enum Broker {
  struct Missing: Error, CustomStringConvertible {
    let description = "TASKBRIDGE_AMQP_URL is not set: run these tests by scripts/test, which starts a private broker"
  }

  static func configuration() throws -> AMQPConfiguration {
    guard let value = getenv("TASKBRIDGE_AMQP_URL") else { throw Missing() }
    return try AMQPConfiguration(url: String(cString: value))
  }

  static let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

  /// Opens a connection, lends it, and closes it.
  static func withConnection<Result>(
    _ body: (AMQPConnection) async throws -> Result
  ) async throws -> Result {
    let connection = try await AMQPConnection.open(try configuration(), logger: logger)
    do {
      let result = try await body(connection)
      await connection.close()
      return result
    } catch {
      await connection.close()
      throw error
    }
  }

  /// A connection and a queue of its own, which is deleted afterwards.
  static func withQueue<Result>(
    arguments: [String: AMQPValue] = [:], _ body: (AMQPConnection, String) async throws -> Result
  ) async throws -> Result {
    try await withConnection { connection in
      let name = "amqp-test.\(UInt64.random(in: 0 ... .max))"
      _ = try await connection.declareQueue(name, arguments: arguments)
      do {
        let result = try await body(connection, name)
        try await deleteQueue(name)
        return result
      } catch {
        try await deleteQueue(name)
        throw error
      }
    }
  }

  /// By a connection of its own, because the test may have broken the other.
  private static func deleteQueue(_ name: String) async throws {
    try await withConnection { _ = try await $0.deleteQueue(name) }
  }
}

struct TooLate: Error, CustomStringConvertible { let description: String }

/// Fails instead of hanging when what a test waits for does not come.
func within<Result: Sendable>(
  _ limit: Duration = .seconds(20), _ what: String = "the awaited event",
  _ body: @escaping @Sendable () async throws -> Result
) async throws -> Result {
  return try await withThrowingTaskGroup(of: Result.self) { group in
    group.addTask { try await body() }
    group.addTask {
      try await Task.sleep(for: limit)
      throw TooLate(description: "\(what) did not come within \(limit)")
    }
    defer { group.cancelAll() }
    guard let result = try await group.next() else { throw TooLate(description: what) }
    return result
  }
}

/// The first deliveries of a consumer, at least `count`.
func collect(_ count: Int, from consumer: AMQPConsumer) async throws -> [AMQPDelivery] {
  try await within(.seconds(20), "\(count) deliveries") {
    var deliveries: [AMQPDelivery] = []
    for try await batch in consumer {
      deliveries += batch
      if deliveries.count >= count { break }
    }
    return deliveries
  }
}

/// The first outcomes of a connection, at least `count`.
func collect(_ count: Int, from sequence: AMQPOutcomes) async throws -> [AMQPPublishOutcome] {
  try await within(.seconds(20), "\(count) outcomes") {
    var outcomes: [AMQPPublishOutcome] = []
    for await batch in sequence {
      outcomes += batch
      if outcomes.count >= count { break }
    }
    return outcomes
  }
}
