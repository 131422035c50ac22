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

  /// Index of its group in the rooms of a ``ReadyMerge``.
  let place: Int
  let group: String?
  /// Nil: all levels, oldest first.
  private(set) var level: Level?
  private let order: ReleaseOrder
  /// Goes on with the next level when one is used up.
  private let walks: Bool
  private(set) var runs: ArraySlice<Run> = []
  /// More runs may stand in the store than were read.
  private(set) var isCut = true
  private var offset = 0
  private var chunk: Int

  /// - Parameters:
  ///   - level: where to begin, or the only one; needed unless all runs come oldest first.
  ///   - chunk: how many runs to read at first.
  init(place: Int, group: String?, level: Level? = nil, order: ReleaseOrder, walks: Bool, chunk: Int) {
    self.place = place
    self.group = group
    self.level = level
    self.order = order
    self.walks = walks
    self.chunk = chunk
  }

  mutating func popFirst() -> Run? { runs.popFirst() }

  /// Reads on when nothing is left of what was read.
  mutating func fill(from transaction: Transaction, _ task: TaskKey, now: Timestamp) throws(StoreError) {
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
  private static let nextLevel = Statement.hot(
    """
    SELECT r.priority, r.release_class FROM runs r INDEXED BY runs_ready WHERE r.state = 'ready' AND r.task = ?
      AND r.group_name IS ? AND (r.priority, r.release_class) > (?, ?)
      ORDER BY r.priority, r.release_class LIMIT 1
    """)
}
