package import TaskBridgeCore

/// Reading and moving one run inside a transaction: every state change of a run goes through ``move``.
extension Transaction {
  /// The run with this id; nil when there is none.
  package func run(_ id: RunID) throws(StoreError) -> Run? {
    if let held = held[id] { return held.run }
    return try db.first(Self.runByID, id) { row throws(StoreError) in try Run(row: row) }
  }

  private static let runByID = Statement.hot("SELECT \(Run.columns) FROM runs r WHERE r.id = ?")
  private static let runBySequence = Statement.hot("SELECT \(Run.columns) FROM runs r WHERE r.seq = ?")

  /// Nil when it was deleted.
  func findRun(sequence: Int64) throws(StoreError) -> Run? {
    try db.first(Self.runBySequence, sequence) { row throws(StoreError) in try Run(row: row) }
  }

  func run(sequence: Int64) throws(StoreError) -> Run {
    guard let run = try findRun(sequence: sequence) else {
      throw StoreError(.damaged, "store: run number \(sequence) is gone although rows name it")
    }
    return run
  }

  /// The newest attempt of `run`; nil before the first dispatch.
  func newestAttempt(of run: Run) throws(StoreError) -> Attempt? {
    guard run.attempt > 0 else { return nil }
    if let attempt = held[run.id]?.attempt { return attempt }
    return try db.first(Self.attemptByNumber, run.sequence, run.attempt) { row throws(StoreError) in
      try Attempt(row: row)
    }
  }

  private static let attemptByNumber = Statement.hot(
    "SELECT \(Attempt.columns) FROM attempts a WHERE a.run_seq = ? AND a.number = ?")

  /// Moves `run` through `steps`, one audit row each, by a compare-and-set on what it was; then settles what follows
  /// from the end it may have reached. Fields changed in `run` beforehand (times, counters) are saved with it.
  ///
  /// - Parameter was: state, attempt and dispatch as they are in the store.
  func move(
    _ run: inout Run, from was: RunMark, through steps: [RunStep], now: Timestamp, actor: String
  ) throws(StoreError) {
    var previous = was.state
    for step in steps {
      precondition(
        Transitions.isValid(from: previous, to: step.state), "run \(run.id) may not move \(previous) → \(step.state)")
      audit(run, from: previous, to: step.state, reason: step.reason, now: now, actor: actor)
      previous = step.state
    }
    if (was.state == .paused) != (previous == .paused) {
      try markPause(of: &run, previous == .paused, now: now)
    }
    run.state = previous
    if run.state.isTerminal && !was.state.isTerminal { run.finishedAt = now }
    if !run.state.isTerminal && was.state.isTerminal { run.finishedAt = nil }
    try save(run, was: was)
    if was.state != run.state {
      count(run, was.state, -1)
      count(run, run.state, 1)
      noteMove(from: was.state, to: run.state)
    }
    if run.state.isTerminal && !was.state.isTerminal {
      if let schedule = run.schedule { try wake(schedule: schedule, by: run, now: now) }
      ends.append((run, was.state, actor))
      try settleEnds(now: now)
    }
  }

  /// Runs `body`, which ends several runs, before anything follows from the end of any of them.
  func endingTogether(now: Timestamp, _ body: () throws(StoreError) -> Void) throws(StoreError) {
    isSettling = true
    do throws(StoreError) {
      try body()
      isSettling = false
    } catch {
      isSettling = false
      throw error
    }
    try settleEnds(now: now)
  }

  private func settleEnds(now: Timestamp) throws(StoreError) {
    if isSettling { return }
    isSettling = true
    defer {
      isSettling = false
      ends = []
    }
    // What follows is appended meanwhile; taking the first away each time would move all the others.
    var next = 0
    while next < ends.count {
      let end = ends[next]
      next += 1
      try settleEnd(of: end.run, from: end.previous, now: now, actor: end.actor)
    }
  }

  func audit(
    _ run: Run, from previous: RunState?, to state: RunState, reason: String?, now: Timestamp, actor: String
  ) {
    ledger.audits.append(
      LedgerRows.AuditRow(
        run: run.sequence, previous: previous, state: state, attempt: run.attempt, at: now, reason: reason,
        actor: actor))
  }

  private func save(_ run: Run, was: RunMark) throws(StoreError) {
    if held.isOn { held.keep(run, was: was) } else { try write(run, was: was) }
  }

  /// The columns that change during a run's life, by compare-and-set.
  func write(_ run: Run, was: RunMark) throws(StoreError) {
    let changed = try db.run(
      Self.updateRun, run.state, run.attempt, run.dispatch, run.failures, run.losses, run.priority,
      run.isRetry ? 0 : 1, run.runAt, run.queuedAt, run.launchedAt, run.startedAt, run.finishedAt, run.expiresAt,
      run.sequence, was.state, was.attempt, was.dispatch)
    precondition(changed == 1, "run \(run.id) left \(was.state) inside its own transaction")
  }

  private static let updateRun = Statement.hot(
    """
    UPDATE runs SET state = ?, attempt = ?, dispatch = ?, failures = ?, losses = ?, priority = ?, release_class = ?,
      run_at = ?, queued_at = ?, launched_at = ?, started_at = ?, finished_at = ?, expires_at = ?
    WHERE seq = ? AND state = ? AND attempt = ? AND dispatch = ?
    """)

  private func noteMove(from: RunState, to: RunState) {
    switch to {
    case .ready: note(.ready)
    case .scheduled: note(.due)
    case .running, .blocked, .paused, .adjusting, .queued, .launched, .waiting, .cancelling, .error, .completed,
      .failed,
      .deadLettered, .dependencyFailed, .cancelled, .expired, .superseded:
      break
    }
    // A slot below the queue bound became free.
    if from == .queued || from == .launched, to != .launched, to != .queued { note(.ready) }
    // A slot below a concurrency limit became free, and somebody waits for one.
    if waitsForSlots, from == .running || from == .cancelling, to != .cancelling { note(.ready) }
  }

  /// Saves the attempt's fields that change during its life.
  func save(_ attempt: Attempt, of run: Run) throws(StoreError) {
    if held.isOn { held.keep(attempt, of: run) } else { try write(attempt, of: run) }
  }

  func write(_ attempt: Attempt, of run: Run) throws(StoreError) {
    let changed = try db.run(
      Self.updateAttempt, attempt.dispatches, attempt.state, attempt.worker, attempt.node, attempt.claim,
      attempt.launchedAt, attempt.startedAt, attempt.finishedAt, attempt.reportBy, attempt.reportedEnd,
      attempt.returns, run.sequence, attempt.number)
    precondition(changed == 1, "run \(run.id) has no attempt \(attempt.number)")
  }

  private static let updateAttempt = Statement.hot(
    """
    UPDATE attempts SET dispatches = ?, state = ?, worker = ?, node = ?, claim = ?, launched_at = ?, started_at = ?,
      finished_at = ?, report_by = ?, reported_end = ?, returns = ?
    WHERE run_seq = ? AND number = ?
    """)
}

/// What a compare-and-set compares.
struct RunMark {
  var state: RunState
  var attempt: Int
  var dispatch: Int

  init(_ run: Run) {
    state = run.state
    attempt = run.attempt
    dispatch = run.dispatch
  }
}
