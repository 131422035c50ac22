import Foundation
import Logging
import Synchronization
import TaskBridgeCore
import TaskBridgeStore

@testable import TaskBridgeEngine

/// A clock that tests move.
final class ManualClock: Sendable {
  private let time = Mutex((wall: Timestamp(milliseconds: 1_800_000_000_000), uptime: 1_000.0))

  var clock: WallClock {
    WallClock(now: { self.time.withLock { $0.wall } }, uptimeSeconds: { self.time.withLock { $0.uptime } })
  }

  var now: Timestamp { time.withLock { $0.wall } }
  var uptime: Double { time.withLock { $0.uptime } }

  func advance(_ seconds: Double) {
    time.withLock { time in
      time.wall = time.wall.adding(seconds: seconds)
      time.uptime += seconds
    }
  }
}

/// A store without a broker, and what works off its jobs.
struct JobBench: Sendable {
  let store: Store
  let clock: ManualClock
  let bridge: TaskBridge

  static func with<T>(_ body: (JobBench) async throws -> T) async throws -> T {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("taskbridge-jobs-\(UUID().uuidString)")
    defer {
      do { try FileManager.default.removeItem(at: folder) } catch { print("left behind: \(folder.path): \(error)") }
    }
    let store = try Store.open(
      directory: folder.path, randomBytes: (0..<48).map { _ in UInt8.random(in: 0...255) }, logger: quiet)
    let value = try await body(JobBench(store: store, clock: ManualClock()))
    await store.close()
    return value
  }

  private static let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

  private init(store: Store, clock: ManualClock) {
    self.store = store
    self.clock = clock
    bridge = TaskBridge(
      context: BridgeContext(
        configuration: TaskBridgeConfiguration(), store: store, signals: CommitSignals(), clock: clock.clock,
        logger: Self.quiet))
  }

  /// The same store in a process that has just been started.
  func restarted() -> JobBench { JobBench(store: store, clock: clock) }

  var runner: JobRunner { JobRunner(bridge: bridge.context) }

  /// Dead letters of one task key.
  func die(_ count: Int, task: String = "a") async throws -> [RunID] {
    let now = clock.now
    let batch = (0..<count).map { _ in
      PreparedSubmission(
        Submission(task: TaskKey(task)!, payload: Payload(bytes: Array("{}".utf8))),
        id: bridge.context.newRunID(now: now), dedupKey: nil)
    }
    _ = try await store.write { tx throws(StoreError) in try tx.submit(batch: batch, now: now, actor: "test") }.get()
    try await fail(batch.map(\.id))
    return batch.map(\.id)
  }

  /// Dispatches what is ready; of it, `ids` fail for good.
  func fail(_ ids: [RunID]) async throws { try await work(ids, .failed) }

  func work(_ ids: [RunID], _ state: ReportedState) async throws {
    let (now, wanted) = (clock.now, Set(ids))
    let policies = bridge.context.policyLookup
    _ = try await store.write { tx throws(StoreError) in
      var policy = TaskPolicy()
      policy.queueBound = 1_000_000
      let free = policy
      let dispatches = try tx.release(ReleaseRequest(now: now, runsMax: 1_000_000) { _ in free })
      try tx.confirm(dispatches, now: now)
      for dispatch in dispatches where wanted.contains(dispatch.run.id) {
        var report = WorkerReport(token: "t", state: state)
        if state == .failed { report.error = WorkerError(type: "Boom", retryable: false) }
        _ = try tx.report(
          VerifiedReport(report, dispatch: dispatch.id, via: .http, receivedAt: now, jitter: 0), policies: policies)
      }
    }
  }

  func replays(_ ids: [RunID]) async throws -> [Int] {
    try await store.read { tx throws(StoreError) in
      try ids.map { id throws(StoreError) in try tx.run(id)?.run.replays ?? -1 }
    }
  }

  /// Works and lets the time pass that the runner asks for, until the job has ended or waits.
  func workOff(_ job: RunID, _ desks: inout [RunID: JobRunner.Desk], slicesMax: Int = 100_000) async throws -> JobState
  {
    for _ in 0..<slicesMax {
      let state = try await bridge.job(job).job.state
      guard state.isOpen, state != .waiting else { return state }
      let seconds = try await runner.runOnce(&desks)
      if seconds < JobRunner.idleSeconds { clock.advance(seconds) }
    }
    return try await bridge.job(job).job.state
  }
}
