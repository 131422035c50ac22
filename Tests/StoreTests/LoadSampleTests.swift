import TaskBridgeCore
import TaskBridgeStore
import Testing

/// Features S27 and S29.
@Suite struct LoadSampleTests {
  private static let minute = Timestamp(milliseconds: 1_800_000_000_000)

  private func sample(_ test: TestStore, _ minutes: Double, keepDays: Double = 31) async throws {
    let now = Self.minute.adding(seconds: 60 * minutes)
    try await test.store.write { tx throws(StoreError) in
      try tx.sampleLoad(measured: now, keepSince: now.adding(seconds: -keepDays * 86_400))
    }
  }

  private func load(_ test: TestStore, _ parameters: [Parameter]) async throws -> Page<LoadSample> {
    let query = try LoadQuery(parameters: parameters, now: Self.minute.adding(seconds: 86_400))
    return try await test.store.read { tx throws(StoreError) in try tx.load(query) }
  }

  @Test func aSampleHasARowForEachTaskKeyWithActiveRuns() async throws {
    try await withTemporaryStore { test in
      try await test.add("a") { $0.delaySeconds = 60 }
      try await test.add("a")
      let work = try #require(try await test.launch().first)
      try await test.report(.running, work.id)
      for _ in 0..<3 { try await test.add("b") }
      try await sample(test, 1)

      let items = try await load(test, []).items

      #expect(
        items == [
          LoadSample(
            measured: Self.minute.adding(seconds: 60), task: TaskKey("a"), pending: 1, queued: 0, running: 1),
          LoadSample(
            measured: Self.minute.adding(seconds: 60), task: TaskKey("b"), pending: 0, queued: 3, running: 0),
        ])
      #expect(items.map(\.total) == [2, 3])
    }
  }

  @Test func anIdleMinuteHasOnePlaceholderThatEveryFilterShows() async throws {
    try await withTemporaryStore { test in
      try await sample(test, 1)
      try await test.add("a")
      try await sample(test, 2)

      let a = try await load(test, [Parameter(query: "task", "a")]).items
      let b = try await load(test, [Parameter(query: "task", "b")]).items

      #expect(a.map(\.task) == [nil, TaskKey("a")])
      #expect(b.map(\.task) == [nil])
      #expect(b.map(\.total) == [0])
    }
  }

  @Test func anInstantIsSampledOnceAndOldOnesGo() async throws {
    try await withTemporaryStore { test in
      try await test.add("a")
      try await sample(test, 1)
      try await test.add("a")
      try await sample(test, 1)
      #expect(try await load(test, []).items.map(\.total) == [1])

      try await sample(test, 3, keepDays: 1.0 / 1_440)

      #expect(try await load(test, []).items.map(\.measured) == [Self.minute.adding(seconds: 180)])
    }
  }

  @Test func pagesGiveTheNeighboursInEitherDirection() async throws {
    try await withTemporaryStore { test in
      for task in ["a", "b", "c"] { try await test.add(task) }
      for minutes in 1...4 { try await sample(test, Double(minutes)) }

      for (sort, descending) in [("measured", false), ("-measured", true)] {
        var seen: [LoadSample] = []
        var cursor: String?
        repeat {
          var parameters = [Parameter(query: "sort", sort), Parameter(query: "limit", "5")]
          if let cursor { parameters.append(Parameter(query: "cursor", cursor)) }
          let page = try await load(test, parameters)
          seen += page.items
          cursor = page.nextCursor
        } while cursor != nil
        #expect(seen.count == 12)
        let times = seen.map(\.measured.milliseconds)
        #expect(times == (descending ? times.sorted(by: >) : times.sorted()))
        #expect(seen.prefix(3).map { $0.task?.rawValue } == ["a", "b", "c"])
      }
      let sums = try await load(test, [Parameter(query: "group_by", "time")]).items
      #expect(sums.map(\.queued) == [3, 3, 3, 3])
      #expect(sums.allSatisfy { $0.task == nil })
    }
  }

  @Test(arguments: [
    ("started", "2026-01-01T00:00:00Z", "2026-03-01T00:00:00Z"),
    ("ended", "2026-03-01T00:00:00Z", "2026-02-01T00:00:00Z"),
  ])
  func aPeriodThatIsTooLongOrBackwardsIsRefused(pointer: String, started: String, ended: String) {
    #expect {
      try LoadQuery(
        parameters: [Parameter(query: "started", started), Parameter(query: "ended", ended)], now: Self.minute)
    } throws: { error in
      let problem = error as? Problem
      return problem?.status == 422 && problem?.errors.first?.pointer == "?\(pointer)"
    }
  }
}
