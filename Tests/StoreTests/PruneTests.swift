import GRDB
import TaskBridgeCore
import Testing

@testable import TaskBridgeStore

/// Deleting ended runs (T49, T50, T51).
@Suite struct PruneTests {
  private func prune(
    _ test: TestStore, _ request: PruneRequest, now: Timestamp
  ) async throws -> (counted: Int, deleted: Int) {
    try await test.store.write { tx throws(StoreError) in
      let reader = ReadTransaction(db: tx.db)
      guard let bound = try reader.pruneBound(request, now: now) else { return (0, 0) }
      let found = try reader.prunable(request, upTo: bound, after: 0, limit: 1_000)
      return (try reader.prunableCount(request, upTo: bound), try tx.prune(found, request, upTo: bound))
    }
  }

  /// A run that ended `state` at `day`.
  private func ended(
    _ test: TestStore, _ state: RunState = .completed, day: Double, task: String = "media.thumbnail"
  ) async throws -> RunID {
    let now = TestStore.start.adding(seconds: day * 86_400)
    let id = try await test.add(task, now: now)
    if state == .cancelled {
      _ = try await test.store.write { tx throws(StoreError) in
        try tx.cancel(id, reason: nil, now: now, actor: "test")
      }
      return id
    }
    let dispatch = try #require(try await test.launch(now: now).first { $0.run.id == id })
    try await test.report(state == .completed ? .completed : .failed, dispatch.id, now: now) {
      if state != .completed { $0.error = WorkerError(type: "x", retryable: false) }
    }
    try await mirrored(test)
    return id
  }

  /// The broker has taken every dead letter.
  private func mirrored(_ test: TestStore) async throws {
    try await test.store.write { tx throws(StoreError) in
      try tx.removeFromOutbox(try tx.pendingNotices(after: 0, limit: 100).map(\.outboxID))
    }
  }

  private func exists(_ test: TestStore, _ id: RunID) async throws -> Bool {
    try await test.store.read { tx throws(StoreError) in try tx.sequence(of: id) != nil }
  }

  private func left(_ test: TestStore, of ids: [RunID]) async throws -> [Int] {
    var left: [Int] = []
    for (index, id) in ids.enumerated() where try await exists(test, id) { left.append(index) }
    return left
  }

  private static let later = TestStore.start.adding(seconds: 100 * 86_400)

  @Test("T49: keep_last keeps the most recently finished, older_than_days goes by finished_at")
  func bothCriteriaGoByTheEnd() async throws {
    try await withTemporaryStore { test in
      var ids: [RunID] = []
      for day in [5.0, 1, 3, 2, 4] { ids.append(try await ended(test, day: day)) }
      let active = try await test.add { $0.delaySeconds = 1 }

      let last = try await prune(test, PruneRequest(.keepLast(3)), now: Self.later)
      #expect(last == (2, 2))
      #expect(try await left(test, of: ids) == [0, 2, 4])

      let old = try await prune(
        test, PruneRequest(.olderThanDays(1)), now: TestStore.start.adding(seconds: 5 * 86_400))
      #expect(old == (2, 2))
      #expect(try await left(test, of: ids) == [0])
      let all = try await prune(test, PruneRequest(.keepLast(0)), now: Self.later)
      #expect(all == (1, 1))
      #expect(try await exists(test, active))
      let none = try await prune(test, PruneRequest(.keepLast(0)), now: Self.later)
      #expect(none == (0, 0))
    }
  }

  @Test("T49: states and task narrow it; an unresolved dead letter goes only when its state is named")
  func statesAndTaskNarrow() async throws {
    try await withTemporaryStore { test in
      let ids = [
        try await ended(test, day: 1), try await ended(test, .failed, day: 1),
        try await ended(test, .cancelled, day: 1), try await ended(test, day: 1, task: "other.task"),
        try await ended(test, .failed, day: 2),
      ]
      _ = try await test.store.write { tx throws(StoreError) in
        try tx.discard(ids[4], reason: nil, now: Self.later, actor: "test")
      }

      let cancelled = try await prune(test, PruneRequest(.keepLast(0), states: [.cancelled]), now: Self.later)
      #expect(cancelled.deleted == 1)
      #expect(try await left(test, of: ids) == [0, 1, 3, 4])
      let task = try await prune(test, PruneRequest(.keepLast(0), task: TaskKey("other.task")), now: Self.later)
      #expect(task.deleted == 1)
      #expect(try await left(test, of: ids) == [0, 1, 4])
      let plain = try await prune(test, PruneRequest(.keepLast(0)), now: Self.later)
      #expect(plain.deleted == 2)
      #expect(try await left(test, of: ids) == [1])
      let named = try await prune(test, PruneRequest(.keepLast(0), states: [.failed]), now: Self.later)
      #expect(named.deleted == 1)
      #expect(try await left(test, of: ids) == [])
    }
  }

  @Test("T49: a dead letter whose message is on its way to the mirror stays until it is there")
  func aLetterOnItsWayStays() async throws {
    try await withTemporaryStore { test in
      let id = try await test.add { $0.maxAttempts = 1 }
      let dispatch = try #require(try await test.launch().first)
      try await test.report(.failed, dispatch.id)
      let request = PruneRequest(.keepLast(0), states: [.deadLettered])

      let bound = PruneBound(finishedAt: Self.later)
      @Sendable func pending(_ tx: ReadTransaction) throws(StoreError) -> [Int] {
        [
          try tx.mirrorPendingCount(request, upTo: bound),
          try tx.mirrorPendingCount(PruneRequest(.keepLast(0)), upTo: bound),
        ]
      }

      let waiting = try await test.store.read(pending)
      let early = try await prune(test, request, now: Self.later)
      let refused = try await test.store.write { tx throws(StoreError) in try tx.delete(id) }
      try await mirrored(test)
      let late = try await prune(test, request, now: Self.later)

      #expect(early == (0, 0) && late == (1, 1))
      #expect(waiting == [1, 0], "it is not meant where its state is not named")
      #expect(try await test.store.read(pending) == [0, 0])
      guard case .failure(let problem) = refused else { throw Unexpected() }
      #expect((problem.status, problem.code) == (409, "mirror_pending"))
      let tasks = try await test.store.read { tx throws(StoreError) in try tx.mirroredTasks() }
      #expect(tasks == [dispatch.run.task], "its mirror is looked at once more")
    }
  }

  @Test("T49: a child without success stays until its parent has ended, which may still have to fail by it")
  func aFailedChildStaysForItsParent() async throws {
    try await withTemporaryStore { test in
      let parent = try await test.add { $0.failFast = false }
      let work = try #require(try await test.launch().first)
      try await test.report(.running, work.id)
      let child = try await test.add { $0.parentID = parent }
      try await test.add { $0.parentID = parent }
      _ = try await test.store.write { tx throws(StoreError) in
        try tx.cancel(child, reason: nil, now: TestStore.start, actor: "test")
      }
      try await test.report(.completed, try #require(try await test.launch().first).id)

      let early = try await prune(test, PruneRequest(.keepLast(0)), now: Self.later)
      let refused = try await test.store.write { tx throws(StoreError) in try tx.delete(child) }
      try await test.report(.completed, work.id)

      #expect(early == (1, 1), "the child that completed")
      guard case .failure(let problem) = refused else { throw Unexpected() }
      #expect((problem.status, problem.code, problem.runID) == (409, "parent_active", parent))
      #expect(try await test.state(parent) == .failed)
      let late = try await prune(test, PruneRequest(.keepLast(0)), now: Self.later)
      #expect(late == (1, 1))
    }
  }

  @Test("T50: nothing is left of a pruned run in any table, and counters agree; kept runs still name it")
  func nothingIsLeft() async throws {
    try await withTemporaryFolder { folder in
      let test = TestStore(try openStore(folder))
      let gone = try await test.add {
        $0.tags = ["a": "b"]
        $0.dedupKey = "d"
        $0.idempotencyKey = "i"
        $0.workflowID = "w"
      }
      _ = try await test.submit(
        TestStore.submission {
          $0.dedupKey = "d"
          $0.idempotencyKey = "other"
        })
      let dependent = try await test.add { $0.dependsOn = [.run(gone)] }
      let child = try await test.add { $0.parentID = gone }
      for dispatch in try await test.launch() {
        try await test.report(.completed, dispatch.id) { $0.result = Array("1".utf8) }
      }
      let sequence = try await test.run(gone).sequence

      _ = try await test.store.write { tx throws(StoreError) in try tx.delete(gone) }.get()

      #expect(try await test.run(child).parentID == gone)
      let shown = try await test.store.read { tx throws(StoreError) in try tx.run(dependent) }
      #expect(shown?.dependsOn == #"["\#(gone)"]"#)
      #expect(try await test.state(dependent) == .ready)
      await test.store.close()
      let queue = try DatabaseQueue(path: folder + "/taskbridge.db")
      try await queue.read { db in
        let tables = try String.fetchAll(db, sql: "SELECT name FROM sqlite_schema WHERE type = 'table'")
        var looked = 0
        for table in tables {
          let columns = try db.foreignKeys(on: table).filter { $0.destinationTable == "runs" }.map {
            $0.mapping[0].origin
          }
          for column in columns {
            looked += 1
            let rows = try Int.fetchOne(
              db, sql: "SELECT count(*) FROM \(table) WHERE \(column) = ?", arguments: [sequence])
            #expect(rows == 0, "\(table).\(column)")
          }
        }
        #expect(looked >= 12)
        #expect(try Int.fetchOne(db, sql: "SELECT count(*) FROM runs WHERE seq = ?", arguments: [sequence]) == 0)
        #expect(try Row.fetchAll(db, sql: "PRAGMA foreign_key_check").isEmpty)
        let counted = try Int.fetchOne(db, sql: "SELECT sum(runs) FROM counts")
        #expect(try Int.fetchOne(db, sql: "SELECT count(*) FROM runs") == counted)
      }
      try queue.close()
    }
  }

  @Test("T50: a slice that fails deletes nothing of itself")
  func aSliceThatFailsDeletesNothing() async throws {
    try await withTemporaryFolder { folder in
      let test = TestStore(try openStore(folder))
      let ids = [try await ended(test, day: 1), try await ended(test, day: 2)]
      let sequence = try await test.run(ids[1]).sequence
      let queue = try DatabaseQueue(path: folder + "/taskbridge.db")
      try await queue.write { db in
        try db.execute(sql: "CREATE TABLE holds (run_seq INTEGER REFERENCES runs (seq))")
        try db.execute(sql: "INSERT INTO holds VALUES (?)", arguments: [sequence])
      }
      try queue.close()

      await #expect(throws: StoreError.self) {
        _ = try await prune(test, PruneRequest(.keepLast(0)), now: Self.later)
      }

      #expect(try await left(test, of: ids) == [0, 1])
      await test.store.close()
    }
  }

  @Test("T51: retention finds what is over in bounded looks and stops where runs are too new")
  func retentionLooksInSlices() async throws {
    try await withTemporaryStore { test in
      for day in 0..<12 { _ = try await ended(test, .cancelled, day: Double(day)) }
      let bound = PruneBound(finishedAt: TestStore.start.adding(seconds: 9.5 * 86_400))

      var (after, looks, deleted): (Int64?, Int, [Int]) = (0, 0, [])
      while let start = after {
        let (found, next) = try await test.store.read { tx throws(StoreError) in
          try tx.retentionSlice(upTo: bound, after: start, limit: 4)
        }
        deleted.append(
          try await test.store.write { tx throws(StoreError) in
            try tx.prune(found, PruneRequest(.keepLast(0)), upTo: bound)
          })
        after = next
        looks += 1
      }

      #expect(deleted == [4, 4, 2, 0] && looks == 4)
      let rest = try await test.store.read { tx throws(StoreError) in try tx.endedCount() }
      #expect(rest == 2)
    }
  }

  @Test func rejectedSubmissionsAreListedForADay() async throws {
    try await withTemporaryStore { test in
      try await test.store.write { tx throws(StoreError) in
        for isRejected in [true, false] {
          try tx.quarantine(
            QuarantinedMessage(
              source: .submit, code: "x", detail: "x", routingKey: nil, properties: nil, body: [],
              isRejected: isRejected), now: TestStore.start)
        }
      }
      func sweep(_ before: Timestamp) async throws -> (Bool, Int) {
        let has = try await test.store.read { tx throws(StoreError) in try tx.hasRejected(before: before) }
        return (
          has, try await test.store.write { tx throws(StoreError) in try tx.sweepRejected(before: before, limit: 9) }
        )
      }

      #expect(try await sweep(TestStore.start) == (false, 0))
      #expect(try await sweep(TestStore.start.adding(seconds: 1)) == (true, 1))
      #expect(try await sweep(TestStore.start.adding(seconds: 1)) == (false, 0))
    }
  }
}
