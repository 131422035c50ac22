import TaskBridgeCore

/// What the clock does, and what the broker says.
extension Model {
  /// One round of sweeps, in the timekeeper's order.
  mutating func tick() {
    for (subject, until) in gates.pauses where until.map({ $0 <= now }) ?? false { gates.resume(subject, at: now) }
    for run in due(runs.indices.filter { runs[$0].state == .scheduled && isDue($0) }, by: { $0.runAt ?? 0 }) {
      move(run, .ready)
    }
    let late = runs.indices.filter { Rules.unclaimed.contains(runs[$0].state) && runs[$0].expiresAt ?? .max <= now }
    for run in due(late, by: { $0.expiresAt ?? 0 }) where !runs[run].isEnded {
      endUnclaimedAttempt(of: run)
      move(run, .expired)
    }
    if isBrokerAway { return }
    let tooLong = runs.indices.filter { place in
      runs[place].attempts.last.map { ($0.state == .running || $0.state == .triaging) && $0.timeoutAt ?? .max <= now }
        ?? false
    }
    for run in due(tooLong, by: { $0.attempts.last?.timeoutAt ?? 0 }) { timeOut(run) }
    let overdue = runs.indices.filter { place in
      runs[place].attempts.last.map { Rules.claimedAttempt.contains($0.state) && $0.reportBy <= now } ?? false
    }
    for run in due(overdue, by: { $0.attempts.last?.reportBy ?? 0 }) { endLease(run) }
  }

  /// The most overdue first, then the oldest.
  private func due(_ places: [Place], by time: (Run) -> Int64) -> [Place] {
    places.sorted { (time(runs[$0]), $0) < (time(runs[$1]), $1) }
  }

  private mutating func timeOut(_ run: Place) {
    notices.append(Notice(isDeadLetter: false, run: run))
    let newest = runs[run].attempt - 1
    guard runs[run].attempts[newest].state == .running || runs[run].attempts[newest].state == .triaging,
      !runs[run].isEnded
    else { return }
    runs[run].attempts[newest].state = .resourceError
    failOfResources(run)
  }

  private mutating func endLease(_ run: Place) {
    let newest = runs[run].attempt - 1
    switch runs[run].attempts[newest].state {
    case .running:
      runs[run].attempts[newest].state = .triaging
      runs[run].attempts[newest].reportBy = now + lease(run)
    case .triaging:
      runs[run].attempts[newest].state = .lost
      lose(run, .lost)
    case .stopping:
      runs[run].attempts[newest].state = .fatal
      move(run, .cancelled)
    default: break
    }
  }

  var nextScheduleDue: Int64? { schedules.values.compactMap(\.dueAt).min() }

  /// When something is due next, schedules apart; nil when nothing is.
  var nextDue: Int64? {
    var times: [Int64] = gates.pauses.values.compactMap { $0 }
    for run in runs {
      if run.state == .scheduled, let at = run.runAt { times.append(at) }
      if Rules.unclaimed.contains(run.state), let end = run.expiresAt { times.append(end) }
      guard let attempt = run.attempts.last else { continue }
      if Rules.claimedAttempt.contains(attempt.state) { times.append(attempt.reportBy) }
      if attempt.state == .running || attempt.state == .triaging, let end = attempt.timeoutAt { times.append(end) }
    }
    return times.min()
  }

  /// After an outage every open lease gets a full grace. One that was given before the clock was set back goes with it.
  mutating func extendLeases(clockMoved: Int64 = 0) {
    for run in runs.indices {
      guard let newest = runs[run].attempts.indices.last,
        Rules.claimedAttempt.contains(runs[run].attempts[newest].state)
      else { continue }
      let end = now + lease(run)
      let back = runs[run].appliedAt ?? 0 > now ? min(0, clockMoved) : 0
      runs[run].attempts[newest].reportBy = max(runs[run].attempts[newest].reportBy + back, end)
      if let timeout = runs[run].attempts[newest].timeoutAt {
        runs[run].attempts[newest].timeoutAt = max(timeout + back, end)
      }
    }
  }

  // MARK: The broker

  /// The run that `token` still speaks for, with an attempt in one of `states`.
  private func current(_ token: Token, in states: AttemptState...) -> Place? {
    guard let run = token.run, token.attempt == runs[run].attempt, token.dispatch == runs[run].dispatch,
      !runs[run].isEnded, let attempt = runs[run].attempts.last, states.contains(attempt.state)
    else { return nil }
    return run
  }

  mutating func confirm(_ token: Token) {
    guard let run = current(token, in: .instantiated) else { return }
    runs[run].attempts[runs[run].attempt - 1].state = .launched
    runs[run].launchedAt = now
    move(run, .launched)
  }

  /// The broker had no queue for it.
  ///
  /// - Returns: whether it is to be published again.
  mutating func unroutable(_ token: Token, returnsMax: Int) -> Bool {
    guard let run = current(token, in: .instantiated) else { return false }
    let newest = runs[run].attempt - 1
    runs[run].attempts[newest].returns += 1
    if runs[run].attempts[newest].returns < returnsMax { return true }
    runs[run].attempts[newest].state = .unpublished
    lose(run, .undeliverable)
    return false
  }

  /// Back through the queue of returned messages.
  ///
  /// - Parameter givenUp: why the broker gave it up; nil: a worker rejected it.
  /// - Returns: whether it changed anything.
  mutating func returned(_ token: Token, givenUp: DeadLetterReason?) -> Bool {
    if let givenUp {
      guard let run = current(token, in: .instantiated, .launched) else { return false }
      runs[run].attempts[runs[run].attempt - 1].state = .lost
      if runs[run].state == .queued { move(run, .launched) }
      lose(run, givenUp)
      return true
    }
    guard let run = current(token, in: .instantiated, .launched, .running, .triaging) else { return false }
    runs[run].attempts[runs[run].attempt - 1].state = .error
    passThroughRunning(run, impliesLaunch: true)
    fail(run, .rejected)
    return true
  }

  /// Dispatched again free: the same attempt, its next dispatch.
  mutating func takeBack(_ run: Place) {
    let newest = runs[run].attempt - 1
    guard runs[run].state == .queued || runs[run].state == .launched else { return }
    runs[run].attempts[newest].state = .queued
    runs[run].attempts[newest].dispatches += 1
    runs[run].attempts[newest].returns = 0
    runs[run].isRetry = true
    runs[run].launchedAt = nil
    move(run, .ready)
  }

  /// In the broker since `before` and not claimed: oldest first.
  func launched(_ task: String, before: Int64) -> [Place] {
    due(
      runs.indices.filter {
        runs[$0].task == task && runs[$0].state == .launched && runs[$0].launchedAt ?? .max < before
      }, by: { $0.launchedAt ?? 0 })
  }

  /// Lost in the broker: counts as a loss.
  mutating func giveUpOrphan(_ run: Place) {
    runs[run].attempts[runs[run].attempt - 1].state = .error
    lose(run, .lost)
  }
}
