package import TaskBridgeCore

/// Release just in time (fsm §3 rule 11): the store keeps the runs, the broker gets at most `queueBound` unclaimed ones
/// of each task key, most urgent first.
extension Transaction {
  /// Hands over ready runs: the attempt is made here, in the transaction that moves the run. A run in `queued` is its
  /// own outbox row: its message is published until the broker has confirmed it.
  ///
  /// What a release may hand over is shared equally between some task keys, and the next release goes on with those
  /// after them, so that one key never starves another. Every gate is looked at in the transaction that lets a run
  /// through, so that no interleaving lets through one too many.
  package func release(_ request: ReleaseRequest) throws(StoreError) -> [Dispatch] {
    // A round over many task keys may take several passes.
    if turn.closed == 0 {
      waitsForSlots = false
      nextToken = nil
    }
    hasMoreKeys = false
    if controls.pause(of: .bridge, at: request.now) != nil { return [] }
    let (queues, looked) = openQueues(request)
    let dispatches = try handOver(queues, request)
    closeTurn(looked: looked, released: dispatches.count)
    return dispatches
  }

  private func handOver(_ queues: [ReadyQueue], _ request: ReleaseRequest) throws(StoreError) -> [Dispatch] {
    let now = request.now
    var queues = queues
    var dispatches: [Dispatch] = []
    var bytes = 0
    var rooms: [String: Int] = [:]
    var isFirstRound = true
    // What a key cannot use is left to the others: those that could take more share again.
    while !queues.isEmpty {
      var hungry: [ReadyQueue] = []
      for (index, entry) in queues.enumerated() {
        let left = request.runsMax - dispatches.count
        guard left > 0, bytes < request.payloadBytesMax else {
          if isFirstRound, index > 0 { turn.last = queues[index - 1].task }
          return dispatches
        }
        var queue = entry
        let share = min(queue.room, max(1, left / (queues.count - index)))
        let choice = try mostUrgent(of: queue, limit: share, rooms: &rooms, now: now)
        var count = 0
        for run in choice.runs where bytes < request.payloadBytesMax {
          let dispatch = try handOver(run, policy: queue.policy, now: now)
          takeTokens(for: run, policy: queue.policy, now: now)
          if let group = run.group, let room = rooms[group], room < .max { rooms[group] = room - 1 }
          dispatches.append(dispatch)
          bytes += dispatch.payload.bytes.count
          count += 1
        }
        if let groups = choice.sharing { countTurns(choice.runs.prefix(count), of: queue, between: groups) }
        queue.room -= count
        if count == share, queue.room > 0 { hungry.append(queue) }
      }
      queues = hungry
      isFirstRound = false
    }
    return dispatches
  }

  private func handOver(_ ready: Run, policy: TaskPolicy, now: Timestamp) throws(StoreError) -> Dispatch {
    var run = ready
    let was = RunMark(run)
    let policy = policy.resolved(for: run)
    let reportBy = now.adding(seconds: Double(policy.leaseSeconds))
    if var attempt = try newestAttempt(of: run), attempt.state == .queued {
      // Taken back before: the attempt keeps its number; its next dispatch was counted then.
      attempt.state = .instantiated
      attempt.reportBy = reportBy
      try save(attempt, of: run)
    } else {
      run.attempt += 1
      run.dispatch = 1
      // The publisher takes it with this very commit: queued, then instantiated.
      try db.run(
        Self.insertAttempt, run.sequence, run.attempt, now, reportBy, StoredOptions.text(run.resources))
      if run.startedAt == nil, run.failures + run.losses == 0, run.ttlFrom == .firstAttempt, let ttl = run.ttlSeconds {
        let end = now.adding(seconds: ttl)
        run.expiresAt = min(run.expiresAt ?? end, end)
        note(.due)
      }
    }
    run.queuedAt = now
    run.launchedAt = nil
    try move(&run, from: was, through: [RunStep(.queued)], now: now, actor: "bridge")
    return try dispatch(of: run, policy: policy)
  }

  private static let insertAttempt = Statement.hot(
    """
    INSERT INTO attempts (run_seq, number, dispatches, state, dispatched_at, report_by, resources)
      VALUES (?, ?, 1, 'instantiated', ?, ?, ?)
    """)

  /// - Parameter policy: resolved for `run`.
  private func dispatch(of run: Run, policy: TaskPolicy) throws(StoreError) -> Dispatch {
    let effectivePriority =
      policy.aging == nil
      ? run.priority
      : run.effectivePriority(
        policy.aging,
        paused: controls.pausedTime(task: run.task, group: run.group, until: run.queuedAt ?? run.createdAt),
        at: run.queuedAt ?? run.createdAt)
    return Dispatch(
      run: run, payload: try payload(of: run), maxAttempts: policy.maxAttempts, leaseSeconds: policy.leaseSeconds,
      effectivePriority: effectivePriority)
  }

  func payload(of run: Run) throws(StoreError) -> Payload {
    let payload = try db.first(Self.payloadOfRun, run.sequence) { row throws(StoreError) in
      Payload(bytes: row.blob(0), contentType: row.optionalText(1), contentEncoding: row.optionalText(2))
    }
    guard let payload else { throw StoreError(.damaged, "store: run \(run.id) has no payload") }
    return payload
  }

  private static let payloadOfRun = Statement.hot(
    "SELECT body, content_type, content_encoding FROM payloads WHERE run_seq = ?")

  // MARK: What the broker said

  /// Dispatches whose outcome is unknown, for publishing again under the same message ids: one task key after the
  /// other, oldest runs first.
  ///
  /// - Parameter last: the last one of the call before.
  package func pendingDispatches(
    after last: Dispatch?, limit: Int, policy: @Sendable (TaskKey) -> TaskPolicy
  ) throws(StoreError) -> [Dispatch] {
    var dispatches: [Dispatch] = []
    for task in tasks(with: .queued) {
      if let last, task < last.run.task { continue }
      let after = task == last?.run.task ? last?.run.sequence ?? 0 : 0
      let runs = try db.all(
        """
        SELECT \(Run.columns) FROM runs r INDEXED BY runs_unclaimed WHERE r.task = ?
          AND \(Schema.isRun(.queued, .launched, column: "r.state")) AND r.launched_at IS NULL AND r.seq > ?
          ORDER BY r.seq LIMIT ?
        """, task, after, limit - dispatches.count
      ) { row throws(StoreError) in try Run(row: row) }
      for run in runs { dispatches.append(try dispatch(of: run, policy: policy(run.task).resolved(for: run))) }
      if dispatches.count == limit { break }
    }
    return dispatches
  }

  /// Applies the broker's confirms: the runs are in the broker.
  package func confirm(_ dispatches: [Dispatch], now: Timestamp) throws(StoreError) {
    try confirm(dispatches.map { Confirmed(dispatch: $0.id, at: now) })
  }

  package func confirm(_ confirmed: [Confirmed]) throws(StoreError) {
    for confirm in confirmed {
      guard var run = try self.run(confirm.dispatch.runID), run.attempt == confirm.dispatch.attempt,
        run.dispatch == confirm.dispatch.dispatch, var attempt = try newestAttempt(of: run)
      else { continue }
      let decision = decide(.confirmed, on: run, attempt: attempt, policy: TaskPolicy(), now: confirm.at, jitter: 0)
      if decision.code == .applied {
        try apply(decision, to: &run, attempt: attempt, now: confirm.at, actor: "broker")
      } else if attempt.launchedAt == nil {
        // Late: a worker was faster. Its time is kept all the same.
        attempt.launchedAt = confirm.at
        try save(attempt, of: run)
      }
    }
  }

  /// The broker had no queue for this dispatch.
  ///
  /// - Returns: whether it is to be published again; after `returnsMax` in a row the attempt is `unpublished`.
  package func returned(
    _ dispatch: Dispatch, text: String, returnsMax: Int, policy: TaskPolicy, now: Timestamp, jitter: Double
  ) throws(StoreError) -> Bool {
    guard var run = try self.run(dispatch.run.id), run.attempt == dispatch.run.attempt,
      run.dispatch == dispatch.run.dispatch, var attempt = try newestAttempt(of: run), attempt.state == .instantiated
    else { return false }
    attempt.returns += 1
    try save(attempt, of: run)
    guard attempt.returns >= returnsMax else { return true }
    let decision = decide(
      .unpublished, on: run, attempt: attempt, policy: policy.resolved(for: run), now: now, jitter: jitter)
    try apply(
      decision, to: &run, attempt: attempt, error: WorkerError(type: "unpublished", message: text), now: now,
      actor: "broker")
    return false
  }

  /// Takes back what the broker never got, because its queue cannot be used now: the run is ready again, its attempt
  /// keeps its number.
  package func takeBack(_ dispatches: [Dispatch], reason: String, now: Timestamp) throws(StoreError) {
    for dispatch in dispatches {
      guard let run = try self.run(dispatch.run.id), run.attempt == dispatch.run.attempt,
        run.dispatch == dispatch.run.dispatch
      else { continue }
      try takeBack(run, reason: reason, now: now)
    }
  }

  /// queued or launched → ready, attempt → queued; the next release gives it a new dispatch and token.
  func takeBack(_ run: Run, reason: String, now: Timestamp) throws(StoreError) {
    guard run.state == .queued || run.state == .launched, var attempt = try newestAttempt(of: run),
      attempt.state == .instantiated || attempt.state == .launched
    else { return }
    var run = run
    let was = RunMark(run)
    attempt.state = .queued
    // Counted at once, so that the old token is stale from here on and not only from the next release.
    attempt.dispatches += 1
    attempt.launchedAt = nil
    attempt.returns = 0
    run.dispatch = attempt.dispatches
    try save(attempt, of: run)
    run.isRetry = true
    run.queuedAt = nil
    run.launchedAt = nil
    try move(&run, from: was, through: [RunStep(.ready, reason)], now: now, actor: "bridge")
  }

  // MARK: Control and dead-letter messages

  /// A message that follows from a row and is no dispatch.
  package struct Notice: Sendable {
    package enum Kind: String, Sendable {
      /// Tells workers to stop.
      case control
      /// Mirrors a dead letter.
      case dead
    }
    package let outboxID: Int64
    package let kind: Kind
    package let run: Run
    package let attempt: Int
    package let reason: String?
    /// Only for `dead`.
    package let deadLetter: DeadLetterNotice?
  }

  package struct DeadLetterNotice: Sendable {
    package let payload: Payload
    package let reason: String
    package let fingerprint: String
    package let errorType: String?
    package let errorMessage: String?
    package let deadAt: Timestamp
  }

  /// Control and dead-letter messages to publish, oldest first.
  package func pendingNotices(after last: Int64, limit: Int) throws(StoreError) -> [Notice] {
    let rows = try db.all(
      """
      SELECT id, kind, run_seq, attempt, reason FROM outbox
        WHERE kind IN ('control', 'dead') AND id > ? ORDER BY id LIMIT ?
      """, last, limit
    ) { row throws(StoreError) in
      (row.int64(0), row.text(1), row.int64(2), row.int(3), row.optionalText(4))
    }
    var notices: [Notice] = []
    for (id, kind, sequence, attempt, reason) in rows {
      let run = try self.run(sequence: sequence)
      var letter: DeadLetterNotice?
      if kind == "dead" {
        letter = try deadLetterNotice(of: run)
        if letter == nil {
          // Resolved before it was mirrored: nothing to publish.
          try db.run("DELETE FROM outbox WHERE id = ?", id)
          continue
        }
      }
      notices.append(
        Notice(
          outboxID: id, kind: kind == "dead" ? .dead : .control, run: run, attempt: attempt, reason: reason,
          deadLetter: letter))
    }
    return notices
  }

  private func deadLetterNotice(of run: Run) throws(StoreError) -> DeadLetterNotice? {
    let payload = try payload(of: run)
    return try db.first(
      """
      SELECT reason, fingerprint, error_type, error_message, dead_at FROM dead_letters
        WHERE run_seq = ? AND resolution IS NULL
      """, run.sequence
    ) { row throws(StoreError) in
      DeadLetterNotice(
        payload: payload, reason: row.text(0), fingerprint: row.text(1), errorType: row.optionalText(2),
        errorMessage: row.optionalText(3), deadAt: row.time(4))
    }
  }

  package func removeFromOutbox(_ ids: [Int64]) throws(StoreError) {
    for id in ids { try db.run("DELETE FROM outbox WHERE id = ?", id) }
  }
}
