extension ScheduleRule {
  /// The most times that one forecast tells, and how many when nothing is said.
  public static let forecastCountMax = 1_000
  public static let forecastCountDefault = 10

  /// The next `count` nominal times after `moment`, fewer when the schedule ends before.
  /// - Parameters:
  ///   - runsMade: how many of ``maxRuns`` are used up.
  ///   - lastEnd: when the last run ended; used by `fixed_delay` alone.
  public func forecast(
    after moment: Timestamp, count: Int, runsMade: Int = 0, lastEnd: Timestamp? = nil
  ) -> [Occurrence] {
    let wanted = min(count, maxRuns.map { max(0, $0 - runsMade) } ?? count)
    var items: [Occurrence] = []
    var last = moment
    while items.count < wanted, let next = next(after: last, lastEnd: lastEnd) {
      items.append(next)
      last = next.at
    }
    return items
  }
}
