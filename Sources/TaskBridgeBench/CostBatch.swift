import AMQPClient
import Logging
import TaskBridgeCore
import TaskBridgeEngine
import TaskBridgeStore

/// The path of a run through the bridge's own functions, many runs at a time as under load: parse the submissions,
/// store them, release, make the messages, confirm, parse the reports, check their tokens, store them. What is left out
/// is AMQP itself.
///
/// Ids, times and jitter are given, and each step is one write, so that the group commit has nothing to decide.
struct CostBatch {
  /// Runs of one call.
  static let runs = 100
  static let warmUps = 4

  private let store: Store
  private let submissions: [AMQPDelivery]
  private let signer: TokenSigner
  private let codec: MessageCodec
  private var ids = RunIDGenerator()
  private var random = SplitMix64(state: 1)
  private var now = Timestamp(milliseconds: 1_800_000_000_000)
  private let policies = PolicyLookup { _ in TaskPolicy() }

  /// - Parameter folder: for a new store.
  init(folder: String) throws {
    store = try Store.open(directory: folder, randomBytes: (0..<48).map { $0 }, logger: Logger(label: "cost"))
    signer = TokenSigner(secret: store.identity.secret)
    codec = MessageCodec(names: ObjectNames(prefix: "taskbridge"), signer: signer)
    let payload = StoreSample.payload(bytes: 256)
    submissions = (0..<Self.runs).map { number in
      AMQPDelivery(
        deliveryTag: UInt64(number + 1), exchange: "taskbridge.submit", routingKey: "bench.cost",
        properties: AMQPProperties(
          contentType: payload.contentType,
          headers: ["tb-priority": .int(Int64(number % 3 + 127)), "tb-max-attempts": .int(5)], deliveryMode: 2),
        body: payload.bytes)
    }
  }

  /// Drives ``runs`` runs from submission to completion: first those of a worker so fast that confirm, `running` and
  /// `completed` are written together, then the same number with a write for each.
  ///
  /// - Throws: `BenchError` when a step did not do what it was asked: a figure is only given for work that was done.
  mutating func drive() async throws {
    try await submit()
    let fast = try await release(Self.runs / 2)
    try await write(confirms: fast, reports: try fast.flatMap { [try running($0), try completed($0)] })
    let slow = try await release(Self.runs / 2)
    try await write(confirms: slow, reports: [])
    try await write(confirms: [], reports: try slow.map(running))
    try await write(confirms: [], reports: try slow.map(completed))
    now = now.adding(seconds: 1)
  }

  func close() async { await store.close() }

  private mutating func submit() async throws {
    let limits = SubmissionLimits()
    var prepared: [PreparedSubmission] = []
    for delivery in submissions {
      let submission = try Submission.parse(message: delivery.submissionMessage, limits: limits)
      prepared.append(PreparedSubmission(submission, id: ids.next(now: now, random: &random), dedupKey: nil))
    }
    let (batch, now) = (prepared, now)
    let outcomes = try await store.write { transaction throws(StoreError) in
      try batch.map { item throws(StoreError) in try transaction.submit(item, now: now, actor: "amqp") }
    }
    for outcome in outcomes where try outcome.get().outcome != .inserted {
      throw BenchError("a submission was not stored")
    }
  }

  /// - Returns: the dispatches with the tokens of their messages.
  private func release(_ count: Int) async throws -> [Released] {
    let request = ReleaseRequest(now: now, runsMax: count) { _ in TaskPolicy() }
    let dispatches = try await store.write { transaction throws(StoreError) in try transaction.release(request) }
    guard dispatches.count == count else { throw BenchError("\(dispatches.count) of \(count) runs were released") }
    return try dispatches.map { dispatch in
      let message = codec.message(for: dispatch, wire: .raw, now: now)
      guard let token = message.properties.correlationID else { throw BenchError("a message has no token") }
      return Released(id: dispatch.id, token: token)
    }
  }

  private struct Released {
    let id: DispatchID
    let token: String
  }

  private func running(_ run: Released) throws -> VerifiedReport {
    try report(#"{"state":"running","worker":"w1","claim":"c1"}"#, of: run)
  }

  private func completed(_ run: Released) throws -> VerifiedReport {
    try report(#"{"state":"completed","claim":"c1","result":{"ok":true}}"#, of: run)
  }

  private func report(_ body: String, of run: Released) throws -> VerifiedReport {
    let delivery = AMQPDelivery(
      deliveryTag: 1, routingKey: "taskbridge.events",
      properties: AMQPProperties(contentType: "application/json", correlationID: run.token), body: Array(body.utf8))
    let report = try WorkerReport.parse(delivery.reportMessage)
    guard let dispatch = signer.verify(report.token) else { throw BenchError("a token is not its signer's") }
    return VerifiedReport(report, dispatch: dispatch, via: .amqp, receivedAt: now, jitter: 0.5)
  }

  private func write(confirms: [Released], reports: [VerifiedReport]) async throws {
    let confirmed = confirms.map { Confirmed(dispatch: $0.id, at: now) }
    let policies = policies
    let answers = try await store.write { transaction throws(StoreError) in
      try transaction.together { () throws(StoreError) in
        try transaction.confirm(confirmed)
        return try reports.map { report throws(StoreError) in
          try transaction.report(report, policies: policies, isAnswered: false)
        }
      }
    }
    for answer in answers where answer.code != .applied { throw BenchError("a report is \(answer.code)") }
  }
}

/// The same numbers in every run.
private struct SplitMix64: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
    return mixed ^ mixed >> 31
  }
}
