import TaskBridgeCore
import Testing

/// How free slots are split between groups (feature T72).
@Suite struct GroupShareTests {
  private static func group(
    _ weight: Int, minimum: Int = 0, used: Int = 0, wanted: Int = 100, turns: Int64 = 0
  ) -> GroupShare {
    GroupShare(weight: weight, minimumSlots: minimum, used: used, wanted: wanted, turns: turns)
  }

  /// Weights, minimum slots, what waits; slots; what each gets.
  @Test(
    "T72: slots go by weight, minimum first, unused ones to whoever waits",
    arguments: [
      ([group(3), group(1)], 8, [6, 2]),
      ([group(1), group(3)], 8, [2, 6]),
      ([group(3, minimum: 2), group(1, minimum: 2)], 8, [6, 2]),
      ([group(100), group(1, minimum: 2)], 8, [6, 2]),
      ([group(3), group(1, wanted: 1)], 8, [7, 1]),
      ([group(3, wanted: 2), group(1)], 8, [2, 6]),
      ([group(3, wanted: 2), group(1, wanted: 1)], 8, [2, 1]),
      ([group(3, used: 5), group(1, used: 2)], 1, [1, 0]),
      ([group(3, used: 6), group(1, used: 1)], 1, [0, 1]),
      ([group(3, used: 8), group(1)], 4, [1, 3]),
      ([group(1, minimum: 5), group(1, minimum: 5)], 6, [3, 3]),
      ([group(2), group(2), group(2)], 6, [2, 2, 2]),
      ([group(1, wanted: 0), group(1)], 3, [0, 3]),
      ([group(1)], 0, [0]),
      ([], 5, []),
    ] as [([GroupShare], Int, [Int])])
  func slotsGoByWeight(groups: [GroupShare], free: Int, expected: [Int]) {
    var shares = groups

    shares.share(free)

    #expect(shares.map(\.granted) == expected)
  }

  @Test("T72: where there are fewer slots than groups, they take turns by weight")
  func fewSlotsGoRound() {
    var turns: [Int64] = [0, 0, 0]
    var served = [0, 0, 0]
    let weights = [3, 1, 1]

    for _ in 0..<500 {
      var shares = weights.indices.map { Self.group(weights[$0], turns: turns[$0]) }
      shares.share(1)
      for index in shares.indices {
        served[index] += shares[index].granted
        turns[index] = shares[index].turns
      }
    }

    #expect(served == [300, 100, 100])
  }

  @Test("T72: the shares stay right for many groups")
  func manyGroups() {
    var shares = (1...1_000).map { Self.group($0 % 4 + 1) }

    shares.share(2_500)

    #expect(shares.map(\.granted) == (1...1_000).map { $0 % 4 + 1 })
  }
}
