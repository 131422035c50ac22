package import TaskBridgeCore

/// Pauses and settings that operators make while the bridge runs: rows that survive a restart, in memory as of the last
/// commit.
extension Transaction {
  /// Holds `subject` back until a resume, or `until`. Pausing what is paused replaces the pause.
  package func pause(
    _ subject: ControlSubject, until: Timestamp?, reason: String?, now: Timestamp, actor: String
  ) throws(StoreError) {
    let held = controls.pause(of: subject, at: now)
    if held == nil { try rememberPause(of: subject, now: now) }
    let since = held?.since ?? now
    controls.pauses[subject] = Pause(since: since, until: until, reason: reason, actor: actor)
    try db.run(
      """
      INSERT INTO pauses (kind, name, since, until, reason, actor) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
        ON CONFLICT (kind, name) DO UPDATE SET since = ?3, until = ?4, reason = ?5, actor = ?6
      """, subject.kind, subject.name, since, until, reason, actor)
    if until != nil { note(.due) }
    // A shorter pause may already be over.
    note(.ready)
  }

  /// Lets `subject` go on; nothing happens when it is not paused.
  package func resume(_ subject: ControlSubject, now: Timestamp) throws(StoreError) {
    guard controls.pauses[subject] != nil else { return }
    try rememberPause(of: subject, now: now)
    controls.pauses[subject] = nil
    try db.run("DELETE FROM pauses WHERE kind = ? AND name = ?", subject.kind, subject.name)
    note(.ready)
  }

  /// Takes away the pauses whose time has come.
  package func endPauses(now: Timestamp) throws(StoreError) {
    guard let next = controls.nextEnd, next <= now else { return }
    for (subject, pause) in controls.pauses where !pause.holds(at: now) { try resume(subject, now: now) }
  }

  /// Keeps for how long the pause that ends held.
  private func rememberPause(of subject: ControlSubject, now: Timestamp) throws(StoreError) {
    guard let pause = controls.pauses[subject] else { return }
    let interval = PausedTime.Interval(start: pause.since, end: min(pause.until ?? now, now))
    guard let (removed, kept) = controls.remember(interval, of: subject) else { return }
    for old in removed {
      try db.run(
        "DELETE FROM past_pauses WHERE kind = ? AND name = ? AND since = ?", subject.kind, subject.name, old.start)
    }
    for new in removed.isEmpty ? [kept] : [kept, interval] {
      try db.run(
        """
        INSERT INTO past_pauses (kind, name, since, ended) VALUES (?1, ?2, ?3, ?4)
          ON CONFLICT (kind, name, since) DO UPDATE SET ended = max(ended, ?4)
        """, subject.kind, subject.name, new.start, new.end)
    }
  }

  /// Replaces what was set for `task` while the bridge runs.
  package func set(_ overrides: TaskOverrides, for task: TaskKey) throws(StoreError) {
    let isUnset = overrides == TaskOverrides()
    let before = controls.tasks[task]?.ratePerSecond
    controls.tasks[task] = isUnset ? nil : overrides
    try writeSettings(.task(task), isUnset ? nil : String(decoding: overrides.json, as: UTF8.self))
    // A rate of the configuration goes on with what is left.
    if before != nil, overrides.ratePerSecond == nil { try dropBucket(.task(task)) }
  }

  /// Replaces the settings of `group`.
  package func set(_ settings: GroupSettings, forGroup group: String) throws(StoreError) {
    let isUnset = settings == GroupSettings()
    controls.groups[group] = isUnset ? nil : settings
    try writeSettings(.group(group), isUnset ? nil : String(decoding: settings.json, as: UTF8.self))
    if settings.ratePerSecond == nil { try dropBucket(.group(group)) }
  }

  private func writeSettings(_ subject: ControlSubject, _ text: String?) throws(StoreError) {
    if let text {
      try db.run(
        "INSERT INTO settings (kind, name, body) VALUES (?1, ?2, ?3) ON CONFLICT (kind, name) DO UPDATE SET body = ?3",
        subject.kind, subject.name, text)
    } else {
      try db.run("DELETE FROM settings WHERE kind = ? AND name = ?", subject.kind, subject.name)
    }
    note(.ready)
  }

  // MARK: Rate limits

  /// Takes a token out of the bucket of `subject`; the release has seen that there is one.
  func takeToken(of subject: ControlSubject, _ limit: RateLimit, now: Timestamp) {
    var bucket = controls.bucket(of: subject, limit: limit, at: now)
    bucket.tokens -= 1
    noteNextToken(of: bucket, limit)
    controls.buckets[subject] = bucket
    changedBuckets.insert(subject)
  }

  /// An empty bucket is worth another look once it has a token again.
  func noteNextToken(of bucket: TokenBucket, _ limit: RateLimit) {
    guard bucket.whole < 1 else { return }
    let at = bucket.nextToken(by: limit)
    nextToken = nextToken.map { min($0, at) } ?? at
  }

  private func dropBucket(_ subject: ControlSubject) throws(StoreError) {
    guard controls.buckets.removeValue(forKey: subject) != nil else { return }
    changedBuckets.remove(subject)
    try db.run("DELETE FROM buckets WHERE kind = ? AND name = ?", subject.kind, subject.name)
  }

  /// A restart must not fill a bucket: what is left is written with the releases that took it.
  func writeBuckets() throws(StoreError) {
    for subject in changedBuckets {
      guard let bucket = controls.buckets[subject] else { continue }
      try db.run(
        """
        INSERT INTO buckets (kind, name, tokens, at) VALUES (?1, ?2, ?3, ?4)
          ON CONFLICT (kind, name) DO UPDATE SET tokens = ?3, at = ?4
        """, subject.kind, subject.name, bucket.tokens, bucket.at)
    }
  }
}

extension Controls {
  /// Reads the tables.
  init(_ db: Connection) throws(StoreError) {
    self.init()
    let paused = try db.all("SELECT kind, name, since, until, reason, actor FROM pauses") { row throws(StoreError) in
      (
        try Self.subject(row),
        Pause(since: row.time(2), until: row.optionalTime(3), reason: row.optionalText(4), actor: row.text(5))
      )
    }
    for (subject, pause) in paused { pauses[subject] = pause }
    let past = try db.all("SELECT kind, name, since, ended FROM past_pauses ORDER BY since") {
      row throws(StoreError) in
      (try Self.subject(row), PausedTime.Interval(start: row.time(2), end: row.time(3)))
    }
    for (subject, interval) in past { _ = remember(interval, of: subject) }
    let bodies = try db.all("SELECT kind, name, body FROM settings") { row throws(StoreError) in
      (try Self.subject(row), row.text(2))
    }
    for (subject, body) in bodies { try read(body, of: subject) }
    let filled = try db.all("SELECT kind, name, tokens, at FROM buckets") { row throws(StoreError) in
      (try Self.subject(row), TokenBucket(tokens: row.optionalDouble(2) ?? 0, at: row.time(3)))
    }
    for (subject, bucket) in filled { buckets[subject] = bucket }
  }

  private mutating func read(_ body: String, of subject: ControlSubject) throws(StoreError) {
    let value: JSONValue
    do { value = try JSONValue.parse(body) } catch { throw Self.unreadable(subject) }
    guard case .object(let object) = value else { throw Self.unreadable(subject) }
    let faults: [Fault]
    switch subject {
    case .task(let task):
      var overrides = TaskOverrides()
      faults = overrides.change(by: object)
      tasks[task] = overrides
    case .group(let name):
      var settings = GroupSettings()
      faults = settings.change(by: object)
      groups[name] = settings
    case .bridge, .domain: throw Self.unreadable(subject)
    }
    if !faults.isEmpty { throw Self.unreadable(subject) }
  }

  private static func subject(_ row: Row) throws(StoreError) -> ControlSubject {
    guard let subject = ControlSubject(kind: row.text(0), name: row.text(1)) else {
      throw StoreError(.damaged, "store: \(row.text(0)) \(row.text(1)) is nothing that can be paused or set")
    }
    return subject
  }

  private static func unreadable(_ subject: ControlSubject) -> StoreError {
    StoreError(.damaged, "store: the stored settings of \(subject) are unreadable")
  }
}
