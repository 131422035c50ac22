package import TaskBridgeCore

/// The numbers of a snapshot, all of one instant.
extension ReadTransaction {
  /// Rates look at so many audit rows at most; under higher load the minute is cut short.
  static let ratesRowsMax: Int64 = 100_000
  static let ratesWindowMilliseconds: Int64 = 60_000

  /// - Parameter domain: only task keys of this domain; outbox, quarantine and rates are of the whole store.
  package func snapshot(domain: String?, now: Timestamp) throws(StoreError) -> SnapshotView {
    var view = SnapshotView(at: now)
    view.tasks = try taskLines(domain: domain)
    var query = RunQuery(limit: SnapshotView.runningMax)
    query.filter.states = [.running]
    query.filter.domain = domain
    view.running = try runs(query).items
    (view.outboxPending, view.outboxOldest) = try outbox()
    view.quarantined = try db.integer("SELECT COUNT(*) FROM quarantine")
    view.nextRunAt = try nextRunAt(domain: domain)
    view.resources = try resources(domain: domain)
    view.rates = try rates(now: now)
    view.schedules = try schedulesByDue(domain: domain, limit: SnapshotView.schedulesMax)
    view.scheduleCounts = try scheduleCounts()
    return view
  }

  /// Messages not yet confirmed, and since when the oldest waits.
  package func outbox() throws(StoreError) -> (pending: Int, oldest: Timestamp?) {
    let queued = try db.all("SELECT task, runs FROM counts WHERE state = 'queued' AND runs > 0") {
      row throws(StoreError) in (task: try row.task(0), runs: row.int(1))
    }
    var times: [Timestamp] = []
    for task in queued.map(\.task) {
      let oldest = try db.first(
        """
        SELECT min(queued_at) FROM runs INDEXED BY runs_unclaimed WHERE task = ?
          AND \(Schema.isRun(.queued, .launched)) AND launched_at IS NULL
        """, task
      ) { row throws(StoreError) in row.optionalTime(0) }
      if let oldest = oldest ?? nil { times.append(oldest) }
    }
    if let notice = try db.first(
      "SELECT created_at FROM outbox ORDER BY id LIMIT 1", map: { row throws(StoreError) in row.time(0) })
    {
      times.append(notice)
    }
    return (try db.integer("SELECT COUNT(*) FROM outbox") + queued.reduce(0) { $0 + $1.runs }, times.min())
  }

  /// Run queues that were ever declared, by name.
  package func runQueues(after last: String, limit: Int) throws(StoreError) -> [(name: String, task: TaskKey)] {
    try db.all("SELECT name, task FROM queues WHERE name > ? ORDER BY name LIMIT ?", last, limit) {
      row throws(StoreError) in (row.text(0), try row.task(1))
    }
  }

  /// Task keys that have ready runs.
  package func readyTasks() throws(StoreError) -> [TaskKey] {
    try db.all("SELECT task FROM counts WHERE state = 'ready' AND runs > 0 ORDER BY task") { row throws(StoreError) in
      try row.task(0)
    }
  }

  /// One line for each task key that ever had a run.
  package func taskLines(domain: String?) throws(StoreError) -> [SnapshotView.TaskLine] {
    var query = ComposedQuery()
    if let domain { query.require(domain: domain, column: "task") }
    let rows = try db.all(
      composed: "SELECT task, state, runs FROM counts \(query.whereClause) ORDER BY task, state", query.values
    ) { row throws(StoreError) in (try row.task(0), try row.word(1, as: RunState.self), row.int(2)) }
    var lines: [SnapshotView.TaskLine] = []
    for (task, state, runs) in rows {
      if lines.last?.key != task { lines.append(SnapshotView.TaskLine(key: task)) }
      lines[lines.count - 1].counts[state] = runs
    }
    let dead = Dictionary(
      try db.all("SELECT task, COUNT(*) FROM dead_letters WHERE resolution IS NULL GROUP BY task") {
        row throws(StoreError) in (try row.task(0), row.int(1))
      }, uniquingKeysWith: +)
    for index in lines.indices {
      lines[index].dead = dead[lines[index].key] ?? 0
      if lines[index].counts[.ready] ?? 0 > 0 { lines[index].readySince = try readyHead(lines[index].key)?.since }
    }
    return lines
  }

  /// The ready runs of `task`: since when the earliest submitted one is due, and the most urgent priority.
  ///
  /// Skips over the index from one (group, priority, class) to the next: at most 512 look-ups for each group, however
  /// many runs are ready.
  func readyHead(_ task: TaskKey) throws(StoreError) -> (since: Timestamp, priority: Int)? {
    var oldest: (sequence: Int64, since: Timestamp)?
    var highest = Int.max
    for group in [nil] + (try readyGroups(of: task)) {
      var place: (priority: Int, releaseClass: Int) = (-1, 1)
      while let next = try db.first(
        """
        SELECT r.priority, r.release_class, r.seq, max(r.created_at, coalesce(r.run_at, r.created_at))
          FROM runs AS r INDEXED BY runs_ready
          WHERE r.state = 'ready' AND r.task = ? AND r.group_name IS ? AND (r.priority, r.release_class) > (?, ?)
          ORDER BY r.priority, r.release_class, r.seq LIMIT 1
        """, task, group, place.priority, place.releaseClass,
        map: { row throws(StoreError) in (row.int(0), row.int(1), row.int64(2), row.time(3)) })
      {
        place = (next.0, next.1)
        highest = min(highest, next.0)
        if oldest.map({ next.2 < $0.sequence }) ?? true { oldest = (next.2, next.3) }
      }
    }
    return oldest.map { (since: $0.since, priority: highest) }
  }

  /// Groups that have ready runs of `task`, one look-up each.
  private func readyGroups(of task: TaskKey) throws(StoreError) -> [String?] {
    var names: [String?] = []
    var last = ""
    while let next = try db.first(
      """
      SELECT r.group_name FROM runs AS r INDEXED BY runs_ready WHERE r.state = 'ready' AND r.task = ?
        AND r.group_name > ? ORDER BY r.group_name LIMIT 1
      """, task, last, map: { row throws(StoreError) in row.text(0) })
    {
      names.append(next)
      last = next
    }
    return names
  }

  private func nextRunAt(domain: String?) throws(StoreError) -> Timestamp? {
    var query = ComposedQuery()
    query.require("r.state = 'scheduled'")
    if let domain { query.require(domain: domain, column: "r.task") }
    let run = try db.all(
      composed: "SELECT r.run_at FROM runs AS r INDEXED BY runs_due \(query.whereClause) ORDER BY r.run_at LIMIT 1",
      query.values
    ) { row throws(StoreError) in row.time(0) }.first
    let schedule = try schedulesByDue(domain: domain, limit: 1).first?.nextAt
    return [run, schedule].compactMap { $0 }.min()
  }

  private func resources(domain: String?) throws(StoreError) -> [String: Double] {
    var query = ComposedQuery()
    query.require("\(Schema.isRun(.running, .waiting, .cancelling, .blocked, .paused, column: "r.state"))")
    query.require("r.state = 'running'")
    query.require("r.resources IS NOT NULL")
    if let domain { query.require(domain: domain, column: "r.task") }
    let rows = try db.all(
      composed: """
        SELECT j.key, SUM(j.value) FROM runs AS r INDEXED BY runs_held, json_each(r.resources) AS j \
        \(query.whereClause) GROUP BY j.key
        """, query.values
    ) { row throws(StoreError) in (row.text(0), row.optionalDouble(1) ?? 0) }
    return Dictionary(rows, uniquingKeysWith: +)
  }

  /// What the audit says about the last minute.
  private func rates(now: Timestamp) throws(StoreError) -> SnapshotView.Rates {
    var rates = SnapshotView.Rates()
    let newest = Int64(try db.integer("SELECT coalesce(max(id), 0) FROM audit"))
    guard newest > 0 else { return rates }
    let start = Timestamp(milliseconds: now.milliseconds - Self.ratesWindowMilliseconds)
    let first = try firstAuditRow(from: start, in: max(1, newest - Self.ratesRowsMax + 1)...newest)
    guard let first else { return rates }
    let since = try db.first("SELECT entered_at FROM audit WHERE id >= ? ORDER BY id LIMIT 1", first) {
      row throws(StoreError) in row.time(0)
    }
    // Cut short by the row limit: the rates are those of the part that was looked at.
    let isCut = first == newest - Self.ratesRowsMax + 1
    let seconds = isCut ? max(1, now.seconds(since: since ?? start)) : Double(Self.ratesWindowMilliseconds) / 1_000
    let rows = try db.all(
      """
      SELECT previous_state IS NULL, new_state, COUNT(*) FROM audit WHERE id >= ? AND entered_at >= ? GROUP BY 1, 2
      """, first, start
    ) { row throws(StoreError) in (row.bool(0), try row.word(1, as: RunState.self), Double(row.int(2))) }
    for (isBirth, state, count) in rows {
      if isBirth { rates.submitted += count / seconds }
      if state == .completed { rates.completed += count / seconds }
      if state.isDeadLetter { rates.failed += count / seconds }
    }
    return rates
  }

  /// The first row entered at `start` or later, by halving: rows are written in the order of time.
  private func firstAuditRow(from start: Timestamp, in range: ClosedRange<Int64>) throws(StoreError) -> Int64? {
    var low = range.lowerBound
    var high = range.upperBound + 1
    while low < high {
      let middle = low + (high - low) / 2
      let entered = try db.first("SELECT entered_at FROM audit WHERE id >= ? ORDER BY id LIMIT 1", middle) {
        row throws(StoreError) in row.time(0)
      }
      if let entered, entered < start { low = middle + 1 } else { high = middle }
    }
    return low > range.upperBound ? nil : low
  }
}
