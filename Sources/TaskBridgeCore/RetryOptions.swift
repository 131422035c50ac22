/// What a replay of an ended run may change (`POST /v1/runs/{id}/retry`).
public struct RetryOptions: Sendable, Equatable {
  /// Replays a completed run too.
  public var force = false
  /// 0..255; nil keeps the run's own.
  public var priority: Int?
  /// Not before this time; nil means now.
  public var runAt: Timestamp?
  /// 1..1,000; nil keeps the run's own.
  public var maxAttempts: Int?
  /// Dependents that ended `dependency_failed` because of this run are blocked on it again.
  public var withDependents = false
  public var reason: String?

  public init() {}
}

/// The way a report came in.
public enum ReportChannel: String, Sendable {
  case amqp, http
}
