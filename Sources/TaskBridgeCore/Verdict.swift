/// The first word of an answer to a report.
public enum Verdict: String, Sendable, CaseIterable {
  case accept, reject, abort, wait
}

/// Why an answer is what it is; stable names (`contract.md` §2.3).
public enum VerdictCode: String, Sendable, CaseIterable {
  case applied
  case duplicate
  case staleAttempt = "stale_attempt"
  case untimely
  case invalidTransition = "invalid_transition"
  case notOwner = "not_owner"
  case alreadyClaimed = "already_claimed"
  case terminalRun = "terminal_run"
  case unknownToken = "unknown_token"
  case malformed
  case conflict
  case forbidden
  case notDue = "not_due"
  case limited

  /// The verdict that goes with this code (`reliability.md` §2).
  public var verdict: Verdict {
    switch self {
    case .applied, .duplicate: .accept
    case .untimely, .invalidTransition, .unknownToken, .malformed, .forbidden: .reject
    case .staleAttempt, .notOwner, .alreadyClaimed, .terminalRun, .conflict: .abort
    case .notDue, .limited: .wait
    }
  }
}

/// The answer to one report; the same object over AMQP and HTTP.
public struct ReportAnswer: Sendable, Equatable, JSONWritable {
  public enum Action: String, Sendable {
    /// Go on with the work.
    case `continue`
    /// Stop: nobody waits for the outcome.
    case stop
  }

  public var code: VerdictCode
  public var action: Action
  public var runID: RunID?
  public var runState: RunState?
  public var attemptState: AttemptState?
  /// Seconds; only where a time is known.
  public var retryAfterSeconds: Double?
  public var detail: String?

  public init(
    _ code: VerdictCode, action: Action, runID: RunID? = nil, runState: RunState? = nil,
    attemptState: AttemptState? = nil, retryAfterSeconds: Double? = nil, detail: String? = nil
  ) {
    self.code = code
    self.action = action
    self.runID = runID
    self.runState = runState
    self.attemptState = attemptState
    self.retryAfterSeconds = retryAfterSeconds
    self.detail = detail
  }

  public var verdict: Verdict { code.verdict }

  public func write(to json: inout JSONWriter) {
    json.object { json in
      json.member("verdict", verdict.rawValue)
      json.member("code", code.rawValue)
      json.member("action", action.rawValue)
      json.member("run_state", runState?.rawValue)
      json.member("attempt_state", attemptState?.rawValue)
      json.member("retry_after_seconds", retryAfterSeconds)
      json.member("detail", detail)
    }
  }
}
