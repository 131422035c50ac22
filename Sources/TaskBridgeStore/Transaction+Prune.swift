package import TaskBridgeCore

/// Up to where a prune goes: runs that finished before this, ties by their number; itself included.
package struct PruneBound: Sendable, Equatable {
  package var finishedAt: Timestamp
  package var sequence: Int64

  package init(finishedAt: Timestamp, sequence: Int64 = .max) {
    self.finishedAt = finishedAt
    self.sequence = sequence
  }

  /// The later one of two bounds: what either of them names.
  package static func later(_ one: PruneBound?, _ other: PruneBound?) -> PruneBound? {
    guard let one, let other else { return one ?? other }
    return (one.finishedAt, one.sequence) < (other.finishedAt, other.sequence) ? other : one
  }
}

extension ComposedQuery {
  /// Ended runs `r` that `request` is about, however long ago they ended.
  fileprivate mutating func require(endedFor request: PruneRequest) {
    require("r.finished_at IS NOT NULL")
    if let task = request.task { require("r.task = ?", task) }
    if !request.states.isEmpty { require("+r.state IN (\(Schema.list(request.states)))") }
  }

  fileprivate mutating func require(meantBy request: PruneRequest, upTo bound: PruneBound) {
    require(endedFor: request)
    require("(r.finished_at, r.seq) <= (?, ?)", bound.finishedAt, bound.sequence)
    if request.states.isEmpty {
      require("NOT EXISTS (SELECT 1 FROM dead_letters d WHERE d.run_seq = r.seq AND d.resolution IS NULL)")
    }
  }

  /// Those of them that may be deleted. A dead letter whose mirror message is on its way stays until it has arrived and
  /// can be taken out again; a child without success stays until its parent has ended, which may still have to fail by it.
  fileprivate mutating func require(prunableFor request: PruneRequest, upTo bound: PruneBound) {
    require(meantBy: request, upTo: bound)
    require("NOT EXISTS (SELECT 1 FROM outbox o WHERE o.run_seq = r.seq AND o.kind = 'dead')")
    require(
      "(r.parent IS NULL OR r.state = 'completed' OR r.superseded_by IS NOT NULL OR NOT EXISTS "
        + "(SELECT 1 FROM runs p WHERE p.id = r.parent AND p.finished_at IS NULL))")
  }
}

extension PruneRequest {
  /// A task key's runs are found by its own index, all others by number.
  fileprivate var source: String { "runs AS r \(task == nil ? "NOT INDEXED" : "INDEXED BY runs_task")" }
}

/// Finding what a prune deletes; on a reader, so that nobody waits for it.
extension ReadTransaction {
  /// Nil when there is nothing to delete.
  package func pruneBound(_ request: PruneRequest, now: Timestamp) throws(StoreError) -> PruneBound? {
    let keep: Int
    switch request.criterion {
    case .olderThanDays(let days): return PruneBound(finishedAt: now.adding(seconds: -days * 86_400))
    case .keepLast(let count): keep = count
    }
    var query = ComposedQuery()
    query.require(endedFor: request)
    return try db.all(
      composed: """
        SELECT r.finished_at, r.seq FROM \(request.source) \(query.whereClause)
          ORDER BY r.finished_at DESC, r.seq DESC LIMIT 1 OFFSET ?
        """, query.values + [keep]
    ) { row throws(StoreError) in PruneBound(finishedAt: row.time(0), sequence: row.int64(1)) }.first
  }

  /// Numbers of runs to delete, ascending.
  /// - Parameter after: the last one of the call before.
  package func prunable(
    _ request: PruneRequest, upTo bound: PruneBound, after: Int64, limit: Int
  ) throws(StoreError) -> [Int64] {
    var query = ComposedQuery()
    query.require(prunableFor: request, upTo: bound)
    query.require("r.seq > ?", after)
    return try db.all(
      composed: "SELECT r.seq FROM \(request.source) \(query.whereClause) ORDER BY r.seq LIMIT ?",
      query.values + [limit]
    ) { row throws(StoreError) in row.int64(0) }
  }

  package func prunableCount(_ request: PruneRequest, upTo bound: PruneBound) throws(StoreError) -> Int {
    var query = ComposedQuery()
    query.require(prunableFor: request, upTo: bound)
    return try db.all(
      composed: "SELECT count(*) FROM \(request.source) \(query.whereClause)", query.values
    ) { row throws(StoreError) in row.int(0) }.first ?? 0
  }

  /// How many runs stay because the messages of their dead letters are on their way to the broker.
  package func mirrorPendingCount(_ request: PruneRequest, upTo bound: PruneBound) throws(StoreError) -> Int {
    var query = ComposedQuery()
    query.require("o.kind = 'dead'")
    query.require(meantBy: request, upTo: bound)
    return try db.all(
      composed: """
        SELECT count(DISTINCT r.seq) FROM outbox AS o CROSS JOIN runs AS r ON r.seq = o.run_seq \(query.whereClause)
        """, query.values
    ) { row throws(StoreError) in row.int(0) }.first ?? 0
  }

  /// The next few runs that a retention limit deletes, looking at a bounded number of rows.
  ///
  /// - Parameter after: where the look before ended; 0 at first.
  /// - Returns: the runs, where to look next, and nil there when all that can have finished before `bound` was seen.
  package func retentionSlice(
    upTo bound: PruneBound, after: Int64, limit: Int
  ) throws(StoreError) -> (found: [Int64], next: Int64?) {
    let request = PruneRequest(.keepLast(0))
    let last = after + Self.retentionSpan
    let first = try db.first("SELECT seq, created_at FROM runs WHERE seq > ? ORDER BY seq LIMIT 1", after) {
      row throws(StoreError) in (sequence: row.int64(0), createdAt: row.time(1))
    }
    guard let first, first.createdAt <= bound.finishedAt else { return ([], nil) }
    if first.sequence > last { return ([], first.sequence - 1) }
    var query = ComposedQuery()
    query.require(prunableFor: request, upTo: bound)
    query.require("r.seq > ? AND r.seq <= ?", after, last)
    let found = try db.all(
      composed: "SELECT r.seq FROM \(request.source) \(query.whereClause) ORDER BY r.seq LIMIT ?",
      query.values + [limit]
    ) { row throws(StoreError) in row.int64(0) }
    return (found, found.count == limit ? found.last : last)
  }

  /// Rows that one look of the retention reads at most.
  private static let retentionSpan: Int64 = 2_000

  /// Runs that have ended, dead letters included.
  package func endedCount() throws(StoreError) -> Int {
    try db.integer(
      "SELECT coalesce(sum(runs), 0) FROM counts WHERE state IN (\(Schema.list(RunState.allCases.filter(\.isTerminal))))"
    )
  }
}

/// Deleting runs with all that belongs to them. Other runs keep the ids of deleted prerequisites and parents.
extension Transaction {
  /// Deletes those of `sequences` that still may be.
  ///
  /// - Returns: how many.
  package func prune(
    _ sequences: [Int64], _ request: PruneRequest, upTo bound: PruneBound
  ) throws(StoreError) -> Int {
    var query = ComposedQuery()
    query.require("r.seq = ?")
    query.require(prunableFor: request, upTo: bound)
    var deleted = 0
    for sequence in sequences {
      let found = try db.all(
        composed: "SELECT r.task, r.state FROM runs r \(query.whereClause)", [sequence] + query.values
      ) { row throws(StoreError) in (task: try row.task(0), state: try row.word(1, as: RunState.self)) }.first
      guard let found else { continue }
      try remove(sequence, task: found.task, state: found.state)
      deleted += 1
    }
    return deleted
  }

  /// Deletes one run that has ended, a dead letter too.
  /// - Returns: 404 `run_not_found`, 409 `active`, `mirror_pending`, `parent_active`.
  package func delete(_ id: RunID) throws(StoreError) -> Result<RunID, Problem> {
    guard let run = try run(id) else { return .failure(.runNotFound(id)) }
    guard run.state.isTerminal else {
      return .failure(
        Problem(
          409, "active", "run \(id) is \(run.state.rawValue): only an ended run can be deleted; cancel it first",
          runID: id))
    }
    let pending = try db.integer(
      "SELECT count(*) FROM outbox WHERE run_seq = ? AND kind = 'dead'", run.sequence)
    guard pending == 0 else {
      return .failure(
        Problem(
          409, "mirror_pending",
          "the broker has not confirmed the message of the dead letter of run \(id) in taskbridge.dead.\(run.task) yet, which goes with the run: try again in a second, or, when the broker is down (GET /readyz), once it is back",
          runID: id, retryAfterSeconds: 1))
    }
    if !run.state.isSuccess, run.supersededBy == nil, let parentID = run.parentID, let parent = try self.run(parentID),
      !parent.state.isTerminal
    {
      return .failure(
        Problem(
          409, "parent_active",
          "run \(id) is a child that ended \(run.state.rawValue), and its parent \(parentID) is \(parent.state.rawValue): it may still have to fail by it; delete the child once its parent has ended",
          runID: parentID))
    }
    try remove(run.sequence, task: run.task, state: run.state)
    return .success(id)
  }

  private func remove(_ sequence: Int64, task: TaskKey, state: RunState) throws(StoreError) {
    let letters = try db.run(
      """
      INSERT INTO mirror_leftovers (task, letters) SELECT task, 1 FROM dead_letters WHERE run_seq = ?
        ON CONFLICT (task) DO UPDATE SET letters = letters + 1
      """, sequence)
    if letters > 0, state.isDeadLetter { note(.mirror) }
    ledger.audits.removeAll { $0.run == sequence }
    ledger.reports.removeAll { $0.run == sequence }
    for statement in Self.remains { try db.run(statement, sequence) }
    count(task, state, -1)
  }

  private static let remains: [Statement] = [
    "DELETE FROM payloads WHERE run_seq = ?", "DELETE FROM outcomes WHERE run_seq = ?",
    "DELETE FROM attempts WHERE run_seq = ?", "DELETE FROM tags WHERE run_seq = ?",
    "DELETE FROM dependencies WHERE dependent = ?", "DELETE FROM dependencies WHERE prerequisite = ?",
    "DELETE FROM audit WHERE run_seq = ?", "DELETE FROM reports WHERE run_seq = ?",
    "DELETE FROM outbox WHERE run_seq = ?", "DELETE FROM dead_letters WHERE run_seq = ?",
    "DELETE FROM idempotency_keys WHERE run_seq = ?", "DELETE FROM kept_runs WHERE run_seq = ?",
    "DELETE FROM transitions WHERE run_seq = ?", "DELETE FROM payload_history WHERE run_seq = ?",
    "DELETE FROM runs WHERE seq = ?",
  ].map { Statement.hot($0) }
}

/// Rejected submissions are listed for a day.
extension Transaction {
  /// - Returns: how many were deleted, at most `limit`.
  package func sweepRejected(before: Timestamp, limit: Int) throws(StoreError) -> Int {
    try db.run(
      """
      DELETE FROM quarantine WHERE id IN (
        SELECT id FROM quarantine INDEXED BY quarantine_rejected WHERE kind = 'rejected' AND received_at < ?
          ORDER BY received_at LIMIT ?)
      """, before, limit)
  }
}

extension ReadTransaction {
  package func hasRejected(before: Timestamp) throws(StoreError) -> Bool {
    try db.first(
      "SELECT 1 FROM quarantine INDEXED BY quarantine_rejected WHERE kind = 'rejected' AND received_at < ? LIMIT 1",
      before, map: { _ throws(StoreError) in true }) ?? false
  }
}
