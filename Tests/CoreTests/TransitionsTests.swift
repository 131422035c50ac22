import TaskBridgeCore
import Testing

@Suite struct TransitionsTests {
  /// `fsm.md` §1, written down a second time.
  static let valid: Set<String> = [
    "queued>instantiated", "queued>stopping",
    "instantiated>launched", "instantiated>unpublished", "instantiated>stopping", "instantiated>running",
    "instantiated>queued",
    "launched>running", "launched>lost", "launched>no_heartbeat", "launched>resource_error", "launched>stopping",
    "launched>fatal", "launched>queued",
    "running>triaging", "running>error", "running>lost", "running>resource_error", "running>stopping", "running>done",
    "running>snoozed", "running>fatal",
    "triaging>running", "triaging>resource_error", "triaging>lost", "triaging>fatal", "triaging>stopping",
    "stopping>fatal", "stopping>done", "no_heartbeat>error",
  ]
  static let untimely: Set<String> = [
    "error>lost", "lost>done", "lost>error", "lost>resource_error", "resource_error>lost", "done>lost",
    "stopping>error", "stopping>resource_error", "stopping>lost",
    // A late confirm, in any state later than launched.
    "running>launched", "triaging>launched", "no_heartbeat>launched", "stopping>launched", "done>launched",
    "error>launched", "fatal>launched", "lost>launched", "resource_error>launched", "unpublished>launched",
    "snoozed>launched",
  ]

  @Test(arguments: AttemptState.allCases)
  func everyPairOfAttemptStatesIsJudgedByTheTables(from: AttemptState) {
    for to in AttemptState.allCases {
      let pair = "\(from.rawValue)>\(to.rawValue)"
      let expected: VerdictCode =
        from == to
        ? .duplicate
        : Self.valid.contains(pair) ? .applied : Self.untimely.contains(pair) ? .untimely : .invalidTransition
      #expect(Transitions.judge(from: from, to: to) == expected, "\(pair)")
    }
  }

  /// `fsm.md` §2, as text.
  static let runs = """
    blocked: scheduled ready paused cancelled expired superseded dependency_failed
    scheduled: ready paused cancelled expired superseded
    ready: queued scheduled paused cancelled expired superseded
    paused: ready scheduled blocked cancelled expired superseded dependency_failed
    queued: launched running ready error cancelling cancelled superseded expired
    launched: running ready error cancelling cancelled superseded expired
    running: completed waiting error scheduled cancelling
    waiting: completed error failed cancelling
    cancelling: cancelled completed superseded error
    error: scheduled ready adjusting failed dead_lettered cancelled
    adjusting: scheduled ready dead_lettered
    failed: ready scheduled blocked
    dead_lettered: ready scheduled blocked
    cancelled: ready scheduled blocked
    expired: ready scheduled blocked
    dependency_failed: ready scheduled blocked
    completed: ready scheduled
    """

  @Test func everyPairOfRunStatesIsJudgedByTheTable() {
    var allowed: Set<String> = []
    for line in Self.runs.split(separator: "\n") {
      let parts = line.split(separator: ":")
      for to in parts[1].split(separator: " ") { allowed.insert("\(parts[0])>\(to)") }
    }

    for from in RunState.allCases {
      for to in RunState.allCases {
        let pair = "\(from.rawValue)>\(to.rawValue)"
        #expect(Transitions.isValid(from: from, to: to) == allowed.contains(pair), "\(pair)")
      }
    }
    let born = RunState.allCases.filter { Transitions.isValid(from: nil, to: $0) }
    #expect(Set(born) == [.blocked, .scheduled, .ready, .paused])
  }

  @Test func everyRunStateHasTheCategoryOfTheTable() {
    let expected: [RunState: RunCategory?] = [
      .blocked: .registered, .scheduled: .registered, .ready: .registered, .paused: .registered,
      .adjusting: .registered, .queued: .pending, .launched: .launched, .running: .running, .waiting: .running,
      .cancelling: .running, .error: .error, .completed: .done, .failed: .error, .deadLettered: .error,
      .dependencyFailed: .error, .cancelled: nil, .expired: nil, .superseded: nil,
    ]

    #expect(expected.count == RunState.allCases.count)
    for state in RunState.allCases { #expect(state.category == expected[state].flatMap { $0 }, "\(state)") }
  }

  @Test func nothingLeavesATerminalAttemptAndOnlyReplayLeavesATerminalRun() {
    for state in AttemptState.allCases where state.isTerminal {
      #expect(Transitions.attempt[state] == nil, "\(state)")
    }
    for state in RunState.allCases where state.isTerminal {
      for to in Transitions.run[state] ?? [] {
        #expect([.ready, .scheduled, .blocked].contains(to), "\(state) → \(to)")
      }
    }
  }
}
