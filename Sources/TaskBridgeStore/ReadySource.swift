import TaskBridgeCore

/// Ready runs that come out of the index in the order of release: those of one group of a task key, or of one priority of
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

  /// Index of its group in the rooms of a ``ReadyMerge``.
  let place: Int
  let group: String?
  /// Nil: all levels, oldest first.
  private(set) var level: Level?
  private let order: ReleaseOrder
  /// Goes on with the next level when one is used up.
  private let walks: Bool
  /// Nil: inside a level in the order of submission; else by who waits longest.
  private let waiting: Waiting?
  /// Newest first, the runs of a level that are equally urgent are read together: those that wait since then.
  private var span: (after: Timestamp, through: Timestamp)?
  private(set) var runs: ArraySlice<Run> = []
  /// More runs may stand in the store than were read.
  private(set) var isCut = true
  private var offset = 0
  private var chunk: Int

  /// - Parameters:
  ///   - level: where to begin, or the only one; needed unless all runs come oldest first.
  ///   - chunk: how many runs to read at first.
  init(
    place: Int, group: String?, level: Level? = nil, order: ReleaseOrder, walks: Bool, waiting: Waiting? = nil,
    chunk: Int
  ) {
    self.place = place
    self.group = group
    self.level = level
    self.order = order
    self.walks = walks
    self.waiting = waiting
    self.chunk = chunk
  }

  mutating func popFirst() -> Run? { runs.popFirst() }

  /// Reads on when nothing is left of what was read.
  mutating func fill(from transaction: Transaction, _ task: TaskKey, now: Timestamp) throws(StoreError) {
    if let waiting, let level {
      try fill(level, waiting, from: transaction, task)
    } else {
      try fillInOrder(from: transaction, task, now: now)
    }
  }

  private mutating func fill(
    _ level: Level, _ waiting: Waiting, from transaction: Transaction, _ task: TaskKey
  ) throws(StoreError) {
    while runs.isEmpty, isCut {
      if order == .lifo, span == nil { span = try nextSpan(after: .earliest, level, waiting, from: transaction, task) }
      let bounds = span ?? (after: Timestamp.earliest, through: Timestamp.latest)
      let read = try transaction.ready(
        task, group, level, order, within: bounds, limit: chunk, offset: offset, now: waiting.now)
      runs = read[...]
      offset += read.count
      if read.count < chunk {
        span = order == .lifo ? try nextSpan(after: bounds.through, level, waiting, from: transaction, task) : nil
        isCut = span != nil
        offset = 0
      }
      chunk *= 2
    }
  }

  /// The next runs that are equally urgent; nil when there are none.
  private func nextSpan(
    after last: Timestamp, _ level: Level, _ waiting: Waiting, from transaction: Transaction, _ task: TaskKey
  ) throws(StoreError) -> (after: Timestamp, through: Timestamp)? {
    guard let since = try transaction.longestWait(after: last, of: task, group, level) else { return nil }
    return (last, waiting.aging.lastEqual(since, priority: level.priority, paused: waiting.paused, at: waiting.now))
  }

  private mutating func fillInOrder(
    from transaction: Transaction, _ task: TaskKey, now: Timestamp
  ) throws(StoreError) {
    while runs.isEmpty, isCut {
      let read = try transaction.ready(task, group, level, order, limit: chunk, offset: offset, now: now)
      runs = read[...]
      offset += read.count
      if read.count < chunk {
        let next: Level? =
          if walks, let level { try transaction.readyLevel(after: level, of: task, group: group) } else { nil }
        isCut = next != nil
        level = next
        offset = 0
      }
      chunk *= 2
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
    _ task: TaskKey, _ group: String?, _ level: ReadySource.Level?, _ order: ReleaseOrder, limit: Int, offset: Int,
    now: Timestamp
  ) throws(StoreError) -> [Run] {
    guard let level else {
      return try db.all(Self.oldestOfGroup, task, group, now, limit, offset) { row throws(StoreError) in
        try Run(row: row)
      }
    }
    let statement = order == .fifo ? Self.oldestOfLevel : Self.newestOfLevel
    return try db.all(statement, task, group, level.priority, level.releaseClass, now, limit, offset) {
      row throws(StoreError) in try Run(row: row)
    }
  }

  /// Ready runs of a level by who waits longest, or by who waits least long.
  fileprivate func ready(
    _ task: TaskKey, _ group: String?, _ level: ReadySource.Level, _ order: ReleaseOrder,
    within span: (after: Timestamp, through: Timestamp), limit: Int, offset: Int, now: Timestamp
  ) throws(StoreError) -> [Run] {
    let statement = order == .fifo ? Self.longestWaiting : Self.leastWaiting
    return try db.all(
      statement, task, group, level.priority, level.releaseClass, span.after, span.through, now, limit, offset
    ) { row throws(StoreError) in try Run(row: row) }
  }

  /// Since when the ready run of a level waits that waits longest, of those that wait since after `last`.
  fileprivate func longestWait(
    after last: Timestamp, of task: TaskKey, _ group: String?, _ level: ReadySource.Level
  ) throws(StoreError) -> Timestamp? {
    try db.first(Self.firstWait, task, group, level.priority, level.releaseClass, last) { row throws(StoreError) in
      row.time(0)
    }
  }

  /// The next level that has ready runs: one look into the index.
  func readyLevel(
    after level: ReadySource.Level, of task: TaskKey, group: String?
  ) throws(StoreError) -> ReadySource.Level? {
    try db.first(Self.nextLevel, task, group, level.priority, level.releaseClass) { row throws(StoreError) in
      ReadySource.Level(priority: row.int(0), releaseClass: row.int(1))
    }
  }

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
