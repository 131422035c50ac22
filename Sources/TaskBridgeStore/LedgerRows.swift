import TaskBridgeCore

/// Audit rows and reports of the open transaction, in their order. Nobody reads them before the commit, so they are
/// written at its end, several by one statement.
struct LedgerRows {
  struct AuditRow {
    var run: Int64
    var previous: RunState?
    var state: RunState
    var attempt: Int
    var at: Timestamp
    var reason: String?
    var actor: String
  }

  struct ReportRow {
    var run: Int64
    var receivedAt: Timestamp
    var dispatch: DispatchID
    var state: ReportedState
    var code: VerdictCode
    var worker: String?
    var via: ReportChannel
    var detail: String?
  }

  /// Rows of one statement.
  private static let rowsMax = 8

  var audits: [AuditRow] = []
  var reports: [ReportRow] = []

  func write(to db: Connection) throws(StoreError) {
    try Self.write(audits, Self.insertAudits, to: db) { row, statement, index in
      row.run.bind(to: statement, at: &index)
      row.previous.bind(to: statement, at: &index)
      row.state.bind(to: statement, at: &index)
      row.attempt.bind(to: statement, at: &index)
      row.at.bind(to: statement, at: &index)
      row.reason.bind(to: statement, at: &index)
      row.actor.bind(to: statement, at: &index)
    }
    try Self.write(reports, Self.insertReports, to: db) { row, statement, index in
      row.run.bind(to: statement, at: &index)
      row.receivedAt.bind(to: statement, at: &index)
      row.dispatch.attempt.bind(to: statement, at: &index)
      row.dispatch.dispatch.bind(to: statement, at: &index)
      row.state.bind(to: statement, at: &index)
      row.code.bind(to: statement, at: &index)
      row.worker.bind(to: statement, at: &index)
      row.via.rawValue.bind(to: statement, at: &index)
      row.detail.bind(to: statement, at: &index)
    }
  }

  /// - Parameter inserts: the statements for one row and for ``rowsMax`` rows.
  private static func write<Row>(
    _ rows: [Row], _ inserts: (one: Statement, many: Statement), to db: Connection,
    bind: (Row, OpaquePointer, inout Int32) -> Void
  ) throws(StoreError) {
    var next = 0
    while next < rows.count {
      let count = rows.count - next >= rowsMax ? rowsMax : 1
      try db.run(count == 1 ? inserts.one : inserts.many) { statement in
        var index: Int32 = 1
        for row in rows[next..<next + count] { bind(row, statement, &index) }
      }
      next += count
    }
  }

  private static let insertAudits = statements(
    "INSERT INTO audit (run_seq, previous_state, new_state, attempt, entered_at, reason, actor) VALUES", columns: 7)
  private static let insertReports = statements(
    "INSERT INTO reports (run_seq, received_at, attempt, dispatch, state, code, worker, via, detail) VALUES", columns: 9
  )

  private static func statements(_ insert: String, columns: Int) -> (one: Statement, many: Statement) {
    let row = "(" + repeatElement("?", count: columns).joined(separator: ", ") + ")"
    return (
      .hot("\(insert) \(row)"), .hot("\(insert) \(repeatElement(row, count: rowsMax).joined(separator: ", "))")
    )
  }
}
