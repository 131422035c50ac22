/// What an operator can hold back.
public enum ControlSubject: Hashable, Sendable {
  case bridge
  case domain(String)
  case task(TaskKey)
  case group(String)

  /// The word the store keeps beside ``name``.
  public var kind: String {
    switch self {
    case .bridge: "bridge"
    case .domain: "domain"
    case .task: "task"
    case .group: "group"
    }
  }

  /// Empty for the bridge itself.
  public var name: String {
    switch self {
    case .bridge: ""
    case .domain(let name), .group(let name): name
    case .task(let key): key.rawValue
    }
  }

  /// Nil for words that are none of ours.
  public init?(kind: String, name: String) {
    switch kind {
    case "bridge": self = .bridge
    case "domain": self = .domain(name)
    case "task":
      guard let key = TaskKey(name) else { return nil }
      self = .task(key)
    case "group": self = .group(name)
    default: return nil
    }
  }
}

extension ControlSubject: CustomStringConvertible {
  public var description: String {
    switch self {
    case .bridge: "the bridge"
    case .domain(let name): "domain \(name)"
    case .task(let key): "task \(key)"
    case .group(let name): "group \(name)"
    }
  }
}

/// Nothing new leaves the store for what is paused; work that was handed out goes on.
public struct Pause: Sendable, Equatable {
  public var since: Timestamp
  /// Ends by itself at this time; nil: only by a resume.
  public var until: Timestamp?
  public var reason: String?
  /// Who paused it.
  public var actor: String

  public init(since: Timestamp, until: Timestamp? = nil, reason: String? = nil, actor: String) {
    self.since = since
    self.until = until
    self.reason = reason
    self.actor = actor
  }

  /// Whether it still holds at `now`, whoever has noticed its end yet.
  public func holds(at now: Timestamp) -> Bool { until.map { now < $0 } ?? true }
}

/// What operators have set while the bridge runs: pauses, settings and the state of the rate limits. Small, and kept in
/// memory as of the last commit.
public struct Controls: Sendable, Equatable {
  public var pauses: [ControlSubject: Pause] = [:]
  /// Pauses that have ended, oldest first, at most ``pastPausesMax`` of each subject: they count in no run's age.
  public internal(set) var pastPauses: [ControlSubject: [PausedTime.Interval]] = [:]
  public var tasks: [TaskKey: TaskOverrides] = [:]
  public var groups: [String: GroupSettings] = [:]
  /// Of task keys and groups with a rate limit that have released something.
  public var buckets: [ControlSubject: TokenBucket] = [:]

  public init() {}

  /// The pause of `subject` that holds at `now`.
  public func pause(of subject: ControlSubject, at now: Timestamp) -> Pause? {
    if pauses.isEmpty { return nil }
    guard let pause = pauses[subject], pause.holds(at: now) else { return nil }
    return pause
  }

  /// Whether the task key or its domain is paused.
  public func isPaused(_ task: TaskKey, at now: Timestamp) -> Bool {
    if pauses.isEmpty { return false }
    return pause(of: .task(task), at: now) != nil || pause(of: .domain(String(task.domain)), at: now) != nil
  }

  /// When the next pause ends by itself.
  public var nextEnd: Timestamp? {
    if pauses.isEmpty { return nil }
    return pauses.values.compactMap(\.until).min()
  }

  /// `policy` with what was set for `task` since.
  public func policy(_ policy: TaskPolicy, for task: TaskKey) -> TaskPolicy {
    if tasks.isEmpty { return policy }
    return tasks[task].map { policy.changed(by: $0) } ?? policy
  }

  /// What concerns `group` alone.
  public func ofGroup(_ group: String) -> Controls {
    let subject = ControlSubject.group(group)
    var controls = Controls()
    controls.pauses[subject] = pauses[subject]
    controls.groups[group] = groups[group]
    controls.buckets[subject] = buckets[subject]
    return controls
  }

  /// What is left for `subject` at `now`; a rate limit that was never used is full.
  public func bucket(of subject: ControlSubject, limit: RateLimit, at now: Timestamp) -> TokenBucket {
    buckets[subject]?.refilled(by: limit, at: now) ?? TokenBucket(tokens: limit.burst, at: now)
  }
}
