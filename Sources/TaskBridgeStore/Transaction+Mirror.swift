package import TaskBridgeCore

/// The dead-letter queues mirror the table: what they should hold. Long reads, which hold up no writer.
extension ReadTransaction {
  /// Task keys with dead letters, resolved, not resolved or deleted: the mirror queues that may exist.
  package func mirroredTasks() throws(StoreError) -> [TaskKey] {
    try db.all("SELECT task FROM dead_letters UNION SELECT task FROM mirror_leftovers ORDER BY task") {
      row throws(StoreError) in try row.task(0)
    }
  }

  /// How many dead letters of `task` were deleted since its mirror was last put in line.
  package func mirrorLeftovers(of task: TaskKey) throws(StoreError) -> Int {
    try db.integer("SELECT letters FROM mirror_leftovers WHERE task = ?", task)
  }

  /// The unresolved dead letters of `task`, with how often each was replayed before.
  ///
  /// - Parameter onlyPublished: leave out those whose mirror message is still in the outbox.
  package func unresolvedDeadLetters(of task: TaskKey, onlyPublished: Bool) throws(StoreError) -> [RunID: Int] {
    Dictionary(
      try db.all(
        """
        SELECT r.id, r.replays FROM dead_letters d JOIN runs r ON r.seq = d.run_seq WHERE d.resolution IS NULL AND d.task = ? \
        AND (NOT ? OR NOT EXISTS (SELECT 1 FROM outbox o WHERE o.run_seq = d.run_seq AND o.kind = 'dead'))
        """, task, onlyPublished
      ) { row throws(StoreError) in (try row.runID(0), row.int(1)) }, uniquingKeysWith: { $1 })
  }
}

extension Transaction {
  /// The mirror is in line with what was deleted up to then.
  /// - Parameter seen: the number there was before the mirror was looked at.
  package func forgetMirrorLeftovers(of task: TaskKey, seen: Int) throws(StoreError) {
    try db.run("DELETE FROM mirror_leftovers WHERE task = ? AND letters = ?", task, seen)
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
