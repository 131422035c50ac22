/// What a call on many runs does to each of them.
public enum BulkVerb: String, Sendable, CaseIterable {
  case cancel, retry, pause, resume
  /// Of dead letters.
  case replay, discard

  /// Whether it starts ended runs again.
  public var startsAgain: Bool { self == .retry || self == .replay }

  /// Why a run in `state` is left alone; nil when it is changed.
  /// - Parameter force: completed runs may be replayed.
  public func refusal(of state: RunState, force: Bool) -> String? {
    switch self {
    case .cancel: state.isTerminal ? "terminal_run" : state == .cancelling ? "already_cancelling" : nil
    case .pause:
      switch state {
      case .blocked, .scheduled, .ready: nil
      case .paused: "already_paused"
      case .queued, .launched, .running, .waiting, .cancelling, .adjusting, .error: "dispatched"
      case .completed, .failed, .deadLettered, .dependencyFailed, .cancelled, .expired, .superseded: "terminal_run"
      }
    case .resume: state == .paused ? nil : state.isTerminal ? "terminal_run" : "not_paused"
    case .retry, .replay:
      if !state.isTerminal {
        "active"
      } else if state == .superseded {
        "superseded"
      } else if state == .completed, !force {
        "completed_needs_force"
      } else {
        nil
      }
    case .discard: nil
    }
  }
}

/// What a call on many runs may say beside which runs it means.
public struct BulkOptions: Sendable, Equatable {
  public static let rateRange = 0.01...10_000.0
  public static let canaryRange = 1...1_000
  public static let canaryWaitRange = 0.0...86_400.0
  public static let canaryWaitDefault = 60.0

  /// Reason, priority, time and the like; only the reason counts for other verbs.
  public var retry = RetryOptions()
  /// RFC 7396, for the payloads; nil leaves them.
  public var patch: JSONValue?
  /// Replays a second at most.
  public var ratePerSecond: Double?
  /// Replay so many first and wait for them.
  public var canary: Int?
  /// How long they are waited for at most.
  public var canaryWaitSeconds = canaryWaitDefault

  public init() {}

  /// Kept in the audit of each run.
  public var reason: String? {
    get { retry.reason }
    set { retry.reason = newValue }
  }

  /// Whether it takes time by its own wish.
  public var isPaced: Bool { ratePerSecond != nil || canary != nil }
}

/// A call on many runs: which, and what is done to each.
public struct BulkRequest: Sendable, Equatable {
  /// Which runs are meant.
  public enum Target: Sendable, Equatable {
    case runs(RunFilter)
    case deadLetters(DeadLetterFilter)
    /// Dead letters of these runs, at most ``RunFilter/idsMax``.
    case ids([RunID])
  }

  public let verb: BulkVerb
  public let target: Target
  /// The filter as it was given; nil for ids.
  public let filter: JSONObject?
  public var options = BulkOptions()

  /// - Throws: 422 naming each wrong field of the filter.
  public init(_ verb: BulkVerb, filter: JSONObject) throws(Problem) {
    self.verb = verb
    self.filter = filter
    switch verb {
    case .cancel, .retry, .pause, .resume: target = .runs(try RunFilter(json: filter, pointer: "/filter"))
    case .replay, .discard: target = .deadLetters(try DeadLetterFilter(json: filter, pointer: "/filter"))
    }
  }

  public init(_ verb: BulkVerb, ids: [RunID]) {
    self.verb = verb
    filter = nil
    var seen: Set<RunID> = []
    target = .ids(ids.filter { seen.insert($0).inserted })
  }

  /// What ready runs must be held by, when the filter says so.
  public var heldBy: Hold? { if case .runs(let filter) = target { filter.heldBy } else { nil } }

  /// Whether nothing narrows it down.
  public var isEverything: Bool {
    switch target {
    case .runs(let filter): filter.isEmpty
    case .deadLetters(let filter): filter.isEmpty
    case .ids: false
    }
  }
}
