import Foundation
import Logging
import TaskBridgeCore
import TaskBridgeStore

/// One run that the store itself has brought into a state: what loops and fills copy.
struct StoreSample: Sendable {
  /// How far the run is.
  enum Kind: String, Sendable, CaseIterable {
    /// Due tomorrow.
    case scheduled
    case ready
    /// Released and claimed by a worker.
    case claimed
    /// Completed after one attempt, with a claim and a result.
    case finished
    /// Failed for good at its first attempt: an unresolved dead letter.
    case dead

    fileprivate var isLaunched: Bool {
      switch self {
      case .scheduled, .ready: false
      case .claimed, .finished, .dead: true
      }
    }
  }

  /// Task key of every sample.
  static let task = "bench.filled"
  /// A sample is as old as most runs of a large store: nothing of it counts for the last minute.
  static let ageSeconds = 86_400.0

  let id: RunID
  let sequence: Int64
  let dispatch: Dispatch?

  static func path(in folder: String) -> String { folder + "/taskbridge.db" }

  /// Size of the store's file.
  static func bytes(in folder: String) -> Int {
    var facts = stat()
    return stat(path(in: folder), &facts) == 0 ? Int(facts.st_size) : 0
  }

  /// Makes the run in the store of `folder`, which is made as well when it is missing. No bridge may have it open.
  static func make(
    _ kind: Kind, payloadBytes: Int = 256, at now: Timestamp = past, folder: String
  ) async throws -> StoreSample {
    try await withStore(in: folder) { store in
      var random = SystemRandomNumberGenerator()
      var ids = RunIDGenerator()
      var submission = Submission(task: try key(), payload: payload(bytes: payloadBytes))
      if kind == .scheduled { submission.runAt = now.adding(seconds: 2 * ageSeconds) }
      let prepared = PreparedSubmission(submission, id: ids.next(now: now, random: &random), dedupKey: nil)
      _ = try await store.write { transaction throws(StoreError) in
        try transaction.submit(prepared, now: now, actor: "amqp")
      }.get()
      var dispatch: Dispatch?
      if kind.isLaunched { dispatch = try await launch(prepared.id, now: now, in: store) }
      let sequence = try await store.read { transaction throws(StoreError) in
        try transaction.sequence(of: prepared.id)
      }
      guard let sequence else { throw BenchError("run \(prepared.id) was not stored") }
      let sample = StoreSample(id: prepared.id, sequence: sequence, dispatch: dispatch)
      if kind.isLaunched { try await sample.report(.running, now: now, in: store) }
      if kind == .dead { try await sample.report(.failed, now: now, in: store) }
      if kind == .finished { try await sample.report(.completed, now: now, in: store) }
      return sample
    }
  }

  /// Reports a claimed sample completed.
  static func complete(_ sample: StoreSample, folder: String) async throws {
    try await withStore(in: folder) { try await sample.report(.completed, now: past, in: $0) }
  }

  private static func launch(_ id: RunID, now: Timestamp, in store: Store) async throws -> Dispatch {
    let request = ReleaseRequest(now: now, runsMax: 1) { _ in TaskPolicy() }
    let dispatches = try await store.write { transaction throws(StoreError) in try transaction.release(request) }
    guard let dispatch = dispatches.first, dispatch.run.id == id else {
      throw BenchError("the store released another run than the sample: fill a store without ready runs")
    }
    let confirmed = [Confirmed(dispatch: dispatch.id, at: now)]
    try await store.write { transaction throws(StoreError) in try transaction.confirm(confirmed) }
    return dispatch
  }

  private func report(_ state: ReportedState, now: Timestamp, in store: Store) async throws {
    guard let dispatch else { throw BenchError("run \(id) was not released") }
    var report = WorkerReport(token: "", state: state)
    if state == .running { report.worker = "bench" }
    if state == .completed { report.result = Array(#""done""#.utf8) }
    if state == .failed { report.error = WorkerError(type: "BenchError", message: "no", retryable: false) }
    let verified = VerifiedReport(report, dispatch: dispatch.id, via: .amqp, receivedAt: now, jitter: 0)
    let policies = PolicyLookup { _ in TaskPolicy() }
    let answer = try await store.write { transaction throws(StoreError) in
      try transaction.report(verified, policies: policies)
    }
    guard answer.code == .applied else { throw BenchError("the report \(state) of run \(id) is \(answer.code)") }
  }

  private static func withStore<T: Sendable>(
    in folder: String, _ body: (Store) async throws -> T
  ) async throws -> T {
    let store = try Store.open(
      directory: folder, randomBytes: (0..<48).map { _ in UInt8.random(in: 0...255) }, logger: Logger(label: "bench"))
    do {
      let value = try await body(store)
      await store.close()
      return value
    } catch {
      await store.close()
      throw error
    }
  }

  /// A JSON text of that many bytes, at least 8.
  static func payload(bytes: Int) -> Payload {
    let text = #"{"d":""# + String(repeating: "x", count: max(0, bytes - 8)) + #""}"#
    return Payload(bytes: Array(text.utf8), contentType: "application/json")
  }

  private static func key() throws -> TaskKey {
    guard let key = TaskKey(task) else { throw BenchError("\(task) is no task key") }
    return key
  }

  static var past: Timestamp {
    Timestamp(milliseconds: Int64((Date().timeIntervalSince1970 - ageSeconds) * 1_000))
  }

  /// Ids for runs that follow a sample: in the order of their numbers, and older than any made from now on.
  struct Identifiers {
    private let milliseconds: UInt64

    init(after image: BareStoreImage) {
      guard case .blob(let bytes) = image.id, let id = RunID(bytes: bytes) else {
        milliseconds = 0
        return
      }
      milliseconds = id.high >> 16
    }

    /// Lends the 16 bytes of the id of run number `sequence`; a thousand runs share a millisecond.
    func withBytes<T>(of sequence: Int64, _ body: (UnsafeRawBufferPointer) throws -> T) rethrows -> T {
      let number = UInt64(sequence)
      let time = milliseconds + number / 1_000
      let words = (
        (time << 16 | 0x7000 | number % 1_000).bigEndian,
        (0x8000_0000_0000_0000 | number &* 0x2545_F491_4F6C_DD1D & 0x3FFF_FFFF_FFFF_FFFF).bigEndian
      )
      return try withUnsafeBytes(of: words, body)
    }
  }
}
