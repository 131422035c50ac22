import TaskBridgeCore
import TaskBridgeStore
import Testing

@Suite struct FencingTests {
  @Test(arguments: ReportedState.allCases)
  func theTokenOfATakenBackDispatchIsStaleAtOnce(reported: ReportedState) async throws {
    try await withTemporaryStore { test in
      let id = try await test.add()
      let old = try #require(try await test.launch().first)
      try await test.takeBack(old.run.task)

      let answer = try await test.report(reported, old.id)

      #expect(answer.code == .staleAttempt)
      #expect(try await test.state(id) == .ready)
    }
  }

  @Test("T24, N25: a run that was taken back can be cancelled, and its attempt ends with it")
  func aTakenBackRunCanBeCancelledAndItsAttemptEndsWithIt() async throws {
    try await withTemporaryStore { test in
      let id = try await test.add()
      let old = try #require(try await test.launch().first)
      try await test.takeBack(old.run.task)

      let result = try await test.store.write { tx throws(StoreError) in
        try tx.cancel(id, reason: nil, now: TestStore.start, actor: "test")
      }

      #expect(throws: Never.self) { try result.get() }
      let attempts = try await test.attempts(id)
      #expect(attempts.map(\.attempt.state) == [.fatal])
    }
  }

  @Test func anOrphansErrorIsRefusedEachTimeAndNeverAConflict() async throws {
    try await withTemporaryStore { test in
      let id = try await test.add()
      let dispatch = try #require(try await test.launch().first)
      try await test.report(.running, dispatch.id)
      _ = try await test.store.write { tx throws(StoreError) in
        try tx.cancel(id, reason: nil, now: TestStore.start, actor: "test")
      }
      try await test.sweep(now: TestStore.start.adding(seconds: 1_000))
      #expect(try await test.state(id) == .cancelled)

      let first = try await test.report(.failed, dispatch.id)
      let second = try await test.report(.failed, dispatch.id)
      let other = try await test.report(.completed, dispatch.id)

      #expect([first.code, second.code, other.code] == [.terminalRun, .terminalRun, .terminalRun])
    }
  }

  @Test("J45: a claim before the confirm means that nothing is published again")
  func aClaimBeforeTheConfirmMeansThatNothingIsPublishedAgain() async throws {
    try await withTemporaryStore { test in
      try await test.add()
      let dispatch = try #require(try await test.release().first)
      try await test.report(.running, dispatch.id)

      let pending = try await test.store.write { tx throws(StoreError) in
        try tx.pendingDispatches(after: nil, limit: 10, policy: { _ in TaskPolicy() })
      }

      #expect(pending.isEmpty)
    }
  }
}
