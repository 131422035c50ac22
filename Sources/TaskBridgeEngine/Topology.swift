import AMQPClient
import Logging
import Synchronization
import TaskBridgeCore

/// Declares the broker's objects. Each is looked at passively first: an existing one with other arguments is taken as
/// it is, and nothing is ever deleted (`contract.md` §2).
///
/// Works on a connection of its own, so that a refused declaration never closes the channel that publishes.
final class Topology: Sendable {
  private let connection: AMQPConnection
  let names: ObjectNames
  private let configuration: TaskBridgeConfiguration
  private let logger: Logger

  private let roster = Mutex(QueueRoster())
  private let clock: WallClock

  init(
    connection: AMQPConnection, names: ObjectNames, configuration: TaskBridgeConfiguration, clock: WallClock,
    logger: Logger
  ) {
    self.connection = connection
    self.names = names
    self.configuration = configuration
    self.logger = logger
    self.clock = clock
  }

  /// The objects every bridge needs. Called again it mends what somebody has deleted meanwhile, each queue after a pause
  /// of its own: one that is there again before its consumers were told of its end never tells them, and never delivers
  /// to them.
  func declareFixed() async throws {
    try await declareExchange(names.submit, .topic)
    try await declareExchange(names.runs, .direct)
    try await declareExchange(names.events, .topic)
    try await declareExchange(names.returned, .fanout)
    try await declareExchange(names.dead, .topic)
    try await declareExchange(names.control, .topic)
    try await declareExchange(names.lifecycle, .topic)
    let fixed = [(names.submit, "#"), (names.events, "#"), (names.returned, "")]
    // All of them first, so that their pauses run at the same time.
    for (queue, _) in fixed where try await look(queue) == nil { forget(queue) }
    for (queue, key) in fixed {
      _ = try await ensure(queue, arguments: configuration.fixedQueueArguments)
      try await connection.bindQueue(queue, exchange: queue, routingKey: key)
      roster.withLock { $0.found(queue) }
    }
  }

  private func declareExchange(_ name: String, _ kind: AMQPExchangeKind) async throws(AMQPError) {
    do {
      try await connection.declareExchange(name, kind: kind, durable: true, passive: true)
    } catch {
      guard error.code == AMQPError.notFound else { throw error }
      try await connection.declareExchange(name, kind: kind, durable: true, passive: false)
    }
  }

  /// Has the queue declared, when it vanished after its pause.
  ///
  /// - Returns: whether it had to be made.
  private func ensure(_ queue: String, arguments: [String: AMQPValue]) async throws -> Bool {
    while try await look(queue) == nil {
      forget(queue)
      let pause = pause(queue)
      guard pause == 0 else {
        try await Task.sleep(for: .seconds(pause))
        continue
      }
      _ = try await connection.declareQueue(queue, durable: true, passive: false, arguments: arguments)
      return true
    }
    return false
  }

  func isKnown(_ task: TaskKey) -> Bool { roster.withLock { $0.isKnown(names.run(task)) } }

  /// The queue is missing, or a message for it came back.
  func forget(_ queue: String) {
    let uptime = clock.uptimeSeconds()
    roster.withLock { $0.missed(queue, uptime: uptime) }
  }

  func doubtAll() { roster.withLock { $0.doubtAll() } }

  /// Seconds until the run queue of `task` may be declared; 0: now.
  func pause(_ task: TaskKey) -> Double { pause(names.run(task)) }

  private func pause(_ queue: String) -> Double {
    let uptime = clock.uptimeSeconds()
    return roster.withLock { $0.pause(queue, uptime: uptime) }
  }

  /// Declares and binds the run queue of `task`.
  ///
  /// - Returns: whether it had to be made, so that whatever was in an older one is gone.
  func ensureRunQueue(_ task: TaskKey) async throws -> Bool {
    let queue = names.run(task)
    let isNew = try await ensure(queue, arguments: configuration.runQueueArguments(task))
    try await connection.bindQueue(queue, exchange: names.runs, routingKey: task.rawValue)
    roster.withLock { $0.found(queue) }
    if isNew { logger.info("run queue declared", metadata: ["queue": "\(queue)"]) }
    return isNew
  }

  /// Declares and binds the mirror queue of `task`'s dead letters.
  func ensureDeadQueue(_ task: TaskKey) async throws(AMQPError) {
    let queue = names.dead(task)
    if roster.withLock({ $0.isKnown(queue) }) { return }
    if try await look(queue) == nil {
      _ = try await connection.declareQueue(
        queue, durable: true, passive: false, arguments: TaskBridgeConfiguration.deadQueueArguments)
    }
    try await connection.bindQueue(queue, exchange: names.dead, routingKey: task.rawValue)
    roster.withLock { $0.found(queue) }
  }

  /// Ready messages and consumers of a queue; nil when it does not exist.
  func look(_ queue: String) async throws(AMQPError) -> AMQPQueueInfo? {
    do {
      return try await connection.declareQueue(queue, durable: true, passive: true)
    } catch {
      if error.code == AMQPError.notFound { return nil }
      throw error
    }
  }

  /// Ready messages (nil when there is no such queue) and consumers. Counts may lag right after a broker's start: two
  /// looks, the larger one counts.
  func settledCount(_ queue: String) async throws -> (ready: Int?, consumers: Int) {
    guard let first = try await look(queue) else { return (nil, 0) }
    if first.messageCount > 0 { return (first.messageCount, first.consumerCount) }
    try await Task.sleep(for: .milliseconds(200))
    guard let second = try await look(queue) else { return (nil, 0) }
    return (max(first.messageCount, second.messageCount), max(first.consumerCount, second.consumerCount))
  }

  func purge(_ queue: String) async throws(AMQPError) { _ = try await connection.purgeQueue(queue) }
}
