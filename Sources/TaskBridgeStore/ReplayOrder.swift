import TaskBridgeCore

/// Dependents of replayed runs that come back with them, the oldest first: a run is brought back after those of its
/// prerequisites that come back as well, or it would not wait for them.
struct ReplayOrder {
  typealias Entry = (sequence: Int64, id: RunID)

  /// The oldest last.
  private var pending: [Entry] = []

  /// - Parameter dependents: in the order of their submission; those that wait here already are not added again.
  mutating func insert(_ dependents: [Entry]) {
    for dependent in dependents.reversed() {
      var (low, high) = (0, pending.count)
      while low < high {
        let middle = (low + high) / 2
        if pending[middle].sequence > dependent.sequence { low = middle + 1 } else { high = middle }
      }
      if low < pending.count, pending[low].sequence == dependent.sequence { continue }
      pending.insert(dependent, at: low)
    }
  }

  mutating func next() -> Entry? { pending.popLast() }
}

extension Connection {
  /// Dependents of `id` that ended `dependency_failed` and still lack it, in the order of their submission.
  func failedDependents(of id: RunID) throws(StoreError) -> [ReplayOrder.Entry] {
    try all(
      """
      SELECT r.seq, r.id FROM runs p
        CROSS JOIN dependencies d INDEXED BY dependencies_prerequisite ON d.prerequisite = p.seq
        CROSS JOIN runs r ON r.seq = d.dependent
        WHERE p.id = ? AND d.satisfied = 0 AND r.state = 'dependency_failed' ORDER BY d.dependent
      """, id
    ) { row throws(StoreError) in (row.int64(0), try row.runID(1)) }
  }

  /// The first `limit` prerequisites of `run` that have ended without success and that it does not go on without.
  func failedPrerequisites(of run: Run, limit: Int) throws(StoreError) -> [RunID] {
    if run.onDependencyFailure == .ignore { return [] }
    return try all(
      """
      SELECT p.id FROM dependencies d CROSS JOIN runs p ON p.seq = d.prerequisite
        WHERE d.dependent = ? AND d.satisfied = 0 AND \(Schema.endedBadly(column: "p.")) LIMIT ?
      """, run.sequence, limit
    ) { row throws(StoreError) in try row.runID(0) }
  }
}
