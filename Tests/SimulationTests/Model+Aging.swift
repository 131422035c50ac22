import TaskBridgeCore

extension Model.Run {
  /// Since when it waits: the submission, or its own time if that is later; a retry, a replay or a pause has fixed it.
  var waitsFrom: Int64 { agesFrom ?? max(createdAt, runAt ?? createdAt) }
}

/// How waiting makes runs more urgent: by the written rule, counted out over the pauses one by one.
extension Model {
  struct Aging: Equatable, Sendable {
    var graceSeconds: Int
    var intervalSeconds: Int
    var ceiling: Int
  }

  /// A smaller one goes first.
  struct Rank: Comparable {
    var parts: [Int64]

    static func < (left: Rank, right: Rank) -> Bool { left.parts.lexicographicallyPrecedes(right.parts) }
  }

  /// Effective priority, then retries and restored runs, then who waits since the earliest time (last in, first out: the
  /// latest), pauses or not, then the order of submission.
  func rank(_ run: Place) -> Rank {
    let settings = gates.tasks[runs[run].task]
    let sign: Int64 = settings?.isLIFO ?? false ? -1 : 1
    let isRetry: Int64 = runs[run].isRetry ? 0 : 1
    let place = sign * Int64(run)
    guard settings?.aging != nil else { return Rank(parts: [Int64(runs[run].priority), isRetry, place]) }
    let priority = Int64(effectivePriority(run))
    return Rank(parts: [priority, isRetry, sign * waitsFrom(run), place])
  }

  /// Base − floor((age − grace) / interval), no more urgent than the ceiling by waiting alone.
  func effectivePriority(_ run: Place) -> Int {
    let base = runs[run].priority
    guard let aging = gates.tasks[runs[run].task]?.aging else { return base }
    let overdue = age(run) - Int64(aging.graceSeconds) * 1_000
    if overdue < 0 { return base }
    return min(base, max(base - Int(overdue / (Int64(aging.intervalSeconds) * 1_000)), aging.ceiling))
  }

  func waitsFrom(_ run: Place) -> Int64 { runs[run].waitsFrom }

  /// Milliseconds it has waited, pauses left out.
  func age(_ run: Place) -> Int64 { free(of: run, from: waitsFrom(run), to: now) }

  /// A time of its own, given by a person, from which it waits when it is still to come. What was postponed and comes back
  /// has waited for nothing meanwhile.
  mutating func setTime(of run: Place, to runAt: Int64?) {
    if runAt == runs[run].runAt { return }
    runs[run].runAt = runAt
    guard let from = runs[run].agesFrom else { return }
    let soFar = min(from, now)
    runs[run].agesFrom = max(soFar, runAt.map { $0 > now ? $0 : soFar } ?? soFar)
  }

  /// Into `paused`, or out of it: then its waiting begins later, by what it was paused and nothing else held it.
  mutating func markPause(of run: Place, _ isPaused: Bool) {
    if let since = runs[run].pausedAt {
      let own = free(of: run, from: max(since, waitsFrom(run)), to: now)
      if own > 0 { runs[run].agesFrom = moment(of: run, from: waitsFrom(run), free: own) }
    }
    runs[run].pausedAt = isPaused ? now : nil
  }

  // MARK: Pauses

  private struct Span {
    var start, end: Int64
    var isHeld: Bool
  }

  private func free(of run: Place, from start: Int64, to end: Int64) -> Int64 {
    spans(of: run, from: start, to: end).reduce(0) { $1.isHeld ? $0 : $0 + $1.end - $1.start }
  }

  /// The last moment before which no more than `wanted` milliseconds are free.
  private func moment(of run: Place, from start: Int64, free wanted: Int64) -> Int64 {
    var left = wanted
    for span in spans(of: run, from: start, to: now) where !span.isHeld {
      if left < span.end - span.start { return span.start + left }
      left -= span.end - span.start
    }
    return now + left
  }

  /// The time between two moments, cut wherever a pause that concerns the run begins or ends.
  private func spans(of run: Place, from start: Int64, to end: Int64) -> [Span] {
    if end <= start { return [] }
    var subjects: Set<ControlSubject> = [
      .bridge, .domain(Self.domain(of: runs[run].task)), .task(named: runs[run].task),
    ]
    if let group = runs[run].request.group { subjects.insert(.group(group)) }
    var held = gates.past.filter { subjects.contains($0.subject) }
    for (subject, since) in gates.since where subjects.contains(subject) {
      held.append(Gates.Past(subject: subject, start: since, end: min((gates.pauses[subject] ?? nil) ?? now, now)))
    }
    let cuts = Set([start, end] + held.flatMap { [$0.start, $0.end] }).filter { start <= $0 && $0 <= end }.sorted()
    return zip(cuts, cuts.dropFirst()).map { from, to in
      Span(start: from, end: to, isHeld: held.contains { $0.start <= from && to <= $0.end })
    }
  }
}
