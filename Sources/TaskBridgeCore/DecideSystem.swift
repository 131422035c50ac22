/// What happens to an attempt without a worker's word: the broker, the clock, an operator.
public enum SystemEvent: Sendable, Equatable {
  /// The broker confirmed the publish of the newest dispatch.
  case confirmed
  /// The newest dispatch came back unroutable five times in a row.
  case unpublished
  /// The broker gave the message back because a consumer rejected it without requeue.
  case rejected
  /// The broker gave the message up: `delivery_limit`, `expired` or `maxlen`.
  case givenUp(DeadLetterReason)
  /// The deadline passed.
  case overdue
  /// The message vanished from the broker (orphan rule), in the same broker incarnation.
  case orphaned
  /// The attempt ran longer than `timeout_seconds`.
  case timedOut
  /// Somebody asked to stop the run.
  case cancel(reason: String?)
}

/// Judges an event that no worker sent. Like ``decide(_:by:on:attempt:policy:now:jitter:)`` it is pure and total.
public func decide(
  _ event: SystemEvent, on run: Run, attempt: Attempt?, policy: TaskPolicy, now: Timestamp, jitter: Double
) -> Decision {
  if case .cancel(let reason) = event { return decideCancel(run: run, attempt: attempt, reason: reason) }
  guard let attempt, !run.state.isTerminal, run.state.isDispatched else { return Decision(.untimely, action: .stop) }
  var decision = Decision(.applied, action: .continue)
  switch event {
  case .confirmed:
    guard attempt.state == .instantiated else {
      return Decision(Transitions.judge(from: attempt.state, to: .launched), action: .continue)
    }
    decision.attemptSteps = [.launched]
    if run.state == .queued { decision.runSteps = [RunStep(.launched)] }

  case .unpublished:
    guard attempt.state == .instantiated else { return Decision(.untimely, action: .continue) }
    decision.attemptSteps = [.unpublished]
    decision.afterFailure(.lost(.undeliverable), run: run, policy: policy, now: now, jitter: jitter)

  case .rejected:
    guard attempt.state.isUnclaimed || attempt.state == .running || attempt.state == .triaging else {
      return Decision(.untimely, action: .continue)
    }
    decision.passToRunning(from: attempt.state, run: run.state, throughLaunched: true)
    decision.attemptSteps.append(.error)
    decision.afterFailure(.rejected, run: run, policy: policy, now: now, jitter: jitter)

  case .givenUp(let reason):
    // Once claimed, the lease owns recovery; the broker's copy no longer matters.
    switch attempt.state {
    case .instantiated: decision.attemptSteps = [.launched, .lost]
    case .launched: decision.attemptSteps = [.lost]
    case .queued, .running, .triaging, .noHeartbeat, .stopping, .done, .error, .fatal, .lost, .resourceError,
      .unpublished, .snoozed:
      return Decision(.untimely, action: .continue)
    }
    if run.state == .queued { decision.runSteps = [RunStep(.launched, "implied")] }
    decision.afterFailure(.lost(reason), run: run, policy: policy, now: now, jitter: jitter)

  case .orphaned:
    guard attempt.state == .launched else { return Decision(.untimely, action: .continue) }
    decision.attemptSteps = [.noHeartbeat, .error]
    decision.afterFailure(.lost(.lost), run: run, policy: policy, now: now, jitter: jitter)

  case .overdue:
    guard attempt.reportBy <= now else { return Decision(.notDue, action: .continue) }
    switch attempt.state {
    case .running:
      // A grace of one lease in which a heartbeat still brings it back.
      decision.attemptSteps = [.triaging]
      decision.reportBy = now.adding(seconds: Double(policy.leaseSeconds))
    case .triaging:
      decision.attemptSteps = [.lost]
      decision.afterFailure(.lost(.lost), run: run, policy: policy, now: now, jitter: jitter)
    case .stopping:
      decision.attemptSteps = [.fatal]
      decision.runSteps = [RunStep(.cancelled, "no answer until the lease ended")]
    case .queued, .instantiated, .launched, .noHeartbeat, .done, .error, .fatal, .lost, .resourceError, .unpublished,
      .snoozed:
      return Decision(.untimely, action: .continue)
    }

  case .timedOut:
    guard attempt.state == .running || attempt.state == .triaging else { return Decision(.untimely, action: .continue) }
    decision.attemptSteps = [.resourceError]
    decision.afterFailure(.resources(retryAfterSeconds: nil), run: run, policy: policy, now: now, jitter: jitter)

  case .cancel:
    break
  }
  return decision
}

/// Rule 8: cancel at once where no worker holds the run, else tell the worker and wait.
private func decideCancel(run: Run, attempt: Attempt?, reason: String?) -> Decision {
  var decision = Decision(.applied, action: .continue)
  switch run.state {
  case .blocked, .scheduled, .ready, .paused:
    // An attempt that was taken back ends with its run.
    if attempt?.state == .queued { decision.attemptSteps = [.stopping, .fatal] }
    decision.runSteps = [RunStep(.cancelled, reason)]
  case .queued, .launched:
    switch attempt?.state {
    case .queued, .instantiated, .launched, .running, .triaging: decision.attemptSteps = [.stopping, .fatal]
    case .stopping: decision.attemptSteps = [.fatal]
    case .noHeartbeat: decision.attemptSteps = [.error]
    case .done, .error, .fatal, .lost, .resourceError, .unpublished, .snoozed, nil: break
    }
    decision.runSteps = [RunStep(.cancelled, reason)]
  case .running:
    decision.attemptSteps = [.stopping]
    decision.runSteps = [RunStep(.cancelling, reason)]
  case .waiting:
    decision.runSteps = [RunStep(.cancelling, reason)]
    if run.openChildren == 0 { decision.runSteps.append(RunStep(.cancelled, reason)) }
  case .cancelling, .cancelled:
    return Decision(.duplicate, action: .continue)
  case .adjusting, .error, .completed, .failed, .deadLettered, .dependencyFailed, .expired, .superseded:
    return Decision(.terminalRun, action: .stop)
  }
  return decision
}
