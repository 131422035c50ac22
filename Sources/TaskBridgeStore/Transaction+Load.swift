package import TaskBridgeCore

/// Load samples: one row a task key and instant, from the counters.
extension Transaction {
  /// Writes the samples of `measured`, unless they are there, and removes those from before `keepSince`, at most
  /// ``loadRowsRemovedMax``.
  ///
  /// A task key without active runs has no row; when none has any, one row without a key says that it was measured.
  package func sampleLoad(measured: Timestamp, keepSince: Timestamp) throws(StoreError) {
    let states = LoadSample.pendingStates + LoadSample.queuedStates + LoadSample.runningStates
    let tasks = states.reduce(into: Set<TaskKey>()) { $0.formUnion(self.tasks(with: $1)) }
    func sum(_ task: TaskKey, _ states: [RunState]) -> Int { states.reduce(0) { $0 + runs(of: task, in: $1) } }
    for task in tasks.sorted() {
      try insertSample(
        measured, task.rawValue, sum(task, LoadSample.pendingStates), sum(task, LoadSample.queuedStates),
        sum(task, LoadSample.runningStates))
    }
    if tasks.isEmpty { try insertSample(measured, "", 0, 0, 0) }
    try db.run(
      """
      DELETE FROM load_samples WHERE (measured, task) IN (
        SELECT measured, task FROM load_samples WHERE measured < ? ORDER BY measured LIMIT ?)
      """, keepSince, Self.loadRowsRemovedMax)
  }

  /// More than a minute can add with any number of task keys that fits a store.
  private static let loadRowsRemovedMax = 20_000

  private func insertSample(
    _ measured: Timestamp, _ task: String, _ pending: Int, _ queued: Int, _ running: Int
  ) throws(StoreError) {
    try db.run(
      "INSERT OR IGNORE INTO load_samples (measured, task, pending, queued, running) VALUES (?, ?, ?, ?, ?)", measured,
      task, pending, queued, running)
  }
}

extension ReadTransaction {
  package func load(_ query: LoadQuery) throws(StoreError) -> Page<LoadSample> {
    var conditions = ComposedQuery()
    conditions.require("measured >= ? AND measured <= ?", query.started, query.ended)
    if !query.tasks.isEmpty {
      // The placeholder of an idle minute stays: nothing of any task key was there.
      conditions.require("task IN \(ComposedQuery.places(query.tasks.count + 1))", all: query.tasks + [""])
    }
    let isGrouped = query.grouping == .time
    let isAscending = query.sort == .ascending
    if let parts = query.cursor?.parts, case .integer(let measured)? = parts.first {
      let sign = isAscending ? ">" : "<"
      if isGrouped {
        conditions.require("measured \(sign) ?", measured)
      } else if parts.count == 2, case .text(let task) = parts[1] {
        // Ties go by task key upwards in either direction.
        conditions.require("(measured \(sign) ? OR measured = ? AND task > ?)", measured, measured, task)
      }
    }
    let order = isAscending ? "ASC" : "DESC"
    let sampleColumns = isGrouped ? "'', sum(pending), sum(queued), sum(running)" : "task, pending, queued, running"
    let rows = try db.all(
      composed: """
        SELECT measured, \(sampleColumns) FROM load_samples
        \(conditions.whereClause) \(isGrouped ? "GROUP BY measured" : "") ORDER BY measured \(order)\(isGrouped ? "" : ", task") LIMIT ?
        """, conditions.values + [query.limit + 1]
    ) { row throws(StoreError) in
      LoadSample(
        measured: row.time(0), task: TaskKey(row.text(1)), pending: row.int(2), queued: row.int(3), running: row.int(4))
    }
    return Page(rows, limit: query.limit) { sample in
      let time = PageCursor.Part.integer(sample.measured.milliseconds)
      return PageCursor(isGrouped ? [time] : [time, .text(sample.task?.rawValue ?? "")]).text(scope: query.scope)
    }
  }
}
