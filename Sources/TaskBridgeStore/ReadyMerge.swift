import TaskBridgeCore

/// The ready runs of one task key in the order of release, merged out of those of its groups: a group that may release
/// nothing costs nothing, however many of its runs stand in front.
struct ReadyMerge {
  /// What waiting changes in the order.
  struct Waiting {
    var aging: Aging
    var now: Timestamp
    /// For each place.
    var paused: [PausedTime]
  }

  private typealias Rank = (priority: Int, releaseClass: Int, since: Int64, place: Int64)

  private let order: ReleaseOrder
  private let waiting: Waiting?
  private(set) var sources: [ReadySource]
  /// How many runs each place (the runs without a group, then each group) may release.
  var rooms: [Int]
  private var ranks: [Rank?] = []

  init(order: ReleaseOrder, waiting: Waiting?, sources: [ReadySource], rooms: [Int]) {
    self.order = order
    self.waiting = waiting
    self.sources = sources
    self.rooms = rooms
  }

  mutating func fill(from transaction: Transaction, _ task: TaskKey, now: Timestamp) throws(StoreError) {
    for index in sources.indices { try sources[index].fill(from: transaction, task, now: now) }
  }

  /// - Returns: the next runs in order, fewer than `limit` only when there are no more.
  mutating func take(
    _ limit: Int, from transaction: Transaction, _ task: TaskKey, now: Timestamp
  ) throws(StoreError) -> [Run] {
    ranks = sources.map(headRank)
    var released: [Run] = []
    while released.count < limit {
      var next: (index: Int, rank: Rank)?
      for index in ranks.indices {
        guard let rank = ranks[index], rooms[sources[index].place] > 0 else { continue }
        if next.map({ rank < $0.rank }) ?? true { next = (index, rank) }
      }
      guard let index = next?.index, let run = sources[index].popFirst() else { break }
      released.append(run)
      rooms[sources[index].place] -= 1
      try sources[index].fill(from: transaction, task, now: now)
      ranks[index] = headRank(sources[index])
    }
    return released
  }

  private func headRank(_ source: ReadySource) -> Rank? {
    guard let run = source.runs.first else { return nil }
    var (priority, since) = (run.priority, Int64(0))
    if let waiting {
      let age = run.age(at: waiting.now, paused: waiting.paused[source.place])
      priority = waiting.aging.effective(priority, age: age)
      since = run.waitsSince.milliseconds
    }
    let releaseClass = run.isRetry ? 0 : 1
    return order == .fifo
      ? (priority, releaseClass, since, run.sequence) : (priority, releaseClass, -since, -run.sequence)
  }
}

extension Transaction {
  /// The most urgent runs of `queue`, in order, at most `limit`.
  ///
  /// A task key without grouped runs is one index scan. With groups each has a scan of its own, and the heads are merged.
  /// - Parameter rooms: what is left of the limits of groups in this release, looked up once for each.
  /// - Returns: the runs, fewer than `limit` only when no more may go; and the groups that share the room by weights,
  ///   nil among them for the runs without one, when they do.
  func mostUrgent(
    of queue: ReadyQueue, limit: Int, rooms: inout [String: Int], now: Timestamp
  ) throws(StoreError) -> (runs: [Run], sharing: [String?]?) {
    let (order, aging) = (queue.policy.order, queue.policy.aging)
    if queue.groups.isEmpty, order == .fifo, aging == nil {
      return (try ready(queue.task, limit: limit, now: now), nil)
    }
    var places: [(group: String?, room: Int)] = [(nil, .max)]
    for group in queue.groups {
      let room = rooms[group] ?? room(of: group, now: now)
      rooms[group] = room
      if room > 0 { places.append((group, room)) }
    }
    let groups = places.map(\.group)
    if aging != nil { try db.run(Self.makeWaitingIndex) }
    let waiting = aging.map { aging in
      ReadyMerge.Waiting(
        aging: aging, now: now,
        paused: groups.map { controls.pausedTime(task: queue.task, group: $0, until: now) })
    }
    var merge = ReadyMerge(
      order: order, waiting: waiting, sources: try sources(of: queue, places, waiting, limit: limit),
      rooms: places.map(\.room))
    try merge.fill(from: self, queue.task, now: now)
    let isShared = queue.groups.contains { controls.groups[$0]?.shares ?? false }
    if isShared { share(limit, of: queue, between: groups, in: &merge) }
    return (try merge.take(limit, from: self, queue.task, now: now), isShared ? groups : nil)
  }

  /// Where the runs of `queue` come from. With aging each priority is a source of its own, read by who waits longest, so
  /// that the first of each are all that has to be compared.
  private func sources(
    of queue: ReadyQueue, _ places: [(group: String?, room: Int)], _ waiting: ReadyMerge.Waiting?, limit: Int
  ) throws(StoreError) -> [ReadySource] {
    let order = queue.policy.order
    var sources: [ReadySource] = []
    for (place, (group, room)) in places.enumerated() {
      let chunk = min(limit, room, max(1, 2 * limit / places.count))
      guard order == .lifo || waiting != nil else {
        sources.append(ReadySource(place: place, group: group, order: order, part: .all, chunk: chunk))
        continue
      }
      var level = try readyLevel(after: .none, of: queue.task, group: group)
      guard let waiting else {
        if let level {
          sources.append(ReadySource(place: place, group: group, order: order, part: .level(level), chunk: chunk))
        }
        continue
      }
      let ages = ReadySource.Waiting(aging: waiting.aging, paused: waiting.paused[place], now: waiting.now)
      while let next = level {
        sources.append(
          ReadySource(
            place: place, group: group, order: order, part: try firstSpan(of: next, queue, group, ages), waiting: ages,
            chunk: 2))
        level = try readyLevel(after: next, of: queue.task, group: group)
      }
    }
    return sources
  }

  /// Oldest first that is the whole level; newest first those that are as urgent as whoever waits longest.
  private func firstSpan(
    of level: ReadySource.Level, _ queue: ReadyQueue, _ group: String?, _ waiting: ReadySource.Waiting
  ) throws(StoreError) -> ReadySource.Part? {
    switch queue.policy.order {
    case .fifo: .span(level, after: .earliest, through: .latest)
    case .lifo: try nextSpan(after: .earliest, of: queue.task, group, level, waiting)
    }
  }
}
