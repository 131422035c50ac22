/// The bytes that a worker gets, exactly as they were submitted.
public struct Payload: Hashable, Sendable {
  public var bytes: [UInt8]
  public var contentType: String?
  public var contentEncoding: String?

  public init(bytes: [UInt8], contentType: String? = nil, contentEncoding: String? = nil) {
    self.bytes = bytes
    self.contentType = contentType
    self.contentEncoding = contentEncoding
  }
}

/// A prerequisite: a run that exists, or another one of the same batch by its index.
public enum DependencyReference: Hashable, Sendable {
  case run(RunID)
  /// From 0; written `"#<index>"`.
  case index(Int)
}

/// What becomes of a submission whose dedup key an active run has.
public enum OnDuplicate: String, CaseIterable, Sendable {
  case skip
  case supersede
  case reject
}

/// What becomes of a run when a prerequisite ends without success.
public enum OnDependencyFailure: String, CaseIterable, Sendable {
  case cancel
  case fail
  case ignore
}

/// When a run's time to live begins.
public enum TTLFrom: String, CaseIterable, Sendable {
  case submission
  case firstAttempt = "first_attempt"
}

/// One request to run a task. What it did not name is `nil` or empty: settings and defaults decide then.
public struct Submission: Equatable, Sendable {
  public var task: TaskKey
  public var payload: Payload
  /// 0...255, 0 first.
  public var priority: Int?
  public var runAt: Timestamp?
  /// At least 0; never together with ``runAt``.
  public var delaySeconds: Double?
  public var expiresAt: Timestamp?
  public var ttlSeconds: Double?
  public var ttlFrom: TTLFrom?
  /// As it was written: `$payload` is not replaced yet, see ``dedupsByPayload``.
  public var dedupKey: String?
  public var onDuplicate: OnDuplicate?
  public var idempotencyKey: String?
  public var dependsOn: [DependencyReference] = []
  public var onDependencyFailure: OnDependencyFailure?
  public var parentID: RunID?
  public var failFast: Bool?
  public var maxAttempts: Int?
  public var maxLost: Int?
  public var timeoutSeconds: Double?
  public var retry: RetryPolicy?
  public var leaseSeconds: Int?
  public var group: String?
  public var tags: [String: String] = [:]
  public var name: String?
  public var workflowID: String?
  public var template: String?
  public var array: String?
  public var arrayIndex: Int?
  public var resources: [String: Double] = [:]
  public var resourceScales: [String: ResourceScale] = [:]
  public var fallbackTasks: [TaskKey] = []
  public var traceparent: String?
  public var tracestate: String?

  public init(task: TaskKey, payload: Payload) {
    self.task = task
    self.payload = payload
  }

  /// Whether the dedup key is to be the hash of the ``canonicalPayload(_:)``.
  public var dedupsByPayload: Bool { dedupKey == "$payload" }
}

/// The most that one submission may hold (contract §3.2).
public struct SubmissionLimits: Equatable, Sendable {
  /// The payload after decoding, in bytes.
  public var payloadBytesMax: Int
  /// Submissions of one batch.
  public var batchMax: Int

  public static let keyBytesMax = 512
  public static let tagsMax = 32
  public static let tagKeyBytesMax = 64
  public static let tagValueBytesMax = 256
  public static let dependenciesMax = 1000
  public static let resourcesMax = 32
  public static let fallbackTasksMax = 32
  public static let contentTypeBytesMax = 255
  public static let traceBytesMax = 1024
  /// All headers of one message together, in bytes.
  public static let headerBytesMax = 98_304
  /// How deep tables and arrays of a message's headers may be nested.
  public static let headerDepthMax = 16

  public init(payloadBytesMax: Int = 1_048_576, batchMax: Int = 10_000) {
    self.payloadBytesMax = payloadBytesMax
    self.batchMax = batchMax
  }
}

/// The submissions of one request, in order.
public struct SubmissionBatch: Equatable, Sendable {
  public var submissions: [Submission]
  /// The workflow whose finished runs are kept and whose others are superseded (contract §3.2).
  public var supersedesWorkflowID: String?

  public init(submissions: [Submission], supersedesWorkflowID: String? = nil) {
    self.submissions = submissions
    self.supersedesWorkflowID = supersedesWorkflowID
  }
}
