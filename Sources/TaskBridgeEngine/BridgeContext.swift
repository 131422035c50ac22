import AMQPClient
import Logging
import Synchronization
import TaskBridgeCore
import TaskBridgeStore

/// What every service of one bridge shares.
final class BridgeContext: Sendable {
  let configuration: TaskBridgeConfiguration
  let store: Store
  let state = BridgeState()
  let clock: WallClock
  let zones: TimeZoneDatabase
  let names: ObjectNames
  let signer: TokenSigner
  let codec: MessageCodec
  let logger: Logger
  let policyLookup: PolicyLookup

  /// Runs became ready, or room for some.
  let ready: Signal
  /// A due time changed.
  let due: Signal
  /// Confirms that are not written yet.
  let confirms = PendingConfirms()
  /// Notices wait in the outbox.
  let outbox: Signal
  /// A dead letter was resolved.
  let mirror: Signal
  /// Those who wait for the mirror.
  let mirrorDesk = MirrorDesk()
  /// A job was stored or cancelled.
  let jobs = Signal()
  /// Whether jobs are being worked off, as fast as they may.
  let isWorkingOff = Atomic<Bool>(false)
  /// Messages that were handed to the broker's connection and are not settled.
  let inFlight = Atomic<Int>(0)

  private let ids = Mutex((generator: RunIDGenerator(), random: BufferedRandom()))

  init(
    configuration: TaskBridgeConfiguration, store: Store, signals: CommitSignals, clock: WallClock,
    zones: TimeZoneDatabase = .system, logger: Logger
  ) {
    self.configuration = configuration
    self.store = store
    self.clock = clock
    self.zones = zones
    self.logger = logger
    names = ObjectNames(prefix: configuration.prefix)
    signer = TokenSigner(secret: store.identity.secret)
    codec = MessageCodec(names: names, signer: signer)
    policyLookup = PolicyLookup { task in store.controls.policy(configuration.policy(for: task), for: task) }
    ready = signals.ready
    due = signals.due
    outbox = signals.outbox
    mirror = signals.mirror
  }

  /// The settings in force for `task`: the configuration, with what was set while the bridge runs.
  func policy(_ task: TaskKey) -> TaskPolicy { policyLookup.policy(task) }

  func newRunID(now: Timestamp) -> RunID {
    ids.withLock { ids in ids.generator.next(now: now, random: &ids.random) }
  }

  func jitter() -> Double { ids.withLock { ids in Double.random(in: 0..<1, using: &ids.random) } }

  /// A write that must happen: while the store is full or busy it is tried again, so that nothing is acknowledged
  /// that was not stored. Other failures are thrown.
  func writing<T: Sendable>(
    _ body: @escaping @Sendable (Transaction) throws(StoreError) -> T
  ) async throws -> T {
    while true {
      do {
        let value = try await store.write(body)
        state.setStoreProblem(nil)
        return value
      } catch {
        guard error.isRetriable else { throw error }
        state.setStoreProblem(error.message)
        logger.error("store cannot write, trying again in 1 s", metadata: ["error": "\(error)"])
        try await Task.sleep(for: .seconds(1))
      }
    }
  }

  /// Declares the run queue of `task`. One that cannot be had degrades its own task key alone; the others go on.
  ///
  /// - Returns: how many runs go out again because it had to be made; nil when it cannot be used.
  func haveRunQueue(_ task: TaskKey, topology: Topology, incarnation: String) async throws -> Int? {
    do {
      let restored = try await ensureRunQueue(task, topology: topology, incarnation: incarnation)
      state.setDegraded(task, because: nil)
      return restored
    } catch let error as AMQPError where error.kind == .channelClosed || error.kind == .invalidArgument {
      state.setDegraded(task, because: error.description)
      logger.error(
        "run queue cannot be used, its runs are held", metadata: ["task": "\(task)", "error": "\(error)"])
      return nil
    }
  }

  /// Declares the mirror queue of `task`; without it the table is all there is.
  func haveDeadQueue(_ task: TaskKey, topology: Topology) async throws -> Bool {
    do {
      try await topology.ensureDeadQueue(task)
      return true
    } catch {
      guard error.kind == .channelClosed || error.kind == .invalidArgument else { throw error }
      logger.error(
        "dead-letter queue cannot be used, the table alone has them",
        metadata: ["task": "\(task)", "error": "\(error)"])
      return false
    }
  }

  /// Declares the run queue of `task`; when it had to be made, what an older one held is dispatched again.
  private func ensureRunQueue(_ task: TaskKey, topology: Topology, incarnation: String) async throws -> Int {
    let queue = names.run(task)
    // Before the declaration: what is confirmed after it lies in the new queue.
    let now = clock.now()
    let isNew = try await topology.ensureRunQueue(task)
    try await writing { transaction throws(StoreError) in
      try transaction.rememberQueue(queue, task: task, broker: incarnation, now: now)
    }
    guard isNew else { return 0 }
    // What was confirmed by the old queue must be known as such.
    try await writeConfirms()
    let count = try await Restorer(bridge: self, topology: topology).takeBackAll(
      task, queue: queue, confirmedBefore: now, reason: "its queue was gone", incarnation: incarnation)
    if count > 0 {
      logger.warning("queue was gone, its runs go out again", metadata: ["queue": "\(queue)", "runs": "\(count)"])
    }
    return count
  }
}

/// The wake-ups a commit can cause; made before the store, which calls them.
struct CommitSignals: Sendable {
  let ready = Signal()
  let due = Signal()
  let outbox = Signal()
  let mirror = Signal()

  func raise(_ effects: CommitEffects) {
    if effects.contains(.ready) { ready.raise() }
    if effects.contains(.due) { due.raise() }
    if effects.contains(.outbox) { outbox.raise() }
    if effects.contains(.mirror) { mirror.raise() }
  }
}

extension TaskBridgeConfiguration {
  /// What the configuration says of `task`.
  func policy(for task: TaskKey) -> TaskPolicy {
    let settings = tasks[task]
    var policy = TaskPolicy()
    policy.maxAttempts = settings?.maxAttempts ?? maxAttempts
    policy.maxLost = settings?.maxLost ?? maxLost
    policy.leaseSeconds = settings?.leaseSeconds ?? leaseSeconds
    policy.retry = settings?.retry ?? retry
    policy.queueBound = settings?.queueBound ?? queueBound
    policy.concurrencyLimit = settings?.concurrencyLimit
    policy.ratePerSecond = settings?.ratePerSecond
    policy.rateBurst = settings?.rateBurst
    policy.order = settings?.order ?? .fifo
    policy.aging = settings?.aging
    policy.resourceLimits = settings?.resourceLimits ?? [:]
    return policy
  }
}
