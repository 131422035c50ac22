import TaskBridgeCore

/// Pauses, limits and rates, in whole numbers: a token is `Gates.token` parts, so that a rate of half a run a second is
/// one part a millisecond.
struct Gates: Equatable {
  struct Settings: Equatable, Sendable {
    var queueBound: Int?
    var limit: Int?
    /// Half runs per second.
    var halfRate: Int?
    var burst: Int?
    var isLIFO = false
    var leaseSeconds: Int?
    /// How a group shares: not judged.
    var weight: Int?
    var minimumSlots: Int?
  }

  struct Bucket: Equatable {
    var parts: Int64
    var at: Int64
  }

  static let token: Int64 = 2_000

  /// By subject; the value is when it ends, nil for not by itself.
  var pauses: [ControlSubject: Int64?] = [:]
  var tasks: [String: Settings] = [:]
  var groups: [String: Settings] = [:]
  var buckets: [ControlSubject: Bucket] = [:]

  func isPaused(_ subject: ControlSubject, at now: Int64) -> Bool {
    guard let until = pauses[subject] else { return false }
    return until.map { now < $0 } ?? true
  }

  /// Whole tokens left; nil without a rate.
  func tokens(_ subject: ControlSubject, _ settings: Settings?, at now: Int64) -> Int? {
    bucket(subject, settings, at: now).map { Int($0.parts / Self.token) }
  }

  mutating func take(_ subject: ControlSubject, _ settings: Settings?, at now: Int64) {
    guard var bucket = bucket(subject, settings, at: now) else { return }
    bucket.parts -= Self.token
    buckets[subject] = bucket
  }

  private func bucket(_ subject: ControlSubject, _ settings: Settings?, at now: Int64) -> Bucket? {
    guard let rate = settings?.halfRate else { return nil }
    // A second's worth, at least one.
    let most = Int64(settings?.burst ?? max(1, (rate + 1) / 2)) * Self.token
    guard let bucket = buckets[subject] else { return Bucket(parts: most, at: now) }
    return Bucket(parts: min(most, bucket.parts + (now - bucket.at) * Int64(rate)), at: now)
  }
}

extension ControlSubject {
  static func task(named name: String) -> ControlSubject {
    .task(Request.key(name))
  }
}

extension Model {
  /// Judges what the store released, and does the same.
  ///
  /// Which task key or group gets what is left of a shared limit is a matter of fairness, which is not judged here: the
  /// order is compared inside one task key and group, and between them that no gate let through too much, and that none
  /// was left shut that stood open.
  ///
  /// - Parameter max: the most the release was asked for.
  /// - Returns: what is wrong, nil when nothing is.
  mutating func release(_ released: [Place], max: Int) -> String? {
    if released.count > max || Set(released).count < released.count { return "more than \(max), or one twice" }
    let eligible = runs.indices.filter { isEligible($0) }
    for run in released where !eligible.contains(run) {
      return "run \(run) is \(runs[run].state) or its gate is closed"
    }
    for (place, line) in Dictionary(grouping: eligible, by: line) {
      let expected = line.sorted(by: isBefore)
      let found = released.filter { self.line($0) == place }
      if found != Array(expected.prefix(found.count)) {
        return "order of \(place.task) \(place.group ?? "-"): \(found), expected \(expected.prefix(found.count))"
      }
    }
    let before = self
    for run in released { dispatch(run) }
    for run in released {
      if let wrong = excess(run, released: released, before: before) { return "run \(run): \(wrong)" }
    }
    if released.count < max {
      for run in eligible where runs[run].state == .ready && holds(run).isEmpty { return "run \(run) was left behind" }
    }
    return nil
  }

  private struct Line: Hashable {
    var task: String
    var group: String?
  }

  private func line(_ run: Place) -> Line { Line(task: runs[run].task, group: runs[run].request.group) }

  private func isEligible(_ run: Place) -> Bool {
    runs[run].state == .ready && runs[run].expiresAt ?? .max > now
      && holds(run).isDisjoint(with: [.paused, .taskPaused, .groupPaused])
  }

  private func isBefore(_ left: Place, _ right: Place) -> Bool {
    if runs[left].priority != runs[right].priority { return runs[left].priority < runs[right].priority }
    if runs[left].isRetry != runs[right].isRetry { return runs[left].isRetry }
    return gates.tasks[runs[left].task]?.isLIFO ?? false ? left > right : left < right
  }

  /// The gates of the store that are closed to a ready run.
  func holds(_ run: Place) -> Set<Hold> {
    let (task, group) = (runs[run].task, runs[run].request.group)
    let settings = gates.tasks[task]
    var holds: Set<Hold> = []
    if gates.isPaused(.bridge, at: now) { holds.insert(.paused) }
    if gates.isPaused(.task(named: task), at: now) || gates.isPaused(.domain(Self.domain(of: task)), at: now) {
      holds.insert(.taskPaused)
    }
    if unclaimed(task) >= settings?.queueBound ?? 1_000 { holds.insert(.queueBound) }
    if let limit = settings?.limit, inUse({ $0.task == task }) >= limit { holds.insert(.taskLimit) }
    if gates.tokens(.task(named: task), settings, at: now) ?? 1 < 1 { holds.insert(.rateLimit) }
    guard let group else { return holds }
    if gates.isPaused(.group(group), at: now) { holds.insert(.groupPaused) }
    if let limit = gates.groups[group]?.limit, inUse({ $0.request.group == group }) >= limit {
      holds.insert(.groupLimit)
    }
    if gates.tokens(.group(group), gates.groups[group], at: now) ?? 1 < 1 { holds.insert(.rateLimit) }
    return holds
  }

  private func inUse(_ isMeant: (Run) -> Bool) -> Int { runs.count { Rules.slots.contains($0.state) && isMeant($0) } }

  private func unclaimed(_ task: String) -> Int {
    runs.count { $0.task == task && ($0.state == .queued || $0.state == .launched) }
  }

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
