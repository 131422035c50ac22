import TaskBridgeCore

/// How many runs of each task key are in each state: the table `counts` in memory, as of the last commit.
///
/// As large as the number of task keys, whatever the number of runs.
struct RunCounts {
  struct Key: Hashable {
    var task: TaskKey
    var state: RunState
  }

  private var runs: [Key: Int] = [:]
  private var tasks: [RunState: Set<TaskKey>] = [:]

  init() {}

  /// Reads the table.
  init(_ db: Connection) throws(StoreError) {
    let rows = try db.all("SELECT task, state, runs FROM counts") { row throws(StoreError) in
      (Key(task: try row.task(0), state: try row.word(1, as: RunState.self)), row.int(2))
    }
    for (key, count) in rows { add([key: count]) }
  }

  subscript(task: TaskKey, state: RunState) -> Int { runs[Key(task: task, state: state)] ?? 0 }

  func tasks(with state: RunState) -> Set<TaskKey> { tasks[state] ?? [] }

  func total(in states: some Sequence<RunState>) -> Int {
    states.reduce(0) { sum, state in tasks(with: state).reduce(sum) { $0 + self[$1, state] } }
  }

  /// Takes over what a transaction has committed.
  mutating func add(_ deltas: [Key: Int]) {
    for (key, delta) in deltas where delta != 0 {
      let count = (runs[key] ?? 0) + delta
      runs[key] = count == 0 ? nil : count
      if count > 0 {
        tasks[key.state, default: []].insert(key.task)
      } else {
        tasks[key.state]?.remove(key.task)
      }
    }
  }
}
