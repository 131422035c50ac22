/// Which ended runs are to be deleted (`POST /v1/prune`).
public struct PruneRequest: Sendable, Equatable {
  public enum Criterion: Sendable, Equatable {
    /// All but so many, the most recently finished ones.
    case keepLast(Int)
    /// What finished at least so many days ago.
    case olderThanDays(Double)
  }

  public static let keepLastRange = 0...1_000_000_000
  public static let daysRange = 0.0...36_500.0

  public var criterion: Criterion
  /// Ends only; empty: every end, unresolved dead letters left out.
  public var states: [RunState]
  public var task: TaskKey?

  public init(_ criterion: Criterion, states: [RunState] = [], task: TaskKey? = nil) {
    self.criterion = criterion
    self.states = states
    self.task = task
  }
}

/// How many runs a prune has deleted, or would delete.
public struct PruneAnswer: Sendable, Equatable, JSONWritable {
  public var deleted: Int
  /// What the same call would delete next: one call deletes a bounded number.
  public var remaining: Int
  /// Dead letters that stay until the broker has confirmed their messages, which go with them.
  public var mirrorPending: Int

  public init(deleted: Int, remaining: Int, mirrorPending: Int = 0) {
    self.deleted = deleted
    self.remaining = remaining
    self.mirrorPending = mirrorPending
  }

  public func write(to json: inout JSONWriter) {
    json.object { json in
      json.member("deleted", deleted)
      json.member("remaining", remaining)
      json.member("mirror_pending", mirrorPending)
    }
  }
}
