import TaskBridgeCore

/// One call on many runs.
extension Model {
  struct Filter: Equatable, Sendable {
    var states: [RunState] = []
    var task: String?
    var domain: String?
    var group: String?
    var workflow: String?
    var dedupKey: String?
    /// Of dead letters.
    var reason: DeadLetterReason?
  }

  struct BulkWish: Equatable, Sendable {
    var verb: BulkVerb
    var filter = Filter()
    /// Of starting again; only ``ReplayOptions/force`` and what changes the runs.
    var options = ReplayOptions()
    /// The payload that a replay is to have.
    var payload: Int?
    /// Runs newer than this are left alone; before now.
    var asOfSecondsAgo = 0
    /// The same, as a moment.
    var asOf: Int64?
    /// Runs of one transaction.
    var slice = 200
    /// Of a job: replay so many first and wait for them.
    var canary: Int?
    var canaryWaitSeconds = 60

    func asOf(_ now: Int64) -> Int64 { asOf ?? now - Int64(asOfSecondsAgo) * 1_000 }

    var startsAgain: Bool { verb == .retry || verb == .replay }
    var isOfDeadLetters: Bool { verb == .replay || verb == .discard }
  }

  /// A run as it was when the call looked it up.
  struct Candidate: Equatable {
    var run: Place
    var state: RunState
  }

  struct BulkReply: Equatable {
    var changed: [Place] = []
    var skipped: [String] = []
    var failedDependents: [Place] = []
  }

  /// What the call means, in the order in which it goes through them: replays oldest first; a cancel newest first, but
  /// parents that wait for their children before all others.
  func candidates(_ wish: BulkWish) -> [Candidate] {
    let meant = runs.indices.filter { isMeant($0, wish) }
    let order =
      wish.verb == .cancel
      ? meant.filter { runs[$0].state == .waiting } + meant.reversed().filter { runs[$0].state != .waiting } : meant
    return order.map { Candidate(run: $0, state: runs[$0].state) }
  }

  private func isMeant(_ place: Place, _ wish: BulkWish) -> Bool {
    let (run, filter) = (runs[place], wish.filter)
    if run.isDeleted { return false }
    if wish.isOfDeadLetters {
      guard let letter = run.deadLetter, letter.resolution == nil, !isNewer(letter.at, wish) else { return false }
      return filter.task.map { letter.task == $0 } ?? true && filter.reason.map { letter.reason == $0 } ?? true
        && filter.domain.map { Self.domain(of: letter.task) == $0 } ?? true
    }
    if isNewer(run.seriesAt, wish) || wish.startsAgain && isNewer(run.finishedAt ?? 0, wish) { return false }
    return (filter.states.isEmpty || filter.states.contains(run.state))
      && filter.task.map { run.task == $0 } ?? true && filter.domain.map { Self.domain(of: run.task) == $0 } ?? true
      && filter.workflow.map { run.request.workflow == $0 } ?? true
      && filter.group.map { run.request.group == $0 } ?? true
      && filter.dedupKey.map { run.dedupKey == $0 } ?? true
  }

  /// Than the call. What lies more than a minute ahead is from before the clock was set back.
  private func isNewer(_ time: Int64, _ wish: BulkWish) -> Bool { time > wish.asOf(now) && time <= now + 60_000 }

  static func domain(of task: String) -> String { String(task.prefix { $0 != "." }) }

  /// One transaction of it.
  mutating func bulk(_ wish: BulkWish, _ slice: [Candidate]) -> BulkReply {
    var reply = BulkReply()
    let meant = Set(slice.map(\.run).filter { isMeant($0, wish) })
    for candidate in slice {
      let (run, state) = (candidate.run, runs[candidate.run].state)
      if runs[run].isDeleted {
        reply.skipped.append("\(run) run_not_found")
      } else if wish.verb == .cancel, wasCancelled(candidate, wish) {
        // By what followed from another run of the call: it is counted once.
        if !(workingJob.map { jobs[$0].counted.contains(run) } ?? false) { reply.changed.append(run) }
      } else if wish.options.withDependents, Rules.terminal.contains(candidate.state), !runs[run].isEnded {
        // Came back with what it waits for, and is counted there.
      } else if wish.isOfDeadLetters ? !isDeadLetter(run) : !meant.contains(run) {
        reply.skipped.append("\(run) \(wish.isOfDeadLetters ? "not_a_dead_letter" : "no_longer_matches")")
      } else if wish.isOfDeadLetters, isNewer(runs[run].deadLetter?.at ?? 0, wish) {
        reply.skipped.append("\(run) newer_than_as_of")
      } else if let reason = refusal(wish, state) {
        reply.skipped.append("\(run) \(reason)")
      } else {
        change(run, wish, &reply)
      }
    }
    return reply
  }

  private func wasCancelled(_ candidate: Candidate, _ wish: BulkWish) -> Bool {
    let state = runs[candidate.run].state
    guard state == .cancelled || state == .cancelling else { return false }
    return workingJob.map { jobs[$0].cancelled.contains(candidate.run) } ?? (refusal(wish, candidate.state) == nil)
  }

  private mutating func change(_ run: Place, _ wish: BulkWish, _ reply: inout BulkReply) {
    var (refusal, changed): (String?, [Place]) = (nil, [run])
    switch wish.verb {
    case .cancel: refusal = cancel(run)
    case .pause: refusal = pause(run)
    case .resume: refusal = resume(run)
    case .discard: refusal = discard(run)
    case .retry, .replay: (refusal, changed) = replayAll(run, wish.options)
    }
    if let refusal {
      reply.skipped.append("\(run) \(refusal)")
      return
    }
    if let payload = wish.payload { runs[run].payload = payload }
    reply.changed += changed
    if wish.startsAgain { reply.failedDependents += failedDependents(of: run) }
  }

  private func refusal(_ wish: BulkWish, _ state: RunState) -> String? {
    let isEnded = Rules.terminal.contains(state)
    switch wish.verb {
    case .cancel: return isEnded ? "terminal_run" : state == .cancelling ? "already_cancelling" : nil
    case .pause:
      if isEnded { return "terminal_run" }
      if state == .paused { return "already_paused" }
      return state == .blocked || state == .scheduled || state == .ready ? nil : "dispatched"
    case .resume: return state == .paused ? nil : isEnded ? "terminal_run" : "not_paused"
    case .retry, .replay:
      if !isEnded { return "active" }
      if state == .superseded { return "superseded" }
      return state == .completed && !wish.options.force ? "completed_needs_force" : nil
    case .discard: return nil
    }
  }
}
