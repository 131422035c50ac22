/// The two tables of `fsm.md` as data. The checks of the code, the CHECK constraints of the schema, the docs and
/// the tests are all made from these.
public enum Transitions {
  /// Valid moves of an attempt; what is neither here nor in ``untimely(from:to:)`` is `invalid_transition`.
  public static let attempt: [AttemptState: [AttemptState]] = [
    .queued: [.instantiated, .stopping],
    .instantiated: [.launched, .unpublished, .stopping, .running, .queued],
    .launched: [.running, .lost, .noHeartbeat, .resourceError, .stopping, .fatal, .queued],
    .running: [.triaging, .error, .lost, .resourceError, .stopping, .done, .snoozed, .fatal],
    .triaging: [.running, .resourceError, .lost, .fatal, .stopping],
    .stopping: [.fatal, .done],
    .noHeartbeat: [.error],
  ]

  /// Races that are logged and change nothing. A broker's confirm that comes late is added by ``untimely(from:to:)``.
  static let attemptRaces: [AttemptState: [AttemptState]] = [
    .error: [.lost],
    .lost: [.done, .error, .resourceError],
    .resourceError: [.lost],
    .done: [.lost],
    .stopping: [.error, .resourceError, .lost],
  ]

  /// Valid moves of a run. The first states of a new run are in ``runBirth``.
  public static let run: [RunState: [RunState]] = [
    .blocked: [.scheduled, .ready, .paused, .cancelled, .expired, .superseded, .dependencyFailed],
    .scheduled: [.ready, .paused, .cancelled, .expired, .superseded],
    .ready: [.queued, .scheduled, .paused, .cancelled, .expired, .superseded],
    .paused: [.ready, .scheduled, .blocked, .cancelled, .expired, .superseded, .dependencyFailed],
    .queued: [.launched, .running, .ready, .error, .cancelling, .cancelled, .superseded, .expired],
    .launched: [.running, .ready, .error, .cancelling, .cancelled, .superseded, .expired],
    .running: [.completed, .waiting, .error, .scheduled, .cancelling],
    .waiting: [.completed, .error, .failed, .cancelling],
    .cancelling: [.cancelled, .completed, .superseded, .error],
    .error: [.scheduled, .ready, .adjusting, .failed, .deadLettered, .cancelled],
    .adjusting: [.scheduled, .ready, .deadLettered],
    .failed: [.ready, .scheduled, .blocked],
    .deadLettered: [.ready, .scheduled, .blocked],
    .cancelled: [.ready, .scheduled, .blocked],
    .expired: [.ready, .scheduled, .blocked],
    .dependencyFailed: [.ready, .scheduled, .blocked],
    .completed: [.ready, .scheduled],
  ]

  /// The states a run may be born in.
  public static let runBirth: [RunState] = [.blocked, .scheduled, .ready, .paused]

  /// Whether `from → to` is in the run table; `from` nil means a new run.
  public static func isValid(from: RunState?, to: RunState) -> Bool {
    guard let from else { return runBirth.contains(to) }
    return run[from, default: []].contains(to)
  }

  /// Whether `from → to` is a known race: a no-op, never an error to the caller.
  public static func untimely(from: AttemptState, to: AttemptState) -> Bool {
    if to == .launched {
      // A confirm in any state later than launched; its time is kept.
      return from != .queued && from != .instantiated && from != .launched
    }
    return attemptRaces[from, default: []].contains(to)
  }

  /// How a requested move of an attempt is judged; the same state again is judged first.
  public static func judge(from: AttemptState, to: AttemptState) -> VerdictCode {
    if from == to { return .duplicate }
    if attempt[from, default: []].contains(to) { return .applied }
    return untimely(from: from, to: to) ? .untimely : .invalidTransition
  }
}
