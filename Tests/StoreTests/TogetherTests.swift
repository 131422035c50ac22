import TaskBridgeCore
import TaskBridgeStore
import Testing

/// Steps of one run that are written together are seen as if each had been written alone.
@Suite struct TogetherTests {
  /// What a worker does with a run, and what it leaves.
  @Test(
    arguments: [
      [.running, .completed], [.completed], [.running, .failed], [.running, .heartbeat, .snoozed],
      [.running, .running, .completed, .completed], [.cancelled],
    ] as [[ReportedState]])
  func oneWriteLeavesWhatManyLeave(_ states: [ReportedState]) async throws {
    try await withTemporaryStore { test in
      let (alone, inOne) = (try await test.add(), try await test.add())
      let dispatches = try await test.release()
      #expect(dispatches.map(\.run.id) == [alone, inOne])

      try await test.confirm([dispatches[0]])
      for state in states { try await test.report(state, dispatches[0].id) }
      let codes = try await test.together([dispatches[1]], reports: states.map { (dispatches[1].id, $0) })

      let (first, second) = (try await test.life(alone), try await test.life(inOne))
      #expect(second == first)
      #expect(codes == first.codes)
      #expect(try await test.countsAgree())
    }
  }

  @Test func whatFollowsForOtherRunsIsDoneInTheSameWrite() async throws {
    try await withTemporaryStore { test in
      let first = try await test.add()
      let second = try await test.add()
      let dependent = try await test.add { $0.dependsOn = [.run(first), .run(second)] }
      let dispatches = try await test.launch()

      _ = try await test.together(
        [], reports: dispatches.flatMap { [($0.id, .running), ($0.id, .completed)] as [(DispatchID, ReportedState)] })

      #expect(try await test.state(dependent) == .ready)
      #expect(try await test.countsAgree())
    }
  }

  @Test func aChildAndItsParentMayEndInTheSameWrite() async throws {
    try await withTemporaryStore { test in
      let parent = try await test.add()
      let work = try #require(try await test.launch().first)
      try await test.report(.running, work.id)
      let child = try await test.add { $0.parentID = parent }
      let childWork = try #require(try await test.launch().first)

      _ = try await test.together(
        [], reports: [(childWork.id, .running), (work.id, .completed), (childWork.id, .completed)])

      #expect(try await test.state(child) == .completed)
      #expect(try await test.state(parent) == .completed)
      #expect(try await test.countsAgree())
    }
  }

  @Test func aFailedChildInTheSameWriteFailsItsParent() async throws {
    try await withTemporaryStore { test in
      let parent = try await test.add()
      let work = try #require(try await test.launch().first)
      try await test.report(.running, work.id)
      _ = try await test.add {
        $0.parentID = parent
        $0.maxAttempts = 1
      }
      let childWork = try #require(try await test.launch().first)

      _ = try await test.together([], reports: [(childWork.id, .failed), (work.id, .completed)])

      #expect(try await test.state(parent) == .failed)
    }
  }

  @Test("J45: a confirm that comes after the end keeps its time and changes nothing")
  func aConfirmThatComesAfterTheEndKeepsItsTimeAndChangesNothing() async throws {
    try await withTemporaryStore { test in
      let id = try await test.add()
      let dispatch = try #require(try await test.release().first)
      try await test.report(.running, dispatch.id)
      try await test.report(.completed, dispatch.id)

      try await test.confirm([dispatch], now: TestStore.start.adding(seconds: 1))

      #expect(try await test.state(id) == .completed)
      #expect(try await test.attempts(id).first?.attempt.launchedAt == TestStore.start.adding(seconds: 1))
    }
  }

  /// Features N22: what waits for the broker's answer is what is queued.
  @Test func aQueuedRunIsItsOwnOutboxEntry() async throws {
    try await withTemporaryStore { test in
      for _ in 0..<3 { try await test.add() }
      let dispatches = try await test.release(now: TestStore.start.adding(seconds: 5))
      let before = try await test.store.read { tx throws(StoreError) in try tx.outbox() }
      try await test.confirm(dispatches)
      let after = try await test.store.read { tx throws(StoreError) in try tx.outbox() }

      #expect(before.pending == 3)
      #expect(before.oldest == TestStore.start.adding(seconds: 5))
      #expect(after.pending == 0)
      #expect(after.oldest == nil)
    }
  }
}

extension TestStore {
  /// Confirms and reports as the bridge applies those that arrive at once.
  func together(_ confirmed: [Dispatch], reports: [(DispatchID, ReportedState)]) async throws -> [VerdictCode] {
    let verified = reports.map { dispatch, state in
      VerifiedReport(
        WorkerReport(token: "t", state: state), dispatch: dispatch, via: .amqp, receivedAt: Self.start, jitter: 0)
    }
    return try await store.write { tx throws(StoreError) in
      try tx.together { () throws(StoreError) in
        try tx.confirm(confirmed, now: Self.start)
        return try verified.map { report throws(StoreError) in
          try tx.report(report, policies: policies, isAnswered: false).code
        }
      }
    }
  }

  /// All that is stored of what became of a run, without what tells two runs apart.
  struct Life: Equatable {
    var state: RunState
    var numbers: [Int]
    var times: [Timestamp?]
    var attempts: [Attempt]
    var steps: [String]
    var codes: [VerdictCode]
  }

  func life(_ id: RunID) async throws -> Life {
    let run = try await run(id)
    let (audit, reports) = try await store.read { tx throws(StoreError) in
      (
        try tx.audit(run: id, workflowID: nil, limit: 100, before: nil),
        try tx.reports(of: run.sequence, limit: 100, before: nil)
      )
    }
    return Life(
      state: run.state, numbers: [run.attempt, run.dispatch, run.failures, run.losses],
      times: [run.runAt, run.queuedAt, run.launchedAt, run.startedAt, run.finishedAt],
      attempts: try await attempts(id).map(\.attempt),
      steps: audit.map { "\($0.previousState?.rawValue ?? "") \($0.newState) \($0.attempt) \($0.reason ?? "")" },
      codes: reports.reversed().map(\.code))
  }

  /// I17: the counters agree with the rows.
  func countsAgree() async throws -> Bool {
    try await store.read { tx throws(StoreError) in
      let counted = try tx.count(RunFilter(), held: HeldSet()).byState
      var listed: [RunState: Int] = [:]
      for item in try tx.runs(RunQuery(limit: 1_000)).items { listed[item.run.state, default: 0] += 1 }
      return counted == listed
    }
  }
}
