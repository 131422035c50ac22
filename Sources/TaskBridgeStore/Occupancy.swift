package import TaskBridgeCore

/// Whose ready runs something holds back: all of these task keys and all of these groups.
package struct HeldSet: Sendable, Equatable {
  package var tasks: [TaskKey] = []
  package var groups: [String] = []

  package init(tasks: [TaskKey] = [], groups: [String] = []) {
    self.tasks = tasks
    self.groups = groups
  }

  var isEmpty: Bool { tasks.isEmpty && groups.isEmpty }
}

/// How full the limits are for the ready runs of a page, of the instant of its read.
package struct OccupancyTable: Sendable {
  struct Place: Hashable {
    var task: TaskKey
    var group: String?
  }

  fileprivate(set) var places: [Place: Occupancy] = [:]

  package init() {}

  /// Nil for a run that was not among those asked for, or is not ready.
  package subscript(run: Run) -> Occupancy? {
    run.state == .ready ? places[Place(task: run.task, group: run.group)] : nil
  }
}

extension ReadTransaction {
  /// How full the limits are for those of `runs` that are ready.
  package func occupancy(of runs: some Sequence<Run>) throws(StoreError) -> OccupancyTable {
    var table = OccupancyTable()
    for run in runs where run.state == .ready {
      let place = OccupancyTable.Place(task: run.task, group: run.group)
      if table.places[place] == nil { table.places[place] = try occupancy(task: run.task, group: run.group) }
    }
    return table
  }

  package func occupancy(task: TaskKey, group: String?) throws(StoreError) -> Occupancy {
    var occupancy = Occupancy()
    let counts = try db.all("SELECT state, runs FROM counts WHERE task = ?", task) { row throws(StoreError) in
      (try row.word(0, as: RunState.self), row.int(1))
    }
    for (state, runs) in counts {
      if state == .queued || state == .launched { occupancy.taskUnclaimed += runs }
      if GroupCounts.slots.contains(state) { occupancy.taskInUse += runs }
    }
    if let group {
      occupancy.groupInUse = try db.integer(
        "SELECT coalesce(sum(runs), 0) FROM group_counts WHERE group_name = ? AND state <> 'ready'", group)
    }
    return occupancy
  }

  /// Groups that have runs which are ready or hold a slot, with the counts by state.
  package func groupCounts() throws(StoreError) -> [String: [RunState: Int]] {
    let rows = try db.all("SELECT group_name, state, sum(runs) FROM group_counts GROUP BY group_name, state") {
      row throws(StoreError) in (row.text(0), try row.word(1, as: RunState.self), row.int(2))
    }
    var counts: [String: [RunState: Int]] = [:]
    for (group, state, runs) in rows { counts[group, default: [:]][state] = runs }
    return counts
  }

  /// What waits in each task key that ever had a run: the queue as workers will see it.
  package func queueStatus() throws(StoreError) -> [QueueStatusView] {
    var items: [QueueStatusView] = []
    for line in try taskLines(domain: nil) {
      var item = QueueStatusView(task: line.key)
      item.ready = line.counts[.ready] ?? 0
      let unclaimed = (line.counts[.queued] ?? 0) + (line.counts[.launched] ?? 0)
      item.count = item.ready + unclaimed
      if item.ready > 0, let head = try readyHead(line.key) {
        item.longestQueued = head.since
        item.highestPriority = head.priority
      }
      if unclaimed > 0, let head = try unclaimedHead(line.key) {
        item.longestQueued = item.longestQueued.map { min($0, head.since) } ?? head.since
        item.highestPriority = item.highestPriority.map { min($0, head.priority) } ?? head.priority
      }
      items.append(item)
    }
    return items
  }

  /// At most `queue_bound` runs are read.
  private func unclaimedHead(_ task: TaskKey) throws(StoreError) -> (since: Timestamp, priority: Int)? {
    let head = try db.first(
      """
      SELECT min(max(created_at, coalesce(run_at, created_at))), min(priority) FROM runs INDEXED BY runs_unclaimed
        WHERE task = ? AND \(Schema.isRun(.queued, .launched))
      """, task
    ) { row throws(StoreError) in row.optionalTime(0).map { (since: $0, priority: row.int(1)) } }
    return head ?? nil
  }
}

extension Transaction {
  /// How full the limits are for `run`, as of this transaction.
  package func occupancy(of run: Run) -> Occupancy {
    var occupancy = Occupancy()
    occupancy.taskUnclaimed = runs(of: run.task, in: .queued) + runs(of: run.task, in: .launched)
    occupancy.taskInUse = slotsInUse(by: run.task)
    occupancy.groupInUse = run.group.map { slotsInUse(by: $0) } ?? 0
    return occupancy
  }
}
