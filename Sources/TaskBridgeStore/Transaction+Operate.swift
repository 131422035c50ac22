package import TaskBridgeCore

/// What people ask for: cancel, replay, discard.
extension Transaction {
  /// - Returns: the run afterwards, or 404, or 409 `terminal_run`.
  package func cancel(
    _ id: RunID, reason: String?, now: Timestamp, actor: String
  ) throws(StoreError) -> Result<RunID, Problem> {
    guard var run = try run(id) else { return .failure(.runNotFound(id)) }
    switch try cancel(&run, reason: reason, now: now, actor: actor) {
    case .applied, .duplicate: return .success(id)
    default:
      return .failure(
        Problem(
          409, "terminal_run", "run \(id) already ended \(run.state.rawValue): there is nothing to cancel", runID: id))
    }
  }

  /// Starts a new series of attempts for a run that has ended, under the same id.
  package func replay(
    _ id: RunID, options: RetryOptions, now: Timestamp, actor: String
  ) throws(StoreError) -> Result<RunID, Problem> {
    try replayAll(id, options: options, now: now, actor: actor).map { _ in id }
  }

  /// The same, with `withDependents` also for the runs that failed because of it, and because of those: they are
  /// blocked again. Worked off in a loop, so that a chain of thousands is no depth.
  ///
  /// - Returns: the runs replayed, `id` first.
  package func replayAll(
    _ id: RunID, options: RetryOptions, now: Timestamp, actor: String
  ) throws(StoreError) -> Result<[RunID], Problem> {
    if case .failure(let problem) = try replayOne(id, options: options, now: now, actor: actor) {
      return .failure(problem)
    }
    var replayed = [id]
    var order = ReplayOrder()
    if options.withDependents { order.insert(try db.failedDependents(of: id)) }
    while let next = order.next() {
      let (dependent, run) = (next.id, try run(sequence: next.sequence))
      // It comes back with the last of them.
      if try !db.failedPrerequisites(of: run, limit: 1).isEmpty { continue }
      var options = RetryOptions()
      options.reason = "a prerequisite was replayed"
      switch try replayOne(dependent, options: options, now: now, actor: actor) {
      case .success:
        replayed.append(dependent)
        order.insert(try db.failedDependents(of: dependent))
      // Its dedup key is busy: it stays as it is and its own history says why.
      case .failure(let problem):
        try keep(WorkerError(type: "dedup_busy", message: problem.detail), run: run, attempt: nil)
      }
    }
    return .success(replayed)
  }

  private func replayOne(
    _ id: RunID, options: RetryOptions, now: Timestamp, actor: String
  ) throws(StoreError) -> Result<Void, Problem> {
    guard var run = try run(id) else { return .failure(.runNotFound(id)) }
    guard run.state.isTerminal else {
      return .failure(
        Problem(409, "active", "run \(id) is \(run.state.rawValue): only an ended run can be replayed", runID: id))
    }
    if run.state == .superseded {
      return .failure(
        Problem(
          409, "superseded",
          "run \(id) was superseded by \(run.supersededBy?.description ?? "another run"): replay that one",
          runID: id))
    }
    if run.state == .completed, !options.force {
      return .failure(
        Problem(
          409, "completed_needs_force", "run \(id) completed; set force to do its work again", runID: id))
    }
    if let parentID = run.parentID, try self.run(parentID)?.state == .cancelling {
      return .failure(
        Problem(
          409, "parent_ended",
          "run \(id) is a child of run \(parentID), which is being cancelled; replay it afterwards",
          runID: parentID))
    }
    if let key = run.dedupKey, let busy = try activeHolder(of: key, like: run), busy != id {
      return .failure(
        Problem(409, "dedup_busy", "the dedup key \(key) is held by the active run \(busy)", runID: busy))
    }
    let was = RunMark(run)
    run.failures = 0
    run.losses = 0
    run.replays += 1
    run.isRetry = false
    run.priority = options.priority ?? run.priority
    run.runAt = options.runAt
    run.queuedAt = nil
    run.launchedAt = nil
    run.startedAt = nil
    run.agesFrom = max(now, run.runAt ?? now)
    run.expiresAt = run.ttlSeconds.flatMap { run.ttlFrom == .submission ? now.adding(seconds: $0) : nil }
    // Prerequisites that have ended are looked at no more: the replay was asked for in spite of them.
    try db.run(
      """
      UPDATE dependencies SET satisfied = 1 WHERE dependent = ? AND satisfied = 0
        AND EXISTS (SELECT 1 FROM runs p WHERE p.seq = prerequisite AND p.finished_at IS NOT NULL)
      """, run.sequence)
    let open = try db.integer(
      """
      SELECT count(*) FROM dependencies d JOIN runs p ON p.seq = d.prerequisite
        WHERE d.dependent = ? AND d.satisfied = 0 AND p.finished_at IS NULL
      """, run.sequence)
    try db.run(
      "UPDATE runs SET replays = ?, open_dependencies = ?, max_attempts = coalesce(?, max_attempts), series_at = ?, ages_from = ?, paused_at = NULL, parent_series = (SELECT p.replays FROM runs p WHERE p.id = runs.parent) WHERE seq = ?",
      run.replays, open, options.maxAttempts, now, run.agesFrom, run.sequence)
    run.openDependencies = open
    // A follow-up still waits for the run it follows, which holds their dedup key. A completed run waits for nobody.
    let target =
      run.state == .completed
      ? run.dueState(at: now) : run.waitingState(at: now, isFollowing: try isFollowing(run))
    try db.run("UPDATE outcomes SET result = NULL, progress = NULL WHERE run_seq = ?", run.sequence)
    try move(&run, from: was, through: [RunStep(target, options.reason ?? "replayed")], now: now, actor: actor)
    if let parentID = run.parentID {
      try db.run("UPDATE runs SET open_children = open_children + 1 WHERE id = ?", parentID)
    }
    try resolve(run, as: "replayed", reason: options.reason, now: now, actor: actor)
    return .success(())
  }

  /// Ends the wait of a dead letter without doing its work.
  package func discard(
    _ id: RunID, reason: String?, now: Timestamp, actor: String
  ) throws(StoreError) -> Result<RunID, Problem> {
    guard let run = try run(id) else { return .failure(.runNotFound(id)) }
    guard try resolve(run, as: "discarded", reason: reason, now: now, actor: actor) else {
      return .failure(Problem(409, "not_a_dead_letter", "run \(id) is no unresolved dead letter", runID: id))
    }
    return .success(id)
  }

  @discardableResult
  private func resolve(
    _ run: Run, as resolution: String, reason: String?, now: Timestamp, actor: String
  ) throws(StoreError) -> Bool {
    let changed = try db.run(
      """
      UPDATE dead_letters SET resolution = ?, resolved_at = ?, resolved_by = ?, resolved_reason = ?
      WHERE run_seq = ? AND resolution IS NULL
      """, resolution, now, actor, reason, run.sequence)
    if changed > 0 { note(.mirror) }
    return changed > 0
  }

  private func activeHolder(of key: String, like run: Run) throws(StoreError) -> RunID? {
    try db.first(
      """
      SELECT id FROM runs WHERE home_task = (SELECT home_task FROM runs WHERE seq = ?) AND dedup_key = ? AND dedup_key IS NOT NULL
        AND \(Schema.isAny(Schema.active))
      """, run.sequence, key
    ) { row throws(StoreError) in try row.runID(0) }
  }
}

extension Transaction {
  /// Dependents of `id` that stay `dependency_failed` although it was replayed.
  package func failedDependents(of id: RunID) throws(StoreError) -> [RunID] {
    try db.failedDependents(of: id).map(\.id)
  }
}

extension Problem {
  package static func runNotFound(_ id: RunID) -> Problem {
    Problem(404, "run_not_found", "run \(id) does not exist in this store", runID: id)
  }
}
