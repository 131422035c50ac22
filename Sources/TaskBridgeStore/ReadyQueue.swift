import TaskBridgeCore

/// The ready runs of one task key during a release, and how many of them its gates let through.
struct ReadyQueue {
  let task: TaskKey
  let policy: TaskPolicy
  /// Groups that have ready runs of the task key; mostly none.
  let groups: [String]
  /// What is left of queue bound, concurrency limit and rate limit of the task key; above 0.
  var room: Int
}

/// Which runs a release takes: the gates of task keys and groups, then the order.
extension Transaction {
  /// The queue of `task`; nil when one of its own gates is closed.
  func open(_ task: TaskKey, _ policy: TaskPolicy, now: Timestamp) -> ReadyQueue? {
    if controls.isPaused(task, at: now) { return nil }
    var room = policy.queueBound - runs(of: task, in: .queued) - runs(of: task, in: .launched)
    if let limit = policy.concurrencyLimit {
      let free = limit - slotsInUse(by: task)
      // Also when something is let through: what is left over waits for a slot.
      waitsForSlots = true
      room = min(room, free)
    }
    guard room > 0 else { return nil }
    if let rate = policy.rate { room = min(room, tokens(of: .task(task), rate, now: now)) }
    guard room > 0 else { return nil }
    return ReadyQueue(task: task, policy: policy, groups: readyGroups(of: task), room: room)
  }

  /// Whole tokens; remembers when the next one comes.
  private func tokens(of subject: ControlSubject, _ rate: RateLimit, now: Timestamp) -> Int {
    let bucket = controls.bucket(of: subject, limit: rate, at: now)
    if let stored = controls.buckets[subject], stored.at > now {
      // The clock was set back: it fills on from here, not from where the clock had been.
      controls.buckets[subject] = bucket
      changedBuckets.insert(subject)
    }
    // What is there is about to be taken.
    let rest = bucket.whole < 1 ? bucket : TokenBucket(tokens: 0, at: now)
    let at = rest.nextToken(by: rate)
    nextToken = nextToken.map { min($0, at) } ?? at
    return bucket.whole
  }

  func takeTokens(for run: Run, policy: TaskPolicy, now: Timestamp) {
    if let rate = policy.rate { takeToken(of: .task(run.task), rate, now: now) }
    if let group = run.group, let rate = controls.groups[group]?.rate { takeToken(of: .group(group), rate, now: now) }
  }

  private func room(of group: String, now: Timestamp) -> Int {
    if controls.pause(of: .group(group), at: now) != nil { return 0 }
    guard let settings = controls.groups[group] else { return .max }
    var room = Int.max
    if let limit = settings.concurrencyLimit {
      waitsForSlots = true
      room = limit - slotsInUse(by: group)
    }
    if room > 0, let rate = settings.rate { room = min(room, tokens(of: .group(group), rate, now: now)) }
    return max(0, room)
  }

  // MARK: The order

  /// The most urgent runs of `queue`, in order, at most `limit`.
  ///
  /// A task key without grouped runs is one index scan. With groups each has a scan of its own, and the heads are merged:
  /// a group that may release nothing then costs nothing, however many of its runs stand in front.
  /// - Parameter groups: what is left of the limits of groups in this release, looked up once for each.
  /// - Returns: the runs, and whether asking again may find more.
  func mostUrgent(
    of queue: ReadyQueue, limit: Int, groups: inout [String: Int], now: Timestamp
  ) throws(StoreError) -> (runs: [Run], hasMore: Bool) {
    guard !queue.groups.isEmpty else {
      let runs = try ready(queue, group: nil, limit: limit, now: now)
      return (runs, runs.count == limit)
    }
    var heads = ReadyHeads(order: queue.policy.order)
    let chunk = max(2, 2 * limit / (queue.groups.count + 1))
    heads.add(try ready(queue, group: nil, limit: min(limit, chunk), now: now), asked: min(limit, chunk), room: .max)
    for group in queue.groups {
      let room = groups[group] ?? room(of: group, now: now)
      groups[group] = room
      let wanted = min(limit, chunk, room)
      if wanted > 0 { heads.add(try ready(queue, group: group, limit: wanted, now: now), asked: wanted, room: room) }
    }
    let runs = heads.merged(limit: limit)
    for run in runs { if let group = run.group, let room = groups[group], room < .max { groups[group] = room - 1 } }
    return (runs, !runs.isEmpty && (runs.count == limit || heads.isCut))
  }

  /// Runs past their expiry are left to the sweep, which also ends their families.
  private func ready(
    _ queue: ReadyQueue, group: String?, limit: Int, now: Timestamp
  ) throws(StoreError) -> [Run] {
    switch queue.policy.order {
    case .fifo:
      guard let group else {
        return try db.all(Self.oldestPlain, queue.task, now, limit) { row throws(StoreError) in try Run(row: row) }
      }
      return try db.all(Self.oldestOfGroup, queue.task, group, now, limit) { row throws(StoreError) in
        try Run(row: row)
      }
    case .lifo: return try newest(queue.task, group: group, limit: limit, now: now)
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
      AND r.group_name = ? AND (r.expires_at IS NULL OR r.expires_at > ?)
      ORDER BY r.priority, r.release_class, r.seq LIMIT ?
    """)

  /// Newest first inside a priority: the index runs the other way there, so it is read by (priority, class), at most 512.
  private func newest(_ task: TaskKey, group: String?, limit: Int, now: Timestamp) throws(StoreError) -> [Run] {
    var runs: [Run] = []
    var place = (priority: -1, releaseClass: 1)
    while runs.count < limit,
      let next = try db.first(
        """
        SELECT r.priority, r.release_class FROM runs r INDEXED BY runs_ready WHERE r.state = 'ready' AND r.task = ?
          AND r.group_name IS ? AND (r.priority, r.release_class) > (?, ?)
          ORDER BY r.priority, r.release_class LIMIT 1
        """, task, group, place.priority, place.releaseClass,
        map: { row throws(StoreError) in (priority: row.int(0), releaseClass: row.int(1)) })
    {
      place = next
      runs += try db.all(
        """
        SELECT \(Run.columns) FROM runs r INDEXED BY runs_ready WHERE r.state = 'ready' AND r.task = ?
          AND r.group_name IS ? AND r.priority = ? AND r.release_class = ?
          AND (r.expires_at IS NULL OR r.expires_at > ?) ORDER BY r.seq DESC LIMIT ?
        """, task, group, next.priority, next.releaseClass, now, limit - runs.count
      ) { row throws(StoreError) in try Run(row: row) }
    }
    return runs
  }
}

/// The first ready runs of several groups, merged into one order.
struct ReadyHeads {
  private struct Source {
    var runs: ArraySlice<Run>
    /// More of it may stand in the store than was read.
    var isCut: Bool
  }

  private let order: ReleaseOrder
  private var sources: [Source] = []
  /// Merging stopped at a source that was not read to its end.
  private(set) var isCut = false

  init(order: ReleaseOrder) { self.order = order }

  /// - Parameters:
  ///   - asked: how many runs were asked for.
  ///   - room: how many the source may release; one that was read up to that has no more to give.
  mutating func add(_ runs: [Run], asked: Int, room: Int) {
    if runs.isEmpty { return }
    sources.append(Source(runs: runs[...], isCut: runs.count == asked && asked < room))
  }

  mutating func merged(limit: Int) -> [Run] {
    var merged: [Run] = []
    while merged.count < limit {
      var best: (index: Int, run: Run)?
      for index in sources.indices {
        guard let head = sources[index].runs.first else {
          if sources[index].isCut {
            isCut = true
            return merged
          }
          continue
        }
        if best.map({ isBefore(head, $0.run) }) ?? true { best = (index, head) }
      }
      guard let best else { return merged }
      sources[best.index].runs.removeFirst()
      merged.append(best.run)
    }
    return merged
  }

  private func isBefore(_ left: Run, _ right: Run) -> Bool {
    if left.priority != right.priority { return left.priority < right.priority }
    if left.isRetry != right.isRetry { return left.isRetry }
    return order == .fifo ? left.sequence < right.sequence : left.sequence > right.sequence
  }
}
