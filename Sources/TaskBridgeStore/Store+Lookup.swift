package import TaskBridgeCore

/// Finding one run or attempt by what a caller has in its hands instead of an id.
extension ReadTransaction {
  /// The attempt with this number; nil when there is none.
  package func attempt(_ number: Int, of id: RunID) throws(StoreError) -> AttemptView? {
    guard let sequence = try sequence(of: id) else { return nil }
    return try attempts(of: id, sequence: sequence, limit: 1, after: Int64(number - 1)).first.flatMap {
      $0.attempt.number == number ? $0 : nil
    }
  }

  /// The newest attempt of the run at `index` of an array, one index look-up however long the array is.
  /// - Returns: nil without such a run; its attempt is nil before the first dispatch.
  package func arrayAttempt(
    workflow: String, array: String, index: Int
  ) throws(StoreError) -> (run: RunID, attempt: AttemptView?)? {
    let found = try db.first(
      """
      SELECT id, attempt FROM runs INDEXED BY runs_array WHERE workflow_id = ? AND array_name = ? AND array_index = ?
        AND array_index IS NOT NULL AND state <> 'superseded'
      """, workflow, array, index
    ) { row throws(StoreError) in (id: try row.runID(0), attempt: row.int(1)) }
    guard let found else { return nil }
    return (found.id, try attempt(found.attempt, of: found.id))
  }

  /// The run that holds a dedup key of `task`, or the newest one that did; nil when none ever had it.
  package func run(dedupKey key: String, of task: TaskKey) throws(StoreError) -> RunView? {
    let active = try db.first(
      """
      SELECT seq FROM runs INDEXED BY runs_dedup WHERE home_task = ? AND dedup_key = ? AND dedup_key IS NOT NULL
        AND \(Schema.isAny(Schema.active))
      """, task, key
    ) { row throws(StoreError) in row.int64(0) }
    if let active { return try db.runView(sequence: active) }
    let newest = try db.first(
      """
      SELECT seq FROM runs INDEXED BY runs_dedup_history WHERE dedup_key = ? AND dedup_key IS NOT NULL
        AND home_task = ? ORDER BY seq DESC LIMIT 1
      """, key, task
    ) { row throws(StoreError) in row.int64(0) }
    guard let newest else { return nil }
    return try db.runView(sequence: newest)
  }
}
