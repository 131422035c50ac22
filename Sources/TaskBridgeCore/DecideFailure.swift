/// How an attempt failed, for the rules that follow (`fsm.md` §3 rule 2).
public enum Failure: Sendable, Equatable {
  /// The worker said so.
  case failed(retryable: Bool, retryAfterSeconds: Double?)
  /// The message was rejected without requeue.
  case rejected
  /// Out of memory, time or disk.
  case resources(retryAfterSeconds: Double?)
  /// A loss: gone without a word.
  case lost(DeadLetterReason)
}

extension Decision {
  /// What becomes of the run when its attempt has failed: dead letter, retry with back-off, or scaled resources.
  /// Appends to ``runSteps``; the transient `error` is always one of them.
  public mutating func afterFailure(
    _ failure: Failure, run: Run, policy: TaskPolicy, now: Timestamp, jitter: Double
  ) {
    switch failure {
    case .failed(let retryable, let retryAfter):
      countFailure(run, policy, exhausted: .exhausted, permanent: !retryable, retryAfter, now, jitter, "failed")
    case .rejected:
      countFailure(run, policy, exhausted: .rejected, permanent: false, nil, now, jitter, "rejected")
    case .resources(let retryAfter):
      countsFailure = true
      runSteps.append(RunStep(.error, "resource_error"))
      if run.failures + 1 >= policy.maxAttempts {
        deadLetter = .resources
        runSteps.append(RunStep(.deadLettered, "\(policy.maxAttempts) attempts used up"))
        return
      }
      resources = run.resources.isEmpty ? nil : scale(run.resources, by: run.resourceScales)
      let delay = retryAfter ?? policy.retry.delaySeconds(failures: run.failures, jitter: jitter)
      nextRunAt = now.adding(seconds: delay)
      runSteps += [RunStep(.adjusting, "resources scaled"), RunStep(.scheduled, "retry")]
    case .lost(let reason):
      countsLoss = true
      runSteps.append(RunStep(.error, reason.rawValue))
      if run.losses + 1 >= max(1, policy.maxLost) {
        deadLetter = reason
        runSteps.append(RunStep(.deadLettered, "\(max(1, policy.maxLost)) losses used up"))
        return
      }
      nextRunAt = now.adding(seconds: policy.retry.delaySeconds(failures: run.losses, jitter: jitter))
      runSteps.append(RunStep(.scheduled, "retry"))
    }
  }

  private mutating func countFailure(
    _ run: Run, _ policy: TaskPolicy, exhausted: DeadLetterReason, permanent: Bool, _ retryAfter: Double?,
    _ now: Timestamp, _ jitter: Double, _ reason: String
  ) {
    countsFailure = true
    runSteps.append(RunStep(.error, reason))
    if run.failures + 1 >= policy.maxAttempts {
      deadLetter = exhausted
      runSteps.append(RunStep(.deadLettered, "\(policy.maxAttempts) attempts used up"))
    } else if permanent {
      deadLetter = .permanent
      runSteps.append(RunStep(.failed, "not retryable"))
    } else {
      let delay = retryAfter ?? policy.retry.delaySeconds(failures: run.failures, jitter: jitter)
      nextRunAt = now.adding(seconds: delay)
      runSteps.append(RunStep(.scheduled, "retry"))
    }
  }
}

/// Each entry of `scales` applied to its resource; a resource without one stays (`fsm.md` §3 rule 5).
public func scale(_ resources: [String: Double], by scales: [String: ResourceScale]) -> [String: Double] {
  var scaled = resources
  for (name, scale) in scales {
    if let value = resources[name] { scaled[name] = scale.scaled(value) }
  }
  return scaled
}

/// The first of `candidates` whose limits take `request`; none: the last one, with the request clipped to its limits.
///
/// - Parameter candidates: the run's task key and its `fallback_tasks`, in order, at least one.
public func placeResources(
  _ request: [String: Double], candidates: [(task: TaskKey, limits: [String: Double])]
) -> (task: TaskKey, resources: [String: Double], clipped: Bool) {
  for candidate in candidates
  where request.allSatisfy({ name, value in value <= candidate.limits[name, default: .infinity] }) {
    return (candidate.task, request, false)
  }
  precondition(!candidates.isEmpty, "no task key to place resources on")
  let last = candidates[candidates.count - 1]
  let clipped = request.reduce(into: [:]) { $0[$1.key] = min($1.value, last.limits[$1.key, default: .infinity]) }
  return (last.task, clipped, true)
}
