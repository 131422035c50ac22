package import TaskBridgeCore

/// What people do with schedules.
extension Transaction {
  /// Stores a new schedule; nothing is fired before its first nominal time.
  /// - Returns: 409 `schedule_exists` when the name is taken.
  package func add(_ definition: ScheduleDefinition, now: Timestamp) throws(StoreError) -> Result<String, Problem> {
    if try db.schedule(definition.name) != nil {
      return .failure(
        Problem(
          409, "schedule_exists",
          "there is a schedule \(definition.name) already; change it with PATCH, or remove it first"))
    }
    // A removed schedule of the same name has had its times: after a clock was set back they may lie ahead.
    let last =
      try db.first(
        "SELECT max(nominal_at) FROM runs INDEXED BY runs_schedule WHERE schedule = ? AND schedule IS NOT NULL",
        definition.name
      ) { row throws(StoreError) in row.optionalTime(0) } ?? nil
    var record = ScheduleRecord(definition, decidedThrough: max(now, last ?? now), now: now)
    let payload = definition.submission.payload
    try db.run(
      """
      INSERT INTO schedules (name, task, body, created_at, updated_at, decided_through, missed_through, payload,
        content_type, content_encoding) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
      """, record.name, record.task, record.text, record.createdAt, record.updatedAt, record.decidedThrough,
      record.missedThrough, payload.bytes, payload.contentType, payload.contentEncoding)
    try planNext(&record, definition.rule)
    try save(record)
    return .success(record.name)
  }

  /// Replaces what a schedule runs and when, from its next nominal time on.
  package func change(
    schedule name: String, now: Timestamp, support: ScheduleSupport,
    _ change: (ScheduleDefinition) -> Result<ScheduleDefinition, Problem>
  ) throws(StoreError) -> Result<String, Problem> {
    try withSchedule(name) { record throws(StoreError) in
      // What has come is still by the old rule.
      if support.isOn, let due = record.dueAt, due <= now { record = try decided(record, now: now, support: support) }
      let old: ScheduleDefinition
      switch support.definition(record.text, try payload(of: record), record.createdAt) {
      case .success(let read): old = read
      case .failure(let problem): return problem
      }
      let new: ScheduleDefinition
      switch change(old) {
      case .success(let changed): new = changed
      case .failure(let problem): return problem
      }
      if record.hasEnded || !new.hasTimes(of: old) { record.decidedThrough = max(record.decidedThrough, now) }
      record.task = new.submission.task
      record.text = new.text
      record.updatedAt = now
      let payload = new.submission.payload
      if payload != old.submission.payload {
        try db.run(
          "UPDATE schedules SET payload = ?, content_type = ?, content_encoding = ? WHERE name = ?", payload.bytes,
          payload.contentType, payload.contentEncoding, name)
      }
      try planNext(&record, new.rule)
      return nil
    }
  }

  /// No further run until a resume; pausing what is paused changes nothing but the reason.
  package func pause(
    schedule name: String, reason: String?, now: Timestamp, actor: String
  ) throws(StoreError) -> Result<String, Problem> {
    try withSchedule(name) { record throws(StoreError) in
      record.pausedSince = record.pausedSince ?? now
      record.pausedBy = actor
      record.pauseReason = reason
      record.dueAt = nil
      return nil
    }
  }

  /// Goes on with the next nominal time; those missed meanwhile run as `catch_up` says.
  package func resume(
    schedule name: String, now: Timestamp, support: ScheduleSupport
  ) throws(StoreError) -> Result<String, Problem> {
    try withSchedule(name) { record throws(StoreError) in
      guard record.isPaused else { return nil }
      record.pausedSince = nil
      record.pausedBy = nil
      record.pauseReason = nil
      record.missedThrough = max(record.missedThrough, now)
      if support.isOn {
        record = try decided(record, now: now, support: support)
        return nil
      }
      switch support.definition(record.text, try payload(of: record), record.createdAt) {
      case .success(let definition): try planNext(&record, definition.rule)
      case .failure(let problem): return problem
      }
      return nil
    }
  }

  /// No further run; existing runs stay.
  package func remove(schedule name: String) throws(StoreError) -> Result<Void, Problem> {
    guard try db.run("DELETE FROM schedules WHERE name = ?", name) > 0 else {
      return .failure(.scheduleNotFound(name, among: try db.scheduleNames()))
    }
    try db.run("DELETE FROM schedule_times WHERE schedule = ?", name)
    return .success(())
  }

  /// Makes one run at once; the plan stays as it is.
  package func runNow(
    schedule name: String, now: Timestamp, actor: String, support: ScheduleSupport
  ) throws(StoreError) -> Result<SubmissionResult, Problem> {
    guard let record = try db.schedule(name) else {
      return .failure(.scheduleNotFound(name, among: try db.scheduleNames()))
    }
    switch support.definition(record.text, try payload(of: record), record.createdAt) {
    case .failure(let problem): return .failure(problem)
    case .success(let definition):
      let made = try makeRun(
        definition.submission, of: name, nominalAt: nil, now: now, actor: actor, support: support)
      switch made {
      case .failure(let problem): return .failure(problem)
      case .success(let (result, id)):
        if let id { try db.run("UPDATE schedules SET last_run = ? WHERE name = ?", id, name) }
        return .success(result)
      }
    }
  }

  private func decided(
    _ record: ScheduleRecord, now: Timestamp, support: ScheduleSupport
  ) throws(StoreError) -> ScheduleRecord {
    var fired = FiredSchedules()
    try decideTimes(of: record, now: now, support: support, fired: &fired)
    return try db.schedule(record.name) ?? record
  }

  /// Saves what `body` makes of the schedule, unless it refuses.
  private func withSchedule(
    _ name: String, _ body: (inout ScheduleRecord) throws(StoreError) -> Problem?
  ) throws(StoreError) -> Result<String, Problem> {
    guard var record = try db.schedule(name) else {
      return .failure(.scheduleNotFound(name, among: try db.scheduleNames()))
    }
    if let problem = try body(&record) { return .failure(problem) }
    try save(record)
    return .success(name)
  }
}
