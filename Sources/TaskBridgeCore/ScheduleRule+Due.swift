extension ScheduleRule {
  /// Decides about the nominal times in `(decidedThrough, now]`.
  ///
  /// Missed times (up to `missedThrough`) run as `catch_up` says, later ones all, at most ``DuePlan/dueMax`` of them
  /// in one plan: when ``DuePlan/decidedThrough`` is before `now`, the next plan goes on there. With `overlap: skip` at
  /// most one of them runs, with `fixed_delay` too. The last of ``maxRuns`` ends the schedule, if its run is made.
  public func due(now: Timestamp, progress: ScheduleProgress) -> DuePlan {
    var plan = DuePlan(decidedThrough: max(now, progress.decidedThrough))
    let left = maxRuns.map { max(0, $0 - progress.runsMade) } ?? Int.max
    guard left > 0 else {
      plan.hasEnded = true
      return plan
    }
    if waitsForEnd && progress.hasOpenRun {
      plan.decidedThrough = progress.decidedThrough
      return plan
    }
    addMissed(through: min(now, progress.missedThrough), progress, to: &plan)
    addOnTime(through: now, progress, to: &plan)
    if overlap == .skip { passOverBesideOpenRuns(progress, in: &plan) }
    if plan.runs.count >= left {
      // What is beyond stays undecided: a time whose run is refused leaves its place to the next one.
      if plan.runs.count > left { plan.decidedThrough = plan.runs[left - 1].at }
      plan.runs.removeLast(plan.runs.count - left)
      plan.hasEnded = true
      return plan
    }
    // The end of the run that starts now is not known.
    if waitsForEnd && !plan.runs.isEmpty { return plan }
    plan.next = next(after: plan.decidedThrough, lastEnd: progress.lastEnd)
    plan.hasEnded = plan.next == nil
    return plan
  }

  private func addMissed(through end: Timestamp, _ progress: ScheduleProgress, to plan: inout DuePlan) {
    let wanted =
      switch catchUp {
      case .skip: 0
      case .latest: 1
      case .all: waitsForEnd ? 1 : catchUpLimit
      }
    var kept: [Occurrence] = []
    var before = end
    while kept.count < wanted,
      let newest = last(through: before, after: progress.decidedThrough, lastEnd: progress.lastEnd)
    {
      kept.append(newest)
      before = Timestamp(milliseconds: newest.at.milliseconds - 1)
    }
    plan.runs = kept.reversed()
    guard let last = last(through: before, after: progress.decidedThrough, lastEnd: progress.lastEnd),
      let first = next(after: progress.decidedThrough, lastEnd: progress.lastEnd)
    else { return }
    var count = 1
    var at = first.at
    while at < last.at, count < DuePlan.countMax, let following = next(after: at, lastEnd: progress.lastEnd) {
      at = following.at
      count += 1
    }
    plan.passedOver.append(.init(reason: .missed, first: first.at, last: last.at, count: count))
  }

  private func addOnTime(through now: Timestamp, _ progress: ScheduleProgress, to plan: inout DuePlan) {
    var at = max(progress.decidedThrough, min(now, progress.missedThrough))
    let wanted = waitsForEnd ? min(1, 1 - plan.runs.count) : DuePlan.dueMax
    var count = 0
    while count < wanted, let following = next(after: at, lastEnd: progress.lastEnd), following.at <= now {
      plan.runs.append(following)
      at = following.at
      count += 1
    }
    if count == DuePlan.dueMax { plan.decidedThrough = at }
  }

  private func passOverBesideOpenRuns(_ progress: ScheduleProgress, in plan: inout DuePlan) {
    let running = progress.hasOpenRun ? 0 : 1
    guard plan.runs.count > running else { return }
    let over = plan.runs[running...]
    plan.passedOver.append(
      .init(reason: .overlap, first: over[running].at, last: over[over.endIndex - 1].at, count: over.count))
    plan.runs.removeLast(over.count)
  }
}
