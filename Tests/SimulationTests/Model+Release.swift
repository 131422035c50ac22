import TaskBridgeCore

/// The release: what the store chose is judged, and done here as well.
///
/// Judged are the gates, the order inside a task key, how its groups share what binds it, and that no task key is left
/// out for long. Which of several equal groups or task keys gets the last slot is left to the store.
extension Model {
  /// - Parameter max: the most the release was asked for.
  /// - Returns: what is wrong, nil when nothing is.
  mutating func release(_ released: [Place], max: Int) -> String? {
    if released.count > max || Set(released).count < released.count { return "more than \(max), or one twice" }
    let before = self
    let eligible = runs.indices.filter { isEligible($0) }
    var waiting: [String: [(run: Place, rank: Rank)]] = [:]
    for run in eligible { waiting[runs[run].task, default: []].append((run, rank(run))) }
    for run in released {
      let line = waiting[runs[run].task] ?? []
      guard let own = line.first(where: { $0.run == run }) else {
        return "run \(run) is \(runs[run].state) or its gate is closed"
      }
      let isShared = before.sharesByWeight(runs[run].task)
      for other in line where other.rank < own.rank {
        if runs[other.run].request.group == runs[run].request.group || !isShared && isOpen(groupOf: other.run) {
          return "run \(run) went before run \(other.run)"
        }
      }
      if line.count > 1, effectivePriority(run) != runs[run].priority { releasedByAge += 1 }
      if line.count > 1, isShared { releasedByShare += 1 }
      waiting[runs[run].task] = line.filter { $0.run != run }
      dispatch(run)
    }
    for run in released {
      if let wrong = excess(run, released: released, before: before) { return "run \(run): \(wrong)" }
    }
    let left = eligible.filter { runs[$0].state == .ready && holds($0).isEmpty }
    if released.count < max, let run = left.first { return "run \(run) was left behind" }
    if let wrong = unfairness(released, before: before) { return wrong }
    return keyLeftOut(left: left, released: released)
  }

  /// Most releases in a row that may leave a task key out: one for each of the others.
  private static let passedOverMax = HistoryGenerator.tasks.count - 1

  private mutating func keyLeftOut(left: [Place], released: [Place]) -> String? {
    let (waiting, served) = (Set(left.map { runs[$0].task }), Set(released.map { runs[$0].task }))
    passedOver = passedOver.filter { waiting.contains($0.key) && !served.contains($0.key) }
    for task in waiting.subtracting(served) {
      passedOver[task, default: 0] += 1
      if passedOver[task] ?? 0 > Self.passedOverMax { return "\(task) was left out again and again" }
    }
    return nil
  }

  private func isEligible(_ run: Place) -> Bool {
    runs[run].state == .ready && runs[run].expiresAt ?? .max > now
      && holds(run).isDisjoint(with: [.paused, .taskPaused, .groupPaused])
  }

  private func isOpen(groupOf run: Place) -> Bool {
    guard let group = runs[run].request.group, let settings = gates.groups[group] else { return true }
    let isFull = settings.limit.map { limit in inUse { $0.request.group == group } >= limit } ?? false
    return !isFull && gates.tokens(.group(group), settings, at: now) ?? 1 >= 1
  }

  // MARK: Groups

  /// Whether groups with ready runs of the task key have a weight or minimum slots; else urgency alone counts.
  private func sharesByWeight(_ task: String) -> Bool {
    runs.contains { run in
      guard run.state == .ready, run.task == task, let group = run.request.group else { return false }
      return gates.groups[group]?.weight != nil || gates.groups[group]?.minimumSlots != nil
    }
  }

  /// A group that got its last slot before another one whose turn it was.
  private func unfairness(_ released: [Place], before: Model) -> String? {
    for task in Set(released.map { runs[$0].task }) where before.sharesByWeight(task) {
      let settings = gates.tasks[task]
      let free = settings?.limit.map { limit in limit - before.inUse { $0.task == task } } ?? .max
      // Where the limit leaves no more room than the queue bound, claimed runs count too.
      let isLimited = free <= (settings?.queueBound ?? 1_000) - before.unclaimed(task)
      let states: Set<RunState> = isLimited ? Rules.slots : [.queued, .launched]
      func held(_ group: String?) -> Int {
        runs.count { $0.task == task && $0.request.group == group && states.contains($0.state) }
      }
      func weight(_ group: String?) -> Int { group.flatMap { gates.groups[$0]?.weight } ?? 1 }
      func minimum(_ group: String?) -> Int { group.flatMap { gates.groups[$0]?.minimumSlots } ?? 0 }
      let served = Set(released.filter { runs[$0].task == task }.map { runs[$0].request.group })
      let hungry = runs.indices.filter { runs[$0].task == task && isEligible($0) && isOpen(groupOf: $0) }
      for group in served {
        for other in Set(hungry.map { runs[$0].request.group }) where other != group {
          let (mine, theirs) = (held(group) - 1, held(other))
          let (isShort, otherIsShort) = (mine < minimum(group), theirs < minimum(other))
          if otherIsShort && !isShort
            || isShort == otherIsShort && mine * weight(other) > theirs * weight(group)
          {
            return "group \(group ?? "-") of \(task) got a slot that was \(other ?? "-")'s: \(mine + 1) to \(theirs)"
          }
        }
      }
    }
    return nil
  }

  // MARK: What it does

  /// Which limit let through one too many.
  private func excess(_ run: Place, released: [Place], before: Model) -> String? {
    let (task, group) = (runs[run].task, runs[run].request.group)
    let settings = gates.tasks[task]
    if unclaimed(task) > settings?.queueBound ?? 1_000 { return "more than queue_bound" }
    if let limit = settings?.limit, inUse({ $0.task == task }) > limit { return "over the limit of its task key" }
    let ofTask = released.count { runs[$0].task == task }
    if let tokens = before.gates.tokens(.task(named: task), settings, at: now), ofTask > tokens {
      return "over its rate"
    }
    guard let group else { return nil }
    if let limit = gates.groups[group]?.limit, inUse({ $0.request.group == group }) > limit {
      return "over its group's limit"
    }
    let ofGroup = released.count { runs[$0].request.group == group }
    if let tokens = before.gates.tokens(.group(group), gates.groups[group], at: now), ofGroup > tokens {
      return "over its group's rate"
    }
    return nil
  }

  /// Hands one run over: its next attempt, or the next dispatch of one that was taken back.
  private mutating func dispatch(_ run: Place) {
    let reportBy = now + lease(run)
    if let newest = runs[run].attempts.indices.last, runs[run].attempts[newest].state == .queued {
      // Its next dispatch was counted when it was taken back.
      runs[run].attempts[newest].state = .instantiated
      runs[run].attempts[newest].reportBy = reportBy
    } else {
      runs[run].attempts.append(Attempt(reportBy: reportBy))
      let request = runs[run].request
      if request.ttlFromFirstAttempt, let ttl = request.ttlSeconds, !runs[run].hasStarted,
        runs[run].failures + runs[run].losses == 0
      {
        let end = now + Int64(ttl) * 1_000
        runs[run].expiresAt = min(runs[run].expiresAt ?? end, end)
      }
    }
    runs[run].launchedAt = nil
    move(run, .queued)
    let task = runs[run].task
    gates.take(.task(named: task), gates.tasks[task], at: now)
    if let group = runs[run].request.group { gates.take(.group(group), gates.groups[group], at: now) }
  }
}
