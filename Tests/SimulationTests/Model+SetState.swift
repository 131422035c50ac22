import TaskBridgeCore

/// Asking a run for a state, and changing one that has not left the store.
extension Model {
  struct StateWish: Equatable, Sendable {
    var state: RunState
    var isForced = false
    var afterSeconds: Int?
    var transitionID: String?
    var claim: String?
  }

  struct StateReply: Equatable {
    var status: Verdict
    var code: VerdictCode
    var state: RunState
    var asked: RunState?

    /// Without what was asked: the part that is answered.
    var answer: StateReply { StateReply(status: status, code: code, state: state) }
  }

  /// - Returns: nil when the transition id was used to ask for another state.
  mutating func setState(_ run: Place, _ wish: StateWish) -> StateReply? {
    if let id = wish.transitionID, let first = runs[run].transitions[id] {
      return first.asked == wish.state ? first.answer : nil
    }
    let reply = carryOut(wish, run)
    if let id = wish.transitionID {
      var kept = reply
      kept.asked = wish.state
      runs[run].transitions[id] = kept
    }
    return reply
  }

  private mutating func carryOut(_ wish: StateWish, _ run: Place) -> StateReply {
    let state = runs[run].state
    func reply(_ status: Verdict, _ code: VerdictCode) -> StateReply {
      StateReply(status: status, code: code, state: state)
    }
    if state == .completed { return reply(.reject, wish.state == .completed ? .duplicate : .terminalRun) }
    if runs[run].isEnded { return reply(.abort, .terminalRun) }
    let isInStore = state == .blocked || state == .scheduled || state == .ready || state == .paused
    let waits = isFollowing(run) || runs[run].openPrerequisites > 0 && !wish.isForced
    let runAt = wish.afterSeconds.map { now + Int64($0) * 1_000 }
    switch wish.state {
    case .ready:
      if state == .ready { return reply(.accept, .duplicate) }
      if !isInStore { break }
      if waits { return reply(.wait, .notDue) }
      setTime(of: run, to: runs[run].runAt.map { min($0, now) })
      return place(run, .ready)
    case .scheduled:
      guard isInStore, let runAt else { break }
      if state == .scheduled {
        setTime(of: run, to: runAt)
        return reply(.accept, .applied)
      }
      if waits { return reply(.wait, .notDue) }
      setTime(of: run, to: runAt)
      return place(run, .scheduled)
    case .paused:
      if !isInStore { break }
      if state == .paused { return reply(.accept, .duplicate) }
      move(run, .paused)
      return StateReply(status: .accept, code: .applied, state: .paused)
    case .running:
      if state == .running || state == .waiting { return reply(.abort, .alreadyClaimed) }
      if state == .queued || state == .launched {
        return report(ReportWords(state: .running, claim: wish.claim), run, wish)
      }
      guard isInStore, !wish.isForced else { break }
      let isLimited = state == .ready && !holds(run).isDisjoint(with: [.groupLimit, .taskLimit, .rateLimit])
      return reply(.wait, isLimited ? .limited : .notDue)
    case .completed:
      if state == .waiting { return reply(.wait, .notDue) }
      if isInStore { break }
      return report(ReportWords(state: .completed), run, wish)
    case .failed:
      if isInStore || state == .waiting || state == .cancelling { break }
      return report(ReportWords(state: .failed, isRetryable: !wish.isForced), run, wish)
    case .cancelled:
      cancel(run)
      if runs[run].state == .cancelled { return StateReply(status: .accept, code: .applied, state: .cancelled) }
      let code: VerdictCode = state == .cancelling ? .duplicate : .applied
      return StateReply(status: .reject, code: code, state: runs[run].state)
    default: break
    }
    return reply(.abort, .invalidTransition)
  }

  private mutating func place(_ run: Place, _ state: RunState) -> StateReply {
    // Forced: it waits for none of its prerequisites any more.
    for index in runs[run].prerequisites.indices { runs[run].prerequisites[index].isSatisfied = true }
    move(run, state)
    return StateReply(status: .accept, code: .applied, state: state)
  }

  /// The caller speaks for the newest dispatch, whoever holds it.
  private mutating func report(_ words: ReportWords, _ run: Place, _ wish: StateWish) -> StateReply {
    var words = words
    if words.state != .running { words.impliesClaim = true }
    let token = Token(run: run, attempt: runs[run].attempt, dispatch: runs[run].dispatch)
    let code = judge(words, by: token, on: run).0
    let state = runs[run].state
    guard code == .applied else { return StateReply(status: .abort, code: code, state: state) }
    let isAsked = state == wish.state || wish.state == .failed && state == .deadLettered
    return StateReply(status: isAsked ? .accept : .reject, code: .applied, state: state)
  }

  // MARK: Change

  enum NewTime: Equatable, Sendable {
    case absent, none
    case after(seconds: Int)
  }

  struct Change: Equatable, Sendable {
    var priority: Int?
    var runAt = NewTime.absent
    var expiresAt = NewTime.absent
  }

  /// - Returns: nil, or the code of the refusal.
  mutating func change(_ run: Place, _ change: Change) -> String? {
    if runs[run].isDeleted { return "run_not_found" }
    if runs[run].isEnded { return "terminal_run" }
    guard [.blocked, .scheduled, .ready, .paused].contains(runs[run].state) else { return "dispatched" }
    runs[run].priority = change.priority ?? runs[run].priority
    runs[run].expiresAt = time(change.expiresAt, else: runs[run].expiresAt)
    setTime(of: run, to: time(change.runAt, else: runs[run].runAt))
    if runs[run].state == .ready, !isDue(run) { move(run, .scheduled) }
    if runs[run].state == .scheduled, isDue(run) { move(run, .ready) }
    return nil
  }

  private func time(_ new: NewTime, else old: Int64?) -> Int64? {
    switch new {
    case .absent: old
    case .none: nil
    case .after(let seconds): now + Int64(seconds) * 1_000
    }
  }
}
