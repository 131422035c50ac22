/// A rule that moves the clocks twice every year, as the last line of a time zone file has it (POSIX `TZ`).
struct DaylightRule: Equatable, Sendable {
  /// Seconds east of UTC. The "daylight" offset may be the smaller one (Europe/Dublin: winter time is the saving).
  var standardOffset: Int
  var daylightOffset: Int
  var daylightStart: YearlyTime
  var daylightEnd: YearlyTime

  /// A time of every year, on the clock that is in force before it.
  struct YearlyTime: Equatable, Sendable {
    enum Day: Equatable, Sendable {
      /// `Jn`: 1...365, 29 February is never counted.
      case ofYearWithoutLeapDay(Int)
      /// `n`: 0...365, 29 February is counted.
      case ofYear(Int)
      /// `Mm.w.d`: the `week`th (5: the last) `weekday` (0: Sunday) of `month`.
      case ofMonth(month: Int, week: Int, weekday: Int)
    }

    var day: Day
    /// Seconds after midnight of that day; negative or more than a day when the change falls on a neighbouring one.
    var seconds: Int

    func civil(inYear year: Int) -> Int {
      let newYear = CivilDate(year: year, month: 1, day: 1).daysSince1970
      switch day {
      case .ofYearWithoutLeapDay(let day):
        let leap = CivilDate.days(inMonth: 2, year: year) == 29 && day >= 60 ? 1 : 0
        return (newYear + day - 1 + leap) * 86_400 + seconds
      case .ofYear(let day):
        return (newYear + day) * 86_400 + seconds
      case .ofMonth(let month, let week, let weekday):
        let first = CivilDate(year: year, month: month, day: 1).daysSince1970
        var day = 1 + (weekday - CivilDate.weekday(daysSince1970: first) + 7) % 7 + (week - 1) * 7
        if day > CivilDate.days(inMonth: month, year: year) { day -= 7 }
        return (first + day - 1) * 86_400 + seconds
      }
    }
  }

  /// The period that holds `second`, which is not before `start`, the last change that is not by this rule.
  /// - Parameter offset: the offset from `start` to the first change by this rule.
  func period(at second: Int, after start: Int, offset: Int) -> TimeZoneRules.Period {
    let year = CivilDate(daysSince1970: (second + standardOffset).flooredDivision(by: 86_400)).year
    var period = TimeZoneRules.Period(start: start, end: TimeZoneRules.end, offset: offset)
    for year in (year - 1)...(year + 1) {
      for change in changes(inYear: year) where change.at > start {
        if change.at > second {
          period.end = change.at
          return period
        }
        period.start = change.at
        period.offset = change.offset
      }
    }
    return period
  }

  private func changes(inYear year: Int) -> [TimeZoneRules.Change] {
    let start = TimeZoneRules.Change(at: daylightStart.civil(inYear: year) - standardOffset, offset: daylightOffset)
    let end = TimeZoneRules.Change(at: daylightEnd.civil(inYear: year) - daylightOffset, offset: standardOffset)
    return start.at < end.at ? [start, end] : [end, start]
  }
}

extension CivilDate {
  /// 0 is Sunday, 6 is Saturday.
  static func weekday(daysSince1970 days: Int) -> Int {
    let shifted = (days + 4) % 7
    return shifted < 0 ? shifted + 7 : shifted
  }
}
