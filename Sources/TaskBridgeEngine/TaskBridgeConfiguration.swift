public import TaskBridgeCore

/// How the body of a run message looks to workers (`contract.md` §2.2).
public enum Wire: String, Sendable, CaseIterable {
  /// The payload exactly as submitted; everything else is in properties and headers.
  case raw
  /// A JSON body that carries token and reply address beside the payload, for clients that see only the body.
  case envelope
}

/// The kind of run queue declared for a task key.
public enum QueueType: String, Sendable, CaseIterable {
  case quorum
  case classic
}

/// Settings of one task key; what is nil falls back to the bridge's own default of the same name.
public struct TaskSettings: Sendable, Equatable {
  /// Most runs dispatched and not yet claimed, 1...100,000.
  public var queueBound: Int?
  /// Most runs queued, launched, running or cancelling, 0...1,000,000; 0 holds all, nil is unlimited.
  public var concurrencyLimit: Int?
  /// Releases per second in the long run, 0.001...100,000; nil is unlimited.
  public var ratePerSecond: Double?
  /// Releases at once, 1...100,000; nil: a second's worth.
  public var rateBurst: Int?
  /// Among runs of one priority; nil: oldest first.
  public var order: ReleaseOrder?
  /// Nil: waiting makes no run more urgent.
  public var aging: Aging?
  /// Seconds until a claimed attempt must report again, 1...86,400.
  public var leaseSeconds: Int?
  /// Attempts that count, 1...1,000.
  public var maxAttempts: Int?
  /// Losses allowed, 0...1,000.
  public var maxLost: Int?
  public var retry: RetryPolicy?
  public var wire: Wire = .raw
  public var queueType: QueueType?
  /// Largest payload accepted, bytes.
  public var payloadLimitBytes: Int?
  /// Upper limits of resource requests, by name.
  public var resourceLimits: [String: Double] = [:]
  /// Submissions are refused with `task_disabled`.
  public var disabled = false

  public init() {}
}

/// Everything that can be configured; file, environment and flags are merged into one value by the command line.
public struct TaskBridgeConfiguration: Sendable, Equatable {
  /// AMQP URL(s) of the broker; several hosts are tried in turn: `amqp://user:password@h1:5672,h2:5672/vhost`.
  public var amqpURL = "amqp://guest:guest@127.0.0.1:5672/%2f"
  /// File that holds the broker password; read at every connect. Wins over a password in the URL.
  public var amqpPasswordFile: String?
  /// CA bundle for `amqps`; nil means the system's.
  public var amqpCAFile: String?
  public var amqpCertificateFile: String?
  public var amqpKeyFile: String?
  /// Folder of the store; the store is `<dataDirectory>/taskbridge.db`.
  public var dataDirectory = "taskbridge-data"
  /// Address of the HTTP server.
  public var httpHost = "127.0.0.1"
  public var httpPort = 8085
  /// First part of the name of every broker object.
  public var prefix = "taskbridge"
  /// Take over a broker that carries another store's marker.
  public var adoptBroker = false
  /// Go on although the broker's marker is newer than the store (a restored backup).
  public var acceptRollback = false
  /// AMQP heartbeat, seconds, 1...60.
  public var heartbeatSeconds = 10
  /// How long a message may lie with a worker before it must be claimed (orphan rule), seconds, 1...3,600.
  public var claimLatencyMaxSeconds = 60
  /// Seconds a published message may stay unconfirmed before its queue counts as dead and its task key is held.
  public var confirmTimeoutSeconds = 30
  /// Between two load samples, seconds, 1...3,600.
  public var loadSampleSeconds = 60
  /// How long load samples are kept, days, 1...3,660.
  public var loadSampleDays = 31
  /// How long ended runs are kept, days, 0...36,500; 0 keeps them. Unresolved dead letters stay.
  public var retentionDays = 0
  /// How many ended runs are kept, the most recent ones, 0...1,000,000,000; 0 keeps all. Unresolved dead letters stay.
  public var retentionRuns = 0
  /// Runs that may wait in the store before submissions are answered 429, 1...100,000,000.
  public var backlogLimit = 10_000_000
  /// Largest payload, bytes, 1...16,777,216.
  public var payloadLimitBytes = 1_048_576
  public var queueBound = 1_000
  public var queueType = QueueType.quorum
  public var leaseSeconds = 60
  public var maxAttempts = 4
  public var maxLost = 3
  public var retry = RetryPolicy()
  /// Only configured task keys are accepted.
  public var strictTasks = false
  public var tasks: [TaskKey: TaskSettings] = [:]
  /// swift-log level name.
  public var logLevel = "info"

  public init() {}
}
