/// One try of a run as callers see it (`contract.md` §3.6).
public struct AttemptView: Sendable, Equatable, JSONWritable {
  public var runID: RunID
  public var attempt: Attempt
  /// JSON; nil where nothing was stored.
  public var error: String?
  public var usage: String?
  public var resources: String?
  public var stdout: String?
  public var stderr: String?

  public init(runID: RunID, attempt: Attempt) {
    self.runID = runID
    self.attempt = attempt
  }

  public func write(to json: inout JSONWriter) {
    json.object { json in
      json.member("run_id", runID)
      json.member("number", attempt.number)
      json.member("dispatches", attempt.dispatches)
      json.member("state", attempt.state.rawValue)
      // Names the newest dispatch; the token itself is a permission and stands in no listing.
      json.member(
        "token_id", DispatchID(runID: runID, attempt: attempt.number, dispatch: attempt.dispatches).description)
      json.member("worker", attempt.worker)
      json.member("node", attempt.node)
      json.member("claim", attempt.claim)
      json.member("dispatched_at", attempt.dispatchedAt)
      json.member("launched_at", attempt.launchedAt)
      json.member("started_at", attempt.startedAt)
      json.member("finished_at", attempt.finishedAt)
      json.member("report_by", attempt.reportBy)
      json.member("error", raw: error?.utf8)
      json.member("usage", raw: usage?.utf8)
      json.member("resources", raw: resources?.utf8)
      json.member("stdout", stdout)
      json.member("stderr", stderr)
    }
  }
}

/// One state a run was in, from when to when (`contract.md` §3.3).
public struct AuditView: Sendable, Equatable, JSONWritable {
  /// The store's number of the row, ascending with time; the cursor.
  public var sequence: Int64
  public var runID: RunID
  public var workflowID: String?
  /// Nil for the first row of a run.
  public var previousState: RunState?
  public var newState: RunState
  public var attempt: Int
  public var enteredAt: Timestamp
  /// When the run's next row begins; nil for the open row.
  public var exitedAt: Timestamp?
  public var reason: String?
  public var actor: String

  public init(
    sequence: Int64, runID: RunID, workflowID: String?, previousState: RunState?, newState: RunState, attempt: Int,
    enteredAt: Timestamp, exitedAt: Timestamp?, reason: String?, actor: String
  ) {
    self.sequence = sequence
    self.runID = runID
    self.workflowID = workflowID
    self.previousState = previousState
    self.newState = newState
    self.attempt = attempt
    self.enteredAt = enteredAt
    self.exitedAt = exitedAt
    self.reason = reason
    self.actor = actor
  }

  public func write(to json: inout JSONWriter) {
    json.object { json in
      json.member("run_id", runID)
      json.member("workflow_id", workflowID)
      json.member("previous_state", previousState?.rawValue)
      json.member("new_state", newState.rawValue)
      json.member("attempt", attempt)
      json.member("entered_at", enteredAt)
      json.member("exited_at", exitedAt)
      json.member("reason", reason)
      json.member("actor", actor)
    }
  }
}

/// Which page of which state changes (`GET /v1/audit`).
public struct AuditQuery: Sendable, Equatable {
  public static let scope = "audit"

  public var runID: RunID?
  public var workflowID: String?
  public var page: PageQuery

  /// - Throws: 422 for unknown names and wrong values, 400 `invalid_cursor`.
  public init(parameters: [Parameter]) throws(Problem) {
    var reader = ParameterReader(parameters)
    let page = PageRequest(&reader)
    runID = reader.runID("run_id")
    workflowID = reader.text("workflow_id")
    try reader.finish(known: ["run_id", "workflow_id"] + PageRequest.names)
    self.page = try PageQuery(page, scope: Self.scope)
  }
}

/// One report of a worker with its verdict, refused ones too (`contract.md` §3.6).
public struct ReportView: Sendable, Equatable, JSONWritable {
  public var sequence: Int64
  public var receivedAt: Timestamp
  public var attempt: Int
  public var dispatch: Int
  public var state: ReportedState
  public var code: VerdictCode
  public var worker: String?
  public var via: String
  public var detail: String?

  public init(
    sequence: Int64, receivedAt: Timestamp, attempt: Int, dispatch: Int, state: ReportedState, code: VerdictCode,
    worker: String?, via: String, detail: String?
  ) {
    self.sequence = sequence
    self.receivedAt = receivedAt
    self.attempt = attempt
    self.dispatch = dispatch
    self.state = state
    self.code = code
    self.worker = worker
    self.via = via
    self.detail = detail
  }

  public func write(to json: inout JSONWriter) {
    json.object { json in
      json.member("received_at", receivedAt)
      json.member("attempt", attempt)
      json.member("dispatch", dispatch)
      json.member("state", state.rawValue)
      json.member("verdict", code.verdict.rawValue)
      json.member("code", code.rawValue)
      json.member("worker", worker)
      json.member("via", via)
      json.member("detail", detail)
    }
  }
}

/// What went wrong in one attempt.
public struct ErrorView: Sendable, Equatable, JSONWritable {
  public var attempt: Int
  public var attemptState: AttemptState
  public var at: Timestamp?
  /// Who held the attempt; nil when the bridge itself found the error.
  public var worker: String?
  /// The stored error, a JSON object with `type`, `message`, `retryable`, `details`, `traceback`.
  public var error: String

  public init(attempt: Int, attemptState: AttemptState, at: Timestamp?, worker: String?, error: String) {
    self.attempt = attempt
    self.attemptState = attemptState
    self.at = at
    self.worker = worker
    self.error = error
  }

  public func write(to json: inout JSONWriter) {
    json.object { json in
      json.member("attempt", attempt)
      json.member("attempt_state", attemptState.rawValue)
      json.member("at", at)
      json.member("worker", worker)
      let members = fields
      for name in ["type", "message", "retryable", "details", "traceback"] {
        json.key(name)
        if let value = members.first(where: { $0.key == name })?.value { json.value(value) } else { json.null() }
      }
    }
  }

  private var fields: [JSONObject.Member] {
    do {
      if case .object(let object) = try JSONValue.parse(Array(error.utf8)) { return object.members }
      return []
    } catch {
      return []
    }
  }
}

/// A run another one waits for, or that waits for it.
public struct DependencyView: Sendable, Equatable, JSONWritable {
  /// The store's number of the other run; the cursor.
  public var sequence: Int64
  public var id: RunID
  public var task: TaskKey
  public var state: RunState
  public var isSatisfied: Bool

  public init(sequence: Int64, id: RunID, task: TaskKey, state: RunState, isSatisfied: Bool) {
    self.sequence = sequence
    self.id = id
    self.task = task
    self.state = state
    self.isSatisfied = isSatisfied
  }

  public func write(to json: inout JSONWriter) {
    json.object { json in
      json.member("id", id)
      json.member("task", task.rawValue)
      json.member("state", state.rawValue)
      json.member("satisfied", isSatisfied)
    }
  }
}

/// How many runs a filter means (`POST /v1/runs/count`).
public struct RunCount: Sendable, Equatable, JSONWritable {
  public var byState: [RunState: Int]

  public init(byState: [RunState: Int]) { self.byState = byState }

  public var count: Int { byState.values.reduce(0, +) }

  public func write(to json: inout JSONWriter) {
    json.object { json in
      json.member("count", count)
      json.key("by_state")
      json.states(byState)
    }
  }
}

extension JSONWriter {
  /// An object with every state at rest, 0 where there are none.
  mutating func states(_ counts: [RunState: Int]) {
    object { json in
      for state in RunState.allCases where state != .error && state != .adjusting || counts[state] ?? 0 != 0 {
        json.member(state.rawValue, counts[state] ?? 0)
      }
    }
  }
}
