import TaskBridgeCore
import TaskBridgeStore
import Testing

@testable import TaskBridgeEngine

@Suite struct JobTests {
  private func replay(_ change: (inout BulkOptions) -> Void = { _ in }) throws -> BulkRequest {
    var request = try BulkRequest(.replay, filter: [:])
    change(&request.options)
    return request
  }

  private func start(_ request: BulkRequest, _ bench: JobBench) async throws -> RunID {
    let answer = try await bench.bridge.bulk(request, asOf: nil, dryRun: false, actor: "ann")
    #expect((answer.changed, answer.ids, answer.skipped) == (0, [], []))
    return try #require(answer.jobID)
  }

  @Test("S10: more than an answer names is a job, and each run is taken once")
  func aLargeReplayIsAJob() async throws {
    try await JobBench.with { bench in
      let ids = try await bench.die(2_500)
      bench.clock.advance(1)

      let small = try await bench.bridge.bulk(
        BulkRequest(.discard, ids: [ids[0]]), asOf: nil, dryRun: false, actor: "ann")
      let job = try await start(try replay(), bench)
      var desks: [RunID: JobRunner.Desk] = [:]
      _ = try await bench.runner.runOnce(&desks)
      let begun = try await bench.bridge.job(job).job
      let state = try await bench.workOff(job, &desks)

      let view = try await bench.bridge.job(job)
      #expect((small.jobID, small.changed) == (nil, 1))
      #expect((begun.state, begun.changed, begun.matched) == (.running, 200, 2_499))
      #expect(begun.progress > 0.07 && begun.progress < 0.09)
      #expect(state == .completed)
      #expect((view.job.changed, view.job.skipped, view.job.progress) == (2_499, 0, 1))
      #expect(try await bench.replays(ids) == [0] + Array(repeating: 1, count: 2_499))
    }
  }

  @Test("N18: a process that is killed at any slice leaves nothing out and repeats nothing", arguments: [1, 3, 7])
  func aJobGoesOnAfterARestart(slices: Int) async throws {
    try await JobBench.with { bench in
      let ids = try await bench.die(1_500)
      bench.clock.advance(1)
      let job = try await start(try replay(), bench)

      var rounds = 0
      var state = JobState.pending
      while state.isOpen {
        // What a process knows beside the store is gone.
        var desks: [RunID: JobRunner.Desk] = [:]
        state = try await bench.restarted().workOff(job, &desks, slicesMax: slices)
        // Those that died again since are not taken again.
        if rounds == 0 { try await bench.fail(ids) }
        rounds += 1
      }

      #expect(state == .completed)
      #expect(rounds > 1)
      #expect(try await bench.replays(ids) == Array(repeating: 1, count: 1_500))
    }
  }

  @Test("N18: a rate is kept within 5 %, restarts included")
  func aRateIsKept() async throws {
    try await JobBench.with { bench in
      let ids = try await bench.die(1_000)
      bench.clock.advance(1)
      let job = try await start(try replay { $0.ratePerSecond = 50 }, bench)

      let begun = bench.clock.uptime
      var desks: [RunID: JobRunner.Desk] = [:]
      _ = try await bench.workOff(job, &desks, slicesMax: 100)
      var after: [RunID: JobRunner.Desk] = [:]
      let state = try await bench.restarted().workOff(job, &after)

      let seconds = bench.clock.uptime - begun
      #expect(state == .completed)
      #expect(seconds > 19 && seconds < 21, "\(seconds) s for 1,000 at 50 a second")
      #expect(try await bench.replays(ids) == Array(repeating: 1, count: 1_000))
    }
  }

  @Test func aPaceMakesUpForASecondAtMost() {
    var pace = Pace(since: 100)

    #expect(pace.room(50, at: 100) == 0)
    #expect(abs(pace.wait(50, at: 100) - 0.1) < 1e-9)
    #expect(pace.room(50, at: 100.1) == 5)
    pace.done = 5
    #expect(pace.room(50, at: 100.15) == 0)
    #expect(pace.room(50, at: 160) == 50)
    pace.done = 55
    #expect(pace.room(50, at: 160) == 0)
    var slow = Pace(since: 0)
    #expect(slow.room(0.5, at: 1.9) == 0)
    #expect(slow.room(0.5, at: 2) == 1)
  }

  @Test("N17: the canary goes first; when one dies again the job stops, says which, and the rest is untouched")
  func aDyingCanaryStopsTheJob() async throws {
    try await JobBench.with { bench in
      let ids = try await bench.die(20)
      bench.clock.advance(1)
      let job = try await start(try replay { $0.canary = 5 }, bench)

      var desks: [RunID: JobRunner.Desk] = [:]
      #expect(try await bench.workOff(job, &desks) == .waiting)
      #expect(try await bench.bridge.job(job).canary == Array(ids.prefix(5)))
      #expect(try await bench.replays(ids) == Array(repeating: 1, count: 5) + Array(repeating: 0, count: 15))
      try await bench.work(Array(ids[0..<2]), .completed)
      #expect(try await bench.runner.runOnce(&desks) == JobRunner.canaryLookSeconds)
      bench.clock.advance(1)
      // A restart does not forget the canary.
      try await bench.replayAndFail(ids[2])
      var after: [RunID: JobRunner.Desk] = [:]
      _ = try await bench.restarted().runner.runOnce(&after)

      let view = try await bench.bridge.job(job)
      #expect(view.job.state == .stopped)
      let error = try JSONValue.parse(view.job.error ?? "")
      #expect(error["code"] == .string("canary_died"))
      #expect(error["run_id"] == .string(ids[2].description))
      #expect(try await bench.replays(Array(ids[5...])) == Array(repeating: 0, count: 15))
    }
  }

  @Test("N17: it goes on once all have ended well, or the time is up", arguments: [true, false])
  func aLivingCanaryLetsTheJobGoOn(isEnded: Bool) async throws {
    try await JobBench.with { bench in
      let ids = try await bench.die(12)
      bench.clock.advance(1)
      let job = try await start(
        try replay {
          $0.canary = 3; $0.canaryWaitSeconds = 30
        }, bench)
      var desks: [RunID: JobRunner.Desk] = [:]
      #expect(try await bench.workOff(job, &desks) == .waiting)

      bench.clock.advance(29)
      _ = try await bench.runner.runOnce(&desks)
      #expect(try await bench.bridge.job(job).job.state == .waiting)
      if isEnded { try await bench.work(Array(ids[0..<3]), .completed) } else { bench.clock.advance(1) }
      _ = try await bench.runner.runOnce(&desks)

      #expect(try await bench.workOff(job, &desks) == .completed)
      #expect(try await bench.replays(ids) == Array(repeating: 1, count: 12))
    }
  }

  @Test("N18: a cancelled job stops between two slices, and ends once")
  func aJobIsCancelled() async throws {
    try await JobBench.with { bench in
      let ids = try await bench.die(1_200)
      bench.clock.advance(1)
      let job = try await start(try replay(), bench)
      var desks: [RunID: JobRunner.Desk] = [:]
      _ = try await bench.runner.runOnce(&desks)

      let view = try await bench.bridge.cancelJob(job)
      _ = try await bench.runner.runOnce(&desks)

      #expect(view.job.state == .cancelled)
      #expect(try await bench.replays(ids).reduce(0, +) == 200)
      await #expect(throws: Problem.self) { try await bench.bridge.cancelJob(job) }
      await #expect(throws: Problem.self) { try await bench.bridge.job(ids[0]) }
    }
  }

  @Test("S7, T21: a large cancel of families counts each run once, and names what it leaves alone")
  func aLargeCancelGoesThroughFamilies() async throws {
    try await JobBench.with { bench in
      let parents = try await bench.waitingParents(3, children: 400)
      let done = try await bench.die(5, task: "family.dead")
      bench.clock.advance(1)

      var request = try BulkRequest(.cancel, filter: ["domain": .string("family")])
      request.options.reason = "all"
      let job = try await start(request, bench)
      var desks: [RunID: JobRunner.Desk] = [:]
      #expect(try await bench.workOff(job, &desks) == .completed)

      let view = try await bench.bridge.job(job)
      #expect((view.job.matched, view.job.changed, view.job.skipped) == (1_208, 1_203, 5))
      #expect(view.reasons.map(\.reason) == ["terminal_run"])
      #expect(Set(view.skips?.map(\.id) ?? []) == Set(done))
      let count = try await bench.bridge.count(RunFilter())
      #expect(count.byState == [.cancelled: 1_203, .failed: 5])
      #expect(parents.count == 3)
    }
  }

  @Test func aRequestIsReadAsItWasStored() throws {
    var request = try BulkRequest(.retry, filter: ["state": .array([.string("failed")]), "task": .string("a")])
    request.options.retry.priority = 0
    request.options.retry.runAt = Timestamp(milliseconds: 1_800_000_000_123)
    request.options.retry.maxAttempts = 7
    request.options.retry.withDependents = true
    request.options.retry.force = true
    request.options.reason = "r"
    var paced = BulkRequest(.replay, ids: [RunID("0192f1b2-0000-7000-8000-000000000001")!])
    paced.options.ratePerSecond = 0.5
    paced.options.canary = 3
    paced.options.canaryWaitSeconds = 5
    paced.options.patch = .object(["a": .null])

    for one in [request, paced] {
      #expect(try BulkRequest(one.verb, stored: String(decoding: one.json, as: UTF8.self)) == one)
    }
  }
}

extension JobBench {
  /// A replayed run that is dispatched and fails again.
  func replayAndFail(_ id: RunID) async throws {
    let (now, policies) = (clock.now, bridge.context.policyLookup)
    try await store.write { tx throws(StoreError) in
      guard let run = try tx.run(id) else { return }
      var report = WorkerReport(token: "t", state: .failed)
      report.error = WorkerError(type: "Boom", retryable: false)
      let dispatch = DispatchID(runID: id, attempt: run.attempt, dispatch: run.dispatch)
      _ = try tx.report(
        VerifiedReport(report, dispatch: dispatch, via: .http, receivedAt: now, jitter: 0), policies: policies)
    }
  }

  /// Parents whose own work is done and whose children are not.
  func waitingParents(_ count: Int, children: Int) async throws -> [RunID] {
    let now = clock.now
    func prepared(_ parent: RunID?) -> PreparedSubmission {
      var submission = Submission(
        task: TaskKey(parent == nil ? "family.parent" : "family.child")!, payload: Payload(bytes: Array("1".utf8)))
      submission.parentID = parent
      if parent != nil { submission.delaySeconds = 3_600 }
      return PreparedSubmission(submission, id: bridge.context.newRunID(now: now), dedupKey: nil)
    }
    let parents = (0..<count).map { _ in prepared(nil) }
    _ = try await store.write { tx throws(StoreError) in try tx.submit(batch: parents, now: now, actor: "t") }.get()
    let ids = parents.map(\.id)
    try await work(ids, .running)
    let batch = ids.flatMap { id in (0..<children).map { _ in prepared(id) } }
    _ = try await store.write { tx throws(StoreError) in try tx.submit(batch: batch, now: now, actor: "t") }.get()
    let policies = bridge.context.policyLookup
    try await store.write { tx throws(StoreError) in
      for id in ids {
        guard let run = try tx.run(id) else { continue }
        let dispatch = DispatchID(runID: id, attempt: run.attempt, dispatch: run.dispatch)
        _ = try tx.report(
          VerifiedReport(
            WorkerReport(token: "t", state: .completed), dispatch: dispatch, via: .http, receivedAt: now, jitter: 0),
          policies: policies)
      }
    }
    return ids
  }
}
