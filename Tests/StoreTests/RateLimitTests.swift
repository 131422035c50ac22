import TaskBridgeCore
import Testing

@testable import TaskBridgeStore

/// Rate limits of task keys and groups (features T74, N11).
@Suite struct RateLimitTests {
  /// T74, N11 `rate_limit`.
  @Test func aRateLimitGivesABurstAndThenItsRate() async throws {
    try await withTemporaryStore { test in
      try await test.set("a") {
        $0.ratePerSecond = 10
        $0.rateBurst = 10
      }
      for _ in 0..<700 { try await test.add("a") }

      var times: [Double] = []
      var milliseconds = 0
      while milliseconds < 60_000 {
        let seconds = Double(milliseconds) / 1_000
        let released = try await test.release(now: TestStore.start.adding(seconds: seconds))
        times += released.map { _ in seconds }
        milliseconds += 50
      }

      #expect((600...610).contains(times.count))
      for start in stride(from: 0.0, to: 59, by: 0.5) {
        #expect(times.filter { $0 >= start && $0 < start + 1 }.count <= 20)
      }
    }
  }

  /// T74: it says when; a group's limit counts too.
  @Test func anEmptyBucketSaysWhenItGoesOn() async throws {
    try await withTemporaryStore { test in
      try await test.set("a") {
        $0.ratePerSecond = 0.5
        $0.rateBurst = 1
      }
      try await test.set(group: "g") { $0.ratePerSecond = 0.25 }
      for _ in 0..<3 { try await test.add("a") }
      for _ in 0..<2 { try await test.add("b") { $0.group = "g" } }

      let (released, next) = try await test.store.write { tx throws(StoreError) in
        (
          try tx.release(ReleaseRequest(now: TestStore.start, runsMax: 10) { _ in TaskPolicy() }),
          tx.nextToken
        )
      }
      let ready = try await test.readyRuns()
      let gates = try await [test.gates(ready[0]), test.gates(ready[2])]

      #expect(released.count == 2)
      #expect(next == TestStore.start.adding(seconds: 2))
      #expect(gates.map { $0.map(\.hold) } == [[.rateLimit], [.rateLimit]])
      #expect(gates[0][0].at == TestStore.start.adding(seconds: 2))
      #expect(gates[1][0].at == TestStore.start.adding(seconds: 4))
    }
  }

  /// T74: the rate comes last.
  @Test func aRunThatAnotherGateHoldsBurnsNoToken() async throws {
    try await withTemporaryStore { test in
      try await test.set("a") {
        $0.ratePerSecond = 0.001
        $0.rateBurst = 3
        $0.concurrencyLimit = 1
      }
      for _ in 0..<3 { try await test.add("a") }

      let first = try await test.launch()
      for _ in 0..<5 { try await test.release() }
      try await test.report(.completed, first[0].id)
      let second = try await test.launch()
      try await test.report(.completed, second[0].id)
      let third = try await test.launch()

      #expect((first.count, second.count, third.count) == (1, 1, 1))
    }
  }

  /// T74: a restart fills nothing, a clock set back neither.
  @Test func aRestartDoesNotRefillTheBucket() async throws {
    try await withTemporaryFolder { folder in
      let first = TestStore(try openStore(folder))
      try await first.set("a") {
        $0.ratePerSecond = 1
        $0.rateBurst = 2
      }
      for _ in 0..<10 { try await first.add("a") }
      let burst = try await first.release()
      await first.store.close()

      let second = TestStore(try openStore(folder))
      let none = try await second.release()
      let back = try await second.release(now: TestStore.start.adding(seconds: -100))
      let one = try await second.release(now: TestStore.start.adding(seconds: -99))
      await second.store.close()

      #expect((burst.count, none.count, back.count, one.count) == (2, 0, 0, 1))
    }
  }

  /// T74: a held group does not make the release look again and again, and another setting refills no bucket.
  @Test func aFullBucketThatNothingIsTakenFromAsksForNoOtherLook() async throws {
    try await withTemporaryStore { test in
      try await test.add { $0.group = "g" }
      try await test.pause(.group("g"))
      try await test.set("media.thumbnail") { $0.ratePerSecond = 10 }

      let next = try await test.store.write { tx throws(StoreError) in
        _ = try tx.release(ReleaseRequest(now: TestStore.start, runsMax: 10) { _ in TaskPolicy() })
        return tx.nextToken
      }

      #expect(next == nil)
    }
  }

  /// T74: a round over many task keys takes several releases; the bucket seen in the first counts to the end.
  @Test func aTokenIsKnownAfterALaterPassOfTheRound() async throws {
    try await withTemporaryStore { test in
      try await test.set("a") { $0.ratePerSecond = 1 }
      for key in ["a", "a", "b"] { try await test.add(key) }
      try await test.release(1) { _ in }

      var passes: [(next: Timestamp?, hasMore: Bool)] = []
      repeat {
        passes.append(
          try await test.store.write { tx throws(StoreError) in
            var request = ReleaseRequest(now: TestStore.start, runsMax: 10) {
              $0.rawValue == "a" ? TaskPolicy() : nil
            }
            request.looksMax = 1
            let released = try tx.release(request)
            return (tx.nextToken, tx.hasMoreKeys || !released.isEmpty)
          })
      } while passes.last?.hasMore == true && passes.count < 10

      #expect(passes.count > 1)
      #expect(passes.last?.next == TestStore.start.adding(seconds: 1))
    }
  }

  /// T74: a rate that the configuration sets goes on when something else is set while the bridge runs.
  @Test func anotherSettingRefillsNoBucketOfTheConfiguration() async throws {
    try await withTemporaryStore { test in
      for _ in 0..<3 { try await test.add() }
      let slow: @Sendable (inout TaskPolicy) -> Void = {
        $0.ratePerSecond = 0.001
        $0.rateBurst = 1
      }
      let first = try await test.release(10, slow)
      try await test.set("media.thumbnail") { $0.queueBound = 500 }
      let second = try await test.release(10, slow)

      #expect((first.count, second.count) == (1, 0))
    }
  }
}
