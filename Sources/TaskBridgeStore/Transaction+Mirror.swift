package import TaskBridgeCore

/// The dead-letter queues mirror the table.
extension Transaction {
  /// Task keys with dead letters, resolved or not: the mirror queues that may exist.
  package func mirroredTasks() throws(StoreError) -> [TaskKey] {
    try db.all("SELECT DISTINCT task FROM dead_letters ORDER BY task") { row throws(StoreError) in try row.task(0) }
  }

  /// The unresolved dead letters of `task`.
  ///
  /// - Parameter onlyPublished: leave out those whose mirror message is still in the outbox.
  package func unresolvedDeadLetters(of task: TaskKey, onlyPublished: Bool) throws(StoreError) -> Set<RunID> {
    Set(
      try db.all(
        """
        SELECT r.id FROM dead_letters d JOIN runs r ON r.seq = d.run_seq WHERE d.resolution IS NULL AND d.task = ? \
        AND (NOT ? OR NOT EXISTS (SELECT 1 FROM outbox o WHERE o.run_seq = d.run_seq AND o.kind = 'dead'))
        """, task, onlyPublished
      ) { row throws(StoreError) in try row.runID(0) })
  }

  /// Puts dead letters that are missing from the mirror into the outbox again.
  package func mirrorAgain(_ ids: some Sequence<RunID>, now: Timestamp) throws(StoreError) {
    for id in ids {
      try db.run(
        """
        INSERT INTO outbox (kind, run_seq, attempt, dispatch, created_at)
          SELECT 'dead', r.seq, r.attempt, r.dispatch, ? FROM runs r JOIN dead_letters d ON d.run_seq = r.seq
          WHERE r.id = ? AND d.resolution IS NULL
            AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.run_seq = r.seq AND o.kind = 'dead')
        """, now, id)
    }
    note(.outbox)
  }
}
