import TaskBridgeCore
import TaskBridgeStore
import Testing

@Suite struct LifecycleTests {
  @Test func aRunGoesFromSubmissionToItsEnd() async throws {
    try await withTemporaryStore { test in
      let id = try await test.add()

      let dispatch = try #require(try await test.launch().first)
      #expect(try await test.state(id) == .launched)
      #expect(try await test.report(.running, dispatch.id).code == .applied)
      #expect(try await test.report(.completed, dispatch.id).code == .applied)

      let run = try await test.run(id)
      #expect(run.state == .completed)
      #expect(run.finishedAt == TestStore.start)
      #expect(run.attempt == 1)
    }
  }

  @Test func releaseGoesByPriorityThenRetriesThenAge() async throws {
    try await withTemporaryStore { test in
      let failing = try await test.add()
      let first = try #require(try await test.launch().first)
      try await test.report(.failed, first.id)
      let old = try await test.add()
      let new = try await test.add()
      let urgent = try await test.add { $0.priority = 0 }
      try await test.promote(now: TestStore.start.adding(seconds: 10))

      let order = try await test.release().map(\.run.id)

      #expect(order == [urgent, failing, old, new])
    }
  }

  @Test func theQueueBoundIsNeverExceeded() async throws {
    try await withTemporaryStore { test in
      for _ in 0..<10 { try await test.add() }

      let first = try await test.release(bound: 3)
      try await test.confirm(first)
      let none = try await test.release(bound: 3)
      try await test.report(.running, first[0].id)
      let one = try await test.release(bound: 3)

      #expect(first.count == 3)
      #expect(none.isEmpty)
      #expect(one.count == 1)
    }
  }

  @Test func oneTaskKeyNeverStarvesAnother() async throws {
    try await withTemporaryStore { test in
      for _ in 0..<50 { try await test.add("a.full") }
      for _ in 0..<5 { try await test.add("b.small") }

      let tasks = try await test.release(20).map(\.run.task.rawValue)

      #expect(tasks.filter { $0 == "b.small" }.count == 5)
      #expect(tasks.filter { $0 == "a.full" }.count == 15)
    }
  }

  @Test("J25, T67: failures are retried until the budget is spent")
  func failuresAreRetriedUntilTheBudgetIsSpent() async throws {
    try await withTemporaryStore { test in
      let id = try await test.add { $0.maxAttempts = 2 }
      var now = TestStore.start
      for attempt in 1...2 {
        let dispatch = try #require(try await test.launch(now: now).first)
        #expect(dispatch.run.attempt == attempt)
        try await test.report(.failed, dispatch.id, now: now) {
          $0.error = WorkerError(type: "boom", message: "no \(attempt)")
        }
        now = now.adding(seconds: 100)
        try await test.promote(now: now)
      }

      #expect(try await test.state(id) == .deadLettered)
      let letter = try #require(
        try await test.store.read { tx throws(StoreError) in try tx.deadLetter(id) })
      #expect(letter.reason == .exhausted)
    }
  }

  @Test func aReportOfAnOlderAttemptChangesNothing() async throws {
    try await withTemporaryStore { test in
      let id = try await test.add()
      let first = try #require(try await test.launch().first)
      try await test.report(.failed, first.id)
      try await test.promote(now: TestStore.start.adding(seconds: 100))
      let second = try #require(try await test.launch().first)

      let answer = try await test.report(.completed, first.id)

      #expect(answer.code == .staleAttempt)
      #expect(answer.action == .stop)
      #expect(try await test.state(id) == .launched)
      #expect(try await test.report(.completed, second.id).code == .applied)
    }
  }

  @Test("J25: a silent worker is triaged, then lost, then retried")
  func aSilentWorkerIsTriagedThenLostThenRetried() async throws {
    try await withTemporaryStore { test in
      let id = try await test.add { $0.leaseSeconds = 10 }
      let dispatch = try #require(try await test.launch().first)
      try await test.report(.running, dispatch.id)

      try await test.sweep(now: TestStore.start.adding(seconds: 9))
      #expect(
        try await test.report(.heartbeat, dispatch.id, now: TestStore.start.adding(seconds: 9)).attemptState == .running
      )
      try await test.sweep(now: TestStore.start.adding(seconds: 19.001))
      let triaged = try await test.report(.heartbeat, dispatch.id, now: TestStore.start.adding(seconds: 20))
      #expect(triaged.attemptState == .running)
      try await test.sweep(now: TestStore.start.adding(seconds: 31))
      try await test.sweep(now: TestStore.start.adding(seconds: 42))

      let run = try await test.run(id)
      #expect(run.state == .scheduled)
      #expect(run.losses == 1 && run.failures == 0)
    }
  }

  @Test("J26, N25: a run that was taken back keeps its attempt and gets a new dispatch")
  func takenBackRunsKeepTheirAttemptAndGetANewDispatch() async throws {
    try await withTemporaryStore { test in
      let id = try await test.add()
      let first = try #require(try await test.launch().first)
      let task = first.run.task
      _ = try await test.store.write { tx throws(StoreError) in
        try tx.takeBackLaunched(task, confirmedBefore: nil, reason: "gone", limit: 10, now: TestStore.start)
      }
      #expect(try await test.state(id) == .ready)

      let second = try #require(try await test.launch().first)

      #expect(second.run.attempt == 1)
      #expect(second.run.dispatch == 2)
      #expect(try await test.report(.running, first.id).code == .staleAttempt)
      #expect(try await test.report(.running, second.id).code == .applied)
      #expect(try await test.run(id).losses == 0)
    }
  }

  @Test("T70: a hundred snoozes use up no attempt")
  func snoozesUseUpNoAttempt() async throws {
    try await withTemporaryStore { test in
      let id = try await test.add {
        $0.maxAttempts = 1
        $0.maxLost = 1
      }
      for number in 1...100 {
        let dispatch = try #require(try await test.launch().first)
        #expect(dispatch.run.attempt == number)
        #expect(try await test.report(.snoozed, dispatch.id) { $0.retryAfterSeconds = 0 }.runState == .scheduled)
        try await test.promote(now: TestStore.start)
      }

      let run = try await test.run(id)
      #expect((run.failures, run.losses) == (0, 0))
      let last = try #require(try await test.launch().first)
      #expect(try await test.report(.completed, last.id).runState == .completed)
    }
  }

  @Test("J25: an orphan counts as a loss")
  func anOrphanCountsAsALoss() async throws {
    try await withTemporaryStore { test in
      let id = try await test.add()
      let dispatch = try #require(try await test.launch().first)
      let task = dispatch.run.task
      let later = TestStore.start.adding(seconds: 120)

      let lost = try await test.store.write { tx throws(StoreError) in
        try tx.giveUpOrphans(task, confirmedBefore: later, limit: 10, policies: policies, now: later, jitter: 0)
      }

      #expect(lost == 1)
      #expect(try await test.run(id).losses == 1)
      #expect(try await test.state(id) == .scheduled)
    }
  }

  @Test("T24, T25: cancel ends what nobody holds and asks whoever holds it")
  func cancelEndsWhatNobodyHoldsAndAsksWhoeverHoldsIt() async throws {
    try await withTemporaryStore { test in
      let waiting = try await test.add { $0.delaySeconds = 100 }
      let held = try await test.add()
      let dispatch = try #require(try await test.launch().first)
      try await test.report(.running, dispatch.id)

      for id in [waiting, held, held] {
        let result = try await test.store.write { tx throws(StoreError) in
          try tx.cancel(id, reason: "test", now: TestStore.start, actor: "test")
        }
        #expect(throws: Never.self) { try result.get() }
      }

      #expect(try await test.state(waiting) == .cancelled)
      #expect(try await test.state(held) == .cancelling)
      let answer = try await test.report(.cancelled, dispatch.id)
      #expect(answer.code == .applied)
      #expect(try await test.state(held) == .cancelled)
    }
  }

  @Test("N26: the claim of a cancelled run is aborted")
  func theClaimOfACancelledRunIsAborted() async throws {
    try await withTemporaryStore { test in
      let id = try await test.add()
      let dispatch = try #require(try await test.launch().first)
      _ = try await test.store.write { tx throws(StoreError) in
        try tx.cancel(id, reason: nil, now: TestStore.start, actor: "test")
      }

      let answer = try await test.report(.running, dispatch.id)

      #expect(answer.code == .terminalRun)
      #expect(answer.action == .stop)
      #expect(try await test.state(id) == .cancelled)
    }
  }

  @Test func replayStartsANewSeriesUnderTheSameID() async throws {
    try await withTemporaryStore { test in
      let id = try await test.add { $0.maxAttempts = 1 }
      let first = try #require(try await test.launch().first)
      try await test.report(.failed, first.id)

      let replayed = try await test.store.write { tx throws(StoreError) in
        try tx.replay(id, options: RetryOptions(), now: TestStore.start, actor: "test")
      }
      let again = try await test.store.write { tx throws(StoreError) in
        try tx.replay(id, options: RetryOptions(), now: TestStore.start, actor: "test")
      }
      let second = try #require(try await test.launch().first)

      #expect(throws: Never.self) { try replayed.get() }
      #expect(throws: Problem.self) { try again.get() }
      #expect(second.run.attempt == 2)
      #expect(try await test.report(.completed, first.id).code == .staleAttempt)
      #expect(try await test.report(.completed, second.id).code == .applied)
    }
  }
}
