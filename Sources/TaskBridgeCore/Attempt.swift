/// One try of a run.
public struct Attempt: Sendable, Equatable {
  /// From 1; allocated at the first dispatch, kept through repeated dispatches and restarts.
  public var number: Int
  /// How often this attempt was handed out; each has a token of its own.
  public var dispatches: Int
  public var state: AttemptState
  public var worker: String?
  public var node: String?
  public var claim: String?
  public var dispatchedAt: Timestamp
  /// When the broker confirmed the newest dispatch.
  public var launchedAt: Timestamp?
  public var startedAt: Timestamp?
  public var finishedAt: Timestamp?
  /// Until when the attempt must report next; never unset once it is dispatched.
  public var reportBy: Timestamp
  /// What the worker itself reported as the end, when it did.
  public var reportedEnd: ReportedState?
  /// Mandatory returns in a row of the current dispatch.
  public var returns = 0

  public init(
    number: Int, dispatches: Int = 1, state: AttemptState = .queued, dispatchedAt: Timestamp, reportBy: Timestamp
  ) {
    self.number = number
    self.dispatches = dispatches
    self.state = state
    self.dispatchedAt = dispatchedAt
    self.reportBy = reportBy
  }

  /// Who holds the attempt, for the fenced start: the claim, else the worker's name.
  public var holder: String? { claim ?? worker }
}

/// What a token speaks for: one dispatch of one attempt of one run.
public struct DispatchID: Sendable, Hashable, CustomStringConvertible {
  public var runID: RunID
  public var attempt: Int
  public var dispatch: Int

  public init(runID: RunID, attempt: Int, dispatch: Int) {
    self.runID = runID
    self.attempt = attempt
    self.dispatch = dispatch
  }

  /// `<run id>.<attempt>.<dispatch>`: the message id of a dispatch.
  public var description: String { "\(runID).\(attempt).\(dispatch)" }
}
