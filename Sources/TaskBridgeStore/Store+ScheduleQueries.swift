package import TaskBridgeCore

/// Reading schedules; usable inside write transactions too.
extension Connection {
  func schedule(_ name: String) throws(StoreError) -> ScheduleRecord? {
    try first("SELECT \(ScheduleRecord.columns) FROM schedules s WHERE s.name = ?", name) { row throws(StoreError) in
      try ScheduleRecord(row: row)
    }
  }

  func scheduleNames() throws(StoreError) -> [String] {
    try all("SELECT name FROM schedules ORDER BY name") { row throws(StoreError) in row.text(0) }
  }

  func schedulePayload(_ name: String) throws(StoreError) -> Payload? {
    try first("SELECT payload, content_type, content_encoding FROM schedules WHERE name = ?", name) {
      row throws(StoreError) in
      Payload(bytes: row.blob(0), contentType: row.optionalText(1), contentEncoding: row.optionalText(2))
    }
  }

  /// Whether a run of the schedule, made by the clock or by hand, has not ended.
  func hasOpenRun(of schedule: String) throws(StoreError) -> Bool {
    try integer(
      """
      SELECT count(*) FROM (SELECT 1 FROM runs INDEXED BY runs_schedule
        WHERE schedule = ? AND schedule IS NOT NULL AND finished_at IS NULL LIMIT 1)
      """, schedule) > 0
  }

  /// The columns ``scheduleView(row:)`` reads, of `schedules s` and `runs r`.
  static let scheduleColumns = "\(ScheduleRecord.columns), r.id, r.state"
  static let scheduleJoin = "schedules s LEFT JOIN runs r ON r.id = s.last_run"

  static func scheduleView(row: Row) throws(StoreError) -> ScheduleView {
    let record = try ScheduleRecord(row: row)
    var view = ScheduleView(
      name: record.name, task: record.task, text: record.text, createdAt: record.createdAt,
      updatedAt: record.updatedAt)
    view.pausedSince = record.pausedSince
    view.pausedBy = record.pausedBy
    view.pauseReason = record.pauseReason
    view.hasEnded = record.hasEnded
    view.runsMade = record.runsMade
    view.lastAt = record.lastAt
    view.nextAt = record.dueAt
    if let id = try row.optionalRunID(ScheduleRecord.columnCount) {
      view.lastRun = (id, try row.word(ScheduleRecord.columnCount + 1, as: RunState.self))
    }
    return view
  }

  /// One schedule with its payload and what became of its last times.
  func scheduleView(_ name: String) throws(StoreError) -> ScheduleView? {
    let found = try first("SELECT \(Self.scheduleColumns) FROM \(Self.scheduleJoin) WHERE s.name = ?", name) {
      row throws(StoreError) in try Self.scheduleView(row: row)
    }
    guard var view = found else { return nil }
    view.payload = try schedulePayload(name)
    view.recent = try all(
      """
      SELECT nominal_at, last_nominal_at, count, decided_at, run, reason, note FROM schedule_times
        WHERE schedule = ? ORDER BY nominal_at DESC LIMIT ?
      """, name, ScheduleView.recentMax
    ) { row throws(StoreError) in
      ScheduleView.Time(
        nominalAt: row.time(0), lastNominalAt: row.time(1), count: row.int(2), decidedAt: row.time(3),
        runID: try row.optionalRunID(4),
        reason: row.isNull(5) ? nil : try row.word(5, as: ScheduleView.Time.Reason.self), note: row.optionalText(6))
    }
    return view
  }
}

extension Transaction {
  /// The schedule as callers see it, as it stands inside this transaction.
  package func scheduleView(_ name: String) throws(StoreError) -> ScheduleView? { try db.scheduleView(name) }
}

/// What a forecast starts from.
package struct ScheduleStanding: Sendable {
  package let record: ScheduleRecord
  package let payload: Payload
  package let hasOpenRun: Bool
}

extension ReadTransaction {
  /// One schedule with its payload.
  package func schedule(_ name: String) throws(StoreError) -> Result<ScheduleView, Problem> {
    if let view = try db.scheduleView(name) { return .success(view) }
    return .failure(.scheduleNotFound(name, among: try db.scheduleNames()))
  }

  package func scheduleStanding(_ name: String) throws(StoreError) -> Result<ScheduleStanding, Problem> {
    guard let record = try db.schedule(name) else {
      return .failure(.scheduleNotFound(name, among: try db.scheduleNames()))
    }
    return .success(
      ScheduleStanding(
        record: record, payload: try db.schedulePayload(name) ?? Payload(bytes: []),
        hasOpenRun: try db.hasOpenRun(of: name)))
  }

  /// Schedules by name, those after `last`.
  package func schedules(after last: String?, limit: Int) throws(StoreError) -> [ScheduleView] {
    try db.all(
      """
      SELECT \(Connection.scheduleColumns) FROM \(Connection.scheduleJoin) WHERE s.name > ? ORDER BY s.name LIMIT ?
      """, last ?? "", limit
    ) { row throws(StoreError) in try Connection.scheduleView(row: row) }
  }

  /// Those due next, then those without a next time by name.
  func schedulesByDue(domain: String?, limit: Int) throws(StoreError) -> [ScheduleView] {
    var views: [ScheduleView] = []
    for condition in ["s.due_at IS NOT NULL", "s.due_at IS NULL"] {
      var query = ComposedQuery()
      query.require(condition)
      if let domain { query.require(domain: domain, column: "s.task") }
      let columns = Connection.scheduleColumns
      views += try db.all(
        composed:
          "SELECT \(columns) FROM \(Connection.scheduleJoin) \(query.whereClause) ORDER BY s.due_at, s.name LIMIT ?",
        query.values + [limit - views.count]
      ) { row throws(StoreError) in try Connection.scheduleView(row: row) }
    }
    return views
  }

  func scheduleCounts() throws(StoreError) -> ScheduleCounts {
    var counts = ScheduleCounts()
    try db.all("SELECT ended, paused_since IS NOT NULL, count(*) FROM schedules GROUP BY 1, 2") {
      row throws(StoreError) in (row.bool(0), row.bool(1), row.int(2))
    }.forEach { hasEnded, isPaused, count in
      if hasEnded { counts.ended += count } else if isPaused { counts.paused += count } else { counts.active += count }
    }
    return counts
  }
}
