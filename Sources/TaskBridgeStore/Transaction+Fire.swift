package import TaskBridgeCore

/// Firing: each nominal time of a schedule is decided once, in the transaction that makes its run, writes its row and
/// moves the schedule on. A restart, a clock that is set back or an operator can bring no time up twice.
extension Transaction {
  /// Most schedules that one round looks at.
  static let schedulesMax = 200
  /// So many decided times of each schedule are kept, and at most ``timesExtra`` more.
  static let timesKept = 1_000
  static let timesExtra = 100
  /// A schedule that cannot be read is tried again after so long.
  static let unreadableSeconds = 60.0

  /// Decides about every nominal time that has come, schedule after schedule in the order of time.
  ///
  /// - Parameter runsMax: no further schedule is looked at once so many runs were made. Nor is one once
  ///   ``DuePlan/countMax`` times passed over: each was counted, and others wait to write.
  package func fireSchedules(
    now: Timestamp, runsMax: Int, support: ScheduleSupport
  ) throws(StoreError) -> FiredSchedules {
    var fired = FiredSchedules()
    let due = try db.all(
      """
      SELECT \(ScheduleRecord.columns) FROM schedules s INDEXED BY schedules_due
        WHERE s.due_at <= ? AND s.due_at IS NOT NULL ORDER BY s.due_at, s.name LIMIT ?
      """, now, Self.schedulesMax
    ) { row throws(StoreError) in try ScheduleRecord(row: row) }
    for record in due {
      if fired.count >= runsMax || fired.passedOver >= DuePlan.countMax {
        fired.isFull = true
        return fired
      }
      try decideTimes(of: record, now: now, support: support, fired: &fired)
    }
    fired.isFull = due.count == Self.schedulesMax
    return fired
  }

  /// When the next schedule is due; nil when none is.
  package func nextScheduleDue() throws(StoreError) -> Timestamp? {
    try db.first("SELECT min(due_at) FROM schedules INDEXED BY schedules_due WHERE due_at IS NOT NULL") {
      row throws(StoreError) in row.optionalTime(0)
    } ?? nil
  }

  /// Nothing could run until now: nominal times up to `now` were missed, for all schedules that are not paused.
  package func missSchedules(through now: Timestamp) throws(StoreError) {
    try db.run("UPDATE schedules SET missed_through = max(missed_through, ?) WHERE paused_since IS NULL", now)
  }

  /// A run of the schedule has ended: a fixed delay counts from here, and what waits for it is looked at again.
  func wake(schedule name: String, by run: Run, now: Timestamp) throws(StoreError) {
    try db.run(
      """
      UPDATE schedules SET last_end = CASE WHEN ?3 THEN ?2 ELSE last_end END,
        due_at = CASE WHEN due_at IS NULL AND paused_since IS NULL AND ended = 0 THEN ?2 ELSE due_at END
      WHERE name = ?1
      """, name, now, run.nominalAt != nil)
    note(.due)
  }

  /// Decides about the nominal times of one schedule up to `now`.
  func decideTimes(
    of record: ScheduleRecord, now: Timestamp, support: ScheduleSupport, fired: inout FiredSchedules
  ) throws(StoreError) {
    var record = record
    let definition: ScheduleDefinition
    switch support.definition(record.text, try payload(of: record), record.createdAt) {
    case .success(let read): definition = read
    case .failure(let problem):
      fired.problems.append((record.name, problem))
      record.dueAt = now.adding(seconds: Self.unreadableSeconds)
      return try save(record)
    }
    let plan = definition.rule.due(now: now, progress: try progress(of: record, definition.rule))
    for occurrence in plan.runs {
      try fire(occurrence, of: &record, definition, now: now, support: support, fired: &fired)
    }
    for over in plan.passedOver {
      fired.passedOver += over.count
      let reason: ScheduleView.Time.Reason =
        switch over.reason {
        case .missed: .missed
        case .overlap: .overlap
        }
      try add(
        ScheduleView.Time(
          nominalAt: over.first, lastNominalAt: over.last, count: over.count, decidedAt: now, runID: nil,
          reason: reason, note: nil), to: &record)
    }
    record.decidedThrough = max(record.decidedThrough, plan.decidedThrough)
    try planNext(&record, definition.rule)
    try save(record)
  }

  private func fire(
    _ occurrence: Occurrence, of record: inout ScheduleRecord, _ definition: ScheduleDefinition, now: Timestamp,
    support: ScheduleSupport, fired: inout FiredSchedules
  ) throws(StoreError) {
    let isDecided =
      try db.integer(
        "SELECT count(*) FROM schedule_times WHERE schedule = ? AND nominal_at = ?", record.name, occurrence.at) > 0
    if isDecided { return }
    fired.count += 1
    var time = ScheduleView.Time(
      nominalAt: occurrence.at, lastNominalAt: occurrence.at, count: 1, decidedAt: now, runID: nil, reason: nil,
      note: occurrence.note)
    var submission = definition.submission
    submission.runAt = occurrence.at
    let made = try makeRun(
      submission, of: record.name, nominalAt: occurrence.at, now: now, actor: "schedule:\(record.name)",
      support: support)
    switch made {
    case .success(let (_, id)):
      time.runID = id
      if id == nil {
        time.reason = .duplicate
      } else {
        record.lastRun = id
        record.lastAt = occurrence.at
        record.runsMade += 1
      }
    case .failure(let problem):
      time.reason = .refused
      time.note = "\(problem.code): \(problem.detail)"
      fired.problems.append((record.name, problem))
    }
    try add(time, to: &record)
  }

  /// Submits a run for a schedule.
  ///
  /// - Returns: what became of it, and the run that was made; nil when an active one stands for it.
  func makeRun(
    _ submission: Submission, of schedule: String, nominalAt: Timestamp?, now: Timestamp, actor: String,
    support: ScheduleSupport
  ) throws(StoreError) -> Result<(result: SubmissionResult, made: RunID?), Problem> {
    let prepared: PreparedSubmission
    switch support.prepare(submission, now) {
    case .success(let ready): prepared = ready
    case .failure(let problem): return .failure(problem)
    }
    switch try submit(prepared, now: now, actor: actor) {
    case .failure(let problem): return .failure(problem)
    case .success(let result):
      guard result.runID == prepared.id || result.followUpID == prepared.id else { return .success((result, nil)) }
      try db.run("UPDATE runs SET schedule = ?, nominal_at = ? WHERE id = ?", schedule, nominalAt, prepared.id)
      return .success((result, prepared.id))
    }
  }

  /// The unique row of a nominal time; the oldest ones go.
  private func add(_ time: ScheduleView.Time, to record: inout ScheduleRecord) throws(StoreError) {
    let written = try db.run(
      """
      INSERT INTO schedule_times (schedule, nominal_at, last_nominal_at, count, decided_at, run, reason, note)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (schedule, nominal_at) DO NOTHING
      """, record.name, time.nominalAt, time.lastNominalAt, time.count, time.decidedAt, time.runID, time.reason,
      time.note)
    precondition(written == 1 || time.runID == nil, "schedule \(record.name) ran at \(time.nominalAt) before")
    record.times += written
    guard written > 0, record.times % Self.timesExtra == 0 else { return }
    try db.run(
      """
      DELETE FROM schedule_times WHERE schedule = ?1 AND nominal_at <= (
        SELECT nominal_at FROM schedule_times WHERE schedule = ?1 ORDER BY nominal_at DESC LIMIT 1 OFFSET ?2)
      """, record.name, Self.timesKept)
  }

  // MARK: Where a schedule stands

  func progress(of record: ScheduleRecord, _ rule: ScheduleRule) throws(StoreError) -> ScheduleProgress {
    var progress = ScheduleProgress(
      decidedThrough: record.decidedThrough, missedThrough: record.missedThrough, runsMade: record.runsMade)
    if rule.waitsForEnd || rule.overlap == .skip { progress.hasOpenRun = try db.hasOpenRun(of: record.name) }
    progress.lastEnd = record.lastEnd
    return progress
  }

  /// Sets when the schedule is to be looked at next, by what is decided.
  func planNext(_ record: inout ScheduleRecord, _ rule: ScheduleRule) throws(StoreError) {
    record.dueAt = nil
    record.hasEnded = rule.maxRuns.map { record.runsMade >= $0 } ?? false
    if record.hasEnded { return }
    let progress = try progress(of: record, rule)
    let isWaiting = rule.waitsForEnd && progress.hasOpenRun
    if isWaiting { return }
    let next = rule.next(after: record.decidedThrough, lastEnd: progress.lastEnd)
    record.hasEnded = next == nil
    if !record.isPaused { record.dueAt = next?.at }
    if record.dueAt != nil { note(.due) }
  }

  func save(_ record: ScheduleRecord) throws(StoreError) {
    let saved = try db.run(
      """
      UPDATE schedules SET task = ?, body = ?, updated_at = ?, decided_through = ?, missed_through = ?, runs_made = ?,
        times = ?, ended = ?, due_at = ?, paused_since = ?, paused_by = ?, pause_reason = ?, last_at = ?, last_run = ?
      WHERE name = ?
      """, record.task, record.text, record.updatedAt, record.decidedThrough, record.missedThrough, record.runsMade,
      record.times, record.hasEnded, record.dueAt, record.pausedSince, record.pausedBy, record.pauseReason,
      record.lastAt, record.lastRun, record.name)
    precondition(saved == 1, "schedule \(record.name) is gone inside its own transaction")
  }

  func payload(of record: ScheduleRecord) throws(StoreError) -> Payload {
    try db.schedulePayload(record.name) ?? Payload(bytes: Array("null".utf8))
  }
}
