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
  /// Seconds between the end of a quorum queue and its next declaration: RabbitMQ 3.10 gives a quorum queue that is
  /// declared again at once to consumers it never delivers to (15 of 15 trials; after 0.5 s 0 of 15).
  static let vanishedPauseSeconds = 1.0

  private struct Queues {
    /// The fixed queues were declared in this session: one that is missing has just vanished.
    var hasFixed = false
    /// Known to exist in this session.
    var known: Set<String> = []
    /// Gone while we were connected, and when they may be declared again, by the boot clock.
    var paused: [String: Double] = [:]
  }

  private let queues = Mutex(Queues())
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

  /// The objects every bridge needs. Called again it mends what somebody has deleted meanwhile, after a pause: a queue
  /// that is there again before its consumers were told of its end never tells them, and never delivers to them.
  func declareFixed() async throws {
    try await declareExchange(names.submit, .topic)
    try await declareExchange(names.runs, .direct)
    try await declareExchange(names.events, .topic)
    try await declareExchange(names.returned, .fanout)
    try await declareExchange(names.dead, .topic)
    try await declareExchange(names.control, .topic)
    try await declareExchange(names.lifecycle, .topic)
    let fixed = [(names.submit, "#"), (names.events, "#"), (names.returned, "")]
    if queues.withLock({ $0.hasFixed }) {
      for (queue, _) in fixed where try await look(queue) == nil {
        try await Task.sleep(for: .seconds(Self.vanishedPauseSeconds))
        break
      }
    }
    for (queue, key) in fixed {
      _ = try await ensure(queue, arguments: ["x-queue-type": .string(configuration.queueType.rawValue)])
      try await connection.bindQueue(queue, exchange: queue, routingKey: key)
    }
    queues.withLock { $0.hasFixed = true }
  }

  private func declareExchange(_ name: String, _ kind: AMQPExchangeKind) async throws(AMQPError) {
    do {
      try await connection.declareExchange(name, kind: kind, durable: true, passive: true)
    } catch {
      guard error.code == AMQPError.notFound else { throw error }
      try await connection.declareExchange(name, kind: kind, durable: true, passive: false)
    }
  }

  /// - Returns: whether the queue had to be made.
  private func ensure(_ queue: String, arguments: [String: AMQPValue]) async throws(AMQPError) -> Bool {
    do {
      _ = try await connection.declareQueue(queue, durable: true, passive: true)
      return false
    } catch {
      guard error.code == AMQPError.notFound else { throw error }
      _ = try await connection.declareQueue(queue, durable: true, passive: false, arguments: arguments)
      return true
    }
  }

  func isKnown(_ task: TaskKey) -> Bool { queues.withLock { $0.known.contains(names.run(task)) } }

  /// Forgets what was known: the queue came back as missing.
  func forget(_ queue: String) {
    let next = clock.uptimeSeconds() + Self.vanishedPauseSeconds
    queues.withLock { queues in
      if queues.known.remove(queue) != nil { queues.paused[queue] = next }
    }
  }

  func forgetAll() { queues.withLock { $0.known.removeAll() } }

  /// Seconds until the run queue of `task` may be declared; 0: now.
  func pause(_ task: TaskKey) -> Double {
    let (queue, now) = (names.run(task), clock.uptimeSeconds())
    return queues.withLock { queues in
      let left = (queues.paused[queue] ?? now) - now
      if left <= 0 { queues.paused[queue] = nil }
      return max(0, left)
    }
  }

  /// Declares and binds the run queue of `task`.
  ///
  /// - Returns: whether it had to be made, so that whatever was in an older one is gone.
  func ensureRunQueue(_ task: TaskKey) async throws -> Bool {
    let pause = pause(task)
    if pause > 0 { try await Task.sleep(for: .seconds(pause)) }
    let queue = names.run(task)
    let type = configuration.tasks[task]?.queueType ?? configuration.queueType
    let isNew = try await ensure(
      queue,
      arguments: [
        "x-queue-type": .string(type.rawValue), "x-dead-letter-exchange": .string(names.returned),
      ])
    try await connection.bindQueue(queue, exchange: names.runs, routingKey: task.rawValue)
    queues.withLock { _ = $0.known.insert(queue) }
    if isNew { logger.info("run queue declared", metadata: ["queue": "\(queue)", "type": "\(type.rawValue)"]) }
    return isNew
  }

  /// Declares and binds the mirror queue of `task`'s dead letters. Classic: its messages are looked at and put back any
  /// number of times, which a quorum queue's delivery limit would end; the table is the truth.
  func ensureDeadQueue(_ task: TaskKey) async throws(AMQPError) {
    let queue = names.dead(task)
    if queues.withLock({ $0.known.contains(queue) }) { return }
    _ = try await ensure(queue, arguments: ["x-queue-type": "classic"])
    try await connection.bindQueue(queue, exchange: names.dead, routingKey: task.rawValue)
    queues.withLock { _ = $0.known.insert(queue) }
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

  func purge(_ queue: String) async throws(AMQPError) { _ = try await connection.purgeQueue(queue) }
}
