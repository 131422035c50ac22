import TaskBridgeCore

/// Ready runs that come out of an index in the order of release: those of one group of a task key, or of one priority of
/// it. Read in growing chunks, so that what is not released is hardly read.
struct ReadySource {
  /// One priority, retries or new runs.
  struct Level {
    var priority: Int
    var releaseClass: Int

    /// Before all others.
    static let none = Level(priority: -1, releaseClass: 1)
  }

  /// How a level is read whose runs grow more urgent while they wait.
  struct Waiting {
    var aging: Aging
    var paused: PausedTime
    var now: Timestamp
  }

  /// What is read with one statement; parts follow one another.
  enum Part {
    /// Every level, oldest first.
    case all
    /// A level in the order of submission; then comes the next one.
    case level(Level)
    /// Those of a level that have waited since then, by who waits longest; newest first they are equally urgent, and
    /// those that are less so come next.
    case span(Level, after: Timestamp, through: Timestamp)
  }

  /// Index of its group in the rooms of a ``ReadyMerge``.
  let place: Int
  let group: String?
  private let order: ReleaseOrder
  /// Nil once everything was read.
  private var part: Part?
  /// Only for spans.
  private let waiting: Waiting?
  private(set) var runs: ArraySlice<Run> = []
  private var offset = 0
  private var chunk: Int

  /// More runs may stand in the store than were read.
  var isCut: Bool { part != nil }

  /// - Parameters:
  ///   - part: where to begin.
  ///   - chunk: how many runs to read at first.
  init(place: Int, group: String?, order: ReleaseOrder, part: Part?, waiting: Waiting? = nil, chunk: Int) {
    self.place = place
    self.group = group
    self.order = order
    self.part = part
    self.waiting = waiting
    self.chunk = chunk
  }

  mutating func popFirst() -> Run? { runs.popFirst() }

  /// Reads on when nothing is left of what was read.
  mutating func fill(from transaction: Transaction, _ task: TaskKey, now: Timestamp) throws(StoreError) {
    while runs.isEmpty, let part {
      let read = try transaction.ready(task, group, part, order, limit: chunk, offset: offset, now: now)
      runs = read[...]
      offset += read.count
      if read.count < chunk {
        self.part = try next(after: part, from: transaction, task)
        offset = 0
      }
      chunk *= 2
    }
  }

  private func next(
    after part: Part, from transaction: Transaction, _ task: TaskKey
  ) throws(StoreError) -> Part? {
    switch part {
    case .all: return nil
    case .level(let level): return try transaction.readyLevel(after: level, of: task, group: group).map(Part.level)
    case .span(let level, _, let through):
      guard order == .lifo, let waiting else { return nil }
      return try transaction.nextSpan(after: through, of: task, group, level, waiting)
    }
  }
}

/// Reading ready runs by the index that holds them in the order of release.
extension Transaction {
  /// The most urgent runs of `task` without a group, at most `limit`: one look into the index.
  ///
  /// Runs past their expiry are left to the sweep, which also ends their families.
  func ready(_ task: TaskKey, limit: Int, now: Timestamp) throws(StoreError) -> [Run] {
    try db.all(Self.oldestPlain, task, now, limit) { row throws(StoreError) in try Run(row: row) }
  }

  fileprivate func ready(
    _ task: TaskKey, _ group: String?, _ part: ReadySource.Part, _ order: ReleaseOrder, limit: Int, offset: Int,
    now: Timestamp
  ) throws(StoreError) -> [Run] {
    switch part {
    case .all:
      try db.all(Self.oldestOfGroup, task, group, now, limit, offset) { row throws(StoreError) in try Run(row: row) }
    case .level(let level):
      try db.all(
        order == .fifo ? Self.oldestOfLevel : Self.newestOfLevel, task, group, level.priority, level.releaseClass, now,
        limit, offset
      ) { row throws(StoreError) in try Run(row: row) }
    case .span(let level, let after, let through):
      try db.all(
        order == .fifo ? Self.longestWaiting : Self.leastWaiting, task, group, level.priority, level.releaseClass,
        after, through, now, limit, offset
      ) { row throws(StoreError) in try Run(row: row) }
    }
  }

  /// The next runs of a level that are equally urgent, of those that wait since after `last`; nil when there are none.
  func nextSpan(
    after last: Timestamp, of task: TaskKey, _ group: String?, _ level: ReadySource.Level,
    _ waiting: ReadySource.Waiting
  ) throws(StoreError) -> ReadySource.Part? {
    let since = try db.first(Self.firstWait, task, group, level.priority, level.releaseClass, last) {
      row throws(StoreError) in row.time(0)
    }
    guard let since else { return nil }
    let through = waiting.aging.lastEqual(since, priority: level.priority, paused: waiting.paused, at: waiting.now)
    return .span(level, after: last, through: through)
  }

  /// The next level that has ready runs: one look into the index.
  func readyLevel(
    after level: ReadySource.Level, of task: TaskKey, group: String?
  ) throws(StoreError) -> ReadySource.Level? {
    try db.first(Self.nextLevel, task, group, level.priority, level.releaseClass) { row throws(StoreError) in
      ReadySource.Level(priority: row.int(0), releaseClass: row.int(1))
    }
  }

  static let makeWaitingIndex = Statement.hot(Schema.waitingIndex)
  private static let oldestPlain = Statement.hot(
    """
    SELECT \(Run.columns) FROM runs r INDEXED BY runs_ready WHERE r.state = 'ready' AND r.task = ?
      AND r.group_name IS NULL AND (r.expires_at IS NULL OR r.expires_at > ?)
      ORDER BY r.priority, r.release_class, r.seq LIMIT ?
    """)
  private static let oldestOfGroup = Statement.hot(
    """
    SELECT \(Run.columns) FROM runs r INDEXED BY runs_ready WHERE r.state = 'ready' AND r.task = ?
      AND r.group_name IS ? AND (r.expires_at IS NULL OR r.expires_at > ?)
      ORDER BY r.priority, r.release_class, r.seq LIMIT ? OFFSET ?
    """)
  private static let oldestOfLevel = Statement.hot(
    """
    SELECT \(Run.columns) FROM runs r INDEXED BY runs_ready WHERE r.state = 'ready' AND r.task = ?
      AND r.group_name IS ? AND r.priority = ? AND r.release_class = ? AND (r.expires_at IS NULL OR r.expires_at > ?)
      ORDER BY r.seq LIMIT ? OFFSET ?
    """)
  private static let newestOfLevel = Statement.hot(
    """
    SELECT \(Run.columns) FROM runs r INDEXED BY runs_ready WHERE r.state = 'ready' AND r.task = ?
      AND r.group_name IS ? AND r.priority = ? AND r.release_class = ? AND (r.expires_at IS NULL OR r.expires_at > ?)
      ORDER BY r.seq DESC LIMIT ? OFFSET ?
    """)
  private static let longestWaiting = Statement.hot(
    """
    SELECT \(Run.columns) FROM runs r INDEXED BY runs_waiting WHERE \(ofSpan)
      AND (r.expires_at IS NULL OR r.expires_at > ?) ORDER BY \(since), r.seq LIMIT ? OFFSET ?
    """)
  private static let leastWaiting = Statement.hot(
    """
    SELECT \(Run.columns) FROM runs r INDEXED BY runs_waiting WHERE \(ofSpan)
      AND (r.expires_at IS NULL OR r.expires_at > ?) ORDER BY \(since) DESC, r.seq DESC LIMIT ? OFFSET ?
    """)
  private static let firstWait = Statement.hot(
    """
    SELECT \(since) FROM runs r INDEXED BY runs_waiting WHERE r.state = 'ready' AND r.task = ? AND r.group_name IS ?
      AND r.priority = ? AND r.release_class = ? AND \(since) > ? ORDER BY \(since) LIMIT 1
    """)
  private static let since = Schema.waitsSince(column: "r.")
  private static let ofSpan = """
    r.state = 'ready' AND r.task = ? AND r.group_name IS ? AND r.priority = ? AND r.release_class = ?
      AND \(since) > ? AND \(since) <= ?
    """
  private static let nextLevel = Statement.hot(
    """
    SELECT r.priority, r.release_class FROM runs r INDEXED BY runs_ready WHERE r.state = 'ready' AND r.task = ?
      AND r.group_name IS ? AND (r.priority, r.release_class) > (?, ?)
      ORDER BY r.priority, r.release_class LIMIT 1
    """)
}
