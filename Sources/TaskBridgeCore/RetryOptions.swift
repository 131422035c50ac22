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

/// The answer to the replay of one run: the run, and what it means for those that waited for it.
public struct RetryAnswer: Sendable, Equatable, JSONWritable {
  public var run: RunView
  /// Blocked again, by `with_dependents`.
  public var replayedDependents: [RunID]
  /// They stay `dependency_failed`: only a replay of their own, or of this run with `with_dependents`, moves them.
  public var failedDependents: [RunID]

  public init(run: RunView, replayedDependents: [RunID], failedDependents: [RunID]) {
    self.run = run
    self.replayedDependents = replayedDependents
    self.failedDependents = failedDependents
  }

  public func write(to json: inout JSONWriter) {
    var more = JSONWriter()
    more.object { json in
      json.key("replayed_dependents")
      json.array { json in for id in replayedDependents.prefix(BulkAnswer.idsMax) { json.value(id) } }
      json.key("failed_dependents")
      json.array { json in for id in failedDependents.prefix(BulkAnswer.idsMax) { json.value(id) } }
    }
    // The members of both objects in one.
    json.raw(run.json.dropLast() + [UInt8(ascii: ",")] + more.bytes.dropFirst())
  }
}

/// The way a report came in.
public enum ReportChannel: String, Sendable {
  case amqp, http
}
