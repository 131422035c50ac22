import TaskBridgeCore
import Testing

@testable import TaskBridgeStore

/// Concurrency limits, whatever happens at the same time (features T71, T75, S4, N11).
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
