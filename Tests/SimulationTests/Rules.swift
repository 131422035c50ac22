import TaskBridgeCore

/// The tables of both state machines, written down here a second time by hand: the model and the auditor judge by these
/// and never by the product's own.
enum Rules {
  static let attempts: [AttemptState: Set<AttemptState>] = table(
    """
    queued: instantiated stopping
    instantiated: launched unpublished stopping running queued
    launched: running lost no_heartbeat resource_error stopping fatal queued
    running: triaging error lost resource_error stopping done snoozed fatal
    triaging: running resource_error lost fatal stopping
    stopping: fatal done
    no_heartbeat: error
    """)

  /// Races that are a no-op and no error of the caller's.
  static let untimely: [AttemptState: Set<AttemptState>] = table(
    """
    running: launched
    error: launched lost
    lost: done error resource_error
    resource_error: lost
    done: lost
    stopping: error resource_error lost
    """)

  static let runs: [RunState: Set<RunState>] = table(
    """
    blocked: scheduled ready paused cancelled expired superseded dependency_failed
    scheduled: ready paused cancelled expired superseded
    ready: queued scheduled paused cancelled expired superseded
    paused: ready scheduled blocked cancelled expired superseded dependency_failed
    queued: launched running ready error cancelling cancelled superseded expired
    launched: running ready error cancelling cancelled superseded expired
    running: completed waiting error scheduled cancelling
    waiting: completed error failed cancelling
    cancelling: cancelled completed superseded error
    error: scheduled ready adjusting failed dead_lettered cancelled
    adjusting: scheduled ready dead_lettered
    failed: ready scheduled blocked
    dead_lettered: ready scheduled blocked
    cancelled: ready scheduled blocked
    expired: ready scheduled blocked
    dependency_failed: ready scheduled blocked
    completed: ready scheduled
    """)

  static let birth: Set<RunState> = [.blocked, .scheduled, .ready, .paused]
  static let terminal: Set<RunState> = [
    .completed, .failed, .deadLettered, .dependencyFailed, .cancelled, .expired, .superseded,
  ]
  /// Ends that fail a parent.
  static let failed: Set<RunState> = [.failed, .deadLettered, .dependencyFailed, .cancelled, .expired]
  /// Not claimed by anybody: what expiry takes.
  static let unclaimed: Set<RunState> = [.blocked, .scheduled, .ready, .paused, .queued, .launched]
  /// What holds a slot of a concurrency limit.
  static let slots: Set<RunState> = [.queued, .launched, .running, .cancelling]

  static let endedAttempt: Set<AttemptState> = [.done, .error, .fatal, .lost, .resourceError, .unpublished, .snoozed]
  static let claimedAttempt: Set<AttemptState> = [.running, .triaging, .stopping]

  static func mayMove(_ from: RunState?, to: RunState) -> Bool {
    guard let from else { return birth.contains(to) }
    return runs[from, default: []].contains(to)
  }

  /// Same state first, then the table, then the races.
  static func judge(_ from: AttemptState, to: AttemptState) -> VerdictCode {
    if from == to { return .duplicate }
    if attempts[from, default: []].contains(to) { return .applied }
    return untimely[from, default: []].contains(to) ? .untimely : .invalidTransition
  }

  private static func table<State: RawRepresentable<String> & Hashable>(_ text: String) -> [State: Set<State>] {
    var table: [State: Set<State>] = [:]
    for line in text.split(separator: "\n") {
      let words = line.split { $0 == ":" || $0 == " " }.map { State(rawValue: String($0)) }
      guard let from = words.first ?? nil else { preconditionFailure("no state: \(line)") }
      table[from] = Set(
        words.dropFirst().map { word in
          guard let word else { preconditionFailure("no state in: \(line)") }
          return word
        })
    }
    return table
  }
}
