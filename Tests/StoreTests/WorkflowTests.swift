import TaskBridgeCore
import TaskBridgeStore
import Testing

/// S19: a batch takes the place of an older workflow.
@Suite struct WorkflowTests {
  private static func node(
    _ name: String?, _ payload: String = "{}", after: [DependencyReference] = [], workflow: String = "new",
    task: String = "media.thumbnail", _ change: (inout Submission) -> Void = { _ in }
  ) -> Submission {
    TestStore.submission(task) {
      $0.name = name
      $0.payload = Payload(bytes: Array(payload.utf8))
      $0.dependsOn = after
      $0.workflowID = workflow
      change(&$0)
    }
  }

  private func submit(
    _ test: TestStore, _ nodes: [Submission], superseding workflow: String? = nil
  ) async throws -> Result<[SubmissionResult], Problem> {
    let batch = nodes.map(TestStore.prepared)
    return try await test.store.write { tx throws(StoreError) in
      try tx.submit(batch: batch, superseding: workflow, now: TestStore.start, actor: "test")
    }
  }

  /// Ends every run that is ready, and what that releases, as `ends` says; completed where it says nothing.
  private func work(_ test: TestStore, _ ends: [RunID: ReportedState?] = [:]) async throws {
    while true {
      let dispatches = try await test.launch()
      if dispatches.isEmpty { return }
      for dispatch in dispatches {
        switch ends[dispatch.run.id] {
        case .none: try await test.report(.completed, dispatch.id)
        case .some(.none): try await test.report(.running, dispatch.id)
        case .some(.some(let state)):
          try await test.report(state, dispatch.id) { $0.error = WorkerError(type: "x", retryable: false) }
        }
      }
    }
  }

  private func problem<T>(_ result: Result<T, Problem>) throws -> Problem {
    guard case .failure(let problem) = result else { throw Unexpected() }
    return problem
  }

  @Test("S19: a finished node that is asked for unchanged is kept, below a changed one everything is new")
  func unchangedNodesAreKept() async throws {
    try await withTemporaryStore { test in
      let old = try await submit(
        test,
        [
          Self.node("a", workflow: "old"), Self.node("b", after: [.index(0)], workflow: "old"),
          Self.node("c", after: [.index(1)], workflow: "old"), Self.node("d", "[1]", workflow: "old"),
        ]
      ).get()
      try await work(test)

      let new = try await submit(
        test,
        [
          Self.node("a", " {} "), Self.node("b", "[2]", after: [.index(0)]), Self.node("c", after: [.index(1)]),
          Self.node("renamed", "[1]"), Self.node("e", after: [.index(3), .index(2)]),
        ], superseding: "old"
      ).get()

      #expect(new.map(\.outcome) == [.duplicate, .inserted, .inserted, .duplicate, .inserted])
      #expect([new[0].runID, new[3].runID] == [old[0].runID, old[3].runID])
      #expect(try await test.state(new[1].runID) == .ready)
      let kept = try await test.run(old[0].runID)
      #expect(kept.workflowID == "old" && kept.state == .completed)
      try await work(test)
      #expect(try await test.state(new[4].runID) == .completed)
    }
  }

  @Test("S19: what was kept once is kept by the next workflow, too, and is found by kept_by")
  func keepingGoesOn() async throws {
    try await withTemporaryStore { test in
      let first = try await submit(test, [Self.node("a", workflow: "one")]).get()
      try await work(test)
      _ = try await submit(
        test, [Self.node("a", workflow: "two"), Self.node("b", workflow: "two")], superseding: "one"
      )
      .get()

      let third = try await submit(test, [Self.node("a", workflow: "three")], superseding: "two").get()
      var filter = RunFilter()
      filter.keptBy = "three"
      let query = RunQuery(filter: filter)
      let found = try await test.store.read { tx throws(StoreError) in try tx.runs(query).items.map(\.run.id) }

      #expect(third == [SubmissionResult(.duplicate, runID: first[0].runID)])
      #expect(found == [first[0].runID])
    }
  }

  @Test("S19, N26: unfinished nodes of every state are superseded by their heirs, and their workers fenced")
  func unfinishedNodesAreSuperseded() async throws {
    try await withTemporaryStore { test in
      let old = try await submit(
        test,
        [
          Self.node("running", workflow: "old"), Self.node("blocked", after: [.index(0)], workflow: "old"),
          Self.node(nil, "[7]", workflow: "old") { $0.delaySeconds = 100 },
          Self.node("gone", workflow: "old") { $0.delaySeconds = 100 }, Self.node("failed", workflow: "old"),
          Self.node("before", "[8]", workflow: "old") { $0.delaySeconds = 100 },
        ]
      ).get().map(\.runID)
      let claimed = try await test.launch()
      try await test.report(.running, try #require(claimed.first { $0.run.id == old[0] }).id)
      try await test.report(.failed, try #require(claimed.first { $0.run.id == old[4] }).id) {
        $0.error = WorkerError(type: "x", retryable: false)
      }

      let new = try await submit(
        test,
        [
          Self.node("running", "[2]"), Self.node("blocked", after: [.index(0)]), Self.node(nil, "[7]"),
          Self.node("failed"), Self.node("after", "[8]"),
        ], superseding: "old"
      ).get()

      #expect(new.map(\.outcome) == [.superseded, .superseded, .superseded, .inserted, .superseded])
      #expect(new.map(\.replacedID) == [old[0], old[1], old[2], nil, old[5]])
      for (id, heir) in [
        (old[0], new[0].runID), (old[1], new[1].runID), (old[2], new[2].runID), (old[3], nil), (old[5], new[4].runID),
      ] {
        let run = try await test.run(id)
        #expect(run.state == .superseded && run.supersededBy == heir)
      }
      #expect(try await test.state(old[4]) == .failed)
      #expect(try await test.report(.completed, claimed[0].id).code == .terminalRun)
      #expect(try await test.attempts(old[0]).map(\.attempt.state) == [.fatal])
    }
  }

  @Test("S19, T34: dependents outside of the workflow wait for the heir; without one the policy decides")
  func dependentsOutsideGoToTheHeir() async throws {
    try await withTemporaryStore { test in
      let old = try await submit(
        test, [Self.node("a", workflow: "old"), Self.node("b", "[1]", workflow: "old")]
      ).get().map(\.runID)
      let waits = try await test.add { $0.dependsOn = [.run(old[0])] }
      let fails = try await test.add { $0.dependsOn = [.run(old[1])] }
      let ignores = try await test.add {
        $0.dependsOn = [.run(old[1])]
        $0.onDependencyFailure = .ignore
      }

      let new = try await submit(test, [Self.node("a", "[9]")], superseding: "old").get()

      #expect(try await test.state(waits) == .blocked)
      #expect(try await test.state(fails) == .dependencyFailed)
      #expect(try await test.state(ignores) == .ready)
      let heir = try #require(try await test.launch().first { $0.run.id == new[0].runID })
      try await test.report(.completed, heir.id)
      #expect(try await test.state(waits) == .ready)
    }
  }

  @Test(
    "S19, T56: dedup keys of unfinished nodes are free for the batch; repeated idempotency keys answer with the first run"
  )
  func keysAreFreeForTheBatch() async throws {
    try await withTemporaryStore { test in
      let keyed = { (submission: inout Submission) in
        submission.dedupKey = "d"
        submission.onDuplicate = .reject
      }
      _ = try await submit(test, [Self.node("a", workflow: "old", keyed), Self.node("kept", workflow: "old")]).get()
      let dispatch = try #require(try await test.launch().first { $0.run.name == "kept" })
      try await test.report(.completed, dispatch.id)
      let nodes = [
        Self.node("a") {
          keyed(&$0)
          $0.idempotencyKey = "i"
        }, Self.node("kept") { $0.idempotencyKey = "k" },
      ]

      let new = try await submit(test, nodes, superseding: "old").get()
      let again = try await submit(test, nodes, superseding: "old").get()

      #expect(new.map(\.outcome) == [.superseded, .duplicate])
      #expect(again.map(\.outcome) == [.duplicate, .duplicate])
      #expect(again.map(\.runID) == new.map(\.runID))
    }
  }

  @Test("S19: a parent whose only child is replaced goes on waiting for the heir")
  func aParentWaitsForTheHeir() async throws {
    try await withTemporaryStore { test in
      let parent = try await test.add()
      let dispatch = try #require(try await test.launch().first)
      try await test.report(.running, dispatch.id)
      let child = { (submission: inout Submission) in submission.parentID = parent }
      _ = try await submit(test, [Self.node("child", workflow: "old", child)]).get()
      try await test.report(.completed, dispatch.id)

      let new = try await submit(test, [Self.node("child", "[2]", child)], superseding: "old").get()

      #expect(new[0].outcome == .superseded)
      #expect(try await test.state(parent) == .waiting)
      try await work(test)
      #expect(try await test.state(parent) == .completed)
    }
  }

  @Test("S19: a workflow that cannot be superseded is refused and nothing changes")
  func whatCannotBeIsRefused() async throws {
    try await withTemporaryStore { test in
      let old = try await submit(test, [Self.node("a", workflow: "old")]).get()[0].runID
      let waits = try await test.add { $0.dependsOn = [.run(old)] }

      let unknown = try problem(try await submit(test, [Self.node("a")], superseding: "none"))
      let same = try problem(try await submit(test, [Self.node("a", workflow: "old")], superseding: "old"))
      let circle = try problem(try await submit(test, [Self.node("a", after: [.run(waits)])], superseding: "old"))

      #expect([unknown.code, same.code, circle.code] == ["unknown_workflow", "same_workflow", "dependency_cycle"])
      #expect([unknown.status, same.status, circle.status] == [422, 422, 422])
      #expect(try await test.state(old) == .ready)
      #expect(try await test.state(waits) == .blocked)
      #expect(test.store.backlog == 2)
    }
  }

  @Test("T54: a run that would wait for the heir of what it supersedes is refused")
  func supersedingByDedupKeyMakesNoCircle() async throws {
    try await withTemporaryStore { test in
      let old = try await test.add { $0.dedupKey = "d" }
      let waits = try await test.add { $0.dependsOn = [.run(old)] }

      let circle = try problem(
        try await test.submit(
          TestStore.submission {
            $0.dedupKey = "d"
            $0.onDuplicate = .supersede
            $0.dependsOn = [.run(waits)]
          }))

      #expect(circle.code == "dependency_cycle")
      #expect(try await test.state(old) == .ready)
    }
  }
}
