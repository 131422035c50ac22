/// Judges a worker's report: rule 1 of `fsm.md` §3, first match wins. Pure and total: a message from outside is never
/// our bug, it gets a verdict.
///
/// - Parameters:
///   - report: what the worker said; its token has already been verified and belongs to `dispatch`.
///   - dispatch: what the token speaks for.
///   - attempt: the run's newest attempt; nil when there is none.
///   - policy: resolved for `run`.
///   - jitter: 0..<1, for full jitter back-off.
public func decide(
  _ report: WorkerReport, by dispatch: DispatchID, on run: Run, attempt: Attempt?, policy: TaskPolicy, now: Timestamp,
  jitter: Double
) -> Decision {
  guard let attempt, dispatch.attempt <= run.attempt else { return Decision(.unknownToken, action: .stop) }
  if dispatch.attempt == run.attempt && dispatch.dispatch > run.dispatch {
    return Decision(.unknownToken, action: .stop)
  }
  guard dispatch.attempt == run.attempt && dispatch.dispatch == run.dispatch else {
    return Decision(.staleAttempt, action: .stop)
  }
  if run.state.isTerminal { return decideOnEnded(report, run: run, attempt: attempt) }
  if let refusal = refuseForeignClaim(report, attempt: attempt) { return Decision(refusal, action: .stop) }

  let refusedAction: ReportAnswer.Action = attempt.state.isTerminal || attempt.state == .stopping ? .stop : .continue
  switch report.state {
  case .running:
    let code = Transitions.judge(from: attempt.state, to: .running)
    // A queued attempt passes through `instantiated`: its worker was faster than the publisher's own bookkeeping.
    guard code == .applied || attempt.state == .queued else { return Decision(code, action: refusedAction) }
    var decision = Decision(.applied, action: .continue)
    decision.passToRunning(from: attempt.state, run: run.state, throughLaunched: false)
    decision.claims = true
    decision.reportBy = leaseEnd(report, policy: policy, now: now)
    return decision

  case .heartbeat, .progress:
    if attempt.state == .stopping { return Decision(.applied, action: .stop) }
    let code = attempt.state == .running ? .applied : Transitions.judge(from: attempt.state, to: .running)
    guard code == .applied || attempt.state == .queued else { return Decision(code, action: refusedAction) }
    var decision = Decision(.applied, action: .continue)
    decision.passToRunning(from: attempt.state, run: run.state, throughLaunched: true)
    decision.claims = attempt.state.isUnclaimed
    decision.reportBy = leaseEnd(report, policy: policy, now: now)
    return decision

  case .completed, .failed, .resourceError, .snoozed, .cancelled:
    return decideEnd(report, run: run, attempt: attempt, policy: policy, now: now, jitter: jitter)
  }
}

/// The deadline an accepted report sets: 3.1 × its announced interval, else the lease.
private func leaseEnd(_ report: WorkerReport, policy: TaskPolicy, now: Timestamp) -> Timestamp {
  now.adding(seconds: report.nextReportSeconds.map { $0 * 3.1 } ?? Double(policy.leaseSeconds))
}

/// A report about a run that has ended: the first end stands.
private func decideOnEnded(_ report: WorkerReport, run: Run, attempt: Attempt) -> Decision {
  if report.state.isEnd, let end = attempt.reportedEnd {
    return Decision(end == report.state ? .duplicate : .conflict, action: .stop)
  }
  var decision = Decision(.terminalRun, action: .stop)
  if report.state == .failed || report.state == .resourceError, !attempt.state.isTerminal {
    // An orphan: its run ended without it. The attempt is closed, the run left alone.
    switch attempt.state {
    case .queued, .instantiated: decision.attemptSteps = [.stopping, .fatal]
    case .launched, .running, .triaging, .stopping: decision.attemptSteps = [.fatal]
    case .noHeartbeat: decision.attemptSteps = [.error]
    case .done, .error, .fatal, .lost, .resourceError, .unpublished, .snoozed: break
    }
  }
  return decision
}

/// Of two holders of one message only one goes on; with a claim every later report must carry it.
private func refuseForeignClaim(_ report: WorkerReport, attempt: Attempt) -> VerdictCode? {
  if report.state == .running {
    guard !attempt.state.isUnclaimed, let holder = attempt.holder else { return nil }
    let identity = report.claim ?? report.worker
    guard let identity else { return nil }
    if attempt.claim != nil, report.claim == nil { return identity == attempt.worker ? nil : .alreadyClaimed }
    return identity == holder ? nil : .alreadyClaimed
  }
  guard let claim = attempt.claim else { return nil }
  return report.claim == claim ? nil : .notOwner
}

/// A worker's end of an attempt whose run is alive.
private func decideEnd(
  _ report: WorkerReport, run: Run, attempt: Attempt, policy: TaskPolicy, now: Timestamp, jitter: Double
) -> Decision {
  let target = report.state.attemptEnd
  if attempt.state.isTerminal || attempt.state == .noHeartbeat {
    return Decision(Transitions.judge(from: attempt.state, to: target), action: .stop)
  }
  var decision = Decision(.applied, action: .stop)
  decision.reportedEnd = report.state
  if attempt.state == .stopping {
    if report.state == .completed, run.openChildren > 0 {
      // Its own work is done, but it was asked to stop: its children still have to.
      decision.attemptSteps = [.done]
    } else if report.state == .completed {
      decision.attemptSteps = [.done]
      decision.runSteps = [RunStep(.completed, "finished before it could be stopped")]
    } else {
      decision.attemptSteps = [.fatal]
      decision.runSteps = [RunStep(.cancelled, "the worker stopped")]
    }
    return decision
  }
  decision.passToRunning(from: attempt.state, run: run.state, throughLaunched: true)
  decision.claims = attempt.state.isUnclaimed
  switch report.state {
  case .completed:
    decision.attemptSteps.append(.done)
    decision.runSteps.append(run.openChildren > 0 ? RunStep(.waiting, "children are open") : RunStep(.completed))
  case .cancelled:
    decision.attemptSteps += [.stopping, .fatal]
    decision.runSteps += [RunStep(.cancelling, "the worker cancelled"), RunStep(.cancelled, "the worker cancelled")]
  case .snoozed:
    decision.attemptSteps.append(.snoozed)
    let delay = report.retryAfterSeconds ?? policy.retry.delaySeconds(failures: 0, jitter: jitter)
    decision.nextRunAt = now.adding(seconds: delay)
    decision.runSteps.append(RunStep(.scheduled, "snoozed"))
  case .failed:
    decision.attemptSteps.append(.error)
    decision.afterFailure(
      .failed(retryable: report.error?.retryable ?? true, retryAfterSeconds: report.retryAfterSeconds), run: run,
      policy: policy, now: now, jitter: jitter)
  case .resourceError:
    decision.attemptSteps.append(.resourceError)
    decision.afterFailure(
      .resources(retryAfterSeconds: report.retryAfterSeconds), run: run, policy: policy, now: now, jitter: jitter)
  case .running, .heartbeat, .progress:
    preconditionFailure("run \(run.id): \(report.state) is no end")
  }
  return decision
}

extension ReportedState {
  /// Whether the state ends the attempt.
  public var isEnd: Bool {
    switch self {
    case .running, .heartbeat, .progress: false
    case .completed, .failed, .resourceError, .snoozed, .cancelled: true
    }
  }

  /// The attempt state this report asks for.
  public var attemptEnd: AttemptState {
    switch self {
    case .running, .heartbeat, .progress: .running
    case .completed: .done
    case .failed: .error
    case .resourceError: .resourceError
    case .snoozed: .snoozed
    case .cancelled: .fatal
    }
  }
}

extension Decision {
  /// The implied steps up to `running`, each of which is in the audit.
  mutating func passToRunning(from attempt: AttemptState, run: RunState, throughLaunched: Bool) {
    switch attempt {
    case .queued: attemptSteps = throughLaunched ? [.instantiated, .launched, .running] : [.instantiated, .running]
    case .instantiated: attemptSteps = throughLaunched ? [.launched, .running] : [.running]
    case .launched, .triaging: attemptSteps = [.running]
    case .running, .noHeartbeat, .stopping, .done, .error, .fatal, .lost, .resourceError, .unpublished, .snoozed:
      attemptSteps = []
    }
    switch run {
    case .queued: runSteps = throughLaunched ? [RunStep(.launched, "implied"), RunStep(.running)] : [RunStep(.running)]
    case .launched: runSteps = [RunStep(.running)]
    case .blocked, .scheduled, .ready, .paused, .adjusting, .running, .waiting, .cancelling, .error, .completed,
      .failed, .deadLettered, .dependencyFailed, .cancelled, .expired, .superseded:
      runSteps = []
    }
  }
}
