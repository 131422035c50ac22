/// What a run is doing (`fsm.md` §2). The raw value is the word used in SQL, JSON, the command line and metrics.
public enum RunState: String, Sendable, CaseIterable, Hashable {
  /// Waits for dependencies. Left by: the last prerequisite, cancel, expiry, supersede.
  case blocked
  /// Waits for its time: `run_at`, a retry's or a snooze's. Left by: the timekeeper, cancel, expiry, supersede.
  case scheduled
  /// Due; waits for release. Left by: the releaser, cancel, expiry, supersede, pause.
  case ready
  /// This run alone is paused. Left by: resume, cancel, expiry, supersede, a failed prerequisite.
  case paused
  /// Its resources are being scaled after a resource error; left in the same transaction.
  case adjusting
  /// Dispatched to the outbox. Left by: the broker's confirm, a claim, being taken back, cancel.
  case queued
  /// In the broker. Left by: a claim, the orphan rule, being taken back, cancel.
  case launched
  /// A worker has claimed it. Left by: worker report, lease, cancel.
  case running
  /// Its own work is done; children are not. Left by: the last child, cancel.
  case waiting
  /// Cancel was asked, the worker has not answered yet. Left by: worker report, lease.
  case cancelling
  /// Transient: written to the audit at each failed attempt, left in the same transaction.
  case error
  /// Terminal: success.
  case completed
  /// Terminal: permanent error; a dead letter.
  case failed
  /// Terminal: attempts, losses or deliveries used up; a dead letter.
  case deadLettered = "dead_lettered"
  /// Terminal: a prerequisite ended without success.
  case dependencyFailed = "dependency_failed"
  /// Terminal: stopped on request.
  case cancelled
  /// Terminal: not claimed before `expires_at`.
  case expired
  /// Terminal: replaced by a newer run with the same dedup key.
  case superseded

  /// Whether nothing but a replay can move the run.
  public var isTerminal: Bool {
    switch self {
    case .completed, .failed, .deadLettered, .dependencyFailed, .cancelled, .expired, .superseded: true
    case .blocked, .scheduled, .ready, .paused, .adjusting, .queued, .launched, .running, .waiting, .cancelling,
      .error:
      false
    }
  }

  /// Whether the run ended in a way that satisfies its dependents.
  public var isSuccess: Bool { self == .completed }

  /// Whether the run waits for a person as a dead letter.
  public var isDeadLetter: Bool { self == .failed || self == .deadLettered }

  /// Whether an attempt has been handed out and may still report.
  public var isDispatched: Bool {
    switch self {
    case .queued, .launched, .running, .cancelling: true
    case .blocked, .scheduled, .ready, .paused, .adjusting, .waiting, .error, .completed, .failed, .deadLettered,
      .dependencyFailed, .cancelled, .expired, .superseded:
      false
    }
  }

  /// The column of the timelines this state counts in; nil for ends that are neither success nor error.
  public var category: RunCategory? {
    switch self {
    case .blocked, .scheduled, .ready, .paused, .adjusting: .registered
    case .queued: .pending
    case .launched: .launched
    case .running, .waiting, .cancelling: .running
    case .error, .failed, .deadLettered, .dependencyFailed: .error
    case .completed: .done
    case .cancelled, .expired, .superseded: nil
    }
  }
}

/// The categories of the timelines, in the order of `fsm.md` §2.
public enum RunCategory: String, Sendable, CaseIterable, Hashable {
  case registered = "REGISTERED"
  case pending = "PENDING"
  case launched = "LAUNCHED"
  case running = "RUNNING"
  case error = "ERROR"
  case done = "DONE"
}
