import Foundation
import Logging
import TaskBridgeCore
import TaskBridgeStore

/// A folder that is removed afterwards.
func withTemporaryFolder<T>(_ body: (String) async throws -> T) async throws -> T {
  let path = NSTemporaryDirectory() + "taskbridge-\(UUID().uuidString)"
  defer {
    do { try FileManager.default.removeItem(atPath: path) } catch { print("left behind: \(path): \(error)") }
  }
  return try await body(path)
}

/// A store in a folder of its own, with the helpers tests speak in.
func withTemporaryStore<T>(_ body: (TestStore) async throws -> T) async throws -> T {
  try await withTemporaryFolder { folder in
    let test = TestStore(try openStore(folder))
    let value = try await body(test)
    await test.store.close()
    return value
  }
}

func openStore(_ folder: String) throws(StoreError) -> Store {
  try Store.open(directory: folder, randomBytes: (0..<48).map { _ in UInt8.random(in: 0...255) }, logger: quiet)
}

private let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

let policies = PolicyLookup { _ in TaskPolicy() }

final class TestStore: Sendable {
  let store: Store
  static let start = Timestamp(milliseconds: 1_800_000_000_000)

  init(_ store: Store) { self.store = store }

  static func submission(_ task: String = "media.thumbnail", _ change: (inout Submission) -> Void = { _ in })
    -> Submission
  {
    var submission = Submission(
      task: TaskKey(task)!, payload: Payload(bytes: Array("{}".utf8), contentType: "application/json"))
    change(&submission)
    return submission
  }

  static func prepared(_ submission: Submission) -> PreparedSubmission {
    PreparedSubmission(submission, id: newID(), dedupKey: submission.dedupKey)
  }

  static func newID() -> RunID { RunID(UUID().uuidString.lowercased())! }

  func submit(_ submission: Submission, now: Timestamp = start) async throws -> Result<SubmissionResult, Problem> {
    let prepared = Self.prepared(submission)
    return try await store.write { tx throws(StoreError) in try tx.submit(prepared, now: now, actor: "test") }
  }

  @discardableResult
  func add(
    _ task: String = "media.thumbnail", now: Timestamp = start, _ change: (inout Submission) -> Void = { _ in }
  ) async throws -> RunID {
    try await submit(Self.submission(task, change), now: now).get().runID
  }

  func run(_ id: RunID) async throws -> Run {
    guard let run = try await store.write({ tx throws(StoreError) in try tx.run(id) }) else { throw Missing(id: id) }
    return run
  }

  struct Missing: Error { let id: RunID }

  func state(_ id: RunID) async throws -> RunState { try await run(id).state }

  @discardableResult
  func release(_ max: Int = 1_000, bound: Int = 1_000, now: Timestamp = start) async throws -> [Dispatch] {
    try await store.write { tx throws(StoreError) in
      try tx.release(
        ReleaseRequest(now: now, runsMax: max) { _ in
          var policy = TaskPolicy()
          policy.queueBound = bound
          return policy
        })
    }
  }

  func confirm(_ dispatches: [Dispatch], now: Timestamp = start) async throws {
    try await store.write { tx throws(StoreError) in try tx.confirm(dispatches, now: now) }
  }

  /// Dispatches and confirms everything that is ready.
  @discardableResult
  func launch(now: Timestamp = start) async throws -> [Dispatch] {
    let dispatches = try await release(now: now)
    try await confirm(dispatches, now: now)
    return dispatches
  }

  @discardableResult
  func report(
    _ state: ReportedState, _ dispatch: DispatchID, now: Timestamp = start,
    _ change: (inout WorkerReport) -> Void = { _ in }
  ) async throws -> ReportAnswer {
    var report = WorkerReport(token: "t", state: state)
    change(&report)
    let verified = VerifiedReport(report, dispatch: dispatch, via: .amqp, receivedAt: now, jitter: 0)
    return try await store.write { tx throws(StoreError) in try tx.report(verified, policies: policies) }
  }

  func promote(now: Timestamp) async throws {
    _ = try await store.write { tx throws(StoreError) in try tx.promoteDue(now: now, limit: 1_000) }
  }

  func takeBack(_ task: TaskKey, now: Timestamp = start) async throws {
    _ = try await store.write { tx throws(StoreError) in
      try tx.takeBackLaunched(task, confirmedBefore: nil, reason: "gone", limit: 100, now: now)
    }
  }

  func replay(_ id: RunID, now: Timestamp = start) async throws {
    _ = try await store.write { tx throws(StoreError) in
      try tx.replay(id, options: RetryOptions(), now: now, actor: "test")
    }.get()
  }

  func attempts(_ id: RunID) async throws -> [AttemptView] {
    let sequence = try await run(id).sequence
    return try await store.read { tx throws(StoreError) in
      try tx.attempts(of: id, sequence: sequence, limit: 100, after: nil)
    }
  }

  func sweep(now: Timestamp) async throws {
    _ = try await store.write { tx throws(StoreError) in
      try tx.sweepLeases(now: now, limit: 1_000, policies: policies, jitter: 0)
    }
  }
}
