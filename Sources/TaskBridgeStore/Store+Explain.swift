package import TaskBridgeCore

/// What an explanation of one run is made of, of one instant.
package struct ExplainFacts: Sendable {
  package let run: Run
  /// How it came to its present state; nil only for a store that lost its audit.
  package var newest: AuditView?
  /// Prerequisites that are not satisfied, at most ``ExplanationView/runsMax``.
  package var dependencies: [ExplanationView.RunReference] = []
  /// The run whose end this one waits for to take over its dedup key.
  package var leader: ExplanationView.RunReference?
  /// Children that have not ended, at most ``ExplanationView/runsMax``.
  package var children: [ExplanationView.RunReference] = []
  package var attempt: AttemptView?
  package var occupancy = Occupancy()
  /// Of the runs above that are ready.
  package var ready: [RunID: (group: String?, occupancy: Occupancy)] = [:]
}

extension ReadTransaction {
  /// Nil when there is no such run.
  package func explainFacts(_ id: RunID) throws(StoreError) -> ExplainFacts? {
    guard let run = try db.runView(id: id)?.run else { return nil }
    var facts = ExplainFacts(run: run)
    facts.newest = try audit(run: id, workflowID: nil, limit: 1, before: nil).first
    facts.occupancy = try occupancy(task: run.task, group: run.group)
    let max = ExplanationView.runsMax
    if run.openDependencies > 0 {
      facts.dependencies = try references(
        """
        SELECT r.id, r.task, r.state, r.group_name FROM dependencies d CROSS JOIN runs r ON r.seq = d.prerequisite
          WHERE d.dependent = ? AND d.satisfied = 0 ORDER BY d.prerequisite LIMIT ?
        """, run.sequence, max, &facts)
    }
    if run.state == .blocked || run.state == .paused {
      facts.leader = try references(
        """
        SELECT r.id, r.task, r.state, r.group_name FROM runs r INDEXED BY runs_follow_up
          WHERE r.follow_up = ? AND r.follow_up IS NOT NULL AND r.finished_at IS NULL LIMIT ?
        """, run.id, 1, &facts
      ).first
    }
    if run.openChildren > 0 {
      facts.children = try references(
        """
        SELECT r.id, r.task, r.state, r.group_name FROM runs r INDEXED BY runs_parent
          WHERE r.parent = ? AND r.finished_at IS NULL ORDER BY r.seq LIMIT ?
        """, run.id, max, &facts)
    }
    if run.attempt > 0 {
      facts.attempt = try attempts(of: id, sequence: run.sequence, limit: 1, after: Int64(run.attempt - 1)).first
    }
    return facts
  }

  private func references(
    _ sql: Statement, _ key: some Bindable, _ limit: Int, _ facts: inout ExplainFacts
  ) throws(StoreError) -> [ExplanationView.RunReference] {
    let found = try db.all(sql, key, limit) { row throws(StoreError) in
      (
        ExplanationView.RunReference(
          id: try row.runID(0), task: try row.task(1), state: try row.word(2, as: RunState.self)), row.optionalText(3)
      )
    }
    for (run, group) in found where run.state == .ready {
      facts.ready[run.id] = (group, try occupancy(task: run.task, group: group))
    }
    return found.map(\.0)
  }
}
