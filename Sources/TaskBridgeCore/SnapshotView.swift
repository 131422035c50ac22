/// Everything a dashboard needs, of one instant (`contract.md` §3.6).
public struct SnapshotView: Sendable, JSONWritable {
  /// One task key.
  public struct TaskLine: Sendable, Equatable {
    public var key: TaskKey
    public var counts: [RunState: Int] = [:]
    /// Unresolved dead letters.
    public var dead = 0
    /// Since when its earliest submitted ready run is due.
    public var readySince: Timestamp?
    /// Workers listening on its queue; nil where nobody has asked the broker yet.
    public var consumers: Int?
    /// JSON object of the settings in force.
    public var settings: String?
    /// Of the task key or its domain.
    public var pause: Pause?

    public init(key: TaskKey) { self.key = key }
  }

  public struct Broker: Sendable, Equatable {
    public var connected: Bool
    public var blocked: Bool
    public var version: String?

    public init(connected: Bool, blocked: Bool, version: String?) {
      self.connected = connected
      self.blocked = blocked
      self.version = version
    }
  }

  /// Ends per second, over the last minute or the part of it that was looked at.
  public struct Rates: Sendable, Equatable {
    public var submitted = 0.0
    public var completed = 0.0
    public var failed = 0.0

    public init() {}
  }

  public static let runningMax = 100
  public static let schedulesMax = 100

  public var at: Timestamp
  public var version = ""
  /// The pause of the whole bridge.
  public var pause: Pause?
  public var tasks: [TaskLine] = []
  public var groups: [GroupView] = []
  /// The newest ``runningMax``.
  public var running: [RunView] = []
  /// The ``schedulesMax`` that are due next; those without a next time, as paused ones, come last.
  public var schedules: [ScheduleView] = []
  /// Of the whole store.
  public var scheduleCounts = ScheduleCounts()
  public var outboxPending = 0
  public var outboxOldest: Timestamp?
  public var broker = Broker(connected: false, blocked: false, version: nil)
  public var storeSizeBytes = 0
  public var storeSynchronous = ""
  public var storeJournalMode = ""
  public var storeWALBytes = 0
  public var rates = Rates()
  public var quarantined = 0
  public var nextRunAt: Timestamp?
  /// Sums over running runs.
  public var resources: [String: Double] = [:]

  public init(at: Timestamp) { self.at = at }

  /// Runs by state over all task keys shown.
  public var counts: [RunState: Int] {
    tasks.reduce(into: [:]) { sums, line in sums.merge(line.counts, uniquingKeysWith: +) }
  }

  public var deadLetters: Int { tasks.reduce(0) { $0 + $1.dead } }

  public func write(to json: inout JSONWriter) {
    let counts = counts
    json.object { json in
      json.member("at", at)
      json.member("version", version)
      json.member("paused", pause != nil)
      json.key("counts")
      json.states(counts)
      json.key("tasks")
      json.array { json in for line in tasks { TaskView(at: at, line: line).write(to: &json) } }
      json.member("groups", array: groups)
      json.member("running", array: running)
      json.member("schedules", array: schedules)
      json.key("outbox")
      json.object { json in
        json.member("pending", outboxPending)
        json.member("oldest_seconds", outboxOldest.map { max(0, at.seconds(since: $0)) })
      }
      json.key("broker")
      json.object { json in
        json.member("connected", broker.connected)
        json.member("blocked", broker.blocked)
        json.member("version", broker.version)
      }
      json.key("store")
      json.object { json in
        json.member("size_bytes", storeSizeBytes)
        json.member("wal_bytes", storeWALBytes)
        json.member("runs", counts.values.reduce(0, +))
        json.member("synchronous", storeSynchronous)
        json.member("journal_mode", storeJournalMode)
      }
      json.key("rates")
      json.object { json in
        json.member("submitted_per_second", rates.submitted)
        json.member("completed_per_second", rates.completed)
        json.member("failed_per_second", rates.failed)
      }
      json.member("dead_letters", deadLetters)
      json.member("quarantined", quarantined)
      json.member("next_run_at", nextRunAt)
      json.key("resources")
      json.object { json in for name in resources.keys.sorted() { json.member(name, resources[name]) } }
    }
  }
}
