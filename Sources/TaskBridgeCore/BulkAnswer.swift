/// The answer of a call on many runs (`contract.md` §3.1).
public struct BulkAnswer: Sendable, Equatable, JSONWritable {
  /// One run that was left alone, and why.
  public struct Skipped: Sendable, Equatable, JSONWritable {
    public var id: RunID
    public var reason: String

    public init(id: RunID, reason: String) {
      self.id = id
      self.reason = reason
    }

    public func write(to json: inout JSONWriter) {
      json.object { json in
        json.member("id", id)
        json.member("reason", reason)
      }
    }
  }

  /// Most ids an answer lists.
  public static let idsMax = 1_000

  public var asOf: Timestamp
  /// Runs the selection means.
  public var matched: Int
  /// Runs changed, dependents of `with_dependents` included; in a dry run those that would be.
  public var changed = 0
  /// The runs changed, in a dry run those matched; the first ``idsMax``.
  public private(set) var ids: [RunID] = []
  /// The first ``idsMax``.
  public private(set) var skipped: [Skipped] = []
  /// The job that does the work; nil when it is done.
  public var jobID: RunID?
  /// Runs that stay `dependency_failed` although what they waited for was replayed; nil where that is not asked.
  public var failedDependents: [RunID]?
  /// What a replay would do; only in a dry run of one.
  public var forecast: ReplayForecast?

  public init(asOf: Timestamp, matched: Int = 0) {
    self.asOf = asOf
    self.matched = matched
  }

  public mutating func add(id: RunID) {
    if ids.count < Self.idsMax { ids.append(id) }
  }

  public mutating func skip(_ id: RunID, _ reason: String) {
    if skipped.count < Self.idsMax { skipped.append(Skipped(id: id, reason: reason)) }
  }

  public func write(to json: inout JSONWriter) {
    json.object { json in
      json.member("as_of", asOf)
      json.member("matched", matched)
      json.member("changed", changed)
      json.key("ids")
      json.array { json in for id in ids { json.value(id) } }
      json.member("skipped", array: skipped)
      if let jobID { json.member("job_id", jobID) }
      if let failedDependents {
        json.key("failed_dependents")
        json.array { json in for id in failedDependents.prefix(Self.idsMax) { json.value(id) } }
      }
      if let forecast { forecast.writeMembers(to: &json) }
    }
  }
}

/// What the replay of dead letters would do.
public struct ReplayForecast: Sendable, Equatable {
  /// One payload as the patch would leave it.
  public struct Sample: Sendable, Equatable {
    public var id: RunID
    /// JSON.
    public var before: [UInt8]
    public var after: [UInt8]

    public init(id: RunID, before: [UInt8], after: [UInt8]) {
      self.id = id
      self.before = before
      self.after = after
    }
  }

  /// Would be replayed.
  public var eligible = 0
  /// Whose dedup key an active run holds.
  public var conflicts = 0
  /// Whatever else is in the way.
  public var notEligible = 0
  /// Of the first eligible one; nil when there is none, or its payload is no JSON.
  public var sample: Sample?

  public init() {}

  func writeMembers(to json: inout JSONWriter) {
    json.member("eligible", eligible)
    json.member("conflicts", conflicts)
    json.member("not_eligible", notEligible)
    json.key("sample")
    guard let sample else { return json.null() }
    json.object { json in
      json.member("id", sample.id)
      json.member("payload_before", raw: sample.before)
      json.member("payload", raw: sample.after)
    }
  }
}
