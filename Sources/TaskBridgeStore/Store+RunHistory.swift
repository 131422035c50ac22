package import TaskBridgeCore

/// Runs by their time.
extension ReadTransaction {
  /// The runs of `query` by interval and state; each has its place by `run_at`, else by its submission.
  ///
  /// - Parameter held: whose ready runs are held by the filter's `held_by`.
  /// - Throws: `StoreError` `.tooExpensive` when finding them takes more work than a read may do.
  package func history(
    _ query: RunHistoryQuery, held: HeldSet = HeldSet(), now: Timestamp
  ) throws(StoreError) -> RunHistory {
    var history = RunHistory(query)
    var select = RunSelect(query.filter, sort: .idDescending, held: held, matching: try matching(query.filter))
    if select.isImpossible { return history }
    select.require("coalesce(r.run_at, r.created_at) >= ?", query.start)
    select.require("coalesce(r.run_at, r.created_at) < ?", query.end)
    let rows = try db.all(
      composed: """
        SELECT (coalesce(r.run_at, r.created_at) - ?) / ?, r.state, COUNT(*),
          SUM((SELECT coalesce(SUM(max(0, coalesce(a.finished_at, ?) - a.started_at)), 0) FROM attempts a
            WHERE a.run_seq = r.seq AND a.started_at IS NOT NULL)),
          SUM(max(0, coalesce(r.started_at, ?) - coalesce(r.run_at, r.created_at)))
          FROM \(select.source) \(select.query.whereClause) GROUP BY 1, 2 ORDER BY 1, 2
        """, ([query.start, query.intervalMilliseconds, now, now] as [any Bindable]) + select.query.values
    ) { row throws(StoreError) in
      (
        row.int(0),
        RunHistory.Cell(
          state: try row.word(1, as: RunState.self), count: row.int(2), runSeconds: Double(row.int64(3)) / 1_000,
          latenessSeconds: Double(row.int64(4)) / 1_000)
      )
    }
    for (interval, cell) in rows { history.add(cell, to: interval) }
    return history
  }
}
