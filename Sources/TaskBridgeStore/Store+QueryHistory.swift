package import TaskBridgeCore

/// What happened to a run: attempts, audit, reports, errors, and the runs it is bound to.
extension ReadTransaction {
  /// Attempts of a run, first to last; the cursor is the number.
  package func attempts(
    of id: RunID, sequence: Int64, limit: Int, after: Int64?
  ) throws(StoreError) -> [AttemptView] {
    try db.all(
      """
      SELECT \(Attempt.columns), a.error, a.usage, a.resources, a.stdout, a.stderr FROM attempts a
        WHERE a.run_seq = ? AND a.number > ? ORDER BY a.number LIMIT ?
      """, sequence, after ?? 0, limit
    ) { row throws(StoreError) in
      var view = AttemptView(runID: id, attempt: try Attempt(row: row))
      view.error = row.optionalText(13)
      view.usage = row.optionalText(14)
      view.resources = row.optionalText(15)
      view.stdout = row.optionalText(16)
      view.stderr = row.optionalText(17)
      return view
    }
  }

  private static let auditColumns = """
    a.id, r.id, r.workflow_id, a.previous_state, a.new_state, a.attempt, a.entered_at, \
    (SELECT n.entered_at FROM audit n WHERE n.run_seq = a.run_seq AND n.id > a.id ORDER BY n.id LIMIT 1), \
    a.reason, a.actor
    """

  private static func audit(row: Row) throws(StoreError) -> AuditView {
    AuditView(
      sequence: row.int64(0), runID: try row.runID(1), workflowID: row.optionalText(2),
      previousState: row.isNull(3) ? nil : try row.word(3, as: RunState.self),
      newState: try row.word(4, as: RunState.self), attempt: row.int(5), enteredAt: row.time(6),
      exitedAt: row.optionalTime(7), reason: row.optionalText(8), actor: row.text(9))
  }

  /// State changes, newest first: of one run, of a workflow, of both or of all.
  package func audit(
    run: RunID?, workflowID: String?, limit: Int, before: Int64?
  ) throws(StoreError) -> [AuditView] {
    var query = ComposedQuery()
    var source = "audit a CROSS JOIN runs r ON r.seq = a.run_seq"
    if let run {
      source = "runs r CROSS JOIN audit a INDEXED BY audit_run ON a.run_seq = r.seq"
      query.require("r.id = ?", run)
    } else if workflowID != nil {
      source = "runs r INDEXED BY runs_workflow CROSS JOIN audit a INDEXED BY audit_run ON a.run_seq = r.seq"
    }
    if let workflowID { query.require("r.workflow_id = ?", workflowID) }
    if let before { query.require("a.id < ?", before) }
    return try db.all(
      composed: "SELECT \(Self.auditColumns) FROM \(source) \(query.whereClause) ORDER BY a.id DESC LIMIT ?",
      query.values + [limit]
    ) { row throws(StoreError) in try Self.audit(row: row) }
  }

  /// Reports of a run's workers with their verdicts, newest first.
  package func reports(of sequence: Int64, limit: Int, before: Int64?) throws(StoreError) -> [ReportView] {
    try db.all(
      """
      SELECT id, received_at, attempt, dispatch, state, code, worker, via, detail FROM reports
        WHERE run_seq = ? AND id < ? ORDER BY id DESC LIMIT ?
      """, sequence, before ?? .max, limit
    ) { row throws(StoreError) in
      ReportView(
        sequence: row.int64(0), receivedAt: row.time(1), attempt: row.int(2), dispatch: row.int(3),
        state: try row.word(4, as: ReportedState.self), code: try row.word(5, as: VerdictCode.self),
        worker: row.optionalText(6), via: row.text(7), detail: row.optionalText(8))
    }
  }

  /// What went wrong, one for each failed attempt, newest first; the cursor is the attempt's number.
  package func errors(of sequence: Int64, limit: Int, before: Int64?) throws(StoreError) -> [ErrorView] {
    try db.all(
      """
      SELECT number, state, finished_at, worker, error FROM attempts
        WHERE run_seq = ? AND error IS NOT NULL AND number < ? ORDER BY number DESC LIMIT ?
      """, sequence, before ?? .max, limit
    ) { row throws(StoreError) in
      ErrorView(
        attempt: row.int(0), attemptState: try row.word(1, as: AttemptState.self), at: row.optionalTime(2),
        worker: row.optionalText(3), error: row.text(4))
    }
  }

  /// The runs this one waits for, in the order of their submission.
  package func dependencies(of sequence: Int64, limit: Int, after: Int64?) throws(StoreError) -> [DependencyView] {
    try db.all(
      """
      SELECT r.seq, r.id, r.task, r.state, d.satisfied FROM dependencies d CROSS JOIN runs r ON r.seq = d.prerequisite
        WHERE d.dependent = ? AND d.prerequisite > ? ORDER BY d.prerequisite LIMIT ?
      """, sequence, after ?? 0, limit
    ) { row throws(StoreError) in try Self.dependency(row: row) }
  }

  /// The runs that wait for this one, in the order of their submission.
  package func dependents(of sequence: Int64, limit: Int, after: Int64?) throws(StoreError) -> [DependencyView] {
    try db.all(
      """
      SELECT r.seq, r.id, r.task, r.state, d.satisfied FROM dependencies d INDEXED BY dependencies_prerequisite
        CROSS JOIN runs r ON r.seq = d.dependent
        WHERE d.prerequisite = ? AND d.dependent > ? ORDER BY d.dependent LIMIT ?
      """, sequence, after ?? 0, limit
    ) { row throws(StoreError) in try Self.dependency(row: row) }
  }

  private static func dependency(row: Row) throws(StoreError) -> DependencyView {
    DependencyView(
      sequence: row.int64(0), id: try row.runID(1), task: try row.task(2), state: try row.word(3, as: RunState.self),
      isSatisfied: row.bool(4))
  }
}
