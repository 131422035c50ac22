package import TaskBridgeCore

/// Pausing one run (fsm §2): only what is still in the store can be held there.
extension Transaction {
  /// blocked, scheduled or ready → paused; a paused run stays as it is.
  ///
  /// - Returns: the run, or 404, 409 `dispatched`, 409 `terminal_run`.
  package func pause(
    _ id: RunID, reason: String?, now: Timestamp, actor: String
  ) throws(StoreError) -> Result<RunID, Problem> {
    guard var run = try run(id) else { return .failure(.runNotFound(id)) }
    switch run.state {
    case .paused: return .success(id)
    case .blocked, .scheduled, .ready:
      let was = RunMark(run)
      try move(&run, from: was, through: [RunStep(.paused, reason ?? "paused")], now: now, actor: actor)
      return .success(id)
    case .queued, .launched, .running, .waiting, .cancelling, .adjusting, .error:
      return .failure(
        Problem(
          409, "dispatched",
          "run \(id) is \(run.state.rawValue): it has left the store and cannot be paused any more; cancel it, or pause its task key \(run.task) to hold back what follows (POST /v1/tasks/\(run.task)/pause)",
          runID: id))
    case .completed, .failed, .deadLettered, .dependencyFailed, .cancelled, .expired, .superseded:
      return .failure(
        Problem(
          409, "terminal_run", "run \(id) already ended \(run.state.rawValue): there is nothing to pause", runID: id))
    }
  }

  /// paused → blocked, scheduled or ready, by what it waits for now; a run that is not paused stays as it is.
  ///
  /// - Returns: the run, or 404, 409 `terminal_run`.
  package func resume(
    _ id: RunID, reason: String?, now: Timestamp, actor: String
  ) throws(StoreError) -> Result<RunID, Problem> {
    guard var run = try run(id) else { return .failure(.runNotFound(id)) }
    if run.state.isTerminal {
      return .failure(
        Problem(
          409, "terminal_run", "run \(id) already ended \(run.state.rawValue): there is nothing to resume", runID: id))
    }
    guard run.state == .paused else { return .success(id) }
    let was = RunMark(run)
    let target = run.waitingState(at: now, isFollowing: try isFollowing(run))
    try move(&run, from: was, through: [RunStep(target, reason ?? "resumed")], now: now, actor: actor)
    return .success(id)
  }

  /// Into or out of `paused`: the time spent there adds nothing to the run's age; what was paused besides it counts once.
  func markPause(of run: inout Run, _ isPaused: Bool, now: Timestamp) throws(StoreError) {
    if let pausedAt = run.pausedAt {
      let since = max(pausedAt, run.waitsSince)
      let paused = controls.pausedTime(task: run.task, group: run.group, until: now)
      let own = now.milliseconds - since.milliseconds - paused.milliseconds(from: since, to: now)
      if own > 0 { run.agesFrom = paused.advance(run.waitsSince, by: own) }
    }
    run.pausedAt = isPaused ? now : nil
    try db.run(
      "UPDATE runs SET paused_at = ?, ages_from = ? WHERE seq = ?", run.pausedAt, run.agesFrom, run.sequence)
  }
}
