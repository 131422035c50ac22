/// Which runs a list, a count or a bulk action means; every field that is set must match (`contract.md` §3.1).
public struct RunFilter: Sendable, Equatable {
  /// `tag.<key>=<value>`.
  public struct Tag: Sendable, Equatable {
    public var key: String
    public var value: String

    public init(key: String, value: String) {
      self.key = key
      self.value = value
    }
  }

  /// A field that can be asked to be set or not: `<field>_is_null`.
  public enum NullableField: String, Sendable, CaseIterable {
    case startedAt = "started_at"
    case finishedAt = "finished_at"
    case runAt = "run_at"
    case expiresAt = "expires_at"
    case dedupKey = "dedup_key"
    case group
    case workflowID = "workflow_id"
    case parentID = "parent_id"
  }

  /// A time that can be bounded: `<field>_after`, `<field>_before`, both exclusive.
  public enum TimeField: String, Sendable, CaseIterable {
    case created
    case runAt = "run_at"
    case started
    case finished
  }

  /// Exclusive bounds of a time.
  public struct Bounds: Sendable, Equatable {
    public var after: Timestamp?
    public var before: Timestamp?

    public init(after: Timestamp? = nil, before: Timestamp? = nil) {
      self.after = after
      self.before = before
    }
  }

  /// Most ids one filter may name.
  public static let idsMax = 1_000
  /// Most tags one filter may name; as many as a run can have.
  public static let tagsMax = 32

  /// Any of these; empty means all.
  public var states: [RunState] = []
  /// Any of these; empty means all.
  public var tasks: [TaskKey] = []
  public var excludedTasks: [TaskKey] = []
  /// First part of the task key.
  public var domain: String?
  /// All of these.
  public var tags: [Tag] = []
  /// The run has a tag whose key begins so; `%` and `_` are letters.
  public var tagPrefix: String?
  public var group: String?
  public var workflowID: String?
  /// The workflow kept the run when it took another one's place.
  public var keptBy: String?
  public var parentID: RunID?
  public var dedupKey: String?
  public var name: String?
  /// Part of the name, upper and lower case (ASCII) alike; `%` and `_` are letters.
  public var nameLike: String?
  public var template: String?
  public var array: String?
  /// Any of these; empty means all.
  public var ids: [RunID] = []
  public var hasChildren: Bool?
  /// Ready runs that this holds back (``Hold``).
  public var heldBy: Hold?
  /// Type of the run's last error.
  public var errorType: String?
  public var isNull: [NullableField: Bool] = [:]
  public var times: [TimeField: Bounds] = [:]

  public init() {}

  /// Whether the filter means every run.
  public var isEmpty: Bool { self == RunFilter() }
}

/// What keeps a ready run from being released (`fsm.md` §2).
public enum Hold: String, Sendable, CaseIterable {
  case paused
  case taskPaused = "task_paused"
  case groupPaused = "group_paused"
  case groupLimit = "group_limit"
  case taskLimit = "task_limit"
  case rateLimit = "rate_limit"
  case queueBound = "queue_bound"
  case brokerDown = "broker_down"
  case queueDegraded = "queue_degraded"
  case restoring
}
