import TaskBridgeCore

/// The ready runs of one task key in the order of release, merged out of those of its groups: a group that may release
/// nothing costs nothing, however many of its runs stand in front.
struct ReadyMerge {
  private let order: ReleaseOrder
  private(set) var sources: [ReadySource]
  /// How many runs each place (the runs without a group, then each group) may release.
  var rooms: [Int]

  init(order: ReleaseOrder, sources: [ReadySource], rooms: [Int]) {
    self.order = order
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
    var ranks = sources.map { source in source.runs.first.map(rank) }
    var taken: [Run] = []
    while taken.count < limit {
      var next: (index: Int, rank: Rank)?
      for index in ranks.indices {
        guard let rank = ranks[index], rooms[sources[index].place] > 0 else { continue }
        if next.map({ rank < $0.rank }) ?? true { next = (index, rank) }
      }
      guard let index = next?.index, let run = sources[index].popFirst() else { break }
      taken.append(run)
      rooms[sources[index].place] -= 1
      try sources[index].fill(from: transaction, task, now: now)
      ranks[index] = sources[index].runs.first.map(rank)
    }
    return taken
  }

  private typealias Rank = (priority: Int, releaseClass: Int, place: Int64)

  private func rank(_ run: Run) -> Rank {
    (run.priority, run.isRetry ? 0 : 1, order == .fifo ? run.sequence : -run.sequence)
  }
}

extension Transaction {
  /// The most urgent runs of `queue`, in order, at most `limit`.
  ///
  /// A task key without grouped runs is one index scan. With groups each has a scan of its own, and the heads are merged.
  /// - Parameter rooms: what is left of the limits of groups in this release, looked up once for each.
  /// - Returns: fewer than `limit` only when no more may go.
  func mostUrgent(
    of queue: ReadyQueue, limit: Int, rooms: inout [String: Int], now: Timestamp
  ) throws(StoreError) -> [Run] {
    let order = queue.policy.order
    if queue.groups.isEmpty, order == .fifo { return try ready(queue.task, limit: limit, now: now) }
    let chunk = max(1, 2 * limit / (queue.groups.count + 1))
    var places: [(group: String?, room: Int)] = [(nil, .max)]
    for group in queue.groups {
      let room = rooms[group] ?? room(of: group, now: now)
      rooms[group] = room
      if room > 0 { places.append((group, room)) }
    }
    var sources: [ReadySource] = []
    for (place, (group, room)) in places.enumerated() {
      let chunk = min(limit, chunk, room)
      if order == .fifo {
        sources.append(ReadySource(place: place, group: group, chunk: chunk))
      } else if let level = try readyLevel(after: .none, of: queue.task, group: group) {
        sources.append(ReadySource(place: place, group: group, level: level, chunk: chunk))
      }
    }
    var merge = ReadyMerge(order: order, sources: sources, rooms: places.map(\.room))
    try merge.fill(from: self, queue.task, now: now)
    let isShared = queue.groups.contains { controls.groups[$0]?.shares ?? false }
    if isShared { share(limit, of: queue, between: places.map(\.group), in: &merge) }
    let runs = try merge.take(limit, from: self, queue.task, now: now)
    for run in runs { if let group = run.group, let room = rooms[group], room < .max { rooms[group] = room - 1 } }
    if isShared { countTurns(runs, of: queue, between: places.map(\.group)) }
    return runs
  }
}
