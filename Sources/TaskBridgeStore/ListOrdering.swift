package import TaskBridgeCore

/// What the settings of task keys change in the order of release, for lists of runs.
package struct ListOrdering: Sendable {
  /// A task key whose waiting runs grow more urgent.
  package struct AgingTask: Sendable {
    package var task: TaskKey
    package var aging: Aging
    package var paused: PausedTime
    /// Of groups that have been paused themselves: their pauses and those above.
    package var groups: [(name: String, paused: PausedTime)]

    package init(task: TaskKey, aging: Aging, paused: PausedTime, groups: [(name: String, paused: PausedTime)]) {
      self.task = task
      self.aging = aging
      self.paused = paused
      self.groups = groups
    }
  }

  /// The instant all ages are of; the pages of one list keep it.
  package var now: Timestamp
  /// Task keys whose runs of one priority are released newest first.
  package var newestFirst: [TaskKey] = []
  package var aging: [AgingTask] = []

  package init(now: Timestamp) { self.now = now }

  /// The effective priority of runs `r`, and the values of its `?`.
  var priority: (sql: String, values: [any Bindable]) {
    if aging.isEmpty { return ("r.priority", []) }
    var values: [any Bindable] = []
    let cases = aging.map { entry -> String in
      values += [entry.task, now]
      let paused = pausedTime(entry, &values)
      values += [entry.aging.graceSeconds * 1_000, entry.aging.intervalSeconds * 1_000, entry.aging.ceiling]
      return
        "WHEN ? THEN min(r.priority, max(r.priority - max(0, \(Self.at) - \(Self.since) - \(paused) - ?) / ?, ?))"
    }
    return ("CASE r.task \(cases.joined(separator: " ")) ELSE r.priority END", values)
  }

  /// Since when runs `r` wait, where that decides among equally urgent ones: newest first the other way round.
  var waitsSince: (sql: String, values: [any Bindable])? {
    if aging.isEmpty { return nil }
    let cases = aging.map { "WHEN ? THEN \(newestFirst.contains($0.task) ? "-" : "")\(Self.since)" }
    return ("CASE r.task \(cases.joined(separator: " ")) ELSE 0 END", aging.map { $0.task as any Bindable })
  }

  /// As `Run.waitsSince` and `Run.effectivePriority` have it.
  private static let since = Schema.waitsSince(column: "r.")
  private static let at = "coalesce(r.queued_at, r.finished_at, r.paused_at, ?)"

  private func pausedTime(_ entry: AgingTask, _ values: inout [any Bindable]) -> String {
    if entry.groups.isEmpty { return sum(entry.paused, &values) }
    let cases = entry.groups.map { group -> String in
      values.append(group.name)
      return "WHEN ? THEN \(sum(group.paused, &values))"
    }
    return "CASE r.group_name \(cases.joined(separator: " ")) ELSE \(sum(entry.paused, &values)) END"
  }

  private func sum(_ paused: PausedTime, _ values: inout [any Bindable]) -> String {
    let parts = paused.intervals.map { interval -> String in
      values += [interval.end, now, interval.start]
      return "max(0, min(?, \(Self.at)) - max(?, \(Self.since)))"
    }
    return parts.isEmpty ? "0" : "(\(parts.joined(separator: " + ")))"
  }

  /// The effective priority of one run, as ``priority`` has it.
  func priority(of run: Run) -> Int {
    guard let entry = aging.first(where: { $0.task == run.task }) else { return run.priority }
    let paused = entry.groups.first { $0.name == run.group }?.paused ?? entry.paused
    return run.effectivePriority(entry.aging, paused: paused, at: now)
  }

  /// What ``waitsSince`` is for one run.
  func waitsSince(_ run: Run) -> Int64 {
    guard aging.contains(where: { $0.task == run.task }) else { return 0 }
    return newestFirst.contains(run.task) ? -run.waitsSince.milliseconds : run.waitsSince.milliseconds
  }

  /// The time of the first page, of a cursor ``RunSort/position(of:ordering:)`` made.
  package static func time(of cursor: PageCursor?, sort: RunSort) -> Timestamp? {
    let count = sort == .release ? 5 : 3
    guard sort == .release || sort == .priority, let parts = cursor?.parts, parts.count == count,
      case .integer(let time) = parts[count - 1]
    else { return nil }
    return Timestamp(milliseconds: time)
  }
}
