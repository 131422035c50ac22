import AMQPClient
import TaskBridgeCore

/// What a row does to the run queues before and after it measures.
enum TaskQueues {
  /// Has the bridge declare the run queues of `tasks` by one run each, and works these off, so that nothing of it falls
  /// into the measurement.
  /// - Throws: `BenchError` when they are not done in `seconds`.
  static func warmUp(
    _ tasks: [String], of bridge: BridgeProcess, on broker: BenchBroker, seconds: Double = 60
  ) async throws {
    let before = try await bridge.count(.completed)
    let submitter = try await LoadSubmitter(broker, exchange: bridge.names.submit)
    try await submitter.submit(tasks.count) { tasks[$0] }
    await submitter.close()
    try await waitUntilDeclared(tasks, of: bridge, on: broker, seconds: seconds)
    let worker = try await LoadWorker(broker, bridge.names, tasks: tasks)
    try await worker.work(tasks.count)
    await worker.close()
    try await bridge.waitForCount(.completed, before + tasks.count, seconds: seconds)
  }

  private static func waitUntilDeclared(
    _ tasks: [String], of bridge: BridgeProcess, on broker: BenchBroker, seconds: Double
  ) async throws {
    let deadline = ContinuousClock.now + .seconds(seconds)
    let connection = try await broker.connect("bench-look")
    for task in tasks {
      while try await !exists(bridge.names.runQueue(task), connection) {
        guard ContinuousClock.now < deadline else {
          throw BenchError("\(bridge.names.runQueue(task)) was not declared")
        }
        try await Task.sleep(for: .milliseconds(50))
      }
    }
  }

  private static func exists(_ queue: String, _ connection: AMQPConnection) async throws -> Bool {
    do {
      _ = try await connection.declareQueue(queue, passive: true)
      return true
    } catch {
      guard error.code == AMQPError.notFound else { throw error }
      return false
    }
  }

  /// Reads back of what kind a run queue is: a broker refuses to declare one again with other arguments.
  static func isQuorum(_ task: String, of bridge: BridgeProcess, on broker: BenchBroker) async throws -> Bool {
    let connection = try await broker.connect("bench-look")
    do {
      _ = try await connection.declareQueue(
        bridge.names.runQueue(task),
        arguments: ["x-queue-type": "quorum", "x-dead-letter-exchange": .string(bridge.names.prefix + ".returned")])
      return true
    } catch {
      guard error.code == AMQPError.preconditionFailed else { throw error }
      return false
    }
  }

  /// Ends a bridge and takes its objects off the broker, so that the next row does not pay for them.
  static func remove(_ tasks: [String], of bridge: BridgeProcess, from broker: BenchBroker) async throws {
    await bridge.stop()
    let connection = try await broker.connect("bench-remove")
    let prefix = bridge.names.prefix
    var queues = ["submit", "events", "returned", "marker"].map { "\(prefix).\($0)" }
    if let marker = try await connection.get("\(prefix).marker", acknowledge: false),
      let store = try JSONValue.parse(marker.body).objectValue?["store_id"]?.stringValue
    {
      queues.append("\(prefix).marker.\(store)")
    }
    for queue in queues + tasks.map({ bridge.names.runQueue($0) }) { try await connection.deleteQueue(queue) }
    for exchange in ["submit", "runs", "events", "returned", "dead", "control", "lifecycle"] {
      try await connection.deleteExchange("\(prefix).\(exchange)")
    }
    await connection.close()
  }
}
