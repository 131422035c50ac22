import TaskBridgeCore

/// Who waits for whom: a run for its prerequisites, a parent for its children, a follow-up for the run it follows. A new
/// run may close no circle of these, or none in it would ever end.
extension Transaction {
  /// - Parameters:
  ///   - first: what the new run waits for.
  ///   - targets: what waits for the new run.
  ///   - why: why `targets` wait for it, for the caller.
  func refuseCircle(
    _ first: [Int64], reaching targets: [Int64], _ why: String, _ pointer: String
  ) throws(Refusal) {
    if first.isEmpty || targets.isEmpty { return }
    let met = try refusing { () throws(StoreError) in try waitedFor(by: first, among: Set(targets)) }
    guard let met else { return }
    let id = try refusing { () throws(StoreError) in try run(sequence: met).id }
    throw .problem(
      Problem(
        422, "dependency_cycle", "\(why), and what the new run waits for would wait for it by way of run \(id)",
        errors: [Fault(pointer: "\(pointer)/depends_on", detail: "a circle through run \(id)")], runID: id))
  }

  /// A follow-up waits for `active`, and its parent for the follow-up.
  func refuseFollowing(_ active: Run, _ draft: RunDraft) throws(Refusal) {
    guard let parent = draft.parent else { return }
    let met = try refusing { () throws(StoreError) in try waitedFor(by: [active.sequence], among: [parent]) }
    guard met != nil else { return }
    throw .problem(
      Problem(
        409, "dependency_cycle",
        "run \(active.id) holds the dedup key and waits for its children: a child that follows it would never start",
        runID: active.id))
  }

  /// The first of `targets` that is one of `first` or that one of them waits for, directly or not.
  ///
  /// Looks at each open run that is waited for once: only submissions with both a parent or heir and prerequisites ask.
  private func waitedFor(by first: [Int64], among targets: Set<Int64>) throws(StoreError) -> Int64? {
    var seen = Set(first)
    var open = first
    while let sequence = open.popLast() {
      if targets.contains(sequence) { return sequence }
      for next in try waits(of: sequence) where seen.insert(next).inserted { open.append(next) }
    }
    return nil
  }

  private func waits(of sequence: Int64) throws(StoreError) -> [Int64] {
    try db.all(Self.waits, sequence) { row throws(StoreError) in row.int64(0) }
  }

  private static let waits = Statement.hot(
    """
    SELECT p.seq FROM dependencies d JOIN runs p ON p.seq = d.prerequisite
      WHERE d.dependent = ?1 AND d.satisfied = 0 AND p.finished_at IS NULL
    UNION ALL SELECT c.seq FROM runs r JOIN runs c ON c.parent = r.id WHERE r.seq = ?1 AND c.finished_at IS NULL
    UNION ALL SELECT f.seq FROM runs r JOIN runs f ON f.follow_up = r.id WHERE r.seq = ?1 AND f.finished_at IS NULL
    """)
}
