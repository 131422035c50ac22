import TaskBridgeCore
import Testing

@testable import TaskBridgeStore

/// Concurrency limits, rate limits and order (features T71, T74, T75, S1, S2, S4, N11).
@Suite struct LimitTests {
  /// T75, N11 `task_limit`.
  @Test func aTaskKeyNeverHasMoreThanItsLimit() async throws {
    try await withTemporaryStore { test in
      try await test.set("a") { $0.concurrencyLimit = 2 }
      for _ in 0..<5 { try await test.add("a") }
      let other = try await test.add("b")

      let first = try await test.launch()
      let none = try await test.release()
      let held = try await test.gates(try await test.readyRun())
      try await test.report(.running, first[0].id)
      let claimed = try await test.release()
      try await test.report(.completed, first[0].id)
      let next = try await test.release()

      #expect(first.map(\.run.task.rawValue).sorted() == ["a", "a", "b"])
      #expect(first.contains { $0.run.id == other })
      #expect(none.isEmpty)
      #expect(held.map(\.hold) == [.taskLimit])
      #expect((held[0].limit, held[0].used) == (2, 2))
      #expect(claimed.isEmpty)
      #expect(next.count == 1)
    }
  }

  /// T71, N11 `group_limit`: a full group holds back no run of another, however many of its runs stand in front.
  @Test func aGroupNeverHasMoreThanItsLimitAndHoldsBackNobodyElse() async throws {
    try await withTemporaryStore { test in
      try await test.set(group: "g") { $0.concurrencyLimit = 2 }
      for _ in 0..<100 {
        try await test.add("a") {
          $0.group = "g"
          $0.priority = 0
        }
      }
      let last = try await test.add("b") { $0.group = "g" }
      let plain = try await test.add("a")
      let other = try await test.add("a") { $0.group = "h" }

      let released = try await test.release(50)

      #expect(released.filter { $0.run.group == "g" }.count == 2)
      #expect(released.map(\.run.id).contains(plain))
      #expect(released.map(\.run.id).contains(other))
      #expect(released.count == 4)
      let gates = try await test.gates(last)
      #expect(gates.map(\.hold) == [.groupLimit])
      #expect((gates[0].limit, gates[0].used) == (2, 2))
      #expect(try await test.gates(try await test.readyRun()).map(\.hold) == [.groupLimit])
    }
  }

  /// T71: 0 holds all, null is unlimited; a change works at once.
  @Test func aLimitOfZeroHoldsAllAndNoneHoldsNobody() async throws {
    try await withTemporaryStore { test in
      try await test.set(group: "g") { $0.concurrencyLimit = 0 }
      for _ in 0..<3 { try await test.add { $0.group = "g" } }

      let none = try await test.release()
      try await test.set(group: "g") { $0.concurrencyLimit = 1 }
      let one = try await test.release()
      try await test.set(group: "g") { $0.concurrencyLimit = nil }
      let rest = try await test.release()

      #expect((none.count, one.count, rest.count) == (0, 1, 2))
      #expect(test.store.controls.groups.isEmpty)
    }
  }

  /// P2, N11 `queue_bound`.
  @Test func aFullQueueIsNamedWithItsNumbers() async throws {
    try await withTemporaryStore { test in
      try await test.set("media.thumbnail") { $0.queueBound = 1 }
      for _ in 0..<2 { try await test.add() }

      let first = try await test.launch()
      let gates = try await test.gates(try await test.readyRun())
      try await test.report(.running, first[0].id)

      #expect(gates.map(\.hold) == [.queueBound])
      #expect((gates[0].limit, gates[0].used) == (1, 1))
      #expect(try await test.release().count == 1)
    }
  }

  /// A run that ends frees a slot: the release is woken when somebody waits for it, and only then.
  @Test func theReleaseIsWokenForASlotOnlyWhereALimitHolds() async throws {
    try await withTemporaryStore { test in
      for _ in 0..<2 { try await test.add("a") }
      let free = try await test.launch()
      for dispatch in free { try await test.report(.running, dispatch.id) }
      let plain = try await test.effects { tx throws(StoreError) in try Self.complete(free[0], in: tx) }

      try await test.set("a") { $0.concurrencyLimit = 1 }
      try await test.add("a")
      _ = try await test.release()
      let limited = try await test.effects { tx throws(StoreError) in try Self.complete(free[1], in: tx) }

      #expect(!plain.contains(.ready))
      #expect(limited.contains(.ready))
    }
  }

  private static func complete(_ dispatch: Dispatch, in tx: Transaction) throws(StoreError) {
    let report = VerifiedReport(
      WorkerReport(token: "t", state: .completed), dispatch: dispatch.id, via: .amqp, receivedAt: TestStore.start,
      jitter: 0)
    _ = try tx.report(report, policies: policies)
  }

  // MARK: Rates

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

  // MARK: Order

  /// S1, S2: by priority, then oldest or newest first, with and without groups.
  @Test(arguments: [ReleaseOrder.fifo, .lifo], [false, true])
  func runsComeOutInTheOrderOfTheirTaskKey(order: ReleaseOrder, isGrouped: Bool) async throws {
    try await withTemporaryStore { test in
      try await test.set("a") { $0.order = order }
      var added: [(priority: Int, number: Int, id: RunID)] = []
      for number in 0..<120 {
        let priority = [0, 200, 128][number % 3]
        let id = try await test.add("a") {
          $0.priority = priority
          if isGrouped { $0.group = [nil, "g", "h", "i"][number % 4] }
        }
        added.append((priority, number, id))
      }

      var released: [RunID] = []
      while case let next = try await test.release(7), !next.isEmpty { released += next.map(\.run.id) }

      let expected = added.sorted { left, right in
        if left.priority != right.priority { return left.priority < right.priority }
        return order == .fifo ? left.number < right.number : left.number > right.number
      }
      #expect(released == expected.map(\.id))
    }
  }

  /// S1: the release of ungrouped runs stays one look into the index, without sorting.
  @Test func thePlainReleaseIsOneIndexScan() async throws {
    try await withTemporaryStore { test in
      let plan = try await test.store.read { tx throws(StoreError) in
        try tx.db.all(
          """
          EXPLAIN QUERY PLAN SELECT r.id FROM runs r INDEXED BY runs_ready WHERE r.state = 'ready' AND r.task = 'a'
            AND r.group_name IS NULL AND (r.expires_at IS NULL OR r.expires_at > 1)
            ORDER BY r.priority, r.release_class, r.seq LIMIT 10
          """
        ) { row throws(StoreError) in row.text(3) }
      }

      #expect(plan == ["SEARCH r USING INDEX runs_ready (task=? AND group_name=?)"])
    }
  }

  // MARK: Interleavings

  @Test(
    "P34, T71, T75: in whatever order things happen, no limit is passed, nothing goes out twice, no slot leaks",
    arguments: 1...40)
  func noInterleavingPassesALimit(seed: Int) async throws {
    try await withTemporaryStore { test in
      var random = Seeded(UInt64(seed))
      var now = TestStore.start
      var held: [Dispatch] = []
      var seen: Set<String> = []
      let limits = (task: 3, group: 2)
      try await test.set("a") {
        $0.concurrencyLimit = limits.task
        if seed % 3 == 0 { $0.aging = Aging() }
        if seed % 4 == 0 { $0.order = .lifo }
      }
      try await test.set(group: "g") { $0.concurrencyLimit = limits.group }
      if seed % 2 == 0 { try await test.set(group: "h") { $0.weight = 2 } }
      for _ in 0..<150 {
        now = now.adding(seconds: 1)
        switch Int.random(in: 0..<10, using: &random) {
        case 0...3:
          let (task, group) = (
            ["a", "b"].randomElement(using: &random)!, [nil, "g", "h"].randomElement(using: &random)!
          )
          let priority = Int.random(in: 0...2, using: &random)
          try await test.add(task, now: now) {
            $0.group = group
            $0.priority = priority
          }
        case 4, 5:
          let released = try await test.release(Int.random(in: 1...5, using: &random), now: now)
          for dispatch in released {
            #expect(seen.insert("\(dispatch.id)").inserted, "seed \(seed): \(dispatch.id) went out twice")
          }
          held += released
        case 6 where !held.isEmpty:
          try await test.report(.running, held.randomElement(using: &random)!.id, now: now)
        case 7, 8:
          guard let index = held.indices.randomElement(using: &random) else { continue }
          let end = [ReportedState.completed, .failed, .snoozed].randomElement(using: &random)!
          try await test.report(end, held.remove(at: index).id, now: now)
          try await test.promote(now: now.adding(seconds: 400))
        default:
          try await test.takeBack(TaskKey("a")!, now: now)
          guard let id = held.randomElement(using: &random)?.run.id else { continue }
          let at = now
          _ = try await test.store.write { tx throws(StoreError) in
            try tx.cancel(id, reason: nil, now: at, actor: "test")
          }
        }
        try await test.expectSlots(task: "a", atMost: limits.task, group: "g", atMost: limits.group, "seed \(seed)")
      }
    }
  }
}

extension TestStore {
  func readyRuns() async throws -> [RunID] {
    try await store.read { tx throws(StoreError) in
      try tx.db.all("SELECT id FROM runs WHERE state = 'ready' ORDER BY seq") { row throws(StoreError) in
        try row.runID(0)
      }
    }
  }

  func readyRun() async throws -> RunID {
    guard let id = try await readyRuns().first else { throw Missing(id: Self.newID()) }
    return id
  }

  /// What a transaction leaves for others to do.
  func effects(
    _ body: @escaping @Sendable (Transaction) throws(StoreError) -> Void
  ) async throws -> CommitEffects {
    try await store.write { tx throws(StoreError) in
      try body(tx)
      return tx.effects
    }
  }

  /// The limits hold, and the tables of counts say what the rows say.
  func expectSlots(
    task: String, atMost taskLimit: Int, group: String, atMost groupLimit: Int, _ comment: String
  ) async throws {
    let (inTask, inGroup, counted, rows) = try await store.read { tx throws(StoreError) in
      let slots = "state IN ('queued', 'launched', 'running', 'cancelling')"
      let inTask = try tx.db.all(composed: "SELECT count(*) FROM runs WHERE task = ? AND \(slots)", [task]) {
        row throws(StoreError) in row.int(0)
      }
      let inGroup = try tx.db.all(composed: "SELECT count(*) FROM runs WHERE group_name = ? AND \(slots)", [group]) {
        row throws(StoreError) in row.int(0)
      }
      let counted = try tx.db.all("SELECT group_name, task, state, runs FROM group_counts ORDER BY 1, 2, 3") {
        row throws(StoreError) in "\(row.text(0)) \(row.text(1)) \(row.text(2)) \(row.int(3))"
      }
      let rows = try tx.db.all(
        composed: """
          SELECT group_name, task, state, count(*) FROM runs
            WHERE group_name IS NOT NULL AND (state = 'ready' OR \(slots)) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
          """, []
      ) { row throws(StoreError) in "\(row.text(0)) \(row.text(1)) \(row.text(2)) \(row.int(3))" }
      return (inTask, inGroup, counted, rows)
    }
    #expect(inTask[0] <= taskLimit, "\(comment): task")
    #expect(inGroup[0] <= groupLimit, "\(comment): group")
    #expect(counted == rows, "\(comment)")
  }
}

extension LimitTests {
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
