import TaskBridgeCore
import TaskBridgeStore
import Testing

@Suite struct FamilyTests {
  @Test("T32: a chain of thousands fails without running out of stack")
  func aChainOfThousandsIsCancelledWithoutRunningOutOfStack() async throws {
    try await withTemporaryStore { test in
      let batch = (0..<5_000).map { index in
        TestStore.prepared(TestStore.submission { if index > 0 { $0.dependsOn = [.index(index - 1)] } })
      }
      let results = try await test.store.write { tx throws(StoreError) in
        try tx.submit(batch: batch, now: TestStore.start, actor: "test")
      }.get()

      let first = results[0].runID
      _ = try await test.store.write { tx throws(StoreError) in
        try tx.cancel(first, reason: nil, now: TestStore.start, actor: "test")
      }

      #expect(try await test.state(results[4_999].runID) == .dependencyFailed)
      #expect(test.store.backlog == 0)
    }
  }

  @Test func aReplayedDependentNoLongerWaitsForWhatHadEnded() async throws {
    try await withTemporaryStore { test in
      let a = try await test.add { $0.maxAttempts = 1 }
      let dispatch = try #require(try await test.launch().first)
      let b = try await test.add { $0.dependsOn = [.run(a)] }
      try await test.report(.failed, dispatch.id)
      #expect(try await test.state(b) == .dependencyFailed)

      try await test.replay(b)
      try await test.replay(a)
      let again = try #require(try await test.launch().first { $0.run.id == a })
      let answer = try await test.report(.completed, again.id)

      #expect(answer.code == .applied)
      #expect(try await test.state(a) == .completed)
      #expect(try await test.run(b).openDependencies == 0)
    }
  }

  @Test("T38: a child that failed before its parent was done fails it")
  func aChildThatFailedBeforeItsParentWasDoneFailsIt() async throws {
    try await withTemporaryStore { test in
      let parent = try await test.add()
      let dispatch = try #require(try await test.launch().first)
      try await test.report(.running, dispatch.id)
      try await test.add {
        $0.parentID = parent
        $0.maxAttempts = 1
      }
      let work = try #require(try await test.launch().first)
      try await test.report(.failed, work.id)
      #expect(try await test.state(parent) == .running)

      try await test.report(.completed, dispatch.id)

      #expect(try await test.state(parent) == .failed)
    }
  }

  @Test func aReplayedParentIsNotHauntedByTheChildrenOfItsEarlierSeries() async throws {
    try await withTemporaryStore { test in
      let parent = try await test.add()
      let dispatch = try #require(try await test.launch().first)
      try await test.report(.running, dispatch.id)
      try await test.add {
        $0.parentID = parent
        $0.maxAttempts = 1
      }
      try await test.report(.completed, dispatch.id)
      let work = try #require(try await test.launch().first)
      try await test.report(.failed, work.id)
      #expect(try await test.state(parent) == .failed)

      let later = TestStore.start.adding(seconds: 10)
      try await test.replay(parent, now: later)
      let again = try #require(try await test.launch(now: later).first { $0.run.id == parent })
      try await test.report(.completed, again.id, now: later)

      #expect(try await test.state(parent) == .completed)
    }
  }

  @Test func aChildCannotWaitForItsParent() async throws {
    try await withTemporaryStore { test in
      let parent = try await test.add()
      let dispatch = try #require(try await test.launch().first)
      try await test.report(.running, dispatch.id)

      let result = try await test.submit(
        TestStore.submission {
          $0.parentID = parent
          $0.dependsOn = [.run(parent)]
        })

      guard case .failure(let problem) = result else { throw Unexpected() }
      #expect(problem.code == "dependency_cycle")
    }
  }

  @Test("T64: a parent and its child past their expiry end together, also when the release finds them first")
  func aParentAndItsChildPastTheirExpiryEndTogether() async throws {
    try await withTemporaryStore { test in
      let parent = try await test.add { $0.ttlSeconds = 10 }
      let child = try await test.add { $0.parentID = parent }
      let late = TestStore.start.adding(seconds: 11)

      #expect(try await test.release(now: late).isEmpty)
      _ = try await test.store.write { tx throws(StoreError) in try tx.expire(now: late, limit: 10) }

      #expect(try await test.state(parent) == .expired)
      #expect(try await test.state(child) == .expired)
    }
  }

  @Test("N32, T56: a dedup key stays with the task key of the submission after a fallback")
  func aDedupKeyStaysWithTheTaskOfTheSubmissionAfterAFallback() async throws {
    try await withTemporaryStore { test in
      let big = TaskKey("media.big")!
      let id = try await test.add {
        $0.dedupKey = "k"
        $0.resources = ["memory": 4]
        $0.resourceScales = ["memory": .factor(1)]
        $0.fallbackTasks = [big]
      }
      try await test.add("media.big") { $0.dedupKey = "k" }
      let dispatch = try #require(try await test.launch().first { $0.run.id == id })
      let limits = PolicyLookup { task in
        var policy = TaskPolicy()
        policy.resourceLimits = ["memory": task == big ? 64 : 4]
        return policy
      }
      let verified = VerifiedReport(
        WorkerReport(token: "t", state: .resourceError), dispatch: dispatch.id, via: .amqp,
        receivedAt: TestStore.start, jitter: 0)

      _ = try await test.store.write { tx throws(StoreError) in try tx.report(verified, policies: limits) }

      let moved = try await test.run(id)
      #expect(moved.task == big && moved.state == .scheduled)
      #expect(moved.resources == ["memory": 8])
      let again = try await test.submit(TestStore.submission { $0.dedupKey = "k" }).get()
      #expect(again.outcome == .duplicate && again.runID == id)
    }
  }
}
