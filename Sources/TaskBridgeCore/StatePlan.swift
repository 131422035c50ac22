/// How a request for a state is met: rules first, then the table of legal moves. Pure and total.
public enum StatePlan: Sendable, Equatable {
  /// Nothing is written.
  case answer(StateAnswer)
  /// The run, which is still in the store, moves there.
  case move(RunState, runAt: Timestamp?)
  /// The run stays `scheduled` and gets another time.
  case reschedule(Timestamp)
  /// Judged like the report of its worker.
  case report(ReportedState)
  case cancel

  /// - Parameters:
  ///   - isFollowing: the run waits for the end of the one whose dedup key it will take over.
  ///   - closed: the gates that are closed to it, when it is ready.
  public init(_ request: StateRequest, for run: Run, isFollowing: Bool, closed: [Gate], now: Timestamp) {
    if run.state.isTerminal {
      self = .answer(Self.ended(request, run))
      return
    }
    switch request.state {
    case .ready: self = Self.toReady(request, run, isFollowing: isFollowing, now: now)
    case .scheduled: self = Self.toScheduled(request, run, isFollowing: isFollowing, now: now)
    case .paused: self = Self.toPaused(run)
    case .running: self = Self.toRunning(request, run, closed: closed, now: now)
    case .completed: self = Self.toCompleted(run)
    case .failed: self = Self.toFailed(run)
    case .cancelled: self = .cancel
    case .blocked, .adjusting, .queued, .launched, .waiting, .cancelling, .error, .deadLettered, .dependencyFailed,
      .expired, .superseded:
      self = Self.invalid(request, run)
    }
  }

  // MARK: The states that may be asked for

  private static func toReady(_ request: StateRequest, _ run: Run, isFollowing: Bool, now: Timestamp) -> StatePlan {
    switch run.state {
    case .ready: same(run)
    case .blocked, .paused, .scheduled:
      // Due now, whatever its time says.
      waits(request, run, isFollowing: isFollowing).map { .answer($0) }
        ?? .move(.ready, runAt: run.runAt.map { min($0, now) })
    default: invalid(request, run)
    }
  }

  private static func toScheduled(_ request: StateRequest, _ run: Run, isFollowing: Bool, now: Timestamp) -> StatePlan {
    guard let runAt = request.runAt else { return invalid(request, run) }
    switch run.state {
    case .scheduled: return .reschedule(runAt)
    case .ready, .blocked, .paused:
      return waits(request, run, isFollowing: isFollowing).map { .answer($0) } ?? .move(.scheduled, runAt: runAt)
    default: return invalid(request, run)
    }
  }

  private static func toPaused(_ run: Run) -> StatePlan {
    switch run.state {
    case .paused: same(run)
    case .blocked, .scheduled, .ready: .move(.paused, runAt: run.runAt)
    default: invalid(StateRequest(.paused), run)
    }
  }

  private static func toRunning(_ request: StateRequest, _ run: Run, closed: [Gate], now: Timestamp) -> StatePlan {
    switch run.state {
    case .queued, .launched: return .report(.running)
    case .running, .waiting:
      return .answer(StateAnswer(.abort, .alreadyClaimed, state: run.state, reason: "another holder has claimed it"))
    case .blocked, .scheduled, .ready, .paused:
      // A forced request skips the limits, but no run runs that was not dispatched.
      if request.isForced { return invalid(request, run) }
      if let gate = closed.first(where: { $0.hold.isLimit }) {
        return .answer(
          StateAnswer(
            .wait, .limited, state: run.state, reason: gate.detail, retryAfterSeconds: seconds(until: gate.at, now)))
      }
      let due = run.state == .scheduled ? run.runAt : nil
      let reason = due.map { "it is due at \($0)" } ?? "it is \(run.state.rawValue), the release hands it over"
      return .answer(
        StateAnswer(.wait, .notDue, state: run.state, reason: reason, retryAfterSeconds: seconds(until: due, now)))
    default: return invalid(request, run)
    }
  }

  private static func toCompleted(_ run: Run) -> StatePlan {
    switch run.state {
    case .queued, .launched, .running, .cancelling: .report(.completed)
    case .waiting:
      .answer(
        StateAnswer(
          .wait, .notDue, state: run.state, reason: "\(run.openChildren) of its children have not ended",
          retryAfterSeconds: 1))
    default: invalid(StateRequest(.completed), run)
    }
  }

  private static func toFailed(_ run: Run) -> StatePlan {
    switch run.state {
    case .queued, .launched, .running: .report(.failed)
    default: invalid(StateRequest(.failed), run)
    }
  }

  // MARK: Answers that write nothing

  private static func ended(_ request: StateRequest, _ run: Run) -> StateAnswer {
    let reason = "run \(run.id) ended \(run.state.rawValue); POST /v1/runs/\(run.id)/retry starts it again"
    if run.state == .completed {
      return StateAnswer(
        .reject, request.state == .completed ? .duplicate : .terminalRun, state: run.state, reason: reason)
    }
    return StateAnswer(.abort, .terminalRun, state: run.state, reason: reason)
  }

  private static func same(_ run: Run) -> StatePlan {
    .answer(StateAnswer(.accept, .duplicate, state: run.state, reason: "it is \(run.state.rawValue) already"))
  }

  /// The rule of dependencies, which force skips, and that of dedup keys, which it does not.
  private static func waits(_ request: StateRequest, _ run: Run, isFollowing: Bool) -> StateAnswer? {
    if isFollowing {
      return StateAnswer(
        .wait, .notDue, state: run.state, reason: "it runs after the run that holds its dedup key", retryAfterSeconds: 1
      )
    }
    guard run.openDependencies > 0, !request.isForced else { return nil }
    return StateAnswer(
      .wait, .notDue, state: run.state, reason: "\(run.openDependencies) prerequisites are not satisfied",
      retryAfterSeconds: 1)
  }

  private static func invalid(_ request: StateRequest, _ run: Run) -> StatePlan {
    var answer = StateAnswer(.abort, .invalidTransition, state: run.state)
    answer.allowed = StateRequest.askable.filter { state in
      switch run.state {
      case .blocked, .scheduled, .ready, .paused:
        state == .ready || state == .scheduled || state == .paused || state == .cancelled
      case .queued, .launched: state == .running || state == .completed || state == .failed || state == .cancelled
      case .running: state == .completed || state == .failed || state == .cancelled
      case .waiting: state == .cancelled
      case .cancelling: state == .completed || state == .cancelled
      default: false
      }
    }
    let words = answer.allowed.map(\.rawValue).joined(separator: ", ")
    let missing = request.state == .scheduled && request.runAt == nil && answer.allowed.contains(.scheduled)
    answer.reason =
      missing
      ? "scheduled needs a run_at"
      : "a run that is \(run.state.rawValue) cannot be asked to be \(request.state.rawValue); allowed: \(words)"
    return .answer(answer)
  }

  /// Whole seconds until `time`, at least 1.
  package static func seconds(until time: Timestamp?, _ now: Timestamp) -> Int {
    guard let time else { return 1 }
    return max(1, Int(min(time.seconds(since: now).rounded(.up), 1e9)))
  }
}

extension Hold {
  /// Whether the hold is a limit of the number or the rate of runs.
  var isLimit: Bool { self == .groupLimit || self == .taskLimit || self == .rateLimit }
}
