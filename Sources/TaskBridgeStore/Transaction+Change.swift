package import TaskBridgeCore

/// Changing a run that is still in the store.
extension Transaction {
  /// The next release goes by the new values.
  ///
  /// - Returns: the run, or 404, 409 `dispatched`, 409 `terminal_run`, 422 for fewer attempts than it has used up.
  package func change(
    _ id: RunID, _ change: RunChange, policies: PolicyLookup, now: Timestamp, actor: String
  ) throws(StoreError) -> Result<RunID, Problem> {
    guard var run = try run(id) else { return .failure(.runNotFound(id)) }
    guard !run.state.isTerminal else {
      return .failure(
        Problem(
          409, "terminal_run", "run \(id) already ended \(run.state.rawValue): replay it to give it other values",
          runID: id))
    }
    guard Self.backlog.contains(run.state) else {
      return .failure(
        Problem(
          409, "dispatched",
          "run \(id) is \(run.state.rawValue): only a run that has not left the store can be changed",
          runID: id))
    }
    if let problem = attemptsRefusal(of: change, on: run, policies) { return .failure(problem) }
    let was = RunMark(run)
    run.priority = change.priority ?? run.priority
    if case .set(let expiresAt) = change.expiresAt { run.expiresAt = expiresAt }
    try writeDescription(of: run, change)
    if case .set(let runAt) = change.runAt { try setTime(of: &run, to: runAt, now: now) }
    let isDue = run.isDue(at: now)
    switch run.state {
    case .ready where !isDue:
      try move(&run, from: was, through: [RunStep(.scheduled, "run_at changed")], now: now, actor: actor)
    case .scheduled where isDue:
      try move(&run, from: was, through: [RunStep(.ready, "run_at changed")], now: now, actor: actor)
    default: try write(run, was: was)
    }
    // The sweeps look again; a more urgent run is released before others.
    note(.due)
    note(.ready)
    return .success(id)
  }

  /// Gives `run` a time of its own, which is when its waiting begins to count, if it is later than what counted so far. A
  /// time that has come postpones nothing.
  ///
  /// The caller writes the run.
  func setTime(of run: inout Run, to runAt: Timestamp?, now: Timestamp) throws(StoreError) {
    guard runAt != run.runAt else { return }
    run.runAt = runAt
    guard let agesFrom = run.agesFrom else { return }
    // What was postponed before and comes back has waited for nothing meanwhile.
    let soFar = min(agesFrom, now)
    run.agesFrom = runAt.map { $0 > now ? max(soFar, $0) : soFar } ?? soFar
    try db.run("UPDATE runs SET ages_from = ? WHERE seq = ?", run.agesFrom, run.sequence)
  }

  /// Another attempt is due: it has to count as one of `max_attempts`.
  private func attemptsRefusal(of change: RunChange, on run: Run, _ policies: PolicyLookup) -> Problem? {
    guard case .set(let asked) = change.maxAttempts else { return nil }
    let maxAttempts = asked ?? controls.policy(policies.policy(run.task), for: run.task).maxAttempts
    guard maxAttempts <= run.failures else { return nil }
    let origin = asked == nil ? ", which the settings of task \(run.task) say," : ""
    let detail =
      "max_attempts \(maxAttempts)\(origin) leaves no attempt: \(run.failures) are used up and the next one is due; allowed: \(run.failures + 1)...\(RunChange.maxAttemptsRange.upperBound), or cancel the run"
    return Problem(
      422, "invalid_field", detail, errors: [Fault(pointer: "/max_attempts", detail: detail)], runID: run.id)
  }

  private func writeDescription(of run: Run, _ change: RunChange) throws(StoreError) {
    if case .set(let name) = change.name {
      try db.run("UPDATE runs SET name = ? WHERE seq = ?", name, run.sequence)
    }
    if case .set(let maxAttempts) = change.maxAttempts {
      try db.run("UPDATE runs SET max_attempts = ? WHERE seq = ?", maxAttempts, run.sequence)
    }
    guard let tags = change.tags else { return }
    try db.run("UPDATE runs SET tags = ? WHERE seq = ?", StoredOptions.text(tags: tags), run.sequence)
    try db.run("DELETE FROM tags WHERE run_seq = ?", run.sequence)
    for (key, value) in tags {
      try db.run("INSERT INTO tags (run_seq, key, value) VALUES (?, ?, ?)", run.sequence, key, value)
    }
  }
}
