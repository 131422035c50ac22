/// Why a run became a dead letter (`contract.md` §3.4).
public enum DeadLetterReason: String, Sendable, CaseIterable {
  case exhausted, permanent, rejected, lost, undeliverable
  case deliveryLimit = "delivery_limit"
  case resources
  case childFailed = "child_failed"
}

/// One step of a run, with the reason that goes into the audit.
public struct RunStep: Sendable, Equatable {
  public var state: RunState
  public var reason: String?

  public init(_ state: RunState, _ reason: String? = nil) {
    self.state = state
    self.reason = reason
  }
}

/// What is to be written, as data: the store applies it in the transaction that decided it.
public struct Decision: Sendable, Equatable {
  /// How the report is judged.
  public var code: VerdictCode
  public var action: ReportAnswer.Action
  /// States the attempt passes through, in order; empty: it stays.
  public var attemptSteps: [AttemptState] = []
  /// States the run passes through, in order, each one audit row; empty: it stays.
  public var runSteps: [RunStep] = []
  /// The attempt's new deadline.
  public var reportBy: Timestamp?
  /// The worker's claim is recorded (holder, node, start time).
  public var claims = false
  /// The attempt's end came from the worker.
  public var reportedEnd: ReportedState?
  /// The attempt counts against `max_attempts`.
  public var countsFailure = false
  /// The attempt counts against `max_lost`.
  public var countsLoss = false
  /// When the next attempt is due, when there is one.
  public var nextRunAt: Timestamp?
  /// The run becomes a dead letter for this reason.
  public var deadLetter: DeadLetterReason?
  /// What the next attempt asks for, when it differs.
  public var resources: [String: Double]?
  /// The task key the next attempt goes to, when it differs.
  public var nextTask: TaskKey?
  public var detail: String?

  public init(_ code: VerdictCode, action: ReportAnswer.Action) {
    self.code = code
    self.action = action
  }

  /// Whether anything but the ledger changes.
  public var changesState: Bool { !attemptSteps.isEmpty || !runSteps.isEmpty || reportBy != nil }
}
