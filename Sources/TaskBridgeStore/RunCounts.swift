import TaskBridgeCore

/// What the writer knows without reading: as of the last commit.
struct CommittedMemory {
  var counts = RunCounts()
  var groups = GroupCounts()
  var controls = Controls()
  /// True until a release has looked.
  var waitsForSlots = true
  var turn = ReleaseTurn()

  init() {}

  /// Reads the tables.
  init(_ db: Connection) throws(StoreError) {
    counts = try RunCounts(db)
    groups = try GroupCounts(db)
    controls = try Controls(db)
  }

  /// Takes over what a transaction has committed.
  mutating func add(_ changes: CommittedChanges) {
    counts.add(changes.deltas)
    groups.add(changes.groupDeltas)
    waitsForSlots = changes.waitsForSlots
    turn = changes.turn
    if let changed = changes.controls { controls = changed }
  }
}

/// What outlives a transaction. It holds no part of ``CommittedMemory``, which is then changed in place.
struct CommittedChanges {
  var effects: CommitEffects
  var deltas: [RunCounts.Key: Int]
  var groupDeltas: [GroupCounts.Key: Int]
  var backlogDelta: Int
  var waitsForSlots: Bool
  var turn: ReleaseTurn
  /// Nil when they did not change.
  var controls: Controls?

  init(_ transaction: Transaction) {
    effects = transaction.effects
    deltas = transaction.deltas
    groupDeltas = transaction.groupDeltas
    backlogDelta = transaction.backlogDelta
    waitsForSlots = transaction.waitsForSlots
    turn = transaction.turn
    controls = transaction.changesControls ? transaction.controls : nil
  }
}

/// How many runs of each task key are in each state: the table `counts` in memory, as of the last commit.
///
/// As large as the number of task keys, whatever the number of runs.
struct RunCounts {
  struct Key: Hashable {
    var task: TaskKey
    var state: RunState
  }

  private var runs: [Key: Int] = [:]
  /// In order: the release asks for them many times a second, while few come and go.
  private var tasks: [RunState: [TaskKey]] = [:]

  init() {}

  /// Reads the table.
  init(_ db: Connection) throws(StoreError) {
    let rows = try db.all("SELECT task, state, runs FROM counts") { row throws(StoreError) in
      (Key(task: try row.task(0), state: try row.word(1, as: RunState.self)), row.int(2))
    }
    for (key, count) in rows { add([key: count]) }
  }

  subscript(task: TaskKey, state: RunState) -> Int { runs[Key(task: task, state: state)] ?? 0 }

  /// Task keys that have runs in `state`, in order.
  func tasks(with state: RunState) -> [TaskKey] { tasks[state] ?? [] }

  func total(in states: some Sequence<RunState>) -> Int {
    states.reduce(0) { sum, state in tasks(with: state).reduce(sum) { $0 + self[$1, state] } }
  }

  /// Takes over what a transaction has committed.
  mutating func add(_ deltas: [Key: Int]) {
    for (key, delta) in deltas where delta != 0 {
      let count = (runs[key] ?? 0) + delta
      runs[key] = count == 0 ? nil : count
      if (count > 0) != (count - delta > 0) { tasks[key.state, default: []].toggle(key.task) }
    }
  }
}

extension [TaskKey] {
  /// Puts `key` into its place of a list in order, or takes it out.
  mutating func toggle(_ key: TaskKey) {
    var (low, high) = (startIndex, endIndex)
    while low < high {
      let middle = (low + high) / 2
      if self[middle] < key { low = middle + 1 } else { high = middle }
    }
    if low < endIndex, self[low] == key { remove(at: low) } else { insert(key, at: low) }
  }
}
