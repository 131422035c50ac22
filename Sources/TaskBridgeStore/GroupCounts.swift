import TaskBridgeCore

/// How many runs of each group and task key are ready or hold a slot: the table `group_counts` in memory, as of the
/// last commit. Runs without a group are not in it.
///
/// As large as the number of groups with such runs, not as the number of groups there ever were.
struct GroupCounts {
  struct Key: Hashable {
    var group: String
    var task: TaskKey
    var state: RunState
  }

  private struct Total: Hashable {
    var group: String
    var state: RunState
  }

  private var runs: [Key: Int] = [:]
  private var totals: [Total: Int] = [:]
  private var ready: [TaskKey: Set<String>] = [:]
  /// Runs of each task key that are in any group.
  private var grouped: [RunCounts.Key: Int] = [:]

  init() {}

  /// Reads the table.
  init(_ db: Connection) throws(StoreError) {
    let rows = try db.all("SELECT group_name, task, state, runs FROM group_counts") { row throws(StoreError) in
      (Key(group: row.text(0), task: try row.task(1), state: try row.word(2, as: RunState.self)), row.int(3))
    }
    for (key, count) in rows { add([key: count]) }
  }

  /// Whether runs in `state` are counted: the ready ones, and those that hold a slot of a limit.
  static func counts(_ state: RunState) -> Bool { state == .ready || slots.contains(state) }

  /// States that hold a slot of a concurrency limit.
  static let slots: [RunState] = [.queued, .launched, .running, .cancelling]

  subscript(key: Key) -> Int { runs[key] ?? 0 }

  func total(of group: String, in state: RunState) -> Int { totals[Total(group: group, state: state)] ?? 0 }

  func grouped(_ task: TaskKey, in state: RunState) -> Int { grouped[RunCounts.Key(task: task, state: state)] ?? 0 }

  /// Groups that have ready runs of `task`.
  func readyGroups(of task: TaskKey) -> Set<String> { ready[task] ?? [] }

  /// Takes over what a transaction has committed.
  mutating func add(_ deltas: [Key: Int]) {
    for (key, delta) in deltas where delta != 0 {
      let count = (runs[key] ?? 0) + delta
      runs[key] = count == 0 ? nil : count
      let total = Total(group: key.group, state: key.state)
      let sum = (totals[total] ?? 0) + delta
      totals[total] = sum == 0 ? nil : sum
      let place = RunCounts.Key(task: key.task, state: key.state)
      let inTask = (grouped[place] ?? 0) + delta
      grouped[place] = inTask == 0 ? nil : inTask
      guard key.state == .ready else { continue }
      if count > 0 {
        ready[key.task, default: []].insert(key.group)
      } else {
        ready[key.task]?.remove(key.group)
        if ready[key.task]?.isEmpty ?? false { ready[key.task] = nil }
      }
    }
  }
}

extension Transaction {
  /// Counts `run` into or out of `state`.
  func count(_ run: Run, _ state: RunState, _ delta: Int) {
    count(run.task, state, delta)
    guard let group = run.group, GroupCounts.counts(state) else { return }
    groupDeltas[GroupCounts.Key(group: group, task: run.task, state: state), default: 0] += delta
  }

  /// Runs of the task key that hold a slot of its concurrency limit now.
  func slotsInUse(by task: TaskKey) -> Int { GroupCounts.slots.reduce(0) { $0 + runs(of: task, in: $1) } }

  /// Runs of the group that hold a slot of its concurrency limit now.
  func slotsInUse(by group: String) -> Int {
    var sum = GroupCounts.slots.reduce(0) { $0 + groups.total(of: group, in: $1) }
    for (key, delta) in groupDeltas where key.group == group && key.state != .ready { sum += delta }
    return sum
  }

  /// Runs of `task` in `state` that are in any group, now.
  func groupedRuns(of task: TaskKey, in state: RunState) -> Int {
    var sum = groups.grouped(task, in: state)
    for (key, delta) in groupDeltas where key.task == task && key.state == state { sum += delta }
    return sum
  }

  /// Groups that have ready runs of `task` now, in order.
  func readyGroups(of task: TaskKey) -> [String] {
    var names = groups.readyGroups(of: task)
    if names.isEmpty && groupDeltas.isEmpty { return [] }
    for (key, delta) in groupDeltas where key.task == task && key.state == .ready && delta != 0 {
      if groups[key] + delta > 0 { names.insert(key.group) } else { names.remove(key.group) }
    }
    return names.sorted()
  }

  func writeGroupCounts() throws(StoreError) {
    for (key, delta) in groupDeltas where delta != 0 {
      if groups[key] + delta == 0 {
        try db.run(
          "DELETE FROM group_counts WHERE group_name = ? AND task = ? AND state = ?", key.group, key.task, key.state)
      } else {
        try db.run(Self.addToGroupCount, key.group, key.task, key.state, delta)
      }
    }
  }

  private static let addToGroupCount = Statement.hot(
    """
    INSERT INTO group_counts (group_name, task, state, runs) VALUES (?1, ?2, ?3, ?4)
      ON CONFLICT (group_name, task, state) DO UPDATE SET runs = runs + ?4
    """)
}
