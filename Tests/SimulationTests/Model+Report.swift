import TaskBridgeCore

/// What a worker sends, without the token.
struct ReportWords: Equatable, Sendable {
  var state: ReportedState
  var worker: String?
  var claim: String?
  var nextReportSeconds: Int?
  var isRetryable = true
  var retryAfterSeconds: Int?
  /// A heartbeat for many attempts at once has no room for their claims.
  var impliesClaim = false
}

/// One dispatch of one attempt.
struct Token: Hashable, Sendable {
  /// Nil: of no run of this store.
  var run: Model.Place?
  var attempt: Int
  var dispatch: Int
}

extension Model {
  struct ReportResult: Equatable {
    var code: VerdictCode
    var isToldToStop: Bool
    var runState: RunState?
    var attemptState: AttemptState?
  }

  /// First match wins; whatever the verdict, the ledger has the report.
  mutating func report(_ words: ReportWords, by token: Token) -> ReportResult {
    guard let run = token.run, !runs[run].isDeleted else {
      return ReportResult(code: .unknownToken, isToldToStop: true)
    }
    runs[run].reports += 1
    let code = judge(words, by: token, on: run)
    if code.0 == .applied { runs[run].appliedAt = now }
    return ReportResult(
      code: code.0, isToldToStop: code.stop, runState: runs[run].state, attemptState: runs[run].attempts.last?.state)
  }

  mutating func judge(_ words: ReportWords, by token: Token, on run: Place) -> (VerdictCode, stop: Bool) {
    guard let attempt = runs[run].attempts.last, token.attempt <= runs[run].attempt,
      token.attempt < runs[run].attempt || token.dispatch <= attempt.dispatches
    else { return (.unknownToken, true) }
    if token.attempt < runs[run].attempt || token.dispatch < attempt.dispatches { return (.staleAttempt, true) }
    if runs[run].isEnded { return (judgeOnEnded(words, run), true) }
    var words = words
    if words.impliesClaim { words.claim = attempt.claim }
    if let refusal = refuseHolder(words, attempt) { return (refusal, true) }

    let target = Self.target(of: words.state)
    let endsNow = target != .running
    if attempt.state == .stopping {
      if words.state == .running { return (.invalidTransition, true) }
      keepIdentity(words, run, claims: false)
      if endsNow { answerStop(words, run) }
      return (.applied, true)
    }
    let isHeartbeat = words.state == .heartbeat || words.state == .progress
    let isAccepted: Bool
    switch attempt.state {
    case .instantiated, .launched: isAccepted = true
    // A report in triage goes through running; only the same state again is a duplicate, a heartbeat never is.
    case .triaging: isAccepted = true
    case .running: isAccepted = endsNow || isHeartbeat
    default: isAccepted = false
    }
    guard isAccepted else {
      let code = Rules.judge(attempt.state, to: target)
      return (code, Rules.endedAttempt.contains(attempt.state))
    }
    claim(words, run)
    if endsNow {
      end(words, run)
      return (.applied, true)
    }
    let newest = runs[run].attempt - 1
    runs[run].attempts[newest].reportBy = now + (words.nextReportSeconds.map { Int64($0) * 3_100 } ?? lease(run))
    return (.applied, false)
  }

  private static func target(of state: ReportedState) -> AttemptState {
    switch state {
    case .running, .heartbeat, .progress: .running
    case .completed: .done
    case .failed: .error
    case .resourceError: .resourceError
    case .snoozed: .snoozed
    case .cancelled: .fatal
    }
  }

  private mutating func judgeOnEnded(_ words: ReportWords, _ run: Place) -> VerdictCode {
    let newest = runs[run].attempt - 1
    let attempt = runs[run].attempts[newest]
    if Self.target(of: words.state) != .running, let end = attempt.reportedEnd {
      return end == words.state ? .duplicate : .conflict
    }
    // An orphan's error closes its attempt and leaves the run alone.
    if attempt.isOpen, words.state == .failed || words.state == .resourceError {
      runs[run].attempts[newest].state = .fatal
      keepIdentity(words, run, claims: false)
    }
    return .terminalRun
  }

  private func refuseHolder(_ words: ReportWords, _ attempt: Attempt) -> VerdictCode? {
    guard words.state == .running else {
      return attempt.claim == nil || attempt.claim == words.claim ? nil : .notOwner
    }
    if attempt.isUnclaimed || attempt.claim == nil && attempt.worker == nil { return nil }
    if words.claim == nil && words.worker == nil { return nil }
    let isHolder =
      if let claim = attempt.claim {
        words.claim.map { $0 == claim } ?? (words.worker == attempt.worker)
      } else {
        (words.claim ?? words.worker) == attempt.worker
      }
    return isHolder ? nil : .alreadyClaimed
  }

  private mutating func keepIdentity(_ words: ReportWords, _ run: Place, claims: Bool) {
    let newest = runs[run].attempt - 1
    if claims { runs[run].attempts[newest].claim = words.claim ?? runs[run].attempts[newest].claim }
    runs[run].attempts[newest].worker = runs[run].attempts[newest].worker ?? words.worker
  }

  /// Through `running`, with the implied steps.
  private mutating func claim(_ words: ReportWords, _ run: Place) {
    let newest = runs[run].attempt - 1
    let isFirst = runs[run].attempts[newest].isUnclaimed
    keepIdentity(words, run, claims: isFirst || words.state == .running)
    passThroughRunning(run, impliesLaunch: words.state != .running)
    runs[run].attempts[newest].state = .running
    if isFirst {
      runs[run].attempts[newest].startedAt = now
      if let timeout = runs[run].request.timeoutSeconds {
        runs[run].attempts[newest].timeoutAt = now + Int64(timeout) * 1_000
      }
    }
  }

  /// The run's part of a claim.
  mutating func passThroughRunning(_ run: Place, impliesLaunch: Bool) {
    if runs[run].state == .queued, impliesLaunch {
      move(run, .launched)
      runs[run].launchedAt = runs[run].launchedAt ?? now
    }
    if runs[run].state == .queued || runs[run].state == .launched { move(run, .running) }
    runs[run].hasStarted = true
  }

  /// A worker's end of a running attempt.
  private mutating func end(_ words: ReportWords, _ run: Place) {
    let newest = runs[run].attempt - 1
    runs[run].attempts[newest].reportedEnd = words.state
    let retryAfter = words.retryAfterSeconds.map { Int64($0) * 1_000 }
    switch words.state {
    case .completed:
      runs[run].attempts[newest].state = .done
      if runs[run].openChildren > 0 || hasFailedChild(run) {
        move(run, .waiting)
        settleParent(run)
      } else {
        move(run, .completed)
      }
    case .cancelled:
      runs[run].attempts[newest].state = .fatal
      move(run, .cancelling, .cancelled)
    case .snoozed:
      runs[run].attempts[newest].state = .snoozed
      waitAgain(run, until: now + (retryAfter ?? retryDelay(run)))
      move(run, .scheduled)
    case .failed:
      runs[run].attempts[newest].state = .error
      fail(run, .exhausted, isPermanent: !words.isRetryable, retryAfter: retryAfter)
    case .resourceError:
      runs[run].attempts[newest].state = .resourceError
      failOfResources(run, retryAfter: retryAfter)
    case .running, .heartbeat, .progress: preconditionFailure("\(words.state) is no end")
    }
  }

  /// Every end but `completed` is the answer to a stop.
  private mutating func answerStop(_ words: ReportWords, _ run: Place) {
    let newest = runs[run].attempt - 1
    runs[run].attempts[newest].reportedEnd = words.state
    guard words.state == .completed else {
      runs[run].attempts[newest].state = .fatal
      return move(run, .cancelled)
    }
    runs[run].attempts[newest].state = .done
    if runs[run].openChildren > 0 || hasFailedChild(run) {
      // Its own work is done, but it was asked to stop: its children still have to, or have failed it.
      cancelChildren(of: run)
      settleParent(run)
    } else {
      move(run, .completed)
    }
  }

  // MARK: After a failure

  func retryDelay(_ run: Place) -> Int64 { Int64(runs[run].request.retrySeconds ?? 1) * 1_000 }

  private mutating func waitAgain(_ run: Place, until: Int64) {
    // A retry keeps its age.
    runs[run].agesFrom = waitsFrom(run)
    runs[run].runAt = until
    runs[run].isRetry = true
    runs[run].launchedAt = nil
  }

  mutating func fail(_ run: Place, _ exhausted: DeadLetterReason, isPermanent: Bool = false, retryAfter: Int64? = nil) {
    runs[run].failures += 1
    if runs[run].failures >= runs[run].maxAttempts {
      move(run, .error, .deadLettered)
      bury(run, exhausted)
    } else if isPermanent {
      move(run, .error, .failed)
      bury(run, .permanent)
    } else {
      waitAgain(run, until: now + (retryAfter ?? retryDelay(run)))
      move(run, .error, .scheduled)
    }
  }

  mutating func failOfResources(_ run: Place, retryAfter: Int64? = nil) {
    runs[run].failures += 1
    if runs[run].failures >= runs[run].maxAttempts {
      move(run, .error, .deadLettered)
      bury(run, .resources)
    } else {
      grow(run)
      waitAgain(run, until: now + (retryAfter ?? retryDelay(run)))
      move(run, .error, .adjusting, .scheduled)
    }
  }

  /// To the first task key whose limit takes the doubled memory, else clipped to the limit of the last.
  private mutating func grow(_ run: Place) {
    guard let memory = runs[run].memory else { return }
    let candidates = [runs[run].task] + runs[run].request.fallbackTasks
    let fits = candidates.first { memory * 2 <= Request.memoryLimits[$0, default: .max] }
    runs[run].task = fits ?? candidates[candidates.count - 1]
    runs[run].memory = min(memory * 2, Request.memoryLimits[runs[run].task, default: .max])
  }

  mutating func lose(_ run: Place, _ reason: DeadLetterReason) {
    runs[run].losses += 1
    if runs[run].losses >= max(1, runs[run].request.maxLost ?? 3) {
      move(run, .error, .deadLettered)
      bury(run, reason)
    } else {
      waitAgain(run, until: now + retryDelay(run))
      move(run, .error, .scheduled)
    }
  }
}
