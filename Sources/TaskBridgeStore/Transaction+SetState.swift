package import TaskBridgeCore

/// What a request for a state is judged by, beside the run itself.
package struct StateFacts: Sendable {
  package var policies: PolicyLookup
  package var now: Timestamp
  /// 0..<1.
  package var jitter: Double
  /// Who asks.
  package var actor: String

  package init(policies: PolicyLookup, now: Timestamp, jitter: Double, actor: String) {
    self.policies = policies
    self.now = now
    self.jitter = jitter
    self.actor = actor
  }
}

/// Asking a run to take a state: the rules first, then the tables.
extension Transaction {
  /// - Returns: what is stored now and how it came to it, or 404, or 422 `transition_mismatch` for a transition id that
  ///   was used to ask for another state.
  package func setState(
    of id: RunID, _ request: StateRequest, _ facts: StateFacts
  ) throws(StoreError) -> Result<StateAnswer, Problem> {
    guard let run = try run(id) else { return .failure(.runNotFound(id)) }
    if let transitionID = request.transitionID, let first = try firstAnswer(to: transitionID, of: run) {
      guard first.asked == request.state else {
        return .failure(
          Problem(
            422, "transition_mismatch",
            "transition_id \(transitionID) was used to ask run \(id) for \(first.asked.rawValue), now for \(request.state.rawValue); use a new one",
            errors: [Fault(pointer: "/transition_id", detail: "used for another state")], runID: id))
      }
      return .success(first.answer)
    }
    let answer = try carryOut(request, on: run, facts)
    if let transitionID = request.transitionID {
      try db.run(
        "INSERT INTO transitions (run_seq, transition_id, asked, answer) VALUES (?, ?, ?, ?)", run.sequence,
        transitionID, request.state, String(decoding: answer.json, as: UTF8.self))
    }
    return .success(answer)
  }

  private func firstAnswer(
    to transitionID: String, of run: Run
  ) throws(StoreError) -> (asked: RunState, answer: StateAnswer)? {
    try db.first(
      "SELECT asked, answer FROM transitions WHERE run_seq = ? AND transition_id = ?", run.sequence, transitionID
    ) { row throws(StoreError) in
      let value: JSONValue?
      do throws(JSONError) { value = try JSONValue.parse(row.text(1)) } catch { value = nil }
      guard let answer = value.flatMap({ StateAnswer(json: $0) }) else {
        throw StoreError(.damaged, "store: the answer to a transition id of run \(run.id) is unreadable")
      }
      return (try row.word(0, as: RunState.self), answer)
    }
  }

  private func carryOut(_ request: StateRequest, on run: Run, _ facts: StateFacts) throws(StoreError) -> StateAnswer {
    let isFollower = run.state == .blocked || run.state == .paused ? try isFollowing(run) : false
    let policy = controls.policy(facts.policies.policy(run.task), for: run.task)
    let closed =
      run.state == .ready
      ? Gate.closed(
        task: run.task, group: run.group, policy: policy, controls: controls, occupancy: occupancy(of: run),
        now: facts.now) : []
    switch StatePlan(request, for: run, isFollowing: isFollower, closed: closed, now: facts.now) {
    case .answer(let answer): return answer
    case .move(let state, let runAt): return try move(run, to: state, runAt: runAt, request, facts)
    case .reschedule(let runAt):
      var moved = run
      try setTime(of: &moved, to: runAt, now: facts.now)
      try write(moved, was: RunMark(run))
      note(.due)
      return StateAnswer(.accept, .applied, state: run.state)
    case .report(let state): return try report(state, of: run, request, facts)
    case .cancel:
      var asked = run
      let code = try cancel(&asked, reason: reason(request), now: facts.now, actor: facts.actor)
      let state = try self.run(sequence: run.sequence).state
      if state == .cancelled { return StateAnswer(.accept, .applied, state: state) }
      return StateAnswer(.reject, code, state: state, reason: "it was told to stop and has not answered yet")
    }
  }

  private func reason(_ request: StateRequest) -> String? {
    guard request.isForced else { return request.reason }
    return request.reason.map { "forced: \($0)" } ?? "forced"
  }

  private func move(
    _ run: Run, to state: RunState, runAt: Timestamp?, _ request: StateRequest, _ facts: StateFacts
  ) throws(StoreError) -> StateAnswer {
    var run = run
    let was = RunMark(run)
    if run.openDependencies > 0, state != .paused {
      // Forced: it waits for none of its prerequisites any more.
      try db.run("UPDATE dependencies SET satisfied = 1 WHERE dependent = ? AND satisfied = 0", run.sequence)
      try db.run("UPDATE runs SET open_dependencies = 0 WHERE seq = ?", run.sequence)
      run.openDependencies = 0
    }
    try setTime(of: &run, to: runAt, now: facts.now)
    let step = RunStep(state, reason(request) ?? "asked for")
    try move(&run, from: was, through: [step], now: facts.now, actor: facts.actor)
    return StateAnswer(.accept, .applied, state: run.state)
  }

  /// The caller speaks for the run's newest dispatch, whoever holds it.
  private func report(
    _ state: ReportedState, of run: Run, _ request: StateRequest, _ facts: StateFacts
  ) throws(StoreError) -> StateAnswer {
    var report = WorkerReport(token: "", state: state)
    report.worker = request.worker
    report.claim = state == .running ? request.claim : try newestAttempt(of: run)?.claim
    report.result = request.result
    report.error = request.error
    if state == .failed {
      report.error = report.error ?? WorkerError(type: "failed", message: request.reason)
      if request.isForced { report.error?.retryable = false }
    }
    var verified = VerifiedReport(
      report, dispatch: DispatchID(runID: run.id, attempt: run.attempt, dispatch: run.dispatch), via: .http,
      receivedAt: facts.now, jitter: facts.jitter)
    verified.asker = (facts.actor, reason(request))
    let judged = try judge(verified, run: run, policies: facts.policies)
    let now = judged.run.state
    guard judged.decision.code == .applied else {
      let code = judged.decision.code
      return StateAnswer(
        .abort, code, state: now, reason: "attempt \(run.attempt) is \(judged.attempt?.state.rawValue ?? "none")")
    }
    let isAsked = now == request.state || request.state == .failed && now == .deadLettered
    if isAsked { return StateAnswer(.accept, .applied, state: now) }
    var answer = StateAnswer(.reject, .applied, state: now)
    switch now {
    case .scheduled:
      answer.reason = "attempts are left: the next one is due at \(judged.run.runAt?.description ?? "once")"
      answer.retryAfterSeconds = StatePlan.seconds(until: judged.run.runAt, facts.now)
    case .waiting: answer.reason = "its own work is done, its children are not"
    default: answer.reason = "\(now.rawValue) was stored instead"
    }
    return answer
  }
}
