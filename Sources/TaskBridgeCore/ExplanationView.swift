/// Why a run is not running, and what will unblock it (`GET /v1/runs/{id}/explain`). Never empty.
public struct ExplanationView: Sendable, Equatable, JSONWritable {
  /// One reason.
  public struct Reason: Sendable, Equatable, JSONWritable {
    /// A value of `held_by`, or the state's own word, such as `dependencies` or `run_at`.
    public var code: String
    /// What is the matter, with its numbers.
    public var detail: String
    /// What ends it, in words; nil when nothing will.
    public var unblockedBy: String?
    /// When it ends, where that can be known.
    public var at: Timestamp?
    public var limit: Int?
    public var used: Int?
    /// The runs it is about, at most ``runsMax``.
    public var runs: [RunReference] = []

    public init(_ code: String, _ detail: String, unblockedBy: String? = nil, at: Timestamp? = nil) {
      self.code = code
      self.detail = detail
      self.unblockedBy = unblockedBy
      self.at = at
    }

    public init(_ gate: Gate) {
      self.init(gate.hold.rawValue, gate.detail, unblockedBy: gate.unblockedBy, at: gate.at)
      limit = gate.limit
      used = gate.used
    }

    public func write(to json: inout JSONWriter) {
      json.object { json in
        json.member("code", code)
        json.member("detail", detail)
        json.member("unblocked_by", unblockedBy)
        json.member("at", at)
        if limit != nil || used != nil {
          json.member("limit", limit)
          json.member("used", used)
        }
        if !runs.isEmpty { json.member("runs", array: runs) }
      }
    }
  }

  /// Another run that a reason is about.
  public struct RunReference: Sendable, Equatable, JSONWritable {
    public var id: RunID
    public var task: TaskKey
    public var state: RunState
    /// What holds it back itself, while it is ready.
    public var heldBy: [Hold] = []

    public init(id: RunID, task: TaskKey, state: RunState) {
      self.id = id
      self.task = task
      self.state = state
    }

    public func write(to json: inout JSONWriter) {
      json.object { json in
        json.member("id", id)
        json.member("task", task.rawValue)
        json.member("state", state.rawValue)
        json.key("held_by")
        json.array { json in for hold in heldBy { json.value(hold.rawValue) } }
      }
    }
  }

  public static let runsMax = 100

  public var at: Timestamp
  public var runID: RunID
  public var task: TaskKey
  public var state: RunState
  public var heldBy: [Hold] = []
  public var reasons: [Reason] = []

  public init(at: Timestamp, run: Run) {
    self.at = at
    runID = run.id
    task = run.task
    state = run.state
  }

  public func write(to json: inout JSONWriter) {
    json.object { json in
      json.member("run_id", runID)
      json.member("task", task.rawValue)
      json.member("state", state.rawValue)
      json.member("at", at)
      json.key("held_by")
      json.array { json in for hold in heldBy { json.value(hold.rawValue) } }
      json.member("reasons", array: reasons)
    }
  }
}
