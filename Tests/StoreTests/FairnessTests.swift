import TaskBridgeCore
import Testing

@testable import TaskBridgeStore

/// Shares of groups and task keys (features T71, T72, S4, P8).
@Suite struct FairnessTests {
  private static func counts(_ released: [Dispatch]) -> [String: Int] {
    released.reduce(into: [:]) { $0[$1.run.group ?? "-", default: 0] += 1 }
  }

  // MARK: Groups

  @Test("T72: a limit of 8 splits 6 and 2 by weights 3 and 1, and stays so whoever ends")
  func aLimitIsSharedByWeight() async throws {
    try await withTemporaryStore { test in
      var random = Seeded(72)
      try await test.set("a") { $0.concurrencyLimit = 8 }
      try await test.set(group: "large") { $0.weight = 3 }
      try await test.set(group: "small") {
        $0.weight = 1
        $0.minimumSlots = 2
      }
      // All of one stand before all of the other.
      for group in ["large", "small"] { for _ in 0..<150 { try await test.add("a") { $0.group = group } } }

      var held = try await test.launch()
      #expect(Self.counts(held) == ["large": 6, "small": 2])
      for _ in 0..<100 {
        let ended = held.remove(at: Int.random(in: held.indices, using: &random))
        try await test.report(.running, ended.id)
        try await test.report(.completed, ended.id)
        held += try await test.launch()
        #expect(Self.counts(held) == ["large": 6, "small": 2])
      }
    }
  }

  @Test("T72: the queue bound is shared alike; runs without a group are one group of weight 1")
  func theQueueBoundIsSharedByWeight() async throws {
    try await withTemporaryStore { test in
      try await test.set("a") { $0.queueBound = 10 }
      try await test.set(group: "g") { $0.weight = 4 }
      for group in [nil, "g"] { for _ in 0..<50 { try await test.add("a") { $0.group = group } } }

      let first = try await test.launch()
      // What is claimed is no longer in the queue.
      for dispatch in first { try await test.report(.running, dispatch.id) }
      let second = try await test.launch()

      #expect(Self.counts(first) == ["-": 2, "g": 8])
      #expect(Self.counts(second) == ["-": 2, "g": 8])
    }
  }

  @Test("T72: slots that nobody else wants go to whoever waits; the minimum comes back first")
  func unusedSlotsAreUsed() async throws {
    try await withTemporaryStore { test in
      try await test.set("a") { $0.concurrencyLimit = 8 }
      try await test.set(group: "large") { $0.weight = 100 }
      try await test.set(group: "small") { $0.minimumSlots = 2 }
      for _ in 0..<50 { try await test.add("a") { $0.group = "large" } }

      let all = try await test.launch()
      for _ in 0..<50 { try await test.add("a") { $0.group = "small" } }
      var next: [Dispatch] = []
      for dispatch in all.prefix(3) {
        try await test.report(.completed, dispatch.id)
        next += try await test.launch()
      }

      #expect(Self.counts(all) == ["large": 8])
      #expect(next.map { $0.run.group } == ["small", "small", "large"])
    }
  }

  @Test("T72: a group that is full leaves its share to the others")
  func aFullGroupLeavesItsShare() async throws {
    try await withTemporaryStore { test in
      try await test.set("a") { $0.concurrencyLimit = 8 }
      try await test.set(group: "g") {
        $0.weight = 3
        $0.concurrencyLimit = 1
      }
      try await test.set(group: "paused") { $0.weight = 9 }
      try await test.pause(.group("paused"))
      for group in ["g", "h", "paused"] { for _ in 0..<20 { try await test.add("a") { $0.group = group } } }

      #expect(Self.counts(try await test.release()) == ["g": 1, "h": 7])
    }
  }

  @Test("T72, T61: what a group may take leaves in the order of urgency, and the whole too")
  func theOrderInsideAShareIsThatOfUrgency() async throws {
    try await withTemporaryStore { test in
      try await test.set("a") { $0.concurrencyLimit = 4 }
      try await test.set(group: "g") { $0.weight = 1 }
      for (group, priority) in [("g", 9), ("g", 3), ("g", 5), ("h", 7), ("h", 1), ("h", 8)] {
        try await test.add("a") {
          $0.group = group
          $0.priority = priority
        }
      }

      #expect(try await test.release().map(\.run.priority) == [1, 3, 5, 7])
    }
  }

  @Test("T61: without weights only urgency counts")
  func withoutWeightsUrgencyAloneCounts() async throws {
    try await withTemporaryStore { test in
      try await test.set("a") { $0.queueBound = 5 }
      try await test.set(group: "g") { $0.concurrencyLimit = 100 }
      for (group, priority) in [("g", 200), ("h", 0)] {
        for _ in 0..<10 {
          try await test.add("a") {
            $0.group = group
            $0.priority = priority
          }
        }
      }

      #expect(Self.counts(try await test.release()) == ["h": 5])
    }
  }

  @Test("T72: one slot is taken in turns by weight")
  func oneSlotGoesRound() async throws {
    try await withTemporaryStore { test in
      try await test.set("a") { $0.concurrencyLimit = 1 }
      try await test.set(group: "g") { $0.weight = 3 }
      for group in ["g", "h"] { for _ in 0..<40 { try await test.add("a") { $0.group = group } } }

      var served: [Dispatch] = []
      for _ in 0..<40 {
        let one = try await test.launch()
        served += one
        for dispatch in one { try await test.report(.completed, dispatch.id) }
      }

      #expect(Self.counts(served) == ["g": 30, "h": 10])
    }
  }

  // MARK: Task keys

  @Test("S4, P8: a thousand task keys come round in turn, however few runs fit into a release")
  func aThousandKeysComeRound() async throws {
    try await withTemporaryStore { test in
      let keys = (0..<1_000).map { "key.\($0)" }
      for key in keys { for _ in 0..<2 { try await test.add(key) } }

      var served: [String] = []
      for _ in 0..<63 { served += try await test.release(16).map(\.run.task.rawValue) }

      #expect(Set(served.prefix(1_000)) == Set(keys))
      #expect(served.count == 63 * 16)
    }
  }

  @Test("S4: what a release has room for is shared equally")
  func keysShareEqually() async throws {
    try await withTemporaryStore { test in
      for key in ["a", "b", "c", "d"] { for _ in 0..<(key == "b" ? 2 : 50) { try await test.add(key) } }

      let released = try await test.release(32)

      let counts = released.reduce(into: [:]) { $0[$1.run.task.rawValue, default: 0] += 1 }
      #expect(counts["b"] == 2)
      #expect([counts["a"], counts["c"], counts["d"]].allSatisfy { (8...14).contains($0 ?? 0) })
      #expect(released.count == 32)
    }
  }

  @Test("S4: large payloads of one key do not keep the others waiting")
  func largePayloadsHoldBackNobody() async throws {
    try await withTemporaryStore { test in
      for _ in 0..<20 { try await test.add("a") { $0.payload.bytes = Array(repeating: 48, count: 100_000) } }
      for key in ["b", "c"] { try await test.add(key) }

      var keys: [String] = []
      for _ in 0..<3 {
        keys += try await test.store.write { tx throws(StoreError) in
          var request = ReleaseRequest(now: TestStore.start, runsMax: 100) { _ in TaskPolicy() }
          request.payloadBytesMax = 150_000
          return try tx.release(request).map(\.run.task.rawValue)
        }
      }

      #expect(keys.contains("b"))
      #expect(keys.contains("c"))
    }
  }

  @Test("T72: what large payloads keep back has had no turn")
  func whatIsCutHasHadNoTurn() async throws {
    try await withTemporaryStore { test in
      try await test.set("a") { $0.concurrencyLimit = 8 }
      for group in ["first", "second"] {
        try await test.set(group: group) { $0.weight = 1 }
        for _ in 0..<20 { try await test.add("a") { $0.group = group } }
      }
      @Sendable func pass(bytes: Int, _ max: Int) async throws -> [Dispatch] {
        try await test.store.write { tx throws(StoreError) in
          var request = ReleaseRequest(now: TestStore.start, runsMax: max) { _ in TaskPolicy() }
          request.payloadBytesMax = bytes
          return try tx.release(request)
        }
      }

      // Both would get four; the bytes let one through, the oldest.
      let cut = try await pass(bytes: 1, 8)
      for dispatch in cut { try await test.report(.completed, dispatch.id) }
      let next = try await pass(bytes: 1_000_000, 1)

      #expect(Self.counts(cut) == ["first": 1])
      #expect(Self.counts(next) == ["second": 1])
    }
  }

  @Test("S4: a release looks at few keys, says that there are more, and ends once all were looked at")
  func aReleaseLooksAtFewKeys() async throws {
    try await withTemporaryStore { test in
      for number in 10..<40 { try await test.add("key.\(number)") }
      @Sendable func pass(_ open: String?) async throws -> (released: [String], hasMore: Bool) {
        try await test.store.write { tx throws(StoreError) in
          var request = ReleaseRequest(now: TestStore.start, runsMax: 100) { $0.rawValue == open ? TaskPolicy() : nil }
          request.looksMax = 10
          return (try tx.release(request).map(\.run.task.rawValue), tx.hasMoreKeys)
        }
      }

      var found: [[String]] = []
      while case let (released, hasMore) = try await pass("key.35"), hasMore { found.append(released) }
      var closed = 1
      while try await pass(nil).hasMore { closed += 1 }

      #expect(found.flatMap { $0 } == ["key.35"])
      #expect(found.count <= 6)
      #expect(closed == 3)
    }
  }

  @Test("S4, T71: keys whose only runs are of a full group do not make the release run in circles")
  func fullGroupsEndTheRound() async throws {
    try await withTemporaryStore { test in
      try await test.set(group: "g") { $0.concurrencyLimit = 0 }
      for number in 0..<100 { try await test.add("key.\(number)") { $0.group = "g" } }

      var passes = 0
      var hasMore = true
      while hasMore, passes < 10 {
        passes += 1
        hasMore = try await test.store.write { tx throws(StoreError) in
          _ = try tx.release(ReleaseRequest(now: TestStore.start, runsMax: 100) { _ in TaskPolicy() })
          return tx.hasMoreKeys
        }
      }

      #expect(passes == 2)
    }
  }
}
