/// One group's part when a task key's free slots are shared out.
public struct GroupShare: Sendable, Equatable {
  /// At least 1.
  public var weight: Int
  /// Slots up to which it goes before groups that have their minimum.
  public var minimumSlots: Int
  /// Slots it holds already.
  public var used: Int
  /// How many more it could take: its waiting runs, within its own limits.
  public var wanted: Int
  /// How often it had its turn so far, each counted ``turn(weight:)``.
  public var turns: Int64
  /// How many of the free slots it gets.
  public private(set) var granted = 0

  public init(weight: Int, minimumSlots: Int, used: Int, wanted: Int, turns: Int64) {
    self.weight = weight
    self.minimumSlots = minimumSlots
    self.used = used
    self.wanted = wanted
    self.turns = turns
  }

  /// What one turn of a group of `weight` counts: three turns of weight 3 are one of weight 1.
  public static func turn(weight: Int) -> Int64 { 720_720_000 / Int64(weight) }

  private var held: Int { used + granted }

  fileprivate mutating func take() {
    granted += 1
    turns += Self.turn(weight: weight)
  }

  /// Whether its next slot comes before that of `other`: below the minimum first, then the fewest slots for the weight,
  /// then the fewest turns for the weight. The last matters where there are fewer slots than groups.
  fileprivate func precedes(_ other: GroupShare) -> Bool {
    let (isShort, otherIsShort) = (held < minimumSlots, other.held < other.minimumSlots)
    if isShort != otherIsShort { return isShort }
    let (slots, otherSlots) = (held * other.weight, other.held * weight)
    if slots != otherSlots { return slots < otherSlots }
    return turns < other.turns
  }
}

extension [GroupShare] {
  /// Gives out `free` slots one by one. A group that wants no more leaves its part to the others, so that slots stay
  /// free only when nobody wants them. Equals take turns in their order.
  ///
  /// The groups are kept sorted while they take: one slot costs a binary search.
  public mutating func share(_ free: Int) {
    // Next one last.
    var queue = indices.filter { self[$0].wanted > 0 }
    queue.sort { comes($1, before: $0) }
    for _ in 0..<Swift.max(0, free) {
      guard let next = queue.popLast() else { return }
      self[next].take()
      guard self[next].granted < self[next].wanted else { continue }
      var (low, high) = (0, queue.count)
      while low < high {
        let middle = (low + high) / 2
        if comes(next, before: queue[middle]) { low = middle + 1 } else { high = middle }
      }
      queue.insert(next, at: low)
    }
  }

  private func comes(_ left: Int, before right: Int) -> Bool {
    if self[left].precedes(self[right]) { return true }
    return !self[right].precedes(self[left]) && left < right
  }
}
