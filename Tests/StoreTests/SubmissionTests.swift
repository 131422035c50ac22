import TaskBridgeCore
import TaskBridgeStore
import Testing

@Suite struct SubmissionTests {
  @Test("P16, P17: an idempotency key always gives its first run")
  func anIdempotencyKeyAlwaysGivesItsFirstRun() async throws {
    try await withTemporaryStore { test in
      let first = try await test.add { $0.idempotencyKey = "k" }

      let again = try await test.submit(TestStore.submission { $0.idempotencyKey = "k" }).get()
      let other = try await test.submit(
        TestStore.submission {
          $0.idempotencyKey = "k"
          $0.payload = Payload(bytes: Array("[1]".utf8))
        })

      #expect(again == SubmissionResult(.duplicate, runID: first))
      #expect(throws: Problem.self) { try other.get() }
      let elsewhere = try await test.submit(TestStore.submission("other.task") { $0.idempotencyKey = "k" }).get()
      #expect(elsewhere.outcome == .inserted)
    }
  }

  @Test("T56: fifty submissions of one key give one active run")
  func fiftySubmissionsOfOneKeyGiveOneActiveRun() async throws {
    try await withTemporaryStore { test in
      let outcomes = try await withThrowingTaskGroup(of: SubmissionOutcome.self) { group in
        for _ in 0..<50 {
          group.addTask { try await test.submit(TestStore.submission { $0.dedupKey = "k" }).get().outcome }
        }
        return try await group.reduce(into: []) { $0.append($1) }
      }

      #expect(outcomes.filter { $0 == .inserted }.count == 1)
      #expect(outcomes.filter { $0 == .duplicate }.count == 49)
    }
  }

  @Test("T52: skip raises the priority of a waiting run only")
  func skipRaisesThePriorityOfAWaitingRunOnly() async throws {
    try await withTemporaryStore { test in
      let first = try await test.add { $0.dedupKey = "k" }

      let upgraded = try await test.submit(
        TestStore.submission {
          $0.dedupKey = "k"
          $0.priority = 10
        }
      ).get()
      let lazy = try await test.submit(
        TestStore.submission {
          $0.dedupKey = "k"
          $0.priority = 200
        }
      ).get()

      #expect(upgraded == SubmissionResult(.upgraded, runID: first))
      #expect(lazy == SubmissionResult(.duplicate, runID: first))
      #expect(try await test.run(first).priority == 10)
    }
  }

  @Test func skipOnARunningRunRunsOnceMoreWithTheLastPayload() async throws {
    try await withTemporaryStore { test in
      let first = try await test.add { $0.dedupKey = "k" }
      let dispatch = try #require(try await test.launch().first)
      try await test.report(.running, dispatch.id)

      var followUps: Set<RunID> = []
      for number in 1...5 {
        let result = try await test.submit(
          TestStore.submission {
            $0.dedupKey = "k"
            $0.payload = Payload(bytes: Array("\(number)".utf8))
          }
        ).get()
        #expect(result.outcome == .requeued && result.runID == first)
        if let id = result.followUpID { followUps.insert(id) }
      }
      let followUp = try #require(followUps.first)
      #expect(followUps.count == 1)
      #expect(try await test.state(followUp) == .blocked)
      try await test.report(.completed, dispatch.id)

      let next = try #require(try await test.launch().first)
      #expect(next.run.id == followUp)
      #expect(next.payload.bytes == Array("5".utf8))
      #expect(next.run.attempt == 1)
      #expect(try await test.run(followUp).dedupKey == "k")
    }
  }

  @Test func supersedeEndsTheOldRunAndFencesItsWorker() async throws {
    try await withTemporaryStore { test in
      let old = try await test.add { $0.dedupKey = "k" }
      let dispatch = try #require(try await test.launch().first)
      try await test.report(.running, dispatch.id)

      let result = try await test.submit(
        TestStore.submission {
          $0.dedupKey = "k"
          $0.onDuplicate = .supersede
        }
      ).get()

      #expect(result.outcome == .superseded && result.replacedID == old)
      let ended = try await test.run(old)
      #expect(ended.state == .superseded && ended.supersededBy == result.runID)
      #expect(try await test.report(.completed, dispatch.id).code == .terminalRun)
      #expect(try await test.state(result.runID) == .ready)
    }
  }

  @Test("T55: reject stores nothing")
  func rejectStoresNothing() async throws {
    try await withTemporaryStore { test in
      let first = try await test.add { $0.dedupKey = "k" }
      let result = try await test.submit(
        TestStore.submission {
          $0.dedupKey = "k"
          $0.onDuplicate = .reject
        }
      ).get()
      #expect(result == SubmissionResult(.rejected, runID: first))
    }
  }

  @Test("T31: a dependent starts once, after all its prerequisites")
  func aDependentStartsOnceAfterAllItsPrerequisites() async throws {
    try await withTemporaryStore { test in
      var prerequisites: [RunID] = []
      for _ in 0..<3 { prerequisites.append(try await test.add()) }
      let names = prerequisites
      let dependent = try await test.add { $0.dependsOn = names.map(DependencyReference.run) }
      let dispatches = try await test.launch()

      for dispatch in dispatches {
        #expect(try await test.state(dependent) == .blocked)
        try await test.report(.completed, dispatch.id)
      }

      #expect(try await test.state(dependent) == .ready)
      let rows = try await test.store.read { tx throws(StoreError) in
        try tx.audit(run: dependent, workflowID: nil, limit: 100, before: nil).filter { $0.newState == .ready }.count
      }
      #expect(rows == 1)
    }
  }

  @Test(
    "T32, T33, T34: a failed prerequisite follows the policies",
    arguments: [
      (OnDependencyFailure.cancel, OnDependencyFailure.ignore, RunState.dependencyFailed, RunState.dependencyFailed),
      (.fail, .ignore, .dependencyFailed, .ready), (.fail, .cancel, .dependencyFailed, .dependencyFailed),
      (.ignore, .cancel, .ready, .blocked),
    ])
  func aFailedPrerequisiteFollowsThePolicies(
    second: OnDependencyFailure, third: OnDependencyFailure, stateOfSecond: RunState, stateOfThird: RunState
  ) async throws {
    try await withTemporaryStore { test in
      let a = try await test.add()
      let b = try await test.add {
        $0.dependsOn = [.run(a)]
        $0.onDependencyFailure = second
      }
      let c = try await test.add {
        $0.dependsOn = [.run(b)]
        $0.onDependencyFailure = third
      }
      let dispatch = try #require(try await test.launch().first)

      try await test.report(.failed, dispatch.id) {
        $0.error = WorkerError(type: "x", message: nil, retryable: false)
      }

      #expect(try await test.state(b) == stateOfSecond)
      #expect(try await test.state(c) == stateOfThird)
    }
  }

  @Test func dependenciesThatCannotBeAreRefusedAndNothingIsStored() async throws {
    try await withTemporaryStore { test in
      let unknown = try await test.submit(TestStore.submission { $0.dependsOn = [.run(TestStore.newID())] })
      guard case .failure(let problem) = unknown else { throw Unexpected() }
      #expect(problem.code == "unknown_dependency")

      let cycle = [
        TestStore.submission { $0.dependsOn = [.index(1)] }, TestStore.submission { $0.dependsOn = [.index(0)] },
      ].map(TestStore.prepared)
      let refused = try await test.store.write { tx throws(StoreError) in
        try tx.submit(batch: cycle, now: TestStore.start, actor: "test")
      }
      guard case .failure(let problem) = refused else { throw Unexpected() }
      #expect(problem.code == "dependency_cycle")
      #expect(test.store.backlog == 0)
    }
  }

  @Test func aBatchIsStoredWholeAndTheLastDuplicateWins() async throws {
    try await withTemporaryStore { test in
      let batch = [
        TestStore.submission { $0.dependsOn = [.index(2)] },
        TestStore.submission { $0.dedupKey = "k" },
        TestStore.submission(),
        TestStore.submission { $0.dedupKey = "k" },
      ].map(TestStore.prepared)

      let results = try await test.store.write { tx throws(StoreError) in
        try tx.submit(batch: batch, now: TestStore.start, actor: "test")
      }.get()

      #expect(results.map(\.outcome) == [.inserted, .duplicate, .inserted, .inserted])
      #expect(results[1].runID == results[3].runID)
      #expect(try await test.state(results[0].runID) == .blocked)
    }
  }

  @Test func aWaitingParentEndsWithItsLastChild() async throws {
    try await withTemporaryStore { test in
      let parent = try await test.add()
      let dispatch = try #require(try await test.launch().first)
      try await test.report(.running, dispatch.id)
      let child = try await test.add { $0.parentID = parent }
      #expect(try await test.report(.completed, dispatch.id).runState == .waiting)

      let work = try #require(try await test.launch().first)
      try await test.report(.completed, work.id)

      #expect(try await test.state(child) == .completed)
      #expect(try await test.state(parent) == .completed)
      let late = try await test.submit(TestStore.submission { $0.parentID = parent })
      #expect(throws: Problem.self) { try late.get() }
    }
  }

  @Test func theFirstFailedChildFailsItsParentAndCancelsItsSiblings() async throws {
    try await withTemporaryStore { test in
      let parent = try await test.add()
      let dispatch = try #require(try await test.launch().first)
      try await test.report(.running, dispatch.id)
      let failing = try await test.add {
        $0.parentID = parent
        $0.maxAttempts = 1
      }
      let sibling = try await test.add {
        $0.parentID = parent
        $0.delaySeconds = 1_000
      }
      try await test.report(.completed, dispatch.id)
      let work = try #require(try await test.launch().first { $0.run.id == failing })

      try await test.report(.failed, work.id)

      #expect(try await test.state(parent) == .failed)
      #expect(try await test.state(sibling) == .cancelled)
    }
  }
}

struct Unexpected: Error {}
