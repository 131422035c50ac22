/// A run that ended without success and what became of it (`contract.md` §3.4).
public struct DeadLetterView: Sendable, Equatable, JSONWritable {
  public var run: RunView
  public var reason: DeadLetterReason
  public var fingerprint: String
  public var errorType: String?
  public var errorMessage: String?
  public var attempt: Int
  public var deadAt: Timestamp
  /// `replayed` or `discarded`; nil while it waits for a person.
  public var resolution: String?
  public var resolvedAt: Timestamp?
  public var resolvedBy: String?
  public var resolvedReason: String?

  public init(run: RunView, reason: DeadLetterReason, fingerprint: String, attempt: Int, deadAt: Timestamp) {
    self.run = run
    self.reason = reason
    self.fingerprint = fingerprint
    self.attempt = attempt
    self.deadAt = deadAt
  }

  public func write(to json: inout JSONWriter) {
    json.object { json in
      json.member("run", run)
      json.member("reason", reason.rawValue)
      json.member("fingerprint", fingerprint)
      json.member("error_type", errorType)
      json.member("error_message", errorMessage)
      json.member("attempt", attempt)
      json.member("dead_at", deadAt)
      json.member("replays", run.run.replays)
      json.member("resolution", resolution)
      json.member("resolved_at", resolvedAt)
      json.member("resolved_by", resolvedBy)
      json.member("resolved_reason", resolvedReason)
    }
  }
}

/// Dead letters with one fingerprint.
public struct DeadLetterGroupView: Sendable, Equatable, JSONWritable {
  public var fingerprint: String
  public var task: TaskKey
  public var count: Int
  public var firstSeen: Timestamp
  public var lastSeen: Timestamp
  /// The newest run of the group, with its error.
  public var sampleID: RunID
  public var sampleType: String?
  public var sampleMessage: String?

  public init(
    fingerprint: String, task: TaskKey, count: Int, firstSeen: Timestamp, lastSeen: Timestamp, sampleID: RunID,
    sampleType: String?, sampleMessage: String?
  ) {
    self.fingerprint = fingerprint
    self.task = task
    self.count = count
    self.firstSeen = firstSeen
    self.lastSeen = lastSeen
    self.sampleID = sampleID
    self.sampleType = sampleType
    self.sampleMessage = sampleMessage
  }

  public func write(to json: inout JSONWriter) {
    json.object { json in
      json.member("fingerprint", fingerprint)
      json.member("task", task.rawValue)
      json.member("count", count)
      json.member("first_seen", firstSeen)
      json.member("last_seen", lastSeen)
      json.key("sample")
      json.object { json in
        json.member("run_id", sampleID)
        json.member("type", sampleType)
        json.member("message", sampleMessage)
      }
    }
  }
}
