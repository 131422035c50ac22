package import TaskBridgeCore

/// What the clock does: due runs, expiry, leases, time limits. Each sweep is bounded and says when to come again.
extension Transaction {
  /// Scheduled runs whose time has come become ready, oldest first.
  ///
  /// - Returns: how many; `limit` means there are more.
  package func promoteDue(now: Timestamp, limit: Int) throws(StoreError) -> Int {
    let due = try db.all(
      """
      SELECT \(Run.columns) FROM runs r INDEXED BY runs_due
        WHERE r.state = 'scheduled' AND r.run_at <= ? ORDER BY r.run_at LIMIT ?
      """, now, limit
    ) { row throws(StoreError) in try Run(row: row) }
    for var run in due {
      let was = RunMark(run)
      try move(&run, from: was, through: [RunStep(.ready, "due")], now: now, actor: "bridge")
    }
    return due.count
  }

  /// Runs not claimed before `expires_at` end `expired`.
  package func expire(now: Timestamp, limit: Int) throws(StoreError) -> Int {
    let late = try db.all(
      """
      SELECT seq FROM runs INDEXED BY runs_expiry WHERE expires_at <= ? AND expires_at IS NOT NULL
        AND \(Schema.isRun(.blocked, .scheduled, .ready, .paused, .queued, .launched)) ORDER BY expires_at LIMIT ?
      """, now, limit
    ) { row throws(StoreError) in row.int64(0) }
    for sequence in late {
      var run = try self.run(sequence: sequence)
      // A child may have been ended by its parent's expiry a moment ago.
      guard !run.state.isTerminal, let expiry = run.expiresAt else { continue }
      try expire(&run, reason: "not claimed by \(expiry)", now: now, actor: "bridge")
    }
    return late.count
  }

  /// Ends a run that nobody has claimed, and its attempt with it; a message of it in the broker is stale.
  func expire(_ run: inout Run, reason: String, now: Timestamp, actor: String) throws(StoreError) {
    let was = RunMark(run)
    if var attempt = try newestAttempt(of: run), attempt.state.isUnclaimed {
      try leaveStale(run, attempt.state)
      attempt.state = .fatal
      attempt.finishedAt = now
      try save(attempt, of: run)
    }
    try move(&run, from: was, through: [RunStep(.expired, reason)], now: now, actor: actor)
  }

  /// Overdue attempts: running → triaging → lost, stopping → fatal.
  package func sweepLeases(
    now: Timestamp, limit: Int, policies: PolicyLookup, jitter: Double
  ) throws(StoreError) -> Int {
    let overdue = try db.all(
      """
      SELECT run_seq FROM attempts INDEXED BY attempts_lease
        WHERE report_by <= ? AND \(Schema.isAttempt(.running, .triaging, .stopping)) ORDER BY report_by LIMIT ?
      """, now, limit
    ) { row throws(StoreError) in row.int64(0) }
    for sequence in overdue {
      try settle(.overdue, sequence, policies: policies, now: now, jitter: jitter) { attempt in
        attempt.state == .triaging
          ? WorkerError(type: "lost", message: "no report from \(attempt.worker ?? "its worker") since its lease ended")
          : nil
      }
    }
    return overdue.count
  }

  /// Attempts that ran longer than their `timeout_seconds`, heartbeats or not.
  package func sweepTimeouts(
    now: Timestamp, limit: Int, policies: PolicyLookup, jitter: Double
  ) throws(StoreError) -> Int {
    let overdue = try db.all(
      """
      SELECT run_seq FROM attempts INDEXED BY attempts_timeout WHERE timeout_at <= ? AND timeout_at IS NOT NULL
        AND \(Schema.isAttempt(.running, .triaging)) ORDER BY timeout_at LIMIT ?
      """, now, limit
    ) { row throws(StoreError) in row.int64(0) }
    for sequence in overdue {
      let run = try self.run(sequence: sequence)
      try tellWorkerToStop(run, reason: "timeout", now: now)
      try settle(.timedOut, sequence, policies: policies, now: now, jitter: jitter) { _ in
        WorkerError(type: "timeout", message: "longer than timeout_seconds \(run.timeoutSeconds ?? 0)")
      }
    }
    return overdue.count
  }

  private func settle(
    _ event: SystemEvent, _ sequence: Int64, policies: PolicyLookup, now: Timestamp, jitter: Double,
    error: (Attempt) -> WorkerError?
  ) throws(StoreError) {
    var run = try self.run(sequence: sequence)
    guard let attempt = try newestAttempt(of: run) else { return }
    let decision = decide(
      event, on: run, attempt: attempt, policy: policies.resolved(for: run), now: now, jitter: jitter)
    guard decision.code == .applied else { return try closeOrphan(attempt, of: run, now: now) }
    try apply(
      decision, to: &run, attempt: attempt, error: error(attempt), candidates: policies.candidates, now: now,
      actor: "bridge")
  }

  /// An attempt that outlived its run has nobody left to wait for.
  private func closeOrphan(_ attempt: Attempt, of run: Run, now: Timestamp) throws(StoreError) {
    guard run.state.isTerminal, !attempt.state.isTerminal else { return }
    var attempt = attempt
    attempt.state = .fatal
    attempt.finishedAt = now
    try save(attempt, of: run)
  }

  /// The next instant something is due: a scheduled run, an expiry, a lease, a time limit or the end of a pause; nil
  /// when nothing is.
  package func nextDue() throws(StoreError) -> Timestamp? {
    let row =
      try db.first(
        """
        SELECT min(at) FROM (
          SELECT min(run_at) AS at FROM runs INDEXED BY runs_due WHERE state = 'scheduled'
          UNION ALL SELECT min(expires_at) FROM runs INDEXED BY runs_expiry WHERE expires_at IS NOT NULL
            AND \(Schema.isRun(.blocked, .scheduled, .ready, .paused, .queued, .launched))
          UNION ALL SELECT min(report_by) FROM attempts INDEXED BY attempts_lease
            WHERE \(Schema.isAttempt(.running, .triaging, .stopping))
          UNION ALL SELECT min(timeout_at) FROM attempts INDEXED BY attempts_timeout WHERE timeout_at IS NOT NULL
            AND \(Schema.isAttempt(.running, .triaging)))
        """
      ) { row throws(StoreError) in row.optionalTime(0) } ?? nil
    guard let end = controls.nextEnd else { return row }
    return row.map { min($0, end) } ?? end
  }

  /// After an outage of broker or bridge every open lease gets a full grace: nobody could report meanwhile.
  ///
  /// - Parameters:
  ///   - runs: out of ``ReadTransaction/openLeases()``; those that have ended since are passed over.
  ///   - clockMoved: milliseconds by which the wall clock was set. One set back takes the leases with it that were given
  ///     before.
  package func extendLeases(
    of runs: some Sequence<Int64>, now: Timestamp, policies: PolicyLookup, clockMoved: Int64 = 0
  ) throws(StoreError) {
    for sequence in runs {
      guard let run = try findRun(sequence: sequence) else { continue }
      let reportBy = now.adding(seconds: Double(policies.resolved(for: run).leaseSeconds))
      var back: Int64 = 0
      if clockMoved < 0, try hasReported(sequence, after: now) { back = clockMoved }
      try db.run(
        """
        UPDATE attempts SET report_by = max(report_by + ?4, ?1), timeout_at = max(timeout_at + ?4, ?1)
        WHERE run_seq = ?2 AND number = ?3 AND \(Schema.isAttempt(.running, .triaging, .stopping))
        """, reportBy, sequence, run.attempt, back)
    }
    note(.due)
  }

  /// Whether the last report that moved the run's lease came at a time that is still ahead.
  private func hasReported(_ run: Int64, after now: Timestamp) throws(StoreError) -> Bool {
    try db.first(
      "SELECT received_at FROM reports WHERE run_seq = ? AND code = 'applied' ORDER BY id DESC LIMIT 1", run
    ) { row throws(StoreError) in row.time(0) > now } ?? false
  }
}
