import TaskBridgeCore
import TaskBridgeStore
import Testing

/// Ends of families that nobody else would bring about.
@Suite struct FamilyEndTests {
  /// Features T26, T38: it was asked to stop, and no child is left whose end would end it.
  @Test func aStoppedParentThatIsDoneAfterItsChildFailedIsCancelled() async throws {
    try await withTemporaryStore { test in
      let parent = try await test.add()
      let work = try #require(try await test.launch().first)
      try await test.report(.running, work.id)
      try await test.add {
        $0.parentID = parent
        $0.maxAttempts = 1
      }
      let childWork = try #require(try await test.launch().first)
      try await test.report(.failed, childWork.id)
      _ = try await test.cancelRun(parent)

      let answer = try await test.report(.completed, work.id)

      #expect(answer.code == .applied)
      #expect(answer.runState == .cancelled)
      #expect(try await test.state(parent) == .cancelled)
    }
  }

  /// Features T64: queued or taken back, a child that nobody has claimed expires with its parent, and its attempt ends.
  @Test(arguments: [false, true])
  func anExpiredParentTakesTheChildrenThatNobodyHasClaimed(isTakenBack: Bool) async throws {
    try await withTemporaryStore { test in
      let parent = try await test.add {
        $0.ttlSeconds = 10
        $0.delaySeconds = 100
      }
      let child = try await test.add { $0.parentID = parent }
      let dispatch = try #require(try await test.launch().first)
      if isTakenBack { try await test.takeBack(dispatch.run.task) }
      let late = TestStore.start.adding(seconds: 11)

      _ = try await test.store.write { tx throws(StoreError) in try tx.expire(now: late, limit: 10) }

      #expect(try await test.state(parent) == .expired)
      #expect(try await test.state(child) == .expired)
      #expect(try await test.attempts(child).map(\.attempt.state) == [.fatal])
    }
  }

  @Test("T38: a failed child counts in the series of its parent that it was started in, whatever the clock does")
  func aFailedChildCountsThoughTheClockWasSetBack() async throws {
    try await withTemporaryStore { test in
      let parent = try await test.add()
      let work = try #require(try await test.launch().first)
      try await test.report(.running, work.id)
      let back = TestStore.start.adding(seconds: -3_600)
      try await test.add(now: back) {
        $0.parentID = parent
        $0.maxAttempts = 1
      }
      try await test.report(.failed, try #require(try await test.launch(now: back).first).id, now: back)

      try await test.report(.completed, work.id, now: back)

      #expect(try await test.state(parent) == .failed)
      try await test.replay(parent, now: back)
      try await test.report(.completed, try #require(try await test.launch(now: back).first).id, now: back)
      #expect(try await test.state(parent) == .completed, "that child was of the series before")
    }
  }

  /// Features T53: one key, one run at a time.
  @Test func aReplayedFollowUpWaitsForTheRunItFollows() async throws {
    try await withTemporaryStore { test in
      let first = try await test.add { $0.dedupKey = "k" }
      let dispatch = try #require(try await test.launch().first)
      try await test.report(.running, dispatch.id)
      let again = try await test.submit(TestStore.submission { $0.dedupKey = "k" }).get()
      let followUp = try #require(again.followUpID)
      _ = try await test.cancelRun(followUp)

      try await test.replay(followUp)
      let meanwhile = try await test.state(followUp)
      try await test.report(.completed, dispatch.id)

      #expect(meanwhile == .blocked)
      #expect(try await test.state(first) == .completed)
      #expect(try await test.state(followUp) == .ready)
      #expect(try await test.run(followUp).dedupKey == "k")
    }
  }
}

extension FamilyEndTests {
  /// Features T69: also by way of a run that is replayed later in the same call.
  @Test func aRunReplayedWithItsPrerequisitesWaitsForAllOfThem() async throws {
    try await withTemporaryStore { test in
      let a = try await test.add { $0.maxAttempts = 1 }
      let b = try await test.add { $0.dependsOn = [.run(a)] }
      let c = try await test.add { $0.dependsOn = [.run(b)] }
      let d = try await test.add { $0.dependsOn = [.run(a), .run(c)] }
      let dispatch = try #require(try await test.launch().first)
      try await test.report(.failed, dispatch.id)
      #expect(try await test.state(d) == .dependencyFailed)
      var options = RetryOptions()
      options.withDependents = true
      let wanted = options

      _ = try await test.store.write { tx throws(StoreError) in
        try tx.replay(a, options: wanted, now: TestStore.start, actor: "test")
      }

      for id in [b, c, d] { #expect(try await test.state(id) == .blocked) }
      #expect(try await test.run(d).openDependencies == 2)
    }
  }
}

extension FamilyEndTests {
  /// Features T69, J55: one that also waits for another failed run comes back with that one, not before it.
  @Test func aDependentOfTwoFailedRunsComesBackWithTheLastOfThem() async throws {
    try await withTemporaryStore { test in
      let a = try await test.add { $0.maxAttempts = 1 }
      let b = try await test.add { $0.maxAttempts = 1 }
      let d = try await test.add { $0.dependsOn = [.run(a), .run(b)] }
      for dispatch in try await test.launch() { try await test.report(.failed, dispatch.id) }
      #expect(try await test.state(d) == .dependencyFailed)

      try await test.replayWithDependents(a)
      let between = try await test.state(d)
      try await test.replayWithDependents(b)

      #expect(between == .dependencyFailed)
      #expect(try await test.state(d) == .blocked)
      #expect(try await test.run(d).openDependencies == 2)
    }
  }

  /// Features T38: a child of the series before, which ends only now, fails no replayed parent.
  @Test func aReplayedParentIsNotFailedByAChildOfItsEarlierSeries() async throws {
    try await withTemporaryStore { test in
      let parent = try await test.add()
      let work = try #require(try await test.launch().first)
      try await test.report(.running, work.id)
      for _ in 0..<2 {
        try await test.add {
          $0.parentID = parent
          $0.maxAttempts = 1
        }
      }
      let children = try await test.launch()
      for child in children { try await test.report(.running, child.id) }
      try await test.report(.completed, work.id)
      try await test.report(.failed, children[0].id)
      let later = TestStore.start.adding(seconds: 1)
      #expect(try await test.state(parent) == .failed)
      #expect(try await test.state(children[1].run.id) == .cancelling)

      try await test.replay(parent, now: later)
      try await test.report(.cancelled, children[1].id, now: later)
      let again = try #require(try await test.launch(now: later).first)
      try await test.report(.completed, again.id, now: later)

      #expect(try await test.state(parent) == .completed)
    }
  }

  /// Features T26: the family of a parent that is being cancelled does not start again.
  @Test func aChildOfAParentThatIsBeingCancelledIsNotReplayed() async throws {
    try await withTemporaryStore { test in
      let parent = try await test.add()
      let work = try #require(try await test.launch().first)
      try await test.report(.running, work.id)
      let child = try await test.add { $0.parentID = parent }
      _ = try await test.cancelRun(child)
      _ = try await test.cancelRun(parent)

      let problem = await #expect(throws: Problem.self) { try await test.replay(child) }

      #expect(problem?.code == "parent_ended")
      #expect(try await test.state(child) == .cancelled)
    }
  }
}

extension TestStore {
  fileprivate func replayWithDependents(_ id: RunID, now: Timestamp = start) async throws {
    var options = RetryOptions()
    options.withDependents = true
    let wanted = options
    _ = try await store.write { tx throws(StoreError) in try tx.replay(id, options: wanted, now: now, actor: "test") }
      .get()
  }

  fileprivate func cancelRun(_ id: RunID, now: Timestamp = start) async throws -> Result<RunID, Problem> {
    try await store.write { tx throws(StoreError) in try tx.cancel(id, reason: nil, now: now, actor: "test") }
  }
}
