import Synchronization
import TaskBridgeCore
import TaskBridgeStore
import Testing

@testable import TaskBridgeEngine

@Suite struct GiveWayTests {
  @Test("a job's next slice waits until what the last one set off is over, and others write meanwhile")
  func aJobWaitsForTheEndOfItsSlice() async throws {
    try await JobBench.with { bench in
      let context = bench.bridge.context
      _ = try await bench.die(1_500)
      bench.clock.advance(1)
      let answer = try await bench.bridge.bulk(
        BulkRequest(.replay, filter: [:]), asOf: nil, dryRun: false, actor: "ann")
      let job = try #require(answer.jobID)
      context.state.enter(.running)
      // As if messages of the first slice were on their way.
      context.inFlight.store(100, ordering: .relaxed)

      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await bench.runner.run() }
        // The releaser has nothing to do.
        group.addTask { while !Task.isCancelled { await context.ready.wait(atMost: 60) } }
        while try await bench.bridge.job(job).job.changed == 0 { await Task.yield() }
        for _ in 0..<50 { try await submit(to: bench) }
        let meanwhile = try await bench.bridge.job(job).job.changed
        context.inFlight.store(0, ordering: .relaxed)
        while try await bench.bridge.job(job).job.state.isOpen { await Task.yield() }
        group.cancelAll()

        #expect(meanwhile == TaskBridge.bulkSlice)
        #expect(try await bench.bridge.job(job).job.changed == 1_500)
      }
    }
  }

  @Test("a bridge is calm when nothing is written, released or confirmed; without a broker nothing leaves")
  func whatCalmMeans() async throws {
    try await JobBench.with { bench in
      let context = bench.bridge.context
      context.inFlight.store(100, ordering: .relaxed)
      let withoutBroker = context.isCalm
      context.state.enter(.running)
      context.inFlight.store(0, ordering: .relaxed)
      let whileReleasing = context.isCalm

      await withTaskGroup(of: Void.self) { group in
        group.addTask { await context.ready.wait(atMost: 3_600) }
        while !context.ready.isAwaited { await Task.yield() }
        let atRest = context.isCalm
        context.inFlight.store(100, ordering: .relaxed)
        let whileConfirming = context.isCalm
        context.inFlight.store(0, ordering: .relaxed)
        context.ready.raise()
        let awake = context.isCalm

        #expect((withoutBroker, whileReleasing, atRest) == (true, false, true))
        #expect((whileConfirming, awake) == (false, false))
      }
    }
  }

  private func submit(to bench: JobBench) async throws {
    let now = bench.clock.now
    let submission = PreparedSubmission(
      Submission(task: TaskKey("b")!, payload: Payload(bytes: Array("{}".utf8))),
      id: bench.bridge.context.newRunID(now: now), dedupKey: nil)
    _ = try await bench.store.write { tx throws(StoreError) in
      try tx.submit(submission, now: now, actor: "test")
    }.get()
  }
}
