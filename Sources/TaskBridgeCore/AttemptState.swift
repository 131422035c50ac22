/// What one try of a run is doing (`fsm.md` §1).
public enum AttemptState: String, Sendable, CaseIterable, Hashable {
  /// Attempt and outbox row exist.
  case queued
  /// The publisher has taken it.
  case instantiated
  /// The broker has confirmed it.
  case launched
  /// A worker has claimed it.
  case running
  /// Its report is overdue; being looked up.
  case triaging
  /// Launched, never claimed, given up; passes through to `error` in one transaction.
  case noHeartbeat = "no_heartbeat"
  /// Told to stop.
  case stopping
  /// Terminal: success.
  case done
  /// Terminal: the worker said it failed.
  case error
  /// Terminal: stopped, or an orphan's error.
  case fatal
  /// Terminal: gone, cause unknown.
  case lost
  /// Terminal: out of memory, time or disk.
  case resourceError = "resource_error"
  /// Terminal: the broker did not take it.
  case unpublished
  /// Terminal: gave itself back, does not count.
  case snoozed

  /// The letter of the reference system's tables.
  public var letter: Character {
    switch self {
    case .queued: "Q"
    case .instantiated: "I"
    case .launched: "O"
    case .running: "R"
    case .triaging: "T"
    case .noHeartbeat: "X"
    case .stopping: "K"
    case .done: "D"
    case .error: "E"
    case .fatal: "F"
    case .lost: "U"
    case .resourceError: "Z"
    case .unpublished: "W"
    case .snoozed: "N"
    }
  }

  /// Whether the attempt is over.
  public var isTerminal: Bool {
    switch self {
    case .done, .error, .fatal, .lost, .resourceError, .unpublished, .snoozed: true
    case .queued, .instantiated, .launched, .running, .triaging, .noHeartbeat, .stopping: false
    }
  }

  /// Whether a worker holds the attempt, so that its lease and not the broker owns recovery.
  public var isClaimed: Bool {
    switch self {
    case .running, .triaging, .stopping: true
    case .queued, .instantiated, .launched, .noHeartbeat, .done, .error, .fatal, .lost, .resourceError, .unpublished,
      .snoozed:
      false
    }
  }

  /// Whether the attempt was handed out and nobody has claimed it yet.
  public var isUnclaimed: Bool { self == .queued || self == .instantiated || self == .launched }
}
