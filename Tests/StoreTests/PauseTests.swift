import TaskBridgeCore
import TaskBridgeStore
import Testing

/// Pauses of runs, task keys, domains, groups and the bridge (features T5, T36, T73, T75, N27).
@Suite struct PauseTests {
  private static let subjects: [(ControlSubject, Hold)] = [
    (.bridge, .paused), (.task(TaskKey("media.thumbnail")!), .taskPaused), (.domain("media"), .taskPaused),
    (.group("g"), .groupPaused),
  ]

  /// T73, T75, N11.
  @Test(arguments: subjects)
  func nothingNewLeavesWhatIsPausedUntilItIsResumed(subject: ControlSubject, hold: Hold) async throws {
    try await withTemporaryStore { test in
      try await test.pause(subject)
      let id = try await test.add { $0.group = "g" }

      let held = try await test.release()
      let gates = try await test.gates(id)
      try await test.resume(subject)
      let released = try await test.release()

      #expect(held.isEmpty)
      #expect(gates.map(\.hold) == [hold])
      #expect(gates.allSatisfy { $0.unblockedBy.contains("resume") && $0.at == nil })
      #expect(released.map(\.run.id) == [id])
    }
  }

  /// T75: others are not held.
  @Test func aPauseHoldsWhatItNamesAndNothingElse() async throws {
    try await withTemporaryStore { test in
      try await test.pause(.task(TaskKey("a.x")!))
      try await test.pause(.domain("b"))
      try await test.pause(.group("g"))
      for (task, group) in [("a.x", nil), ("a.y", nil), ("b.x", nil), ("bb", nil), ("c", "g"), ("c", "h"), ("c", nil)] {
        try await test.add(task) { $0.group = group }
      }

      let released = try await test.release().map { "\($0.run.task) \($0.run.group ?? "-")" }

      #expect(released.sorted() == ["a.y -", "bb -", "c -", "c h"])
    }
  }

  /// T5: two holds.
  @Test func clearingOneOfTwoHoldsLetsNothingGo() async throws {
    try await withTemporaryStore { test in
      let id = try await test.add { $0.group = "g" }
      try await test.pause(.bridge)
      try await test.pause(.group("g"))

      let both = try await test.gates(id).map(\.hold)
      try await test.resume(.bridge)

      #expect(both == [.paused, .groupPaused])
      #expect(try await test.release().isEmpty)
    }
  }

  /// T73: `until`.
  @Test func aPauseEndsByItselfAtItsTime() async throws {
    try await withTemporaryStore { test in
      let end = TestStore.start.adding(seconds: 60)
      let id = try await test.add { $0.group = "g" }
      try await test.pause(.group("g"), until: end)

      let gates = try await test.gates(id)
      let due = try await test.store.write { tx throws(StoreError) in try tx.nextDue() }
      let before = try await test.release(now: end.adding(seconds: -0.001))
      // Whether the sweep has run or not.
      let after = try await test.release(now: end)
      try await test.store.write { tx throws(StoreError) in try tx.endPauses(now: end) }

      #expect(gates.map(\.at) == [end])
      #expect(due == end)
      #expect(before.isEmpty)
      #expect(after.map(\.run.id) == [id])
      #expect(test.store.controls.pauses.isEmpty)
    }
  }

  /// T73, T75: they survive a restart.
  @Test func pausesAndSettingsSurviveARestart() async throws {
    try await withTemporaryFolder { folder in
      let first = TestStore(try openStore(folder))
      try await first.pause(.bridge)
      try await first.pause(.group("g"), until: TestStore.start.adding(seconds: 60))
      try await first.set("a") {
        $0.concurrencyLimit = 0
        $0.order = .lifo
        $0.retry = RetryPolicy(strategy: .linear)
      }
      try await first.set(group: "g") { $0.ratePerSecond = 0.5 }
      let before = first.store.controls
      await first.store.close()

      let second = try openStore(folder)
      let after = second.controls
      await second.close()

      #expect(before == after)
      #expect(after.pauses.count == 2)
    }
  }

  // MARK: One run

  /// T5, fsm §2.
  @Test func aPausedRunGoesBackToWhatItWaitsFor() async throws {
    try await withTemporaryStore { test in
      let ready = try await test.add()
      let scheduled = try await test.add { $0.delaySeconds = 60 }
      let blocked = try await test.add { $0.dependsOn = [.run(scheduled)] }

      for id in [ready, scheduled, blocked] {
        #expect(try await test.pauseRun(id) == .success(id))
        #expect(try await test.pauseRun(id) == .success(id))
        #expect(try await test.state(id) == .paused)
      }
      #expect(try await test.release().isEmpty)
      try await test.promote(now: TestStore.start.adding(seconds: 120))
      for id in [ready, scheduled, blocked] { #expect(try await test.resumeRun(id) == .success(id)) }

      #expect(try await test.state(ready) == .ready)
      #expect(try await test.state(scheduled) == .scheduled)
      #expect(try await test.state(blocked) == .blocked)
    }
  }

  @Test func aPausedRunThatIsDueMeanwhileIsReadyAtOnce() async throws {
    try await withTemporaryStore { test in
      let id = try await test.add { $0.delaySeconds = 60 }
      _ = try await test.pauseRun(id)

      _ = try await test.resumeRun(id, now: TestStore.start.adding(seconds: 61))

      #expect(try await test.state(id) == .ready)
    }
  }

  /// A prerequisite that is satisfied meanwhile does not let a paused run go.
  @Test func aSatisfiedPrerequisiteDoesNotResume() async throws {
    try await withTemporaryStore { test in
      let first = try await test.add("a")
      let second = try await test.add("b") { $0.dependsOn = [.run(first)] }
      _ = try await test.pauseRun(second)
      let dispatch = try #require(try await test.launch().first)
      try await test.report(.completed, dispatch.id)

      let meanwhile = try await test.state(second)
      _ = try await test.resumeRun(second)

      #expect(meanwhile == .paused)
      #expect(try await test.state(second) == .ready)
    }
  }

  /// T36.
  @Test func aPausedDependentFailsWithItsPrerequisite() async throws {
    try await withTemporaryStore { test in
      let first = try await test.add("a") { $0.maxAttempts = 1 }
      let second = try await test.add("b") { $0.dependsOn = [.run(first)] }
      _ = try await test.pauseRun(second)

      let dispatch = try #require(try await test.launch().first)
      try await test.report(.failed, dispatch.id)

      #expect(try await test.state(second) == .dependencyFailed)
    }
  }

  /// The follow-up of a running run (`requeued`), paused: asked again it is the same one, and it starts after a resume.
  @Test func aPausedFollowUpWaitsForItsResume() async throws {
    try await withTemporaryStore { test in
      let first = try await test.add { $0.dedupKey = "k" }
      let dispatch = try #require(try await test.launch().first)
      try await test.report(.running, dispatch.id)
      let followUp = try #require(
        try await test.submit(TestStore.submission { $0.dedupKey = "k" }).get().followUpID)
      _ = try await test.pauseRun(followUp)

      let again = try await test.submit(TestStore.submission { $0.dedupKey = "k" }).get().followUpID
      _ = try await test.resumeRun(followUp)
      let blocked = try await test.state(followUp)
      _ = try await test.pauseRun(followUp)
      try await test.report(.completed, dispatch.id)
      let paused = try await test.state(followUp)
      _ = try await test.resumeRun(followUp)

      #expect(again == followUp)
      #expect((blocked, paused) == (.blocked, .paused))
      #expect(try await test.state(followUp) == .ready)
      #expect(try await test.state(first) == .completed)
    }
  }

  /// N27.
  @Test func aDispatchedRunIsNotPaused() async throws {
    try await withTemporaryStore { test in
      let id = try await test.add()
      let dispatch = try #require(try await test.release().first)
      for report in [nil, ReportedState.running] {
        if let report { try await test.report(report, dispatch.id) }
        guard case .failure(let problem) = try await test.pauseRun(id) else {
          Issue.record("a dispatched run was paused")
          continue
        }
        #expect((problem.status, problem.code) == (409, "dispatched"))
        #expect(problem.detail.contains("/v1/tasks/media.thumbnail/pause"))
      }

      try await test.report(.completed, dispatch.id)
      let ended = await #expect(throws: Problem.self) { try await test.pauseRun(id).get() }

      #expect(ended?.code == "terminal_run")
    }
  }
}
