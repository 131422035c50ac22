import TaskBridgeCore
import TaskBridgeStore

/// What workers say.
extension Player {
  func dispatchID(_ token: Token) -> DispatchID {
    let id = token.run.map { model.runs[$0].id } ?? Request.unknownID
    return DispatchID(runID: id, attempt: token.attempt, dispatch: token.dispatch)
  }

  /// Of attempts that are handed out and not over.
  var openTokens: [Token] {
    model.runs.indices.compactMap { place in
      guard let attempt = model.runs[place].attempts.last, attempt.isOpen, attempt.state != .queued else { return nil }
      return Token(run: place, attempt: model.runs[place].attempt, dispatch: attempt.dispatches)
    }
  }

  func resolve(_ pick: ReportPick) -> (Token, ReportWords)? {
    let open = openTokens
    guard var token = one(of: pick.target == .open && !open.isEmpty ? open : tokens, pick.token), let run = token.run
    else { return nil }
    if pick.target == .foreignRun { token.run = nil }
    if pick.target == .notIssued { token.attempt += 7 }
    var words = pick.words
    let attempt = model.runs[run].attempts.last
    switch pick.holder {
    case .right:
      guard let attempt, !attempt.isUnclaimed else { break }
      words.claim = attempt.claim
      words.worker = attempt.worker ?? words.worker
    case .implied: words.impliesClaim = true
    case .other: break
    case .none: (words.claim, words.worker) = (nil, nil)
    }
    return (token, words)
  }

  func report(_ picks: [ReportPick], together: Bool) async throws {
    let resolved = picks.compactMap(resolve)
    if resolved.isEmpty { return }
    let (now, policies) = (now, policies)
    let reports = resolved.map { token, words in verified(words, by: token) }
    let confirmed = together && !model.isBrokerAway ? inFlight : []
    for (token, words) in resolved { note("report \(words.shown) by \(token)") }
    let answers = try await write { tx throws(StoreError) -> [ReportAnswer] in
      guard together else { return [try tx.report(reports[0], policies: policies)] }
      return try tx.together { () throws(StoreError) in
        try tx.confirm(confirmed, now: now)
        return try reports.map { report throws(StoreError) in try tx.report(report, policies: policies) }
      }
    }
    guard let answers else { return }
    for dispatch in confirmed { model.confirm(token(dispatch)) }
    settled(confirmed)
    for ((token, words), answer) in zip(resolved, answers) {
      let expected = model.report(words, by: token)
      reached.codes.insert(expected.code)
      note("  → \(expected.code)")
      let found = Model.ReportResult(
        code: answer.code, isToldToStop: answer.action == .stop, runState: answer.runState,
        attemptState: answer.attemptState)
      try expect(found, expected, "report \(words.shown) by \(token)")
    }
  }

  func verified(_ words: ReportWords, by token: Token) -> VerifiedReport {
    var report = WorkerReport(token: "t", state: words.state)
    report.worker = words.worker
    report.claim = words.claim
    report.nextReportSeconds = words.nextReportSeconds.map(Double.init)
    report.retryAfterSeconds = words.retryAfterSeconds.map(Double.init)
    if words.state == .failed || words.state == .resourceError {
      report.error = WorkerError(type: "E", message: "m", retryable: words.isRetryable)
    }
    var verified = VerifiedReport(report, dispatch: dispatchID(token), via: .amqp, receivedAt: now, jitter: 0.5)
    verified.isClaimImplied = words.impliesClaim
    return verified
  }
}

extension ReportWords {
  var shown: String {
    let plain = Mirror(reflecting: ReportWords(state: state)).children
    return
      ([state.rawValue]
      + zip(Mirror(reflecting: self).children, plain).filter { "\($0.value)" != "\($1.value)" }
      .map { "\($0.0.label ?? "") \($0.0.value)" }).joined(separator: ", ").replacing("Optional", with: "")
  }
}
