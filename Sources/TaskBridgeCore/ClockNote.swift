/// Local times of a schedule that the clocks jump over at one change.
public struct MissingTimes: Equatable, Sendable {
  public var first: CivilTime
  public var last: CivilTime
}

/// What daylight saving (or any other change of the clocks) does to a time of a schedule.
public enum ClockNote: Equatable, Sendable {
  /// The times do not exist on that day; the schedule runs once, when the clocks have jumped.
  case runsAfter(MissingTimes)
  /// The times do not exist on that day, which is before this occurrence, and do not run.
  case skipped(MissingTimes)
  /// The local time comes twice.
  /// - isSecond: this is the second of the two moments.
  case twice(CivilTime, isSecond: Bool, rule: DSTOverlap)

  /// The note for a moment of `period`, when its local time comes twice.
  static func overlap(
    _ second: Int, _ before: TimeZoneRules.Period, _ period: TimeZoneRules.Period, _ after: TimeZoneRules.Period,
    _ rule: DSTOverlap
  ) -> ClockNote? {
    let local = period.local(second)
    if before.offset > period.offset, local < before.local(period.start) {
      return .twice(local, isSecond: true, rule: rule)
    }
    if after.offset < period.offset, local >= after.local(period.end) {
      return .twice(local, isSecond: false, rule: rule)
    }
    return nil
  }
}

extension ClockNote: CustomStringConvertible {
  public var description: String {
    switch self {
    case .runsAfter(let missing):
      missing.first == missing.last
        ? "gap: \(missing.first.timeText) does not exist, runs after"
        : "gap: \(missing.first.timeText) to \(missing.last.timeText) do not exist, runs once after"
    case .skipped(let missing):
      missing.first == missing.last
        ? "gap: \(missing.first.dateText) \(missing.first.timeText) does not exist, skipped"
        : "gap: \(missing.first.dateText) \(missing.first.timeText) to \(missing.last.timeText) do not exist, skipped"
    case .twice(let local, let isSecond, let rule):
      switch rule {
      case .first: "overlap: \(local.timeText) comes twice, runs the first time"
      case .second: "overlap: \(local.timeText) comes twice, runs the second time"
      case .both:
        "overlap: \(local.timeText) comes twice, runs both times, this is the \(isSecond ? "second" : "first")"
      }
    }
  }
}
