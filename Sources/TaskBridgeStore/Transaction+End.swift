import TaskBridgeCore

/// What follows from the end of a run, in the transaction that ends it: dependents, follow-up, parent, children.
extension Transaction {
  func settleEnd(of run: Run, from previous: RunState, now: Timestamp, actor: String) throws(StoreError) {
    let dependents = try openDependents(of: run)
    let endsChildren = run.openChildren > 0 && run.state != .completed
    guard !dependents.isEmpty || endsChildren || run.followUpID != nil || run.parentID != nil else { return }
    try apart { () throws(StoreError) in
      try settle(dependents, of: run, now: now, actor: actor)
      if run.followUpID != nil { try startFollowUp(of: run, now: now) }
      if endsChildren { try endChildren(of: run, now: now, actor: actor) }
      if let parentID = run.parentID { try childEnded(run, parentID: parentID, now: now, actor: actor) }
    }
  }

  // MARK: Dependencies (fsm §3 rule 6)

  func openDependents(of run: Run) throws(StoreError) -> [Int64] {
    // A superseded run hands its dependents to its heir.
    if run.state == .superseded, run.supersededBy != nil { return [] }
    return try db.all(Self.openDependents, run.sequence) { row throws(StoreError) in row.int64(0) }
  }

  private static let openDependents = Statement.hot(
    "SELECT dependent FROM dependencies WHERE prerequisite = ? AND satisfied = 0")

  private func settle(
    _ dependents: [Int64], of run: Run, now: Timestamp, actor: String
  ) throws(StoreError) {
    for sequence in dependents {
      let dependent = try self.run(sequence: sequence)
      guard !dependent.state.isTerminal else { continue }
      if run.state.isSuccess || dependent.onDependencyFailure == .ignore && run.cascades == false {
        try satisfy(dependent, prerequisite: run.sequence, now: now, actor: actor)
      } else {
        try failDependent(dependent, because: run, now: now, actor: actor)
      }
    }
  }

  /// Settles those that wait for a run that had ended before.
  func settleDependents(of run: Run, now: Timestamp, actor: String) throws(StoreError) {
    try settle(try openDependents(of: run), of: run, now: now, actor: actor)
  }

  func satisfy(
    _ dependent: Run, prerequisite: Int64, now: Timestamp, actor: String
  ) throws(StoreError) {
    try db.run(
      "UPDATE dependencies SET satisfied = 1 WHERE dependent = ? AND prerequisite = ?", dependent.sequence, prerequisite
    )
    try db.run("UPDATE runs SET open_dependencies = open_dependencies - 1 WHERE seq = ?", dependent.sequence)
    guard dependent.openDependencies == 1, dependent.state == .blocked, try !isFollowing(dependent) else { return }
    try unblock(dependent, reason: "dependencies satisfied", now: now, actor: actor)
  }

  /// Leaves `blocked` for `scheduled` or `ready`.
  func unblock(_ run: Run, reason: String, now: Timestamp, actor: String) throws(StoreError) {
    var run = run
    let was = RunMark(run)
    try move(&run, from: was, through: [RunStep(run.dueState(at: now), reason)], now: now, actor: actor)
  }

  private func failDependent(_ dependent: Run, because run: Run, now: Timestamp, actor: String) throws(StoreError) {
    guard dependent.state == .blocked || dependent.state == .paused else { return }
    var dependent = dependent
    let was = RunMark(dependent)
    let reason = "\(run.id) ended \(run.state.rawValue)"
    try keep(WorkerError(type: RunState.dependencyFailed.rawValue, message: reason), run: dependent, attempt: nil)
    try move(&dependent, from: was, through: [RunStep(.dependencyFailed, reason)], now: now, actor: actor)
  }

  // MARK: Follow-up of a duplicate

  /// Whether the run waits for the end of the one whose dedup key it will take over.
  func isFollowing(_ run: Run) throws(StoreError) -> Bool {
    try db.integer(
      "SELECT count(*) FROM runs WHERE follow_up = ? AND follow_up IS NOT NULL AND finished_at IS NULL", run.id) > 0
  }

  /// The follow-up takes over the dedup key and starts, however the first run ended.
  private func startFollowUp(of run: Run, now: Timestamp) throws(StoreError) {
    guard let id = run.followUpID, let followUp = try self.run(id), !followUp.state.isTerminal else { return }
    try db.run("UPDATE runs SET dedup_key = ? WHERE seq = ?", run.dedupKey, followUp.sequence)
    guard followUp.state == .blocked, followUp.openDependencies == 0 else { return }
    try unblock(followUp, reason: "\(run.id) has ended", now: now, actor: "bridge")
  }

  // MARK: Families (fsm §3 rule 7)

  private func childEnded(_ child: Run, parentID: RunID, now: Timestamp, actor: String) throws(StoreError) {
    guard let parent = try run(parentID) else { return }
    try db.run(
      "UPDATE runs SET open_children = open_children - 1 WHERE seq = ? AND open_children > 0", parent.sequence)
    // A success changes nothing for a parent that has others to wait for: its many children are not read for each.
    if child.state.isSuccess, parent.openChildren > 1 { return }
    try settleWaiting(parent.id, now: now, actor: actor)
  }

  /// Ends a waiting parent once its children allow it; also called when a parent starts to wait.
  func settleWaiting(_ parentID: RunID, now: Timestamp, actor: String) throws(StoreError) {
    guard var parent = try run(parentID) else { return }
    let was = RunMark(parent)
    if parent.state == .cancelling, parent.openChildren == 0 {
      guard let attempt = try newestAttempt(of: parent), attempt.state.isTerminal else { return }
      return try move(&parent, from: was, through: [RunStep(.cancelled, "children have ended")], now: now, actor: actor)
    }
    guard parent.state == .waiting else { return }
    let failed = try failedChild(of: parent)
    if let failed, parent.failFast || parent.openChildren == 0 {
      let error = WorkerError(type: DeadLetterReason.childFailed.rawValue, message: failed)
      try keep(error, run: parent, attempt: nil)
      try move(&parent, from: was, through: [RunStep(.failed, failed)], now: now, actor: actor)
      try bury(parent, reason: .childFailed, error: error, now: now)
    } else if parent.openChildren == 0 {
      try move(&parent, from: was, through: [RunStep(.completed, "children have ended")], now: now, actor: actor)
    }
  }

  /// The first child that ended without success in the parent's present series, in words; nil when there is none. A
  /// superseded child has ended so only when no other run took its place.
  private func failedChild(of parent: Run) throws(StoreError) -> String? {
    try db.first(Self.failedChild, parent.id) { row throws(StoreError) in
      "child \(try row.runID(0)) ended \(row.text(1))"
    }
  }

  private static let failedChild = Statement.hot(
    """
    SELECT c.id, c.state FROM runs c JOIN runs p ON p.id = c.parent
      WHERE c.parent = ? AND c.parent_series = p.replays
      AND (\(Schema.isRun(.failed, .deadLettered, .dependencyFailed, .cancelled, .expired, column: "c.state"))
        OR (c.state = 'superseded' AND c.superseded_by IS NULL))
      ORDER BY c.finished_at, c.seq LIMIT 1
    """)

  func hasFailedChild(_ parent: Run) throws(StoreError) -> Bool {
    // Nearly every run has no children at all.
    let hasChildren = try db.first(Self.anyChild, parent.id, map: { _ throws(StoreError) in true }) ?? false
    guard hasChildren else { return false }
    return try failedChild(of: parent) != nil
  }

  private static let anyChild = Statement.hot("SELECT 1 FROM runs WHERE parent = ? LIMIT 1")

  /// The end of a parent goes down to its open children.
  private func endChildren(of run: Run, now: Timestamp, actor: String) throws(StoreError) {
    let children = try db.all(
      """
      SELECT seq FROM runs WHERE parent = ? AND \(Schema.isRun(.blocked, .scheduled, .ready, .paused, .queued, .launched, .running, .waiting))
      """, run.id
    ) { row throws(StoreError) in row.int64(0) }
    for sequence in children {
      var child = try self.run(sequence: sequence)
      guard !child.state.isTerminal else { continue }
      let reason = "parent \(run.id) ended \(run.state.rawValue)"
      // What a worker holds or has done is cancelled instead.
      if run.state == .expired, child.state != .running, child.state != .waiting {
        try expire(&child, reason: reason, now: now, actor: actor)
      } else {
        try cancel(&child, reason: reason, now: now, actor: actor)
      }
    }
  }

  /// Asks `run` to stop; what follows depends on who holds it (fsm §3 rule 8).
  @discardableResult
  func cancel(_ run: inout Run, reason: String?, now: Timestamp, actor: String) throws(StoreError) -> VerdictCode {
    let attempt = try newestAttempt(of: run)
    let decision = decide(.cancel(reason: reason), on: run, attempt: attempt, policy: TaskPolicy(), now: now, jitter: 0)
    guard decision.code == .applied else { return decision.code }
    let wasWaiting = run.state == .waiting
    try apply(decision, to: &run, attempt: attempt, now: now, actor: actor)
    if wasWaiting, run.state == .cancelling { try cancelChildren(of: run, reason: reason, now: now, actor: actor) }
    return .applied
  }

  func cancelChildren(
    of run: Run, reason: String?, now: Timestamp, actor: String
  ) throws(StoreError) {
    let children = try db.all(
      "SELECT seq FROM runs WHERE parent = ? AND finished_at IS NULL", run.id
    ) { row throws(StoreError) in row.int64(0) }
    for sequence in children {
      var child = try self.run(sequence: sequence)
      try cancel(&child, reason: reason ?? "parent \(run.id) was cancelled", now: now, actor: actor)
    }
  }
}

extension Run {
  /// Whether the failure of this run fails its dependents whatever their own policy says: a run that itself ended
  /// `dependency_failed` under the policy `cancel` (fsm §3 rule 6, features T32).
  fileprivate var cascades: Bool { state == .dependencyFailed && onDependencyFailure == .cancel }
}
