public import Logging
public import TaskBridgeCore
import TaskBridgeStore

/// The front door: what HTTP and the command line can ask of a bridge.
///
/// Every method either has committed when it returns, or throws a `Problem` that says what to do next.
public final class TaskBridge: Sendable {
  let context: BridgeContext

  var store: Store { context.store }
  public var configuration: TaskBridgeConfiguration { context.configuration }

  init(context: BridgeContext) { self.context = context }

  /// Opens the store of `configuration`; nothing is started yet.
  ///
  /// - Parameter onFatal: called when memory and disk may differ; the process must end with status 5.
  /// - Throws: `StartError` with the exit status of `contract.md` §4.
  public static func open(
    _ configuration: TaskBridgeConfiguration, logger: Logger, onFatal: @escaping @Sendable (StartError) -> Void
  ) throws(StartError) -> TaskBridge {
    do throws(TimeZoneError) {
      try TimeZoneDatabase.system.check()
    } catch {
      throw StartError(message: error.description, exitCode: 1)
    }
    let signals = CommitSignals()
    do throws(StoreError) {
      let store = try Store.open(
        directory: configuration.dataDirectory, randomBytes: (0..<48).map { _ in UInt8.random(in: 0...255) },
        logger: logger, onCommit: { signals.raise($0) },
        onFatal: { onFatal(StartError(message: "\($0.message). Check the disk before starting again.", exitCode: 5)) })
      return TaskBridge(
        context: BridgeContext(
          configuration: configuration, store: store, signals: signals, clock: .system, logger: logger))
    } catch {
      throw StartError(message: error.message, exitCode: 5)
    }
  }

  public var readiness: Readiness { context.state.readiness }

  func now() -> Timestamp { context.clock.now() }

  // MARK: Submitting

  /// Stores one submission.
  /// - Throws: 409, 422, 429 `backlog_full`, 503.
  public func submit(_ submission: Submission, actor: String) async throws(Problem) -> SubmissionAnswer {
    try checkBacklog()
    let now = now()
    let prepared = try context.prepare(submission, now: now)
    let context = context
    return try await answering { transaction throws(StoreError) in
      switch try transaction.submit(prepared, now: now, actor: actor) {
      case .success(let result): .success(try context.answer(result, in: transaction))
      case .failure(let problem): .failure(problem)
      }
    }
  }

  /// Stores a batch, or nothing of it.
  ///
  /// - Parameter workflow: the workflow whose place the batch takes.
  public func submit(
    batch: [Submission], superseding workflow: String? = nil, actor: String
  ) async throws(Problem) -> [SubmissionAnswer] {
    try checkBacklog()
    let now = now()
    var prepared: [PreparedSubmission] = []
    prepared.reserveCapacity(batch.count)
    for (index, submission) in batch.enumerated() {
      do {
        prepared.append(try context.prepare(submission, now: now))
      } catch {
        var problem = error
        problem.detail = "item \(index): \(problem.detail)"
        problem.errors.append(Fault(pointer: "/runs/\(index)", detail: error.detail))
        throw problem
      }
    }
    let (items, context) = (prepared, context)
    return try await answering { transaction throws(StoreError) in
      switch try transaction.submit(batch: items, superseding: workflow, now: now, actor: actor) {
      case .success(let results):
        .success(try results.map { result throws(StoreError) in try context.answer(result, in: transaction) })
      case .failure(let problem): .failure(problem)
      }
    }
  }

  func checkBacklog() throws(Problem) {
    guard store.backlog >= configuration.backlogLimit else { return }
    throw Problem(
      429, "backlog_full",
      "\(store.backlog) runs wait, the limit is \(configuration.backlogLimit) (backlog_limit); try again when workers have caught up",
      retryAfterSeconds: 5)
  }

  // MARK: Operating

  /// Stops a run, or asks its worker to.
  /// - Throws: 404 `run_not_found`, 409 `terminal_run`.
  public func cancel(_ id: RunID, reason: String?, actor: String) async throws(Problem) -> RunView {
    let now = now()
    return try await changing(id) { transaction throws(StoreError) in
      try transaction.cancel(id, reason: reason, now: now, actor: actor)
    }
  }

  /// Replays a run that has ended: same id, a new series of attempts.
  /// - Throws: 404, 409 `active`, `superseded`, `completed_needs_force`, `dedup_busy`.
  public func retry(_ id: RunID, options: RetryOptions, actor: String) async throws(Problem) -> RetryAnswer {
    let now = now()
    typealias Changed = (view: RunView, occupancy: Occupancy, replayed: [RunID], failed: [RunID])
    let changed: Changed = try await answering { transaction throws(StoreError) in
      let result = try transaction.replayAll(id, options: options, now: now, actor: actor)
      guard case .success(let replayed) = result, let view = try transaction.runView(id) else {
        if case .failure(let problem) = result { return .failure(problem) }
        return .failure(.runNotFound(id))
      }
      return .success(
        (view, transaction.occupancy(of: view.run), replayed, try transaction.failedDependents(of: id)))
    }
    return RetryAnswer(
      run: completed(changed.view, changed.occupancy), replayedDependents: Array(changed.replayed.dropFirst()),
      failedDependents: changed.failed)
  }

  func changing(
    _ id: RunID, _ body: @escaping @Sendable (Transaction) throws(StoreError) -> Result<RunID, Problem>
  ) async throws(Problem) -> RunView {
    let (view, occupancy): (RunView, Occupancy) = try await answering { transaction throws(StoreError) in
      switch try body(transaction) {
      case .success(let id):
        if let view = try transaction.runView(id) {
          .success((view, transaction.occupancy(of: view.run)))
        } else {
          .failure(.runNotFound(id))
        }
      case .failure(let problem): .failure(problem)
      }
    }
    return completed(view, occupancy)
  }

  // MARK: Reporting

  /// Judges a worker's report that came over HTTP; the same verdicts as over AMQP.
  ///
  /// - Parameter body: the report as it came, kept when its token was not issued by this store.
  public func report(_ report: WorkerReport, body: [UInt8]) async throws(Problem) -> ReportAnswer {
    let now = now()
    guard let dispatch = context.signer.verify(report.token) else {
      let answer = ReportAnswer.notIssued
      return try await answering { transaction throws(StoreError) in
        try transaction.quarantine(QuarantinedMessage(unknownToken: answer, body: body), now: now)
        return .success(answer)
      }
    }
    let verified = VerifiedReport(report, dispatch: dispatch, via: .http, receivedAt: now, jitter: context.jitter())
    let policies = context.policyLookup
    return try await answering { transaction throws(StoreError) in
      let answer = try transaction.report(verified, policies: policies)
      if answer.code == .unknownToken {
        try transaction.quarantine(QuarantinedMessage(unknownToken: answer, body: body), now: now)
      }
      return .success(answer)
    }
  }

  /// Extends the leases of many attempts; one answer each, in the order given.
  ///
  /// - Parameter body: the request as it came, kept once when this store has not issued one of the tokens.
  public func heartbeat(
    tokens: [String], nextReportSeconds: Double?, body: [UInt8]
  ) async throws(Problem) -> [ReportAnswer] {
    let (now, policies, jitter) = (now(), context.policyLookup, context.jitter())
    let verified = tokens.map { token -> VerifiedReport? in
      guard let dispatch = context.signer.verify(token) else { return nil }
      var report = WorkerReport(token: token, state: .heartbeat)
      report.nextReportSeconds = nextReportSeconds
      var verified = VerifiedReport(report, dispatch: dispatch, via: .http, receivedAt: now, jitter: jitter)
      verified.isClaimImplied = true
      return verified
    }
    return try await answering { transaction throws(StoreError) in
      let answers = try verified.map { report throws(StoreError) in
        guard let report else { return ReportAnswer.notIssued }
        return try transaction.report(report, policies: policies)
      }
      if let unknown = answers.first(where: { $0.code == .unknownToken }) {
        try transaction.quarantine(QuarantinedMessage(unknownToken: unknown, body: body), now: now)
      }
      return .success(answers)
    }
  }

  // MARK: Store access

  /// A write whose refusal is the caller's answer.
  func answering<T: Sendable>(
    _ body: @escaping @Sendable (Transaction) throws(StoreError) -> Result<T, Problem>
  ) async throws(Problem) -> T {
    let result: Result<T, Problem>
    do throws(StoreError) {
      result = try await store.write(body)
    } catch {
      // The caller learns only that it did not work.
      if !error.isRetriable, error.kind != .closed {
        context.logger.error("the store cannot do what was asked; nothing was written", metadata: ["error": "\(error)"])
      }
      throw Problem(error)
    }
    return try result.get()
  }

  /// Closes the store; the last thing a process does.
  public func close() async { await store.close() }
}

extension Problem {
  /// The store's failures as a caller sees them.
  init(_ error: StoreError) {
    switch error.kind {
    case .full:
      self.init(
        503, "store_full", "the store's disk is full: nothing was stored; try again later", retryAfterSeconds: 5)
    case .busy:
      self.init(503, "store_busy", "the store is locked by another process; try again", retryAfterSeconds: 1)
    case .tooExpensive:
      self.init(
        503, "query_too_expensive", "the query reads too much; narrow the filter or lower the limit",
        retryAfterSeconds: 1)
    case .inUse, .fatalIO, .damaged, .newer, .unusable, .closed, .cancelled, .other:
      self.init(503, "store_unavailable", "the store cannot serve this request now", retryAfterSeconds: 5)
    }
  }
}

extension BridgeContext {
  /// Fills in what needs a clock, a random source or a hash, and checks what the configuration says of the task key.
  func prepare(_ submission: Submission, now: Timestamp) throws(Problem) -> PreparedSubmission {
    let settings = configuration.tasks[submission.task]
    let overrides = store.controls.tasks[submission.task]
    if settings == nil, configuration.strictTasks {
      throw Problem(
        422, "unknown_task", "task \(submission.task) is not configured, and strict_tasks is on",
        errors: [Fault(pointer: "/task", detail: "not configured")],
        allowed: configuration.tasks.keys.sorted().map(\.rawValue))
    }
    if overrides?.disabled ?? settings?.disabled == true {
      throw Problem(
        422, "task_disabled", "task \(submission.task) is disabled by its settings",
        errors: [Fault(pointer: "/task", detail: "disabled")])
    }
    if let limit = overrides?.payloadLimitBytes ?? settings?.payloadLimitBytes, submission.payload.bytes.count > limit {
      throw Problem(
        413, "payload_too_large",
        "the payload is \(submission.payload.bytes.count) bytes, task \(submission.task) takes at most \(limit)")
    }
    let dedupKey = submission.dedupsByPayload ? payloadDigest(submission.payload.bytes) : submission.dedupKey
    return PreparedSubmission(submission, id: newRunID(now: now), dedupKey: dedupKey, digest: payloadDigest)
  }

  /// The answer to a submission, read inside the transaction that stored it.
  func answer(_ result: SubmissionResult, in transaction: Transaction) throws(StoreError) -> SubmissionAnswer {
    guard var view = try transaction.runView(result.runID) else {
      throw StoreError(.damaged, "store: run \(result.runID) is gone inside its own transaction")
    }
    view.maxAttempts = policy(view.run.task).resolved(for: view.run).maxAttempts
    return SubmissionAnswer(result: result, run: view)
  }
}
