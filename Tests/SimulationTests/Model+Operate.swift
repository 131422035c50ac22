import TaskBridgeCore

/// What people ask for. Each returns nil, or the code of the refusal.
extension Model {
  struct ReplayOptions: Equatable, Sendable {
    var force = false
    var priority: Int?
    var afterSeconds: Int?
    /// The same, as a moment.
    var runAt: Int64?
    var maxAttempts: Int?
    var withDependents = false

    func time(_ now: Int64) -> Int64? { runAt ?? afterSeconds.map { now + Int64($0) * 1_000 } }
  }

  mutating func pause(_ run: Place) -> String? {
    if runs[run].isDeleted { return "run_not_found" }
    switch runs[run].state {
    case .paused: return nil
    case .blocked, .scheduled, .ready:
      move(run, .paused)
      return nil
    case .queued, .launched, .running, .waiting, .cancelling, .adjusting, .error: return "dispatched"
    case .completed, .failed, .deadLettered, .dependencyFailed, .cancelled, .expired, .superseded:
      return "terminal_run"
    }
  }

  mutating func resume(_ run: Place) -> String? {
    if runs[run].isDeleted { return "run_not_found" }
    if runs[run].isEnded { return "terminal_run" }
    guard runs[run].state == .paused else { return nil }
    let isBlocked = runs[run].openPrerequisites > 0 || isFollowing(run)
    move(run, isBlocked ? .blocked : isDue(run) ? .ready : .scheduled)
    return nil
  }

  mutating func replay(_ run: Place, _ options: ReplayOptions) -> String? { replayAll(run, options).refusal }

  /// - Returns: the code of the refusal, or the runs that came back, `run` first.
  mutating func replayAll(_ run: Place, _ options: ReplayOptions) -> (refusal: String?, replayed: [Place]) {
    if let refusal = replayOne(run, options) { return (refusal, []) }
    return (nil, [run] + (options.withDependents ? replayDependents(of: run) : []))
  }

  private mutating func replayOne(_ run: Place, _ options: ReplayOptions) -> String? {
    if runs[run].isDeleted { return "run_not_found" }
    guard runs[run].isEnded else { return "active" }
    if runs[run].state == .superseded { return "superseded" }
    if runs[run].state == .completed, !options.force { return "completed_needs_force" }
    if let parent = runs[run].request.parent, runs[parent].state == .cancelling { return "parent_ended" }
    let isBusy = runs.contains {
      $0.dedupKey != nil && $0.dedupKey == runs[run].dedupKey && $0.request.task == runs[run].request.task
        && !$0.isEnded
    }
    if isBusy { return "dedup_busy" }
    let request = runs[run].request
    runs[run].failures = 0
    runs[run].losses = 0
    runs[run].replays += 1
    runs[run].isRetry = false
    runs[run].priority = options.priority ?? runs[run].priority
    runs[run].maxAttempts = options.maxAttempts ?? runs[run].maxAttempts
    runs[run].runAt = options.time(now)
    runs[run].agesFrom = max(now, runs[run].runAt ?? now)
    runs[run].pausedAt = nil
    runs[run].launchedAt = nil
    runs[run].hasStarted = false
    runs[run].seriesAt = now
    runs[run].expiresAt = request.ttlFromFirstAttempt ? nil : request.ttlSeconds.map { now + Int64($0) * 1_000 }
    // Asked for in spite of the prerequisites that have ended.
    for index in runs[run].prerequisites.indices where runs[runs[run].prerequisites[index].run].isEnded {
      runs[run].prerequisites[index].isSatisfied = true
    }
    if let parent = request.parent {
      runs[parent].openChildren += 1
      runs[run].parentSeries = runs[parent].replays
    }
    let isBlocked = runs[run].openPrerequisites > 0 || isFollowing(run)
    move(run, isBlocked ? .blocked : isDue(run) ? .ready : .scheduled)
    resolve(run, "replayed")
    return nil
  }

  /// The failed dependents of a replayed run come back too, the oldest first, and with them theirs.
  private mutating func replayDependents(of run: Place) -> [Place] {
    var replayed: [Place] = []
    var pending = Set(failedDependents(of: run))
    while let next = pending.min() {
      pending.remove(next)
      let waitsForFailed = runs[next].prerequisites.contains {
        !$0.isSatisfied && runs[$0.run].isEnded && runs[$0.run].state != .completed
      }
      if waitsForFailed, runs[next].request.onDependencyFailure != .ignore { continue }
      if replayOne(next, ReplayOptions()) == nil {
        replayed.append(next)
        pending.formUnion(failedDependents(of: next))
      }
    }
    return replayed
  }

  /// Dependents that failed because of `run`, or of what it stands for.
  func failedDependents(of run: Place) -> [Place] {
    runs.indices.filter {
      runs[$0].state == .dependencyFailed
        && runs[$0].prerequisites.contains(Prerequisite(run: run, isSatisfied: false))
    }
  }

  mutating func discard(_ run: Place) -> String? {
    if runs[run].isDeleted { return "run_not_found" }
    guard let letter = runs[run].deadLetter, letter.resolution == nil else { return "not_a_dead_letter" }
    resolve(run, "discarded")
    return nil
  }

  private mutating func resolve(_ run: Place, _ resolution: String) {
    if runs[run].deadLetter?.resolution == nil { runs[run].deadLetter?.resolution = resolution }
  }
}
