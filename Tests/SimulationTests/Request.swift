import TaskBridgeCore

/// A submission in the model's words: what it names of other runs is already found.
struct Request: Equatable, Sendable {
  enum Reference: Equatable, Sendable {
    case run(Model.Place)
    /// Another item of the same batch.
    case item(Int)
    case unknown
  }

  var task = "a.x"
  var workflow: String?
  var name: String?
  var group: String?
  var priority: Int?
  var delaySeconds: Int?
  /// The nominal time of a schedule.
  var runAt: Int64?
  var ttlSeconds: Int?
  var ttlFromFirstAttempt = false
  /// From now.
  var expiresAfterSeconds: Int?
  var dedupKey: String?
  var onDuplicate = OnDuplicate.skip
  var idempotencyKey: String?
  var payload = 0
  var dependsOn: [Reference] = []
  var onDependencyFailure = OnDependencyFailure.cancel
  var parent: Model.Place?
  var hasUnknownParent = false
  var failFast = true
  var maxAttempts: Int?
  var maxLost: Int?
  var leaseSeconds: Int?
  var timeoutSeconds: Int?
  /// Of the constant strategy.
  var retrySeconds: Int?
  /// Doubled after each resource error.
  var memory: Int?
  var fallbackTasks: [String] = []

  /// Upper limits of memory by task key; one that is not here has none.
  static let memoryLimits = ["a.x": 2, "a.y": 4]

  static func key(_ name: String) -> TaskKey {
    guard let key = TaskKey(name) else { preconditionFailure("\(name) is no task key") }
    return key
  }

  /// Runs that exist in no store.
  static let unknownID = RunID(high: 0x7000, low: 0x8000_0000_0000_0000)

  func submission(ids: [RunID], now: Int64) -> Submission {
    let payload = Payload(bytes: Array("{\"n\":\(self.payload)}".utf8), contentType: "application/json")
    var submission = Submission(task: Self.key(task), payload: payload)
    submission.group = group
    submission.workflowID = workflow
    submission.name = name
    submission.priority = priority
    submission.delaySeconds = delaySeconds.map(Double.init)
    submission.ttlSeconds = ttlSeconds.map(Double.init)
    submission.ttlFrom = ttlFromFirstAttempt ? .firstAttempt : nil
    submission.expiresAt = expiresAfterSeconds.map { Timestamp(milliseconds: now + Int64($0) * 1_000) }
    submission.dedupKey = dedupKey
    submission.onDuplicate = onDuplicate
    submission.idempotencyKey = idempotencyKey
    submission.dependsOn = dependsOn.map { reference in
      switch reference {
      case .run(let place): .run(ids[place])
      case .item(let index): .index(index)
      case .unknown: .run(Self.unknownID)
      }
    }
    submission.onDependencyFailure = onDependencyFailure
    submission.parentID = hasUnknownParent ? Self.unknownID : parent.map { ids[$0] }
    submission.failFast = failFast
    submission.maxAttempts = maxAttempts
    submission.maxLost = maxLost
    submission.leaseSeconds = leaseSeconds
    submission.timeoutSeconds = timeoutSeconds.map(Double.init)
    submission.retry = retrySeconds.map { RetryPolicy(strategy: .constant, initialSeconds: Double($0)) }
    if let memory {
      submission.resources = ["m": Double(memory)]
      submission.resourceScales = ["m": .factor(1)]
    }
    submission.fallbackTasks = fallbackTasks.map(Self.key)
    return submission
  }
}
