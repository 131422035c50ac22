package import TaskBridgeCore

/// Storing submissions: idempotency, dedup, dependencies, then the run with its first audit row.
extension Transaction {
  /// Stores one submission, or nothing.
  package func submit(
    _ prepared: PreparedSubmission, now: Timestamp, actor: String
  ) throws(StoreError) -> Result<SubmissionResult, Problem> {
    // Only superseding writes anything before it may still be refused.
    let canChangeBeforeRefusal = prepared.dedupKey != nil
    return try refusable(savepoint: canChangeBeforeRefusal) { () throws(Refusal) in
      try submitOne(prepared, prerequisites: [:], pointer: "", now: now, actor: actor)
    }
  }

  /// Stores a batch, or nothing of it. A run may depend on `#<index>` of the same batch; of several items with one
  /// dedup key the last wins and the others are `duplicate` with its run.
  ///
  /// - Parameter workflow: the workflow whose place the batch takes.
  package func submit(
    batch: [PreparedSubmission], superseding workflow: String? = nil, now: Timestamp, actor: String
  ) throws(StoreError) -> Result<[SubmissionResult], Problem> {
    let order: [Int]
    switch BatchOrder.sort(batch) {
    case .success(let sorted): order = sorted
    case .failure(let problem): return .failure(problem)
    }
    return try refusable { () throws(Refusal) in
      var results: [SubmissionResult?] = Array(repeating: nil, count: batch.count)
      let winners = BatchOrder.winners(batch)
      let succession = try workflow.map { workflow throws(Refusal) in
        try begin(superseding: workflow, by: batch, order: order, winners: winners, now: now, actor: actor)
      }
      for index in order where winners[index] == index {
        if let kept = succession?.kept[index] {
          results[index] = try keep(kept, for: batch[index])
          continue
        }
        let pointer = "/runs/\(index)"
        var prerequisites: [Int: RunID] = [:]
        for case .index(let other) in batch[index].submission.dependsOn {
          let result = results[winners[other]]
          prerequisites[other] = result?.followUpID ?? result?.runID
        }
        do throws(Refusal) {
          results[index] = try submitOne(
            batch[index], prerequisites: prerequisites, pointer: pointer, now: now, actor: actor)
        } catch {
          if case .problem(var problem) = error {
            problem.detail = "item \(index): \(problem.detail)"
            throw .problem(problem)
          }
          throw error
        }
      }
      for index in batch.indices where results[index] == nil {
        guard let winner = results[winners[index]] else { preconditionFailure("batch item \(index) has no winner") }
        results[index] = try replaced(batch[index], by: winner)
      }
      if let succession { try finish(succession, &results, by: batch, now: now, actor: actor) }
      return results.compactMap(\.self)
    }
  }

  /// An item whose dedup key a later item of its batch has, too.
  private func replaced(_ prepared: PreparedSubmission, by winner: SubmissionResult) throws(Refusal) -> SubmissionResult
  {
    if let first = try repeated(prepared) { return first }
    try refusing { () throws(StoreError) in
      if let run = try run(winner.runID) { try keepIdempotencyKey(of: prepared, for: run.sequence) }
    }
    return SubmissionResult(.duplicate, runID: winner.runID)
  }

  private func submitOne(
    _ prepared: PreparedSubmission, prerequisites: [Int: RunID], pointer: String, now: Timestamp, actor: String
  ) throws(Refusal) -> SubmissionResult {
    let submission = prepared.submission
    if let first = try repeated(prepared) { return first }
    var draft = RunDraft(prepared, now: now)
    try resolveDependencies(of: &draft, prerequisites: prerequisites, pointer: pointer)
    try resolveParent(of: &draft, pointer: pointer)
    if let key = prepared.dedupKey,
      let active = try refusing({ () throws(StoreError) in try activeRun(dedupKey: key, task: submission.task) })
    {
      return try settleDuplicate(of: active, prepared, draft: draft, now: now, actor: actor)
    }
    try checkArray(draft, replacing: nil)
    try refusing { () throws(StoreError) in try insert(draft, now: now, actor: actor) }
    return SubmissionResult(.inserted, runID: draft.run.id)
  }

  /// Most generations of a family.
  static let generationsMax = 100

  // MARK: Dependencies and families

  private func resolveDependencies(
    of draft: inout RunDraft, prerequisites: [Int: RunID], pointer: String
  ) throws(Refusal) {
    for (position, reference) in draft.submission.dependsOn.enumerated() {
      let id: RunID
      switch reference {
      case .run(let named): id = named
      case .index(let index):
        guard let resolved = prerequisites[index] else {
          throw .problem(
            Problem(
              422, "unknown_dependency", "#\(index) names no item of this batch before its dependents",
              errors: [Fault(pointer: "\(pointer)/depends_on/\(position)", detail: "no item #\(index)")]))
        }
        id = resolved
      }
      if draft.dependsOn.contains(id) { continue }
      guard let prerequisite = try refusing({ () throws(StoreError) in try run(id) }) else {
        throw .problem(
          Problem(
            422, "unknown_dependency", "run \(id) does not exist; submit prerequisites first",
            errors: [Fault(pointer: "\(pointer)/depends_on/\(position)", detail: "run \(id) does not exist")]))
      }
      let isSatisfied =
        prerequisite.state.isSuccess
        || (prerequisite.state.isTerminal && draft.run.onDependencyFailure == .ignore)
      if prerequisite.state.isTerminal && !isSatisfied {
        throw .problem(
          Problem(
            409, "dependency_ended",
            "run \(id) already ended \(prerequisite.state.rawValue); replay it first, or submit with on_dependency_failure: ignore",
            runID: id))
      }
      draft.dependsOn.append(id)
      draft.prerequisites.append((prerequisite.sequence, isSatisfied))
      if !isSatisfied { draft.run.openDependencies += 1 }
    }
  }

  private func resolveParent(of draft: inout RunDraft, pointer: String) throws(Refusal) {
    guard let id = draft.submission.parentID else { return }
    guard let parent = try refusing({ () throws(StoreError) in try run(id) }) else {
      throw .problem(
        Problem(
          422, "unknown_parent", "run \(id) does not exist",
          errors: [Fault(pointer: "\(pointer)/parent_id", detail: "run \(id) does not exist")]))
    }
    guard !parent.state.isTerminal, parent.state != .cancelling else {
      throw .problem(
        Problem(409, "parent_ended", "run \(id) is \(parent.state.rawValue): it takes no more children", runID: id))
    }
    var ancestor: Run? = parent
    while let run = ancestor {
      guard draft.ancestors.count < Self.generationsMax else {
        throw .problem(
          Problem(
            422, "dependency_cycle", "run \(id) has \(Self.generationsMax) generations above it, which is the most",
            errors: [Fault(pointer: "\(pointer)/parent_id", detail: "too many generations")], runID: id))
      }
      draft.ancestors.append(run.id)
      ancestor = try run.parentID.flatMap { parentID throws(Refusal) in
        try refusing { () throws(StoreError) in try self.run(parentID) }
      }
    }
    try refuseCircle(draft.openPrerequisites, reaching: [parent.sequence], "run \(id) waits for its children", pointer)
    draft.run.parentID = id
    draft.run.priority = min(draft.run.priority, parent.priority)
    if let expiry = parent.expiresAt { draft.run.expiresAt = min(draft.run.expiresAt ?? expiry, expiry) }
    draft.parent = parent.sequence
    draft.parentSeries = parent.replays
  }

  /// - Parameter replacing: the run that the draft supersedes, whose place it may take.
  private func checkArray(_ draft: RunDraft, replacing: RunID?) throws(Refusal) {
    guard let index = draft.run.arrayIndex, let workflow = draft.run.workflowID, let array = draft.run.array else {
      return
    }
    let taken = try refusing { () throws(StoreError) in
      try db.first(
        """
        SELECT id FROM runs WHERE workflow_id = ? AND array_name = ? AND array_index = ?
          AND array_index IS NOT NULL AND state <> 'superseded'
        """, workflow, array, index
      ) { row throws(StoreError) in try row.runID(0) }
    }
    guard let taken, taken != replacing else { return }
    throw .problem(
      Problem(
        409, "array_index_taken", "index \(index) of array \(array) in workflow \(workflow) is run \(taken)",
        runID: taken))
  }

  // MARK: Dedup

  private func activeRun(dedupKey: String, task: TaskKey) throws(StoreError) -> Run? {
    try db.first(Self.activeRun, task, dedupKey) { row throws(StoreError) in try Run(row: row) }
  }

  private static let activeRun = Statement.hot(
    """
    SELECT \(Run.columns) FROM runs r WHERE r.home_task = ? AND r.dedup_key = ? AND r.dedup_key IS NOT NULL
      AND \(Schema.isAny(Schema.active, "r.state"))
    """)

  private func settleDuplicate(
    of active: Run, _ prepared: PreparedSubmission, draft: RunDraft, now: Timestamp, actor: String
  ) throws(Refusal) -> SubmissionResult {
    switch dedup(draft.submission.onDuplicate ?? .skip, active: active, priority: draft.run.priority) {
    case .reject:
      return SubmissionResult(.rejected, runID: active.id)
    case .keep:
      try refusing { () throws(StoreError) in try keepIdempotencyKey(of: prepared, for: active.sequence) }
      return SubmissionResult(.duplicate, runID: active.id)
    case .upgrade:
      try refusing { () throws(StoreError) in
        try keepIdempotencyKey(of: prepared, for: active.sequence)
        _ = try db.run("UPDATE runs SET priority = ? WHERE seq = ?", draft.run.priority, active.sequence)
      }
      if active.state == .ready { note(.ready) }
      return SubmissionResult(.upgraded, runID: active.id)
    case .follow:
      try refuseFollowing(active, draft)
      try checkArray(draft, replacing: nil)
      return try refusing { () throws(StoreError) in
        let (followUp, sequence) = try follow(active, with: draft, now: now, actor: actor)
        try keepIdempotencyKey(of: prepared, for: sequence, answered: active.id)
        return SubmissionResult(.requeued, runID: active.id, followUpID: followUp)
      }
    case .supersede:
      if draft.dependsOn.contains(active.id) || draft.ancestors.contains(active.id) {
        throw .problem(
          Problem(
            422, "dependency_cycle", "run \(active.id) would be superseded by a run that waits for it",
            runID: active.id))
      }
      let dependents = try refusing { () throws(StoreError) in try openDependents(of: active) }
      try refuseCircle(
        draft.openPrerequisites, reaching: dependents, "the dependents of run \(active.id) will wait for the new run",
        "")
      try checkArray(draft, replacing: active.id)
      try supersede(active, by: draft, now: now, actor: actor)
      return SubmissionResult(.superseded, runID: draft.run.id, replacedID: active.id)
    }
  }

  /// Runs once more after `active`, however often asked; the last payload wins.
  /// - Returns: the follow-up.
  private func follow(
    _ active: Run, with draft: RunDraft, now: Timestamp, actor: String
  ) throws(StoreError) -> (id: RunID, sequence: Int64) {
    if let id = active.followUpID, let waiting = try run(id), waiting.state == .blocked || waiting.state == .paused {
      try db.run(
        "UPDATE payloads SET body = ?, content_type = ?, content_encoding = ? WHERE run_seq = ?",
        draft.submission.payload.bytes, draft.submission.payload.contentType,
        draft.submission.payload.contentEncoding, waiting.sequence)
      return (id, waiting.sequence)
    }
    var draft = draft
    draft.run.dedupKey = nil
    // It stands for every submission that asked meanwhile: their keys are kept beside it.
    draft.run.idempotencyKey = nil
    draft.followsAnother = true
    try insert(draft, now: now, actor: actor)
    try db.run("UPDATE runs SET follow_up = ? WHERE seq = ?", draft.run.id, active.sequence)
    return (draft.run.id, try draft.sequence(in: self))
  }

  /// The old run ends in the transaction that stores the new one, so that the key is free for it (fsm §3 rule 9).
  private func supersede(_ old: Run, by draft: RunDraft, now: Timestamp, actor: String) throws(Refusal) {
    var draft = draft
    try refusing { () throws(StoreError) in
      // Counted before the old run ends: a waiting parent must not end in between.
      if let parent = draft.parent {
        try db.run("UPDATE runs SET open_children = open_children + 1 WHERE seq = ?", parent)
        draft.parent = nil
      }
      try end(old, supersededBy: draft.run.id, reason: "superseded by \(draft.run.id)", now: now, actor: actor)
    }
    try refreshPrerequisites(of: &draft)
    // The parent may have ended with the old run's family.
    if let id = draft.run.parentID, let parent = try refusing({ () throws(StoreError) in try run(id) }),
      parent.state.isTerminal || parent.state == .cancelling
    {
      throw .problem(
        Problem(409, "parent_ended", "run \(id) ends with run \(old.id), which the new run supersedes", runID: id))
    }
    try refusing { () throws(StoreError) in
      try insert(draft, now: now, actor: actor)
      try db.run(
        "UPDATE OR IGNORE dependencies SET prerequisite = ? WHERE prerequisite = ? AND satisfied = 0",
        draft.sequence(in: self), old.sequence)
    }
  }

  /// - Throws: 422 `dependency_cycle` when the run waits for itself through the ones that wait for it.
  func refuseCycle(through sequence: Int64) throws(Refusal) {
    let found = try refusing { () throws(StoreError) in
      try db.first(
        """
        WITH RECURSIVE after (seq) AS (
          SELECT dependent FROM dependencies WHERE prerequisite = ?1 AND satisfied = 0
          UNION SELECT d.dependent FROM after a CROSS JOIN dependencies d ON d.prerequisite = a.seq WHERE d.satisfied = 0)
        SELECT p.id FROM dependencies d CROSS JOIN runs p ON p.seq = d.prerequisite
          WHERE d.dependent = ?1 AND d.satisfied = 0 AND d.prerequisite IN (SELECT seq FROM after) LIMIT 1
        """, sequence
      ) { row throws(StoreError) in try row.runID(0) }
    }
    guard let found else { return }
    throw .problem(
      Problem(
        422, "dependency_cycle",
        "run \(found) waits for the run that would be superseded, so the new one cannot wait for it", runID: found))
  }

  /// - Parameter heir: the run that takes the old one's place, and its dependents; nil: they fail.
  func end(
    _ old: Run, supersededBy heir: RunID?, reason: String, now: Timestamp, actor: String
  ) throws(StoreError) {
    var old = old
    let was = RunMark(old)
    if var attempt = try newestAttempt(of: old), !attempt.state.isTerminal {
      if attempt.state.isClaimed {
        try tellWorkerToStop(old, reason: reason, now: now)
      } else {
        try leaveStale(old, attempt.state)
      }
      // Through `stopping`, which is left at once.
      attempt.state = .fatal
      attempt.finishedAt = now
      try save(attempt, of: old)
    }
    let steps: [RunStep] =
      switch old.state {
      case .running, .waiting: [RunStep(.cancelling, reason), RunStep(.superseded, reason)]
      default: [RunStep(.superseded, reason)]
      }
    let followUp = old.followUpID
    old.followUpID = nil
    old.supersededBy = heir
    try db.run("UPDATE runs SET superseded_by = ?, follow_up = NULL WHERE seq = ?", heir, old.sequence)
    try move(&old, from: was, through: steps, now: now, actor: actor)
    // A follow-up of the old run is what the new one replaces as well.
    if let followUp, var waiting = try run(followUp), !waiting.state.isTerminal {
      try cancel(&waiting, reason: reason, now: now, actor: actor)
    }
  }

  /// The end of the old run may have ended some of the new one's prerequisites.
  private func refreshPrerequisites(of draft: inout RunDraft) throws(Refusal) {
    for index in draft.prerequisites.indices where !draft.prerequisites[index].isSatisfied {
      let sequence = draft.prerequisites[index].sequence
      let prerequisite = try refusing { () throws(StoreError) in try run(sequence: sequence) }
      guard prerequisite.state.isTerminal else { continue }
      guard prerequisite.state.isSuccess || draft.run.onDependencyFailure == .ignore else {
        throw .problem(
          Problem(
            409, "dependency_ended", "run \(prerequisite.id) ends with the run that is superseded",
            runID: prerequisite.id))
      }
      draft.prerequisites[index].isSatisfied = true
      draft.run.openDependencies -= 1
    }
  }
}
