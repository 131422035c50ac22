/// The state somebody asks a run to take (`POST /v1/runs/{id}/state`).
public struct StateRequest: Sendable, Equatable {
  /// Any state can be named; only ``askable`` ones can be had.
  public var state: RunState
  /// Skips the rules of retry, dependencies and limits, never the table of legal moves.
  public var isForced = false
  /// 1 to 512 bytes; a repeated one gets the first answer again.
  public var transitionID: String?
  public var reason: String?
  /// With `scheduled`: when the run is due.
  public var runAt: Timestamp?
  /// With `running`: the holder's identity.
  public var claim: String?
  public var worker: String?
  /// With `completed`: a JSON value as it was written.
  public var result: [UInt8]?
  /// With `failed`.
  public var error: WorkerError?

  public init(_ state: RunState) { self.state = state }

  /// The states that may be asked for.
  public static let askable: [RunState] = [.ready, .scheduled, .paused, .running, .completed, .failed, .cancelled]
}

/// What became of a request for a state.
public struct StateAnswer: Sendable, Equatable {
  /// `accept`: the state is stored; `reject`: another one was stored, or the run is completed already; `abort`: nothing
  /// was written and the caller must stop; `wait`: not yet.
  public var status: Verdict
  public var code: VerdictCode
  /// What is stored now.
  public var state: RunState
  public var reason: String?
  /// Whole seconds, at least 1; with `wait`, and with a retry that was stored instead.
  public var retryAfterSeconds: Int?
  /// The states that could be asked for instead; only with an `abort` for `invalid_transition`.
  public var allowed: [RunState] = []

  public init(
    _ status: Verdict, _ code: VerdictCode, state: RunState, reason: String? = nil, retryAfterSeconds: Int? = nil
  ) {
    self.status = status
    self.code = code
    self.state = state
    self.reason = reason
    self.retryAfterSeconds = retryAfterSeconds
  }
}

extension StateAnswer: JSONWritable {
  public func write(to json: inout JSONWriter) {
    json.object { json in
      json.member("status", status.rawValue)
      json.member("state", state.rawValue)
      json.member("reason", reason)
      json.member("code", code.rawValue)
      json.member("retry_after_seconds", retryAfterSeconds)
      if !allowed.isEmpty { json.member("allowed", array: allowed.map(\.rawValue)) }
    }
  }

  /// Reads what ``write(to:)`` wrote; nil for anything else.
  public init?(json: JSONValue) {
    guard let object = json.objectValue,
      let status = object.member("status")?.value.stringValue.flatMap(Verdict.init(rawValue:)),
      let code = object.member("code")?.value.stringValue.flatMap(VerdictCode.init(rawValue:)),
      let state = object.member("state")?.value.stringValue.flatMap(RunState.init(rawValue:))
    else { return nil }
    self.init(
      status, code, state: state, reason: object.member("reason")?.value.stringValue,
      retryAfterSeconds: object.member("retry_after_seconds")?.value.int64Value.map { Int($0) })
    allowed =
      object.member("allowed")?.value.arrayValue?.compactMap { $0.stringValue.flatMap(RunState.init(rawValue:)) } ?? []
  }
}
