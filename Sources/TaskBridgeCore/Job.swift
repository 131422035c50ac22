/// How far a job is.
public enum JobState: String, Sendable, CaseIterable {
  /// Stored, not begun.
  case pending
  case running
  /// Its canary is out; it goes on when none of it dies again.
  case waiting
  /// Everything it meant was changed or left alone.
  case completed
  /// A run of its canary died again; the rest is untouched.
  case stopped
  /// By a person; what was done stays done.
  case cancelled
  /// It could not go on; what was done stays done.
  case failed

  public var isOpen: Bool {
    switch self {
    case .pending, .running, .waiting: true
    case .completed, .stopped, .cancelled, .failed: false
    }
  }
}

/// A call on many runs that goes on in the background, slice by slice, and after a restart where it was.
public struct Job: Sendable, Equatable {
  /// The store's number; jobs are begun in its order.
  public var sequence: Int64
  public var id: RunID
  public var request: BulkRequest
  public var state = JobState.pending
  public var asOf: Timestamp
  /// Who asked for it, for the audit of each run.
  public var actor: String
  public var createdAt: Timestamp
  public var startedAt: Timestamp?
  public var finishedAt: Timestamp?
  /// Runs it meant when it was stored.
  public var matched: Int
  public var changed = 0
  public var skipped = 0
  /// Where it is: which pass, and the last run it has looked at.
  public var phase: Int
  public var cursor: Int64?
  /// Until when the canary is watched; nil before it is out.
  public var canaryUntil: Timestamp?
  /// A problem's code and words, JSON; nil while all is well.
  public var error: String?
  /// Why this version cannot read what was asked for; then ``request`` means no run at all.
  public var unreadable: Unreadable?

  /// A stored request and what is wrong with it.
  public struct Unreadable: Sendable, Equatable {
    public var text: String
    public var problem: Problem

    public init(text: String, problem: Problem) {
      self.text = text
      self.problem = problem
    }
  }

  public init(
    sequence: Int64, id: RunID, request: BulkRequest, asOf: Timestamp, actor: String, createdAt: Timestamp,
    matched: Int, phase: Int
  ) {
    self.sequence = sequence
    self.id = id
    self.request = request
    self.asOf = asOf
    self.actor = actor
    self.createdAt = createdAt
    self.matched = matched
    self.phase = phase
  }

  /// How many runs the canary still lacks; nil when there is none, or it is out.
  public var canaryMissing: Int? {
    guard let canary = request.options.canary, canaryUntil == nil else { return nil }
    return max(0, canary - changed)
  }

  /// 0...1.
  public var progress: Double {
    if state == .completed { return 1 }
    return matched == 0 ? 0 : min(1, Double(changed + skipped) / Double(matched))
  }
}

/// One job as callers see it.
public struct JobView: Sendable, Equatable, JSONWritable {
  public var job: Job
  /// How many runs were left alone, by reason.
  public var reasons: [(reason: String, count: Int)] = []
  /// The runs of the canary; only where one job is shown.
  public var canary: [RunID] = []
  /// The first runs that were left alone; only where one job is shown.
  public var skips: [BulkAnswer.Skipped]?

  public init(_ job: Job) { self.job = job }

  public static func == (left: JobView, right: JobView) -> Bool { left.json == right.json }

  public func write(to json: inout JSONWriter) {
    json.object { json in
      json.member("id", job.id)
      json.member("kind", job.request.verb.rawValue)
      json.member("state", job.state.rawValue)
      if let text = job.unreadable?.text { json.member("request", text) } else { json.member("request", job.request) }
      json.member("as_of", job.asOf)
      json.member("actor", job.actor)
      json.member("created_at", job.createdAt)
      json.member("started_at", job.startedAt)
      json.member("finished_at", job.finishedAt)
      json.member("matched", job.matched)
      json.member("changed", job.changed)
      json.member("skipped", job.skipped)
      json.member("progress", job.progress)
      json.key("skipped_by_reason")
      json.object { json in for (reason, count) in reasons { json.member(reason, count) } }
      if job.request.options.canary != nil {
        json.member("canary_until", job.canaryUntil)
        json.key("canary")
        json.array { json in for id in canary { json.value(id) } }
      }
      if let skips { json.member("skips", array: skips) }
      json.member("error", raw: job.error?.utf8)
    }
  }
}

/// Which page of which jobs, newest first.
public struct JobQuery: Sendable, Equatable {
  public static let scope = "jobs"

  /// Any of these; empty means all.
  public var states: [JobState] = []
  public var kind: BulkVerb?
  public var limit = 50
  public var cursor: PageCursor?

  public init() {}

  /// - Throws: 422 for unknown names and wrong values, 400 `invalid_cursor`.
  public init(parameters: [Parameter]) throws(Problem) {
    var reader = ParameterReader(parameters)
    for parameter in reader.all("state") {
      if let state = reader.word(parameter, as: JobState.self) { states.append(state) }
    }
    kind = reader.word("kind", as: BulkVerb.self)
    let page = PageRequest(&reader)
    try reader.finish(known: ["state", "kind"] + PageRequest.names)
    limit = page.limit
    cursor = try page.cursor(of: Self.scope)
  }
}
