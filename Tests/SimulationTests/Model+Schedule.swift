import TaskBridgeCore

/// Schedules: which nominal times run, by the written rules alone. Times are counted out one by one.
extension Model {
  struct Timing: Equatable, Sendable {
    enum Kind: Equatable, Sendable { case cron, rate, delay }
    var kind: Kind
    var seconds: Int

    var milliseconds: Int64 { Int64(seconds) * 1_000 }
  }

  struct SchedulePlan: Equatable, Sendable {
    var timing: Timing
    var startsAt: Int64?
    var endsAt: Int64?
    var maxRuns: Int?
    var catchUp = ScheduleRule.CatchUp.skip
    var catchUpLimit = 100
    var skipsOverlap = false
    var request: Request
  }

  struct Schedule: Equatable {
    var plan: SchedulePlan
    let createdAt: Int64
    var decidedThrough: Int64
    var missedThrough: Int64
    var runsMade = 0
    var hasEnded = false
    /// When it is looked at next.
    var dueAt: Int64?
    var pausedSince: Int64?
    var lastAt: Int64?
    var lastRun: Place?
    var lastEnd: Int64?

    /// The first nominal time after `moment`.
    func next(after moment: Int64) -> Int64? {
      let interval = plan.timing.milliseconds
      var at: Int64
      switch plan.timing.kind {
      case .cron:
        at = 0
        let from = max(moment, plan.startsAt.map { $0 - 1 } ?? moment)
        at = (from / interval + 1) * interval
      case .rate, .delay:
        let restart = plan.timing.kind == .delay ? lastEnd : nil
        let isFirstATime = restart == nil && plan.startsAt != nil
        at = (restart ?? plan.startsAt ?? createdAt) + (isFirstATime ? 0 : interval)
        if at <= moment { at += ((moment - at) / interval + 1) * interval }
      }
      return plan.endsAt.map { at <= $0 } ?? true ? at : nil
    }

    func times(through end: Int64) -> [Int64] {
      var (found, last) = ([Int64](), decidedThrough)
      while let at = next(after: last), at <= end {
        found.append(at)
        last = at
      }
      return found
    }
  }

  /// What became of a nominal time, or of neighbours.
  struct NominalTime: Equatable {
    var schedule: String
    var first: Int64
    var last: Int64
    var count: Int
    var run: Place?
    var reason: String?
  }

  // MARK: Firing

  /// - Parameters:
  ///   - isFirst: nothing could run until now.
  ///   - id: of the next run that is tried.
  mutating func fireSchedules(isFirst: Bool, id: () -> RunID) {
    if isFirst {
      for (name, schedule) in schedules where schedule.pausedSince == nil {
        schedules[name]?.missedThrough = max(schedule.missedThrough, now)
      }
    }
    let due = schedules.compactMap { name, schedule in schedule.dueAt.map { (at: $0, name: name) } }
      .filter { $0.at <= now }.sorted { ($0.at, $0.name) < ($1.at, $1.name) }
    for (_, name) in due { decide(name, id: id) }
  }

  private mutating func decide(_ name: String, id: () -> RunID) {
    guard let schedule = schedules[name] else { return }
    let plan = schedule.plan
    if plan.timing.kind == .delay, hasOpenRun(of: name) { return planNext(name) }
    let left = plan.maxRuns.map { max(0, $0 - schedule.runsMade) } ?? .max
    let come = left == 0 ? [] : schedule.times(through: now)
    let missed = come.filter { $0 <= schedule.missedThrough }
    let wanted =
      switch plan.catchUp {
      case .skip: 0
      case .latest: 1
      case .all: plan.timing.kind == .delay ? 1 : plan.catchUpLimit
      }
    var running = Array(missed.suffix(wanted))
    var passedOver: [NominalTime] = []
    func passOver(_ times: some Collection<Int64>, _ reason: String) {
      guard let first = times.min(), let last = times.max() else { return }
      passedOver.append(
        NominalTime(schedule: name, first: first, last: last, count: times.count, run: nil, reason: reason))
    }
    passOver(missed.dropLast(running.count), "missed")
    running += come.filter { $0 > schedule.missedThrough }
    if plan.timing.kind == .delay { running = Array(running.prefix(1)) }
    if plan.skipsOverlap {
      let room = hasOpenRun(of: name) ? 0 : 1
      passOver(running.dropFirst(room), "overlap")
      running = Array(running.prefix(room))
    }
    for at in running.prefix(left) { fire(name, at, id: id()) }
    times += passedOver
    // Beyond the last that may run nothing is decided: it may have been refused.
    let through = running.count > left ? running[max(0, left - 1)] : now
    schedules[name]?.decidedThrough = max(through, schedule.decidedThrough)
    planNext(name)
  }

  private mutating func fire(_ name: String, _ at: Int64, id: RunID) {
    guard var request = schedules[name]?.plan.request else { return }
    request.runAt = at
    let (run, isRefused) = makeRun(request, of: name, nominalAt: at, id: id)
    if let run {
      schedules[name]?.lastRun = run
      schedules[name]?.lastAt = at
      schedules[name]?.runsMade += 1
    }
    times.append(
      NominalTime(
        schedule: name, first: at, last: at, count: 1, run: run,
        reason: run != nil ? nil : isRefused ? "refused" : "duplicate"))
  }

  private mutating func makeRun(
    _ request: Request, of name: String, nominalAt: Int64?, id: RunID
  ) -> (run: Place?, isRefused: Bool) {
    guard case .stored(_, let run, _, let followUp) = submit(request, id: id) else { return (nil, true) }
    guard let made = [run, followUp ?? run].first(where: { runs[$0].id == id }) else { return (nil, false) }
    runs[made].schedule = name
    runs[made].nominalAt = nominalAt
    return (made, false)
  }

  func hasOpenRun(of name: String) -> Bool { runs.contains { $0.schedule == name && !$0.isEnded } }

  private mutating func planNext(_ name: String) {
    guard var schedule = schedules[name] else { return }
    schedule.dueAt = nil
    schedule.hasEnded = schedule.plan.maxRuns.map { schedule.runsMade >= $0 } ?? false
    let waits = schedule.plan.timing.kind == .delay && hasOpenRun(of: name)
    if !schedule.hasEnded, !waits {
      let next = schedule.next(after: schedule.decidedThrough)
      schedule.hasEnded = next == nil
      if schedule.pausedSince == nil { schedule.dueAt = next }
    }
    schedules[name] = schedule
  }

  /// A fixed delay counts from the end of a run; what waited for it is looked at again.
  mutating func wakeSchedule(of run: Place) {
    guard let name = runs[run].schedule, let schedule = schedules[name] else { return }
    if runs[run].nominalAt != nil { schedules[name]?.lastEnd = now }
    if schedule.dueAt == nil, schedule.pausedSince == nil, !schedule.hasEnded { schedules[name]?.dueAt = now }
  }

  // MARK: What people do with them. Each returns nil, or the code of the refusal.

  mutating func add(_ name: String, _ plan: SchedulePlan) -> String? {
    if schedules[name] != nil { return "schedule_exists" }
    let last = runs.filter { $0.schedule == name && !$0.isDeleted }.compactMap(\.nominalAt).max()
    schedules[name] = Schedule(plan: plan, createdAt: now, decidedThrough: max(now, last ?? now), missedThrough: now)
    planNext(name)
    return nil
  }

  /// - Parameter isOn: schedules are fired already.
  mutating func change(
    _ name: String, isOn: Bool, id: () -> RunID, _ change: (inout SchedulePlan) -> Void
  ) -> String? {
    guard let before = schedules[name] else { return "schedule_not_found" }
    if isOn, let due = before.dueAt, due <= now { decide(name, id: id) }
    guard var schedule = schedules[name] else { return nil }
    let old = schedule.plan
    change(&schedule.plan)
    if schedule.hasEnded || old.timing != schedule.plan.timing || old.startsAt != schedule.plan.startsAt {
      schedule.decidedThrough = max(schedule.decidedThrough, now)
    }
    schedules[name] = schedule
    planNext(name)
    return nil
  }

  mutating func pauseSchedule(_ name: String) -> String? {
    guard let schedule = schedules[name] else { return "schedule_not_found" }
    schedules[name]?.pausedSince = schedule.pausedSince ?? now
    schedules[name]?.dueAt = nil
    return nil
  }

  mutating func resumeSchedule(_ name: String, isOn: Bool, id: () -> RunID) -> String? {
    guard let schedule = schedules[name] else { return "schedule_not_found" }
    if schedule.pausedSince == nil { return nil }
    schedules[name]?.pausedSince = nil
    schedules[name]?.missedThrough = max(schedule.missedThrough, now)
    if isOn { decide(name, id: id) } else { planNext(name) }
    return nil
  }

  mutating func removeSchedule(_ name: String) -> String? {
    if schedules.removeValue(forKey: name) == nil { return "schedule_not_found" }
    times.removeAll { $0.schedule == name }
    return nil
  }

  /// By hand; the plan stays as it is.
  mutating func runNow(_ name: String, id: RunID) -> Answer {
    guard let schedule = schedules[name] else { return .refused("schedule_not_found") }
    var trial = self
    let answer = trial.submit(schedule.plan.request, id: id)
    let (run, _) = makeRun(schedule.plan.request, of: name, nominalAt: nil, id: id)
    if let run { schedules[name]?.lastRun = run }
    return answer
  }
}
