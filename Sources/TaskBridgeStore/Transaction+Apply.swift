import TaskBridgeCore

/// Writes a decision: attempt and run move together or not at all.
extension Transaction {
  /// - Parameters:
  ///   - run: as it is in the store; holds the new values afterwards.
  ///   - attempt: the run's newest attempt, when the decision concerns one.
  ///   - error: kept as the attempt's and the run's last error, JSON text.
  ///   - report: whose fields are kept, when a worker's report caused the decision.
  ///   - candidates: the task keys a scaled request may go to, with their limits.
  /// - Returns: the attempt as it is now.
  @discardableResult
  func apply(
    _ decision: Decision, to run: inout Run, attempt: Attempt?, error: WorkerError? = nil, report: WorkerReport? = nil,
    candidates: (Run) -> [(task: TaskKey, limits: [String: Double])] = { [(task: $0.task, limits: [:])] },
    now: Timestamp, actor: String
  ) throws(StoreError) -> Attempt? {
    let was = RunMark(run)
    var newest = attempt
    if var attempt, decision.changesState || decision.claims || report != nil {
      let old = attempt
      pass(&attempt, through: decision.attemptSteps, run: run.id, now: now)
      if let reportBy = decision.reportBy { attempt.reportBy = reportBy }
      if let end = decision.reportedEnd { attempt.reportedEnd = end }
      if let report { keepIdentity(report, claims: decision.claims, in: &attempt) }
      if attempt != old { try save(attempt, of: run) }
      newest = attempt
      if decision.claims, attempt.startedAt == now, let timeout = run.timeoutSeconds {
        try db.run(
          "UPDATE attempts SET timeout_at = ? WHERE run_seq = ? AND number = ?", now.adding(seconds: timeout),
          run.sequence, attempt.number)
      }
      if decision.attemptSteps.contains(.stopping), !decision.attemptSteps.contains(.fatal) {
        try tellWorkerToStop(run, reason: decision.runSteps.last?.reason, now: now)
      }
      // Cancelling what nobody claimed leaves a message behind in the broker, which restore must count.
      if old.state.isUnclaimed, attempt.state == .fatal, decision.reportedEnd == nil { try leaveStale(run, old.state) }
    }
    if let report { try keepFields(of: report, run: run) }
    if let error { try keep(error, run: run, attempt: attempt?.number) }
    guard !decision.runSteps.isEmpty else { return newest }
    if decision.nextRunAt != nil {
      // The next attempt begins anew.
      try db.run("UPDATE outcomes SET progress = NULL WHERE run_seq = ? AND progress IS NOT NULL", run.sequence)
    }
    try keepAge(of: &run, for: decision)
    prepare(&run, for: decision, now: now)
    var steps = decision.runSteps
    if let note = try place(&run, decision, candidates: candidates) {
      for index in steps.indices where steps[index].state == .adjusting { steps[index].reason = note }
    }
    try move(&run, from: was, through: steps, now: now, actor: actor)
    if let reason = decision.deadLetter { try bury(run, reason: reason, error: error, now: now) }
    return newest
  }

  private func pass(_ attempt: inout Attempt, through steps: [AttemptState], run: RunID, now: Timestamp) {
    for step in steps {
      precondition(
        Transitions.judge(from: attempt.state, to: step) == .applied,
        "attempt \(attempt.number) of run \(run) may not move \(attempt.state) → \(step)")
      attempt.state = step
      if step == .launched { attempt.launchedAt = attempt.launchedAt ?? now }
      if step == .running { attempt.startedAt = attempt.startedAt ?? now }
      if step.isTerminal { attempt.finishedAt = now }
    }
  }

  /// Who works on an attempt is said once: later reports fill in what was not known, or empty it.
  private func keepIdentity(_ report: WorkerReport, claims: Bool, in attempt: inout Attempt) {
    if claims { attempt.claim = report.claim ?? attempt.claim }
    attempt.worker = report.worker == "" ? "" : attempt.worker ?? report.worker
    attempt.node = report.node == "" ? "" : attempt.node ?? report.node
  }

  /// A retry keeps its age, whatever its new time is.
  private func keepAge(of run: inout Run, for decision: Decision) throws(StoreError) {
    guard decision.nextRunAt != nil, run.agesFrom == nil else { return }
    run.agesFrom = run.waitsSince
    try db.run("UPDATE runs SET ages_from = ? WHERE seq = ?", run.agesFrom, run.sequence)
  }

  private func prepare(_ run: inout Run, for decision: Decision, now: Timestamp) {
    for step in decision.runSteps {
      switch step.state {
      case .launched: run.launchedAt = run.launchedAt ?? now
      case .running: run.startedAt = run.startedAt ?? now
      case .blocked, .scheduled, .ready, .paused, .adjusting, .queued, .waiting, .cancelling, .error, .completed,
        .failed, .deadLettered, .dependencyFailed, .cancelled, .expired, .superseded:
        break
      }
    }
    if decision.countsFailure { run.failures += 1 }
    if decision.countsLoss { run.losses += 1 }
    if let next = decision.nextRunAt {
      run.runAt = next
      run.isRetry = true
      run.queuedAt = nil
      run.launchedAt = nil
    }
  }

  /// After a resource error the next attempt goes to the first task key that takes the scaled request.
  /// - Returns: what the audit is to say of it; nil when the request is as asked for and stays with its task key.
  private func place(
    _ run: inout Run, _ decision: Decision, candidates: (Run) -> [(task: TaskKey, limits: [String: Double])]
  ) throws(StoreError) -> String? {
    guard let request = decision.resources else { return nil }
    let placed = placeResources(request, candidates: candidates(run))
    run.resources = placed.resources
    try db.run(
      "UPDATE runs SET resources = ? WHERE seq = ?", StoredOptions.text(placed.resources), run.sequence)
    let moves = placed.task != run.task
    if moves {
      // `home_task` stays: the keys of dedup and idempotency belong to the task key the run was submitted for.
      try db.run("UPDATE runs SET task = ? WHERE seq = ?", placed.task, run.sequence)
      count(run, run.state, -1)
      run.task = placed.task
      count(run, run.state, 1)
    }
    if placed.clipped { return "resources scaled, and clipped to the limits of task \(placed.task)" }
    return moves ? "resources scaled, to task \(placed.task)" : nil
  }

  /// Puts the message for the holder of the run's newest attempt into the outbox.
  func tellWorkerToStop(_ run: Run, reason: String?, now: Timestamp) throws(StoreError) {
    try db.run(
      "INSERT INTO outbox (kind, run_seq, attempt, dispatch, created_at, reason) VALUES ('control', ?, ?, ?, ?, ?)",
      run.sequence, run.attempt, run.dispatch, now, reason)
    note(.outbox)
  }

  func leaveStale(_ run: Run, _ state: AttemptState) throws(StoreError) {
    guard state != .queued else { return }
    try db.run("UPDATE queues SET stale = stale + 1 WHERE task = ?", run.task)
  }

  /// What a report does not say stays as it is, down to the parts of `progress` and `usage`.
  private func keepFields(of report: WorkerReport, run: Run) throws(StoreError) {
    if report.progress != nil || report.result != nil || report.usage != nil {
      try db.run(
        Self.keepOutcome, run.sequence, report.state == .completed ? report.result : nil,
        report.progress.map { String(decoding: $0.json, as: UTF8.self) },
        report.usage.map { String(decoding: $0.json, as: UTF8.self) })
    }
    if report.stdout != nil || report.stderr != nil || report.usage != nil {
      try db.run(
        """
        UPDATE attempts SET stdout = coalesce(?1, stdout), stderr = coalesce(?2, stderr),
          usage = CASE WHEN ?3 IS NULL THEN usage ELSE json_patch(coalesce(usage, '{}'), ?3) END
        WHERE run_seq = ?4 AND number = ?5
        """, report.stdout, report.stderr, report.usage.map { String(decoding: $0.json, as: UTF8.self) },
        run.sequence, run.attempt)
    }
  }

  private static let keepOutcome = Statement.hot(
    """
    INSERT INTO outcomes (run_seq, result, progress, usage) VALUES (?1, ?2, ?3, ?4)
      ON CONFLICT (run_seq) DO UPDATE SET result = coalesce(?2, result),
        progress = CASE WHEN ?3 IS NULL THEN progress ELSE json_patch(coalesce(progress, '{}'), ?3) END,
        usage = CASE WHEN ?4 IS NULL THEN usage ELSE json_patch(coalesce(usage, '{}'), ?4) END
    """)

  /// Keeps the run's last error, which is its attempt's as well when a number is given.
  func keep(_ error: WorkerError, run: Run, attempt: Int?) throws(StoreError) {
    let text = String(decoding: error.json, as: UTF8.self)
    if let attempt {
      try db.run("UPDATE attempts SET error = ? WHERE run_seq = ? AND number = ?", text, run.sequence, attempt)
    }
    try db.run(
      """
      INSERT INTO outcomes (run_seq, last_error) VALUES (?1, ?2)
        ON CONFLICT (run_seq) DO UPDATE SET last_error = ?2
      """, run.sequence, text)
  }

  /// Makes the dead letter and its mirror message.
  func bury(_ run: Run, reason: DeadLetterReason, error: WorkerError?, now: Timestamp) throws(StoreError) {
    let type = error?.type ?? reason.rawValue
    let message = error?.message
    try db.run(
      """
      INSERT INTO dead_letters (run_seq, reason, task, fingerprint, error_type, error_message, attempt, dead_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
        ON CONFLICT (run_seq) DO UPDATE SET reason = ?2, task = ?3, fingerprint = ?4, error_type = ?5,
          error_message = ?6, attempt = ?7, dead_at = ?8, resolution = NULL, resolved_at = NULL, resolved_by = NULL,
          resolved_reason = NULL
      """, run.sequence, reason, run.task,
      fingerprint(task: run.task, errorType: type, message: message), type, message, run.attempt, now)
    try db.run(
      "INSERT INTO outbox (kind, run_seq, attempt, dispatch, created_at) VALUES ('dead', ?, ?, ?, ?)",
      run.sequence, run.attempt, run.dispatch, now)
    note(.outbox)
  }
}
