import TaskBridgeCore
import Testing

@testable import TaskBridgeStore

/// The reports of three attempts in any order, any of them repeated (N7).
@Suite struct ReportOrderTests {
  private static let histories = 10_000
  private static let historiesPerWrite = 200
  private static let attemptsMax = 3
  private static let claims = ["a", "b"]

  /// One history: what was said to one run, and what came of it.
  private struct History {
    var id = TestStore.newID()
    var random: Seeded
    var dispatches: [DispatchID] = []
    var said: [(report: WorkerReport, dispatch: DispatchID, answer: ReportAnswer)] = []
  }

  /// What is compared: everything a report may change.
  private struct End: Equatable {
    var state: RunState
    var numbers: [Int]
    var attempts: [AttemptState]
    var claims: [String?]
    var result: [UInt8]?
    var error: String?
  }

  @Test("N7: the end is that of the accepted reports alone, in their order; each refused one has its code and its rule")
  func anyOrderEndsLikeALegalOne() async throws {
    try await withTemporaryStore { test in
      var codes: Set<VerdictCode> = []
      for first in stride(from: 0, to: Self.histories, by: Self.historiesPerWrite) {
        let batch = try await test.store.write { tx throws(StoreError) in
          var batch = Batch()
          for seed in first..<first + Self.historiesPerWrite {
            let history = try Self.play(seed, in: tx)
            batch.codes.formUnion(history.said.map(\.answer.code))
            batch.told.append((history.id, history.said.map { Self.line($0.report.state, $0.answer) }))
            if let fault = try Self.fault(of: history, in: tx) { batch.faults.append("history \(seed): \(fault)") }
          }
          return batch
        }
        #expect(batch.faults == [])
        codes.formUnion(batch.codes)
        // In the ledger as in the answers.
        for (id, lines) in batch.told { #expect(try await Self.ledger(of: id, test) == lines) }
      }
      #expect(
        codes == [
          .applied, .duplicate, .staleAttempt, .invalidTransition, .notOwner, .alreadyClaimed, .terminalRun, .conflict,
        ])
    }
  }

  private struct Batch: Sendable {
    var codes: Set<VerdictCode> = []
    var faults: [String] = []
    var told: [(id: RunID, lines: [String])] = []
  }

  private static func ledger(of id: RunID, _ test: TestStore) async throws -> [String] {
    let reports = try await test.store.read { tx throws(StoreError) in
      guard let sequence = try tx.sequence(of: id) else { return [ReportView]() }
      return try tx.reports(of: sequence, limit: 100, before: nil)
    }
    return reports.reversed().map { "\($0.state.rawValue): \($0.code.rawValue) \($0.detail ?? "")" }
  }

  private static func line(_ state: ReportedState, _ answer: ReportAnswer) -> String {
    "\(state.rawValue): \(answer.code.rawValue) \(answer.detail ?? "")"
  }

  private static func play(_ seed: Int, in tx: Transaction) throws(StoreError) -> History {
    var history = History(random: Seeded(UInt64(seed + 1)))
    try submit(history.id, in: tx)
    for _ in 0..<Int.random(in: 4...14, using: &history.random) {
      if history.dispatches.isEmpty || Bool.random(using: &history.random) { try launch(&history, in: tx) }
      guard let dispatch = history.dispatches.randomElement(using: &history.random) else { continue }
      var report = WorkerReport(
        token: "t", state: ReportedState.allCases.randomElement(using: &history.random) ?? .running)
      report.claim = claims.randomElement(using: &history.random)
      report.result = Array("\(history.said.count)".utf8)
      report.error = WorkerError(
        type: "\(history.said.count)", retryable: Int.random(in: 0..<8, using: &history.random) > 0)
      history.said.append((report, dispatch, try say(report, dispatch, in: tx)))
    }
    return history
  }

  private static func submit(_ id: RunID, in tx: Transaction) throws(StoreError) {
    let submission = TestStore.submission { $0.maxAttempts = attemptsMax }
    let prepared = PreparedSubmission(submission, id: id, dedupKey: nil)
    _ = try tx.submit(prepared, now: TestStore.start, actor: "test")
  }

  /// The next attempt, when it is due for one.
  private static func launch(_ history: inout History, in tx: Transaction) throws(StoreError) {
    guard let run = try tx.run(history.id), run.state == .scheduled || run.state == .ready else { return }
    // Snoozed attempts do not count, so that there may be more than three.
    guard history.dispatches.count < 2 * attemptsMax else { return }
    _ = try tx.promoteDue(now: TestStore.start.adding(seconds: 10_000), limit: 10)
    let dispatches = try tx.release(ReleaseRequest(now: TestStore.start, runsMax: 10) { _ in TaskPolicy() })
    try tx.confirm(dispatches, now: TestStore.start)
    for dispatch in dispatches where dispatch.run.id == history.id { history.dispatches.append(dispatch.id) }
  }

  private static func say(
    _ report: WorkerReport, _ dispatch: DispatchID, in tx: Transaction
  ) throws(StoreError) -> ReportAnswer {
    try tx.report(
      VerifiedReport(report, dispatch: dispatch, via: .amqp, receivedAt: TestStore.start, jitter: 0),
      policies: policies)
  }

  /// What is wrong with the end of a history; nil when nothing is. Its runs are over afterwards.
  private static func fault(of history: History, in tx: Transaction) throws(StoreError) -> String? {
    let refused = history.said.filter { $0.answer.verdict != .accept }
    if let silent = refused.first(where: { $0.answer.detail == nil }) { return "no rule for \(silent.answer.code)" }
    let end = try self.end(of: history.id, in: tx)
    try finish(history.id, in: tx)

    var legal = History(random: history.random)
    try submit(legal.id, in: tx)
    try launch(&legal, in: tx)
    for said in history.said where said.answer.code == .applied {
      while legal.dispatches.count < said.dispatch.attempt {
        let count = legal.dispatches.count
        try launch(&legal, in: tx)
        if legal.dispatches.count == count {
          return "the accepted reports do not lead to attempt \(said.dispatch.attempt)"
        }
      }
      let answer = try say(said.report, legal.dispatches[said.dispatch.attempt - 1], in: tx)
      if answer.code != .applied {
        return "\(said.report.state) was accepted, and is \(answer.code) without the refused"
      }
    }
    while legal.dispatches.count < history.dispatches.count { try launch(&legal, in: tx) }
    let legalEnd = try self.end(of: legal.id, in: tx)
    try finish(legal.id, in: tx)
    return end == legalEnd
      ? nil : "ended \(String(describing: end)), without the refused \(String(describing: legalEnd))"
  }

  private static func end(of id: RunID, in tx: Transaction) throws(StoreError) -> End? {
    guard let run = try tx.run(id), let view = try tx.runView(id) else { return nil }
    let attempts = try ReadTransaction(db: tx.db).attempts(of: id, sequence: run.sequence, limit: 100, after: nil)
    return End(
      state: run.state, numbers: [run.attempt, run.failures, run.losses], attempts: attempts.map(\.attempt.state),
      claims: attempts.map(\.attempt.claim), result: view.result, error: view.lastError)
  }

  /// Ends a run, so that it takes no part in what follows.
  private static func finish(_ id: RunID, in tx: Transaction) throws(StoreError) {
    _ = try tx.cancel(id, reason: nil, now: TestStore.start, actor: "test")
    _ = try tx.sweepLeases(
      now: TestStore.start.adding(seconds: 1_000_000), limit: 10, policies: policies, jitter: 0)
  }
}
