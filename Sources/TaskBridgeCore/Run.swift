/// One requested execution of a task key, as the store keeps it: everything but payload, result and history.
///
/// Values that are nil where a submission can name them were not named; the settings of the task key fill them in
/// when they are needed (``TaskPolicy``), so that a changed setting holds for runs not yet released.
public struct Run: Sendable, Equatable {
  /// The store's own number of the run, ascending with submission.
  public var sequence: Int64
  public var id: RunID
  public var task: TaskKey
  public var state: RunState
  /// Number of the newest attempt; 0 before the first dispatch.
  public var attempt = 0
  /// Number of the newest dispatch of the newest attempt; 0 before the first.
  public var dispatch = 0
  /// Attempts that count against `max_attempts` in this series.
  public var failures = 0
  /// Losses in this series, counted against `max_lost`.
  public var losses = 0
  /// 0..255, 0 first.
  public var priority = 128
  /// Retries and restored runs are released before new ones of the same priority.
  public var isRetry = false
  public var createdAt: Timestamp
  public var runAt: Timestamp?
  public var queuedAt: Timestamp?
  public var launchedAt: Timestamp?
  public var startedAt: Timestamp?
  public var finishedAt: Timestamp?
  public var expiresAt: Timestamp?
  public var dedupKey: String?
  public var idempotencyKey: String?
  public var group: String?
  public var name: String?
  public var workflowID: String?
  public var template: String?
  public var array: String?
  public var arrayIndex: Int?
  public var parentID: RunID?
  public var failFast = true
  public var onDependencyFailure = OnDependencyFailure.cancel
  /// Prerequisites not yet satisfied.
  public var openDependencies = 0
  /// Children not yet ended.
  public var openChildren = 0
  public var maxAttempts: Int?
  public var maxLost: Int?
  public var leaseSeconds: Int?
  public var timeoutSeconds: Double?
  public var ttlSeconds: Double?
  public var ttlFrom = TTLFrom.submission
  public var retry: RetryPolicy?
  public var resources: [String: Double] = [:]
  public var resourceScales: [String: ResourceScale] = [:]
  public var fallbackTasks: [TaskKey] = []
  public var traceparent: String?
  public var tracestate: String?
  /// How often the run was replayed.
  public var replays = 0
  public var supersededBy: RunID?
  /// The run's follow-up (`requeued`): a run of its own that starts when this one has ended.
  public var followUpID: RunID?
  /// Since when its waiting counts, where that is neither its submission nor its time; see ``waitsSince``.
  public var agesFrom: Timestamp?
  /// Since when the run itself is paused.
  public var pausedAt: Timestamp?
  /// The name of the schedule that made the run, by its clock or by hand.
  public var schedule: String?
  /// The time of the schedule that the run was made for; nil for a run made by hand.
  public var nominalAt: Timestamp?

  public init(sequence: Int64, id: RunID, task: TaskKey, state: RunState, createdAt: Timestamp) {
    self.sequence = sequence
    self.id = id
    self.task = task
    self.state = state
    self.createdAt = createdAt
  }
}

extension Run {
  /// Whether its time, when it has one, has come.
  public func isDue(at now: Timestamp) -> Bool { runAt.map { $0 <= now } ?? true }

  /// The state of a run that waits in the store for nothing but its time.
  public func dueState(at now: Timestamp) -> RunState { isDue(at: now) ? .ready : .scheduled }

  /// The state of a run that waits in the store, by what it waits for first.
  ///
  /// - Parameter isFollowing: it waits for the end of the run whose dedup key it will take over.
  public func waitingState(at now: Timestamp, isFollowing: Bool) -> RunState {
    openDependencies > 0 || isFollowing ? .blocked : dueState(at: now)
  }
}

/// The settings that hold for one task key, resolved.
public struct TaskPolicy: Sendable, Equatable {
  /// Attempts that count, at least 1.
  public var maxAttempts = 4
  /// Losses after which a run is dead-lettered, at least 1.
  public var maxLost = 3
  /// Seconds a claimed attempt may be silent.
  public var leaseSeconds = 60
  public var retry = RetryPolicy()
  /// Most runs dispatched and not yet claimed.
  public var queueBound = 1_000
  /// Most runs queued, launched, running or cancelling; 0 holds all, nil is unlimited.
  public var concurrencyLimit: Int?
  /// Releases per second in the long run; nil is unlimited.
  public var ratePerSecond: Double?
  /// Releases at once; nil: a second's worth.
  public var rateBurst: Int?
  /// Among runs of one priority.
  public var order = ReleaseOrder.fifo
  /// Nil: waiting makes no run more urgent.
  public var aging: Aging?
  /// Upper limits of resource requests, by name; a name without limit is unlimited.
  public var resourceLimits: [String: Double] = [:]

  public init() {}

  /// The policy for `run`: what its submission named wins over the settings.
  public func resolved(for run: Run) -> TaskPolicy {
    var policy = self
    policy.maxAttempts = run.maxAttempts ?? maxAttempts
    policy.maxLost = run.maxLost ?? maxLost
    policy.leaseSeconds = run.leaseSeconds ?? leaseSeconds
    policy.retry = run.retry ?? retry
    return policy
  }
}
