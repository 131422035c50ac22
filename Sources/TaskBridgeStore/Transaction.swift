package import TaskBridgeCore

/// What a committed transaction left for others to do; the services wake up by it.
package struct CommitEffects: OptionSet, Sendable {
  package let rawValue: UInt8
  package init(rawValue: UInt8) { self.rawValue = rawValue }

  /// Runs became ready, or room became free for some.
  package static let ready = CommitEffects(rawValue: 1)
  /// A due time, lease or expiry changed.
  package static let due = CommitEffects(rawValue: 2)
  /// Control or dead-letter messages wait in the outbox.
  package static let outbox = CommitEffects(rawValue: 4)
  /// A dead letter was resolved: its mirror message is to be taken out.
  package static let mirror = CommitEffects(rawValue: 8)
}

/// The writer's side of one open transaction. Every business step is an extension method of this type; it never
/// leaves the closure it is given to.
package final class Transaction {
  let db: Connection
  /// The counters as of the last commit.
  private let counts: RunCounts
  /// Changes of the counters, written once at the end of the batch.
  private(set) var deltas: [RunCounts.Key: Int] = [:]
  /// The counters of groups as of the last commit, and their changes.
  let groups: GroupCounts
  var groupDeltas: [GroupCounts.Key: Int] = [:]
  /// Pauses, settings and rate limits, with the changes of this transaction.
  package internal(set) var controls: Controls { didSet { changesControls = true } }
  private(set) var changesControls = false
  /// Rate limits that this transaction has used.
  var changedBuckets: Set<ControlSubject> = []
  /// The last release found ready runs of a task key or group whose concurrency limit is full.
  var waitsForSlots: Bool
  /// Whose turn the next release is.
  var turn: ReleaseTurn
  /// The last release ended before it had looked at every task key with ready runs: another one may find some at once.
  package internal(set) var hasMoreKeys = false
  /// When the first rate limit that the last release came up against has a token again.
  package internal(set) var nextToken: Timestamp?
  package private(set) var effects: CommitEffects = []
  /// By how many the runs that wait in the store grow with this transaction.
  private(set) var backlogDelta = 0

  /// Ended runs whose consequences are not settled yet, and whether somebody is settling: a chain of thousands of
  /// dependents is worked off in a loop, not by as many nested calls.
  var ends: [(run: Run, previous: RunState, actor: String)] = []
  var isSettling = false

  /// Audit rows and reports, written at the end.
  var ledger = LedgerRows()
  /// Runs that are changed and not written yet; see ``together(_:)``.
  var held = HeldRuns()

  init(db: Connection, memory: CommittedMemory) {
    self.db = db
    counts = memory.counts
    groups = memory.groups
    controls = memory.controls
    waitsForSlots = memory.waitsForSlots
    turn = memory.turn
  }

  /// States whose runs wait in the store and nowhere else.
  static let backlog: [RunState] = [.blocked, .scheduled, .ready, .paused]

  func note(_ effect: CommitEffects) { effects.formUnion(effect) }

  func count(_ task: TaskKey, _ state: RunState, _ delta: Int) {
    deltas[RunCounts.Key(task: task, state: state), default: 0] += delta
  }

  /// How many runs of `task` are in `state` now.
  func runs(of task: TaskKey, in state: RunState) -> Int {
    counts[task, state] + (deltas[RunCounts.Key(task: task, state: state)] ?? 0)
  }

  /// Task keys that have runs in `state`, in order.
  func tasks(with state: RunState) -> [TaskKey] {
    var tasks = counts.tasks(with: state)
    for (key, delta) in deltas where key.state == state && delta != 0 {
      let before = counts[key.task, state]
      if (before > 0) != (before + delta > 0) { tasks.toggle(key.task) }
    }
    return tasks
  }

  /// Writes what was collected; the last thing before COMMIT.
  func finish() throws(StoreError) {
    try ledger.write(to: db)
    for (key, delta) in deltas where delta != 0 {
      if Self.backlog.contains(key.state) { backlogDelta += delta }
      try db.run(Self.addToCount, key.task, key.state, delta)
    }
    if !groupDeltas.isEmpty { try writeGroupCounts() }
    if !changedBuckets.isEmpty { try writeBuckets() }
  }

  private static let addToCount = Statement.hot(
    """
    INSERT INTO counts (task, state, runs) VALUES (?1, ?2, ?3)
      ON CONFLICT (task, state) DO UPDATE SET runs = runs + ?3
    """)

  /// Whether the run is a dead letter that nobody has replayed or discarded.
  package func isUnresolvedDeadLetter(_ id: RunID) throws(StoreError) -> Bool {
    try db.integer(
      """
      SELECT count(*) FROM dead_letters d JOIN runs r ON r.seq = d.run_seq WHERE r.id = ? AND d.resolution IS NULL
      """, id) > 0
  }

  /// Runs `body` so that a refusal in its middle leaves nothing of it behind.
  ///
  /// - Parameter savepoint: false when `body` refuses before it has changed anything, or not at all.
  package func refusable<T>(
    savepoint: Bool = true, _ body: () throws(Refusal) -> T
  ) throws(StoreError) -> Result<T, Problem> {
    // Kept only where it is needed: what is kept is copied by the next change.
    let before = savepoint ? (deltas, groupDeltas, ledger) : nil
    if savepoint { try db.run("SAVEPOINT refusable") }
    do throws(Refusal) {
      let value = try body()
      if savepoint { try refusing { () throws(StoreError) in _ = try db.run("RELEASE refusable") } }
      return .success(value)
    } catch {
      switch error {
      case .problem(let problem):
        guard let before else { return .failure(problem) }
        try db.run("ROLLBACK TO refusable")
        try db.run("RELEASE refusable")
        (deltas, groupDeltas, ledger) = before
        ends = []
        return .failure(problem)
      case .store(let error): throw error
      }
    }
  }
}

/// Why a business step stopped: the caller's wish can't be had, or the store failed.
package enum Refusal: Error {
  case problem(Problem)
  case store(StoreError)
}

/// Turns a store failure into a ``Refusal``, for steps that can fail both ways.
func refusing<T>(_ body: () throws(StoreError) -> T) throws(Refusal) -> T {
  do { return try body() } catch { throw .store(error) }
}
