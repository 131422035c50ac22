/// When a schedule runs, apart from what it runs.
public struct ScheduleRule: Equatable, Sendable {
  public enum Timing: Equatable, Sendable {
    case cron(CronExpression)
    /// Every so many milliseconds, at least 1.
    case every(milliseconds: Int, IntervalMode)
  }

  /// What an interval counts from.
  public enum IntervalMode: String, CaseIterable, Sendable {
    /// A fixed grid: the nominal times never drift, however long the runs take.
    case fixedRate = "fixed_rate"
    /// The end of the run before; two runs never overlap.
    case fixedDelay = "fixed_delay"
  }

  /// What becomes of the times that passed while nothing could run them (bridge down, schedule paused).
  public enum CatchUp: String, CaseIterable, Sendable {
    /// They do not run.
    case skip
    /// The newest one runs.
    case latest
    /// The newest ``ScheduleRule/catchUpLimit`` run.
    case all
  }

  /// What happens when the time has come and a run of the schedule has not ended.
  public enum Overlap: String, CaseIterable, Sendable {
    /// It runs beside it.
    case allow
    /// The time is passed over.
    case skip
  }

  /// The least and the most that `catch_up_limit` may be, and what it is when nothing is said.
  public static let catchUpLimitRange = 1...1000
  public static let catchUpLimitDefault = 100

  public var timing: Timing
  public var zone: TimeZoneRules
  /// The first nominal time is not before it. The grid of an interval starts there, with a run.
  public var startsAt: Timestamp?
  /// The last nominal time is not after it.
  public var endsAt: Timestamp?
  /// How many runs the schedule makes in all; times that were passed over do not count.
  public var maxRuns: Int?
  public var dstGap: DSTGap
  public var dstOverlap: DSTOverlap
  public var catchUp: CatchUp
  public var catchUpLimit: Int
  public var overlap: Overlap
  /// When the schedule was made. Without ``startsAt`` an interval counts from here; its first run is one interval later.
  public var createdAt: Timestamp

  public init(
    _ timing: Timing, zone: TimeZoneRules = .utc, startsAt: Timestamp? = nil, endsAt: Timestamp? = nil,
    maxRuns: Int? = nil, dstGap: DSTGap = .runAfter, dstOverlap: DSTOverlap = .first, catchUp: CatchUp = .skip,
    catchUpLimit: Int = catchUpLimitDefault, overlap: Overlap = .allow, createdAt: Timestamp
  ) {
    self.timing = timing
    self.zone = zone
    self.startsAt = startsAt
    self.endsAt = endsAt
    self.maxRuns = maxRuns
    self.dstGap = dstGap
    self.dstOverlap = dstOverlap
    self.catchUp = catchUp
    self.catchUpLimit = catchUpLimit
    self.overlap = overlap
    self.createdAt = createdAt
  }

  /// Whether the next time is known only when the run before has ended.
  public var waitsForEnd: Bool {
    if case .every(_, .fixedDelay) = timing { return true }
    return false
  }

  /// The first nominal time after `moment` within ``startsAt`` and ``endsAt``; ``maxRuns`` is not looked at.
  ///
  /// With `fixed_delay` it is told as if every run took no time at all.
  /// - Parameters:
  ///   - moment: excluded.
  ///   - lastEnd: when the last run ended; used by `fixed_delay` alone, whose count starts anew there.
  /// - Returns: `nil` when none follows.
  public func next(after moment: Timestamp, lastEnd: Timestamp? = nil) -> Occurrence? {
    let moment = min(max(moment, .earliest), .latest)
    let limit = min(endsAt ?? .latest, .latest)
    switch timing {
    case .cron(let expression):
      let after = startsAt.map { max(moment, Timestamp(milliseconds: $0.milliseconds - 1)) } ?? moment
      return expression.next(after: after, in: zone, gap: dstGap, overlap: dstOverlap, through: limit)
    case .every(let interval, let mode):
      let restart = mode == .fixedDelay ? lastEnd : nil
      let base = Int((restart ?? startsAt ?? createdAt).milliseconds)
      let passed = (Int(moment.milliseconds) - base).flooredDivision(by: interval)
      // The start itself is a nominal time; the moment of creation and the end of a run are none.
      let step = max(passed + 1, restart == nil && startsAt != nil ? 0 : 1)
      let (distance, isTooFar) = step.multipliedReportingOverflow(by: interval)
      guard !isTooFar, distance <= Int(limit.milliseconds) - base else { return nil }
      let at = Timestamp(milliseconds: Int64(base + distance))
      let offset = zone.offset(at: (base + distance).flooredDivision(by: 1000))
      return Occurrence(at: at, offsetSeconds: offset)
    }
  }

  /// The last nominal time in `(earliest, moment]`; `nil` when there is none.
  func last(through moment: Timestamp, after earliest: Timestamp, lastEnd: Timestamp? = nil) -> Occurrence? {
    guard var found = next(after: earliest, lastEnd: lastEnd), found.at <= moment else { return nil }
    // Nothing lies in (end, moment]; what is sought lies in found...end.
    var end = moment.milliseconds
    while found.at.milliseconds < end {
      let middle = found.at.milliseconds + (end - found.at.milliseconds) / 2
      if let later = next(after: Timestamp(milliseconds: middle), lastEnd: lastEnd), later.at <= moment {
        found = later
      } else {
        end = middle
      }
    }
    return found
  }
}
