/// Where a schedule stands: what its store knows and the rule does not.
public struct ScheduleProgress: Equatable, Sendable {
  /// Every nominal time up to this one has been decided; at first a moment before the first one.
  public var decidedThrough: Timestamp
  /// Times up to here were missed: the bridge was down or the schedule paused when they passed.
  public var missedThrough: Timestamp
  /// Runs made so far, for `max_runs`; runs made by hand do not count.
  public var runsMade: Int
  /// Whether a run of the schedule has not ended.
  public var hasOpenRun: Bool
  /// When the last run ended.
  public var lastEnd: Timestamp?

  public init(
    decidedThrough: Timestamp, missedThrough: Timestamp, runsMade: Int = 0, hasOpenRun: Bool = false,
    lastEnd: Timestamp? = nil
  ) {
    self.decidedThrough = decidedThrough
    self.missedThrough = missedThrough
    self.runsMade = runsMade
    self.hasOpenRun = hasOpenRun
    self.lastEnd = lastEnd
  }
}
