package import TaskBridgeCore

/// What the store knows of a run queue of the broker.
package struct QueueFacts: Sendable, Equatable {
  package let name: String
  package let task: TaskKey
  /// Runs confirmed and unclaimed (E): the broker should hold their messages.
  package let expected: Int
  /// Upper bound of messages of ended runs that may still lie there (S).
  package let stale: Int
  /// Publishes of unknown outcome (U).
  package let unknown: Int
  /// A purge was begun and not finished.
  package let isPurging: Bool
  /// The broker incarnation the queue was last seen in.
  package let broker: String

  package init(
    name: String, task: TaskKey, expected: Int, stale: Int, unknown: Int, isPurging: Bool, broker: String
  ) {
    self.name = name
    self.task = task
    self.expected = expected
    self.stale = stale
    self.unknown = unknown
    self.isPurging = isPurging
    self.broker = broker
  }
}

/// The store's view of a broker that may vanish (fsm §4).
extension Transaction {
  /// Remembers that the queue of `task` exists in this broker incarnation.
  package func rememberQueue(_ name: String, task: TaskKey, broker: String, now: Timestamp) throws(StoreError) {
    try db.run(
      """
      INSERT INTO queues (name, task, declared_at, broker) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT (name) DO UPDATE SET broker = ?4
      """, name, task, now, broker)
  }

  /// Every run queue the store has used, and every task key with dispatched runs.
  package func queueFacts() throws(StoreError) -> [QueueFacts] {
    let rows = try db.all(
      "SELECT name, task, stale, phase, broker FROM queues ORDER BY name"
    ) { row throws(StoreError) in
      (row.text(0), try row.task(1), row.int(2), !row.isNull(3), row.text(4))
    }
    var facts: [QueueFacts] = []
    for (name, task, stale, isPurging, broker) in rows {
      facts.append(
        QueueFacts(
          name: name, task: task,
          expected: runs(of: task, in: .launched),
          stale: stale,
          unknown: runs(of: task, in: .queued), isPurging: isPurging, broker: broker))
    }
    return facts
  }

  /// Begins a purge: if it is interrupted, the next start finishes it.
  package func beginPurge(_ queue: String) throws(StoreError) {
    try db.run("UPDATE queues SET phase = 'purging' WHERE name = ?", queue)
  }

  /// Takes back the launched and unclaimed runs of `task`, at most `limit`: their messages are gone from the broker,
  /// and the next release hands them over under new tokens. Costs neither an attempt nor a loss.
  ///
  /// - Parameter confirmedBefore: only runs confirmed before this time; nil: all.
  /// - Returns: how many; `limit` means there may be more.
  package func takeBackLaunched(
    _ task: TaskKey, confirmedBefore: Timestamp?, reason: String, limit: Int, now: Timestamp
  ) throws(StoreError) -> Int {
    let launched = try db.all(
      """
      SELECT \(Run.columns) FROM runs r INDEXED BY runs_unclaimed
        WHERE r.task = ? AND \(Schema.isRun(.queued, .launched, column: "r.state")) AND r.state = 'launched' AND r.launched_at <= ? ORDER BY r.launched_at LIMIT ?
      """, task, confirmedBefore ?? Timestamp(milliseconds: .max), limit
    ) { row throws(StoreError) in try Run(row: row) }
    for run in launched { try takeBack(run, reason: reason, now: now) }
    return launched.count
  }

  /// The queue is new or was emptied: nothing stale is left in it, a purge is over.
  package func queueEmptied(_ queue: String, broker: String) throws(StoreError) {
    try db.run(
      "UPDATE queues SET stale = 0, phase = NULL, broker = ? WHERE name = ?", broker, queue)
  }

  // MARK: Orphan rule

  /// An empty queue holds no stale message either.
  package func clearStale(_ queue: String) throws(StoreError) {
    try db.run("UPDATE queues SET stale = 0 WHERE name = ? AND stale > 0", queue)
  }

  /// Runs confirmed before the first of two empty probes and still unclaimed are lost in the broker.
  ///
  /// - Returns: how many were given up.
  package func giveUpOrphans(
    _ task: TaskKey, confirmedBefore: Timestamp, limit: Int, policies: PolicyLookup, now: Timestamp, jitter: Double
  ) throws(StoreError) -> Int {
    let orphans = try db.all(
      """
      SELECT \(Run.columns) FROM runs r INDEXED BY runs_unclaimed
        WHERE r.task = ? AND \(Schema.isRun(.queued, .launched, column: "r.state")) AND r.state = 'launched' AND r.launched_at < ? ORDER BY r.launched_at LIMIT ?
      """, task, confirmedBefore, limit
    ) { row throws(StoreError) in try Run(row: row) }
    for var run in orphans {
      guard let attempt = try newestAttempt(of: run) else { continue }
      let decision = decide(
        .orphaned, on: run, attempt: attempt, policy: policies.resolved(for: run), now: now, jitter: jitter)
      guard decision.code == .applied else { continue }
      try apply(
        decision, to: &run, attempt: attempt,
        error: WorkerError(
          type: "no_heartbeat", message: "its message is no longer in the broker and nobody claimed it"),
        candidates: policies.candidates, now: now, actor: "bridge")
    }
    return orphans.count
  }

  // MARK: Marker

  /// The next generation of this store, one more at each connection to a broker.
  package func nextGeneration() throws(StoreError) -> Int {
    try db.run("UPDATE meta SET value = value + 1 WHERE key = 'generation'")
    return try generation()
  }

  package func generation() throws(StoreError) -> Int {
    try db.integer("SELECT value FROM meta WHERE key = 'generation'")
  }

  package func raiseGeneration(to generation: Int) throws(StoreError) {
    try db.run("UPDATE meta SET value = max(value, ?) WHERE key = 'generation'", generation)
  }
}
