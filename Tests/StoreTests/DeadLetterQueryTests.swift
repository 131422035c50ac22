import TaskBridgeCore
import Testing

@testable import TaskBridgeStore

@Suite struct DeadLetterQueryTests {
  /// A run that ended as a dead letter.
  private func die(
    _ test: TestStore, _ task: String, _ type: String, message: String = "no", at seconds: Double
  ) async throws -> RunID {
    let now = TestStore.start.adding(seconds: seconds)
    let id = try await test.add(task, now: now)
    let dispatch = try #require(try await test.launch(now: now).first { $0.run.id == id })
    try await test.report(.failed, dispatch.id, now: now) {
      $0.error = WorkerError(type: type, message: message, retryable: false)
    }
    return id
  }

  private func list(_ test: TestStore, _ change: (inout DeadLetterFilter) -> Void) async throws -> [RunID] {
    var query = DeadLetterQuery(limit: 2)
    change(&query.filter)
    var ids: [RunID] = []
    while true {
      let wanted = query
      let page = try await test.store.read { tx throws(StoreError) in try tx.deadLetters(wanted) }
      ids += page.items.map(\.run.run.id)
      guard let next = page.nextCursor else { return ids }
      query.cursor = PageCursor(text: next, scope: DeadLetterQuery.listScope)
    }
  }

  @Test func deadLettersAreListedFilteredAndGrouped() async throws {
    try await withTemporaryStore { test in
      let one = try await die(test, "a.x", "Boom", message: "order 1", at: 0)
      let two = try await die(test, "a.x", "Boom", message: "order 2", at: 10)
      let three = try await die(test, "a.y", "Other", at: 20)
      let four = try await die(test, "b", "Boom", at: 30)
      _ = try await test.store.write { tx throws(StoreError) in
        try tx.discard(two, reason: nil, now: TestStore.start, actor: "test")
      }

      #expect(try await list(test) { _ in } == [four, three, one])
      #expect(try await list(test) { $0.resolution = .any } == [four, three, two, one])
      #expect(try await list(test) { $0.resolution = .discarded } == [two])
      #expect(try await list(test) { $0.task = TaskKey("a.x") } == [one])
      #expect(try await list(test) { $0.domain = "a" } == [three, one])
      #expect(try await list(test) { $0.reason = .permanent } == [four, three, one])
      #expect(try await list(test) { $0.reason = .lost } == [])
      #expect(try await list(test) { $0.since = TestStore.start.adding(seconds: 20) } == [four, three])
      #expect(try await list(test) { $0.until = TestStore.start.adding(seconds: 20) } == [one])

      let groups = try await test.store.read { tx throws(StoreError) in
        try tx.deadLetterGroups(DeadLetterQuery()).items
      }
      #expect(groups.map(\.task.rawValue) == ["a.x", "a.y", "b"])
      #expect(groups.map(\.count) == [1, 1, 1])
      #expect(groups[0].sampleID == one)
      #expect(groups[0].sampleMessage == "order 1")
    }
  }

  @Test func equalErrorsAreOneGroupAndPagesDoNotRepeat() async throws {
    try await withTemporaryStore { test in
      for number in 0..<4 { _ = try await die(test, "a", "Boom", message: "order \(number)", at: Double(number)) }
      _ = try await die(test, "b", "Boom", at: 9)

      let first = try await test.store.read { tx throws(StoreError) in
        try tx.deadLetterGroups(DeadLetterQuery(limit: 1))
      }
      let cursor = PageCursor(text: first.nextCursor ?? "", scope: DeadLetterQuery.groupsScope)
      let second = try await test.store.read { tx throws(StoreError) in
        try tx.deadLetterGroups(DeadLetterQuery(limit: 1, cursor: cursor))
      }

      #expect(first.items.map(\.count) == [4])
      #expect(first.items[0].firstSeen == TestStore.start)
      #expect(first.items[0].lastSeen == TestStore.start.adding(seconds: 3))
      #expect(second.items.map(\.task.rawValue) == ["b"])
      #expect(second.nextCursor == nil)
    }
  }

  @Test func aSelectionLeavesAloneWhatDiedLater() async throws {
    try await withTemporaryStore { test in
      let old = try await die(test, "a", "Boom", at: 0)
      _ = try await die(test, "a", "Boom", at: 60)
      let cutoff = Cutoff(asOf: TestStore.start.adding(seconds: 30), now: .latest)

      let everything = try BulkRequest(.replay, filter: [:])
      let (ids, count) = try await test.store.read { tx throws(StoreError) in
        (
          try tx.bulkCandidates(
            everything, cutoff, phase: .only, after: nil, limit: 10, held: HeldSet()
          ).map(\.id),
          try tx.deadLetterCount(matching: DeadLetterFilter(), cutoff)
        )
      }

      #expect(ids == [old])
      #expect(count == 1)
    }
  }

  @Test func aSnapshotAgreesWithTheRows() async throws {
    try await withTemporaryStore { test in
      var random = Seeded(11)
      _ = try await die(test, "media.cut", "Boom", at: 0)
      let model = try await QueryModel.fill(test, count: 120, random: &random)
      let now = TestStore.start.adding(seconds: 1_000)

      let snapshot = try await test.store.read { tx throws(StoreError) in try tx.snapshot(domain: nil, now: now) }
      let media = try await test.store.read { tx throws(StoreError) in try tx.snapshot(domain: "media", now: now) }
      let rows = try await test.store.read { tx throws(StoreError) in
        Dictionary(
          try tx.db.all("SELECT state, COUNT(*) FROM runs GROUP BY state") { row throws(StoreError) in
            (try row.word(0, as: RunState.self), row.int(1))
          }, uniquingKeysWith: +)
      }

      #expect(snapshot.counts.filter { $0.value != 0 } == rows)
      #expect(snapshot.deadLetters == 1)
      #expect(media.tasks.map(\.key.rawValue) == ["media", "media.cut", "media.join"])
      #expect(snapshot.nextRunAt == model.runs.filter { $0.run.state == .scheduled }.compactMap(\.run.runAt).min())
      let oldest = model.runs.map(\.run).filter { $0.state == .ready && $0.task.rawValue == "mediator" }
        .min { $0.sequence < $1.sequence }
      #expect(
        snapshot.tasks.first { $0.key.rawValue == "mediator" }?.readySince
          == oldest.map { max($0.createdAt, $0.runAt ?? $0.createdAt) })
    }
  }
}
