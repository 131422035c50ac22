import TaskBridgeCore
import Testing

/// One run with one attempt, in a state the tables allow together.
private func situation(_ attempt: AttemptState) -> (run: Run, attempt: Attempt) {
  let state: RunState =
    switch attempt {
    case .queued, .instantiated: .queued
    case .launched, .noHeartbeat: .launched
    case .running, .triaging: .running
    case .stopping: .cancelling
    case .done: .waiting
    case .error, .lost, .resourceError, .unpublished, .snoozed: .scheduled
    case .fatal: .cancelled
    }
  var run = Run(
    sequence: 1, id: RunID(high: 1, low: 2), task: TaskKey("media.thumbnail")!, state: state,
    createdAt: Timestamp(milliseconds: 0))
  run.attempt = 1
  run.dispatch = 1
  let now = Timestamp(milliseconds: 1_000)
  return (run, Attempt(number: 1, state: attempt, dispatchedAt: now, reportBy: now))
}

private let now = Timestamp(milliseconds: 10_000)

private func judge(
  _ report: WorkerReport, _ run: Run, _ attempt: Attempt, dispatch: DispatchID? = nil, policy: TaskPolicy = TaskPolicy()
) -> Decision {
  decide(
    report, by: dispatch ?? DispatchID(runID: run.id, attempt: run.attempt, dispatch: run.dispatch), on: run,
    attempt: attempt, policy: policy, now: now, jitter: 0)
}

private func report(
  _ state: ReportedState, claim: String? = nil, worker: String? = nil, _ change: (inout WorkerReport) -> Void = { _ in }
) -> WorkerReport {
  var report = WorkerReport(token: "t", state: state)
  report.claim = claim
  report.worker = worker
  change(&report)
  return report
}

@Suite struct DecideTests {
  /// Rows: attempt states. Columns: running heartbeat progress completed failed resource_error snoozed cancelled.
  /// A applied, D duplicate, U untimely, I invalid_transition.
  static let expected: [AttemptState: String] = [
    .queued: "AAAAAAAA", .instantiated: "AAAAAAAA", .launched: "AAAAAAAA",
    .running: "DAAAAAAA", .triaging: "AAAAAAAA", .stopping: "IAAAAAAA",
    .done: "IIIDIIII", .error: "IIIIDIII", .lost: "IIIUUUII", .resourceError: "IIIIIDII",
    .unpublished: "IIIIIIII", .snoozed: "IIIIIIDI",
  ]

  @Test func everyReportInEveryStateHasItsVerdict() {
    let codes: [Character: VerdictCode] = [
      "A": .applied, "D": .duplicate, "U": .untimely, "I": .invalidTransition,
    ]
    for (state, row) in Self.expected {
      for (reported, letter) in zip(ReportedState.allCases, row) {
        let (run, attempt) = situation(state)
        let decision = judge(report(reported), run, attempt)
        #expect(decision.code == codes[letter], "\(reported) on \(state)")
        if letter != "A" { #expect(!decision.changesState, "\(reported) on \(state) is refused and changes nothing") }
      }
    }
  }

  @Test func everyStepOfEveryDecisionIsInTheTables() {
    for state in Self.expected.keys {
      for reported in ReportedState.allCases {
        let (run, attempt) = situation(state)
        let decision = judge(report(reported), run, attempt)
        var current = attempt.state
        for step in decision.attemptSteps {
          #expect(
            Transitions.judge(from: current, to: step) == .applied, "\(reported) on \(state): \(current) → \(step)")
          current = step
        }
        var runState = run.state
        for step in decision.runSteps {
          #expect(
            Transitions.isValid(from: runState, to: step.state), "\(reported) on \(state): \(runState) → \(step.state)")
          runState = step.state
        }
        // Both or none: an ended attempt never leaves its run queued, launched or running.
        if current.isTerminal, !decision.runSteps.isEmpty {
          #expect(![.queued, .launched, .running].contains(runState))
        }
      }
    }
  }

  @Test func completedOnALaunchedAttemptPassesThroughRunning() {
    let (run, attempt) = situation(.instantiated)

    let decision = judge(report(.completed), run, attempt)

    #expect(decision.attemptSteps == [.launched, .running, .done])
    #expect(decision.runSteps.map(\.state) == [.launched, .running, .completed])
    #expect(decision.claims)
  }

  @Test func anOlderDispatchIsStaleAndAFutureOneUnknown() {
    var (run, attempt) = situation(.running)
    run.attempt = 2
    run.dispatch = 3
    attempt.number = 2

    let older = judge(report(.completed), run, attempt, dispatch: DispatchID(runID: run.id, attempt: 1, dispatch: 9))
    let sameAttempt = judge(
      report(.completed), run, attempt, dispatch: DispatchID(runID: run.id, attempt: 2, dispatch: 2))
    let future = judge(report(.completed), run, attempt, dispatch: DispatchID(runID: run.id, attempt: 2, dispatch: 4))

    #expect(older == Decision(.staleAttempt, action: .stop))
    #expect(sameAttempt == Decision(.staleAttempt, action: .stop))
    #expect(future == Decision(.unknownToken, action: .stop))
  }

  @Test func ofTwoHoldersOnlyTheFirstGoesOn() {
    var (run, attempt) = situation(.running)
    attempt.claim = "a"
    run.state = .running

    #expect(judge(report(.running, claim: "a"), run, attempt).code == .duplicate)
    #expect(judge(report(.running, claim: "b"), run, attempt).code == .alreadyClaimed)
    #expect(judge(report(.running, worker: "w2"), run, attempt).code == .alreadyClaimed)
    #expect(judge(report(.running), run, attempt).code == .duplicate)
    #expect(judge(report(.completed, claim: "b"), run, attempt).code == .notOwner)
    #expect(judge(report(.completed), run, attempt).code == .notOwner)
    #expect(judge(report(.completed, claim: "a"), run, attempt).code == .applied)
  }

  @Test func theFirstEndStands() {
    var (run, attempt) = situation(.running)
    run.state = .completed
    attempt.state = .done
    attempt.reportedEnd = .completed

    #expect(judge(report(.completed), run, attempt).code == .duplicate)
    #expect(judge(report(.failed), run, attempt).code == .conflict)
    #expect(judge(report(.heartbeat), run, attempt).code == .terminalRun)
  }

  @Test func anOrphansErrorClosesItsAttemptAndLeavesTheRunAlone() {
    var (run, attempt) = situation(.running)
    run.state = .cancelled

    let decision = judge(report(.failed), run, attempt)

    #expect(decision.code == .terminalRun)
    #expect(decision.action == .stop)
    #expect(decision.attemptSteps == [.fatal])
    #expect(decision.runSteps.isEmpty)
  }

  @Test func theLeaseFollowsTheAnnouncedIntervalElseTheSetting() {
    let (run, attempt) = situation(.launched)

    let announced = judge(report(.running) { $0.nextReportSeconds = 10 }, run, attempt)
    let silent = judge(report(.running), run, attempt)

    #expect(announced.reportBy == now.adding(seconds: 31))
    #expect(silent.reportBy == now.adding(seconds: 60))
  }

  @Test func aHeartbeatWhileStoppingExtendsNothing() {
    let (run, attempt) = situation(.stopping)

    let decision = judge(report(.heartbeat), run, attempt)

    #expect(decision.code == .applied)
    #expect(decision.action == .stop)
    #expect(decision.reportBy == nil)
  }

  @Test func failuresAreCountedBeforePermanenceIsLookedAt() {
    var (run, attempt) = situation(.running)
    let permanent = report(.failed) { $0.error = WorkerError(type: "x", message: nil, retryable: false) }

    let early = judge(permanent, run, attempt)
    run.failures = 3
    let last = judge(permanent, run, attempt)
    attempt.state = .running

    #expect(early.runSteps.map(\.state) == [.error, .failed])
    #expect(early.deadLetter == .permanent)
    #expect(last.runSteps.map(\.state) == [.error, .deadLettered])
    #expect(last.deadLetter == .exhausted)
  }

  @Test func retryAfterWinsOverTheStrategyAndItsMaximum() {
    let (run, attempt) = situation(.running)
    var policy = TaskPolicy()
    policy.retry = RetryPolicy(strategy: .constant, initialSeconds: 5, maxSeconds: 10)

    let told = judge(report(.failed) { $0.retryAfterSeconds = 900 }, run, attempt, policy: policy)
    let untold = judge(report(.failed), run, attempt, policy: policy)

    #expect(told.nextRunAt == now.adding(seconds: 900))
    #expect(untold.nextRunAt == now.adding(seconds: 5))
  }

  @Test func aSnoozeCountsNothing() {
    let (run, attempt) = situation(.running)

    let decision = judge(report(.snoozed) { $0.retryAfterSeconds = 30 }, run, attempt)

    #expect(decision.attemptSteps == [.snoozed])
    #expect(decision.runSteps.map(\.state) == [.scheduled])
    #expect(!decision.countsFailure && !decision.countsLoss)
    #expect(decision.nextRunAt == now.adding(seconds: 30))
  }

  @Test func aResourceErrorScalesAndIsRetried() {
    var (run, attempt) = situation(.running)
    run.resources = ["memory": 3, "disk": 7]
    run.resourceScales = ["memory": .factor(0.5)]

    let decision = judge(report(.resourceError), run, attempt)
    attempt.state = .running

    #expect(decision.runSteps.map(\.state) == [.error, .adjusting, .scheduled])
    #expect(decision.resources == ["memory": 5, "disk": 7])
  }

  @Test func lossesHaveABudgetOfTheirOwn() {
    var (run, attempt) = situation(.triaging)
    run.failures = 3
    run.losses = 1
    attempt.reportBy = now

    let second = decide(.overdue, on: run, attempt: attempt, policy: TaskPolicy(), now: now, jitter: 0)
    run.losses = 2
    let third = decide(.overdue, on: run, attempt: attempt, policy: TaskPolicy(), now: now, jitter: 0)

    #expect(second.runSteps.map(\.state) == [.error, .scheduled])
    #expect(second.countsLoss && !second.countsFailure)
    #expect(third.runSteps.map(\.state) == [.error, .deadLettered])
    #expect(third.deadLetter == .lost)
  }

  @Test func anOverdueAttemptIsTriagedFirstAndALeaseThatHoldsIsLeftAlone() {
    var (run, attempt) = situation(.running)
    attempt.reportBy = now.adding(seconds: 1)
    run.state = .running

    #expect(decide(.overdue, on: run, attempt: attempt, policy: TaskPolicy(), now: now, jitter: 0).code == .notDue)
    attempt.reportBy = now
    let due = decide(.overdue, on: run, attempt: attempt, policy: TaskPolicy(), now: now, jitter: 0)
    #expect(due.attemptSteps == [.triaging])
    #expect(due.runSteps.isEmpty)
    #expect(due.reportBy == now.adding(seconds: 60))
  }

  @Test(arguments: AttemptState.allCases)
  func everySystemEventKeepsToTheTables(state: AttemptState) {
    let events: [SystemEvent] = [
      .confirmed, .unpublished, .rejected, .givenUp(.deliveryLimit), .overdue, .orphaned, .timedOut,
      .cancel(reason: nil),
    ]
    for event in events {
      let (run, attempt) = situation(state)
      let decision = decide(event, on: run, attempt: attempt, policy: TaskPolicy(), now: now, jitter: 0)
      var current = attempt.state
      for step in decision.attemptSteps {
        #expect(Transitions.judge(from: current, to: step) == .applied, "\(event) on \(state): \(current) → \(step)")
        current = step
      }
      var runState = run.state
      for step in decision.runSteps {
        #expect(
          Transitions.isValid(from: runState, to: step.state), "\(event) on \(state): \(runState) → \(step.state)")
        runState = step.state
      }
    }
  }

  @Test func theBrokersConfirmIsUntimelyOnceAWorkerWasFaster() {
    let (run, attempt) = situation(.running)
    #expect(
      decide(.confirmed, on: run, attempt: attempt, policy: TaskPolicy(), now: now, jitter: 0).code == .untimely)
  }

  @Test func cancelAsksTheWorkerOnlyWhereOneHoldsTheRun() {
    for (state, expected) in [
      (RunState.blocked, [RunState.cancelled]), (.scheduled, [.cancelled]), (.ready, [.cancelled]),
      (.paused, [.cancelled]), (.queued, [.cancelled]), (.launched, [.cancelled]), (.running, [.cancelling]),
    ] {
      var (run, attempt) = situation(state == .running ? .running : state == .launched ? .launched : .instantiated)
      run.state = state
      attempt.number = 1
      let decision = decide(
        .cancel(reason: "r"), on: run, attempt: attempt, policy: TaskPolicy(), now: now, jitter: 0)
      #expect(decision.runSteps.map(\.state) == expected, "\(state)")
    }
  }

  @Test func dedupDoesWhatTheActiveRunsStateAsks() {
    for state in RunState.allCases where !state.isTerminal && state != .error && state != .adjusting {
      var (run, _) = situation(.launched)
      run.state = state
      run.priority = 100
      let waits = [RunState.blocked, .scheduled, .ready, .paused].contains(state)
      let works = [RunState.running, .waiting, .cancelling].contains(state)
      #expect(dedup(.skip, active: run, priority: 50) == (waits ? .upgrade : works ? .follow : .keep), "\(state)")
      #expect(dedup(.skip, active: run, priority: 200) == (works ? .follow : .keep), "\(state)")
      #expect(dedup(.supersede, active: run, priority: 0) == .supersede)
      #expect(dedup(.reject, active: run, priority: 0) == .reject)
    }
  }

  @Test func resourcesGoToTheFirstTaskThatTakesThemElseAreClipped() {
    let (small, big) = (TaskKey("a")!, TaskKey("b")!)

    let fits = placeResources(["memory": 8], candidates: [(small, ["memory": 4]), (big, ["memory": 16])])
    let none = placeResources(["memory": 32], candidates: [(small, ["memory": 4]), (big, ["memory": 16])])

    #expect(fits.task == big && fits.resources == ["memory": 8] && !fits.clipped)
    #expect(none.task == big && none.resources == ["memory": 16] && none.clipped)
  }
}
