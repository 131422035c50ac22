package import TaskBridgeCore

/// A worker's report whose token has been verified.
package struct VerifiedReport: Sendable {
  package var report: WorkerReport
  package var dispatch: DispatchID
  package var via: ReportChannel
  package var receivedAt: Timestamp
  /// 0..<1.
  package var jitter: Double
  /// The token alone speaks: a heartbeat for many attempts has no room for their claims.
  package var isClaimImplied = false
  /// Somebody who asks for a state in the worker's place, for the audit, with the reason given.
  var asker: (actor: String, reason: String?)?

  package init(
    _ report: WorkerReport, dispatch: DispatchID, via: ReportChannel, receivedAt: Timestamp, jitter: Double
  ) {
    self.report = report
    self.dispatch = dispatch
    self.via = via
    self.receivedAt = receivedAt
    self.jitter = jitter
  }
}

/// A run's message that came back through `taskbridge.returned`.
package struct ReturnedMessage: Sendable {
  package var dispatch: DispatchID
  package var event: SystemEvent
  package var detail: String
  package var jitter: Double

  package init(dispatch: DispatchID, event: SystemEvent, detail: String, jitter: Double) {
    self.dispatch = dispatch
    self.event = event
    self.detail = detail
    self.jitter = jitter
  }
}

/// Settings of task keys, as the steps need them.
package struct PolicyLookup: Sendable {
  package var policy: @Sendable (TaskKey) -> TaskPolicy

  package init(policy: @escaping @Sendable (TaskKey) -> TaskPolicy) { self.policy = policy }

  func resolved(for run: Run) -> TaskPolicy { policy(run.task).resolved(for: run) }

  /// The run's task key and its fallbacks, with their limits.
  func candidates(_ run: Run) -> [(task: TaskKey, limits: [String: Double])] {
    ([run.task] + run.fallbackTasks).map { (task: $0, limits: policy($0).resourceLimits) }
  }
}

/// load → decide → compare-and-set → consequences, and the ledger.
extension Transaction {
  /// - Parameter isAnswered: whether anybody reads more of the answer than its code and action.
  package func report(
    _ verified: VerifiedReport, policies: PolicyLookup, isAnswered: Bool = true
  ) throws(StoreError) -> ReportAnswer {
    guard let run = try self.run(verified.dispatch.runID) else {
      return ReportAnswer(
        .unknownToken, action: .stop, detail: "run \(verified.dispatch.runID) is not in this store")
    }
    let report = verified.report
    let judged = try judge(verified, run: run, policies: policies)
    let decision = judged.decision
    var words = report.notes
    if let rule = refusal(decision.code, run: judged.run, attempt: judged.attempt, report: report) {
      words.append(rule)
    }
    let detail = words.isEmpty ? nil : words.joined(separator: "; ")
    ledger.reports.append(
      LedgerRows.ReportRow(
        run: run.sequence, receivedAt: verified.receivedAt, dispatch: verified.dispatch, state: report.state,
        code: decision.code, worker: report.worker, via: verified.via, detail: detail))
    guard isAnswered else { return ReportAnswer(decision.code, action: decision.action) }
    var answer = ReportAnswer(
      decision.code, action: decision.action, runID: judged.run.id, runState: judged.run.state,
      attemptState: judged.attempt?.state, detail: detail)
    if let next = decision.nextRunAt, judged.run.state == .scheduled {
      answer.retryAfterSeconds = next.seconds(since: verified.receivedAt)
    }
    return answer
  }

  /// Decides and carries out.
  /// - Returns: the decision, with run and attempt as they are then.
  func judge(
    _ verified: VerifiedReport, run: Run, policies: PolicyLookup
  ) throws(StoreError) -> (decision: Decision, run: Run, attempt: Attempt?) {
    var run = run
    var report = verified.report
    var attempt = try newestAttempt(of: run)
    if verified.isClaimImplied { report.claim = attempt?.claim }
    let policy = policies.resolved(for: run)
    // A child that failed before its parent was done is applied now (fsm §3 rule 7).
    var judged = run
    if report.state == .completed, run.openChildren == 0, try hasFailedChild(run) { judged.openChildren = 1 }
    var decision = decide(
      report, by: verified.dispatch, on: judged, attempt: attempt, policy: policy, now: verified.receivedAt,
      jitter: verified.jitter)
    let wasClaimedAs = run.state
    var actor = report.worker.map { "worker:\($0)" } ?? "worker"
    if let asker = verified.asker {
      actor = asker.actor
      if let reason = asker.reason, !decision.runSteps.isEmpty {
        decision.runSteps[decision.runSteps.count - 1].reason = reason
      }
    }
    if decision.code == .applied || !decision.attemptSteps.isEmpty {
      attempt = try apply(
        decision, to: &run, attempt: attempt, error: decision.code == .applied ? errorToKeep(report) : nil,
        report: decision.code == .applied ? report : nil, candidates: policies.candidates, now: verified.receivedAt,
        actor: actor)
      let startsToWait = run.state == .waiting && wasClaimedAs != .waiting
      let isStopped = run.state == .cancelling && report.state == .completed
      if startsToWait || isStopped {
        try apart { () throws(StoreError) in
          if startsToWait { try settleWaiting(run.id, now: verified.receivedAt, actor: "bridge") }
          if isStopped {
            try cancelChildren(of: run, reason: nil, now: verified.receivedAt, actor: actor)
            // With no child left to end, nobody else would end the parent.
            try settleWaiting(run.id, now: verified.receivedAt, actor: "bridge")
          }
          // Its family may have ended it.
          run = try self.run(sequence: run.sequence)
          attempt = try newestAttempt(of: run)
        }
      }
    }
    return (decision, run, attempt)
  }

  private func errorToKeep(_ report: WorkerReport) -> WorkerError? {
    switch report.state {
    case .failed: report.error ?? WorkerError(type: "failed", message: nil)
    case .resourceError: report.error ?? WorkerError(type: "resource_error", message: nil)
    case .running, .heartbeat, .progress, .completed, .snoozed, .cancelled: nil
    }
  }

  /// The rule by which a report was refused, in words; nil when it was not.
  private func refusal(_ code: VerdictCode, run: Run, attempt: Attempt?, report: WorkerReport) -> String? {
    // Made only for a refusal: nearly every report is applied.
    var now: String { "attempt \(run.attempt) is \(attempt?.state.rawValue ?? "not there")" }
    return switch code {
    case .applied, .duplicate: nil
    case .staleAttempt: "attempt \(run.attempt), dispatch \(run.dispatch) is the newest of run \(run.id)"
    case .unknownToken: "run \(run.id) has had no such dispatch: the newest is \(run.attempt).\(run.dispatch)"
    case .terminalRun: "run \(run.id) ended \(run.state.rawValue)"
    case .conflict: "run \(run.id) ended \(run.state.rawValue); the first end stands"
    case .alreadyClaimed, .notOwner: "another holder has claimed attempt \(run.attempt) of run \(run.id)"
    case .untimely: "\(now); \(report.state.rawValue) came too late and changes nothing"
    case .invalidTransition: "\(now), which \(report.state.rawValue) cannot follow"
    case .malformed, .forbidden, .notDue, .limited: nil
    }
  }

  /// A run that the broker gave back. A message that is not the newest dispatch is dropped: it is stale.
  ///
  /// - Returns: whether it changed anything.
  package func returned(
    _ message: ReturnedMessage, policies: PolicyLookup, now: Timestamp
  ) throws(StoreError) -> Bool {
    guard var run = try self.run(message.dispatch.runID), run.attempt == message.dispatch.attempt,
      run.dispatch == message.dispatch.dispatch, let attempt = try newestAttempt(of: run)
    else { return false }
    let decision = decide(
      message.event, on: run, attempt: attempt, policy: policies.resolved(for: run), now: now, jitter: message.jitter)
    guard decision.code == .applied else { return false }
    let type = if case .givenUp(let reason) = message.event { reason.rawValue } else { "rejected" }
    try apply(
      decision, to: &run, attempt: attempt, error: WorkerError(type: type, message: message.detail),
      candidates: policies.candidates, now: now, actor: "broker")
    return true
  }
}
