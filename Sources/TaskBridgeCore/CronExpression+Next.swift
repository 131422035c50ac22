extension CronExpression {
  /// The first moment after `moment` at which the clocks of `zone` show a time of this expression.
  ///
  /// A local time that is missing runs at the moment of the change, or not at all; one that comes twice runs the
  /// first, the second or both times. That holds for every expression alike: `*/10 * * * *` is silent for one of the
  /// two hours unless `overlap` is `both`.
  ///
  /// The cost does not depend on how far away the moment is in seconds: whole months that do not match are passed
  /// over at once, and the search ends with `limit`.
  /// - Parameters:
  ///   - moment: excluded; fractions of a second are no obstacle.
  ///   - limit: the last moment that counts.
  /// - Returns: `nil` when there is none up to `limit`.
  public func next(
    after moment: Timestamp, in zone: TimeZoneRules, gap: DSTGap = .runAfter, overlap: DSTOverlap = .first,
    through limit: Timestamp = .latest
  ) -> Occurrence? {
    let last = Int(limit.milliseconds).flooredDivision(by: 1000)
    var from = Int(moment.milliseconds).flooredDivision(by: 1000) + 1
    var period = zone.period(at: from - 1)
    var before = period.start > TimeZoneRules.beginning ? zone.period(at: period.start - 1) : period
    var notes: [ClockNote] = []
    while from <= last {
      let after = period.end < TimeZoneRules.end ? zone.period(at: period.end) : period
      // The local times of this period that run in it: those that come twice may belong to a neighbour.
      var low = from + period.offset
      if overlap == .first, before.offset > period.offset { low = max(low, period.start + before.offset) }
      var high = min(period.end, last + 1) + period.offset
      if overlap == .second, after.offset < period.offset { high = min(high, period.end + after.offset) }
      if let found = first(from: low, before: high) {
        let at = found - period.offset
        if let twice = ClockNote.overlap(at, before, period, after, overlap) { notes.append(twice) }
        return Occurrence(at: at, offsetSeconds: period.offset, notes: notes)
      }
      guard period.end <= last else { return nil }
      if let missing = missing(period, after) {
        switch gap {
        case .runAfter:
          return Occurrence(at: period.end, offsetSeconds: after.offset, notes: notes + [.runsAfter(missing)])
        case .skip: notes.append(.skipped(missing))
        }
      }
      from = period.end
      before = period
      period = after
    }
    return nil
  }

  /// The matching local times that the clocks jump over between two periods.
  private func missing(_ before: TimeZoneRules.Period, _ after: TimeZoneRules.Period) -> MissingTimes? {
    guard after.offset > before.offset, after.start > TimeZoneRules.beginning else { return nil }
    let end = after.start + after.offset
    guard let first = first(from: after.start + before.offset, before: end) else { return nil }
    var last = first
    while let next = self.first(from: last + 1, before: end) { last = next }
    return MissingTimes(first: CivilTime(seconds: first), last: CivilTime(seconds: last))
  }
}

// MARK: - On a wall clock

extension CronExpression {
  /// The first matching time of a wall clock in `start..<end`, in seconds as ``CivilTime/seconds``.
  func first(from start: Int, before end: Int) -> Int? {
    guard start < end else { return nil }
    let today = start.flooredDivision(by: 86_400)
    let lastDay = (end - 1).flooredDivision(by: 86_400)
    guard var day = firstDay(from: today, through: lastDay) else { return nil }
    var time = firstTime(from: day == today ? start - today * 86_400 : 0)
    if time == nil {
      guard let later = firstDay(from: day + 1, through: lastDay) else { return nil }
      day = later
      time = firstTime(from: 0)
    }
    guard let time else { return nil }
    let found = day * 86_400 + time
    return found < end ? found : nil
  }

  /// The first matching second of a day, of at least `second`.
  private func firstTime(from second: Int) -> Int? {
    let hour = second / 3600
    let minute = second / 60 % 60
    if hours.contains(hour) {
      if minutes.contains(minute), let found = seconds.first(from: second % 60) {
        return hour * 3600 + minute * 60 + found
      }
      if let found = minutes.first(from: minute + 1) { return hour * 3600 + found * 60 + seconds.lowest }
    }
    guard let found = hours.first(from: hour + 1) else { return nil }
    return found * 3600 + minutes.lowest * 60 + seconds.lowest
  }

  /// The first matching day, in days since 1970-01-01.
  private func firstDay(from start: Int, through last: Int) -> Int? {
    let date = CivilDate(daysSince1970: start)
    var year = date.year
    var month = date.month
    var day = date.day
    while true {
      guard let next = months.first(from: month) else {
        (year, month, day) = (year + 1, 1, 1)
        continue
      }
      if next != month { (month, day) = (next, 1) }
      let firstOfMonth = CivilDate(year: year, month: month, day: 1).daysSince1970
      guard firstOfMonth <= last else { return nil }
      let rest = days(inMonth: month, year: year, startingOn: firstOfMonth) >> UInt64(day)
      if rest != 0 {
        let found = firstOfMonth + day + rest.trailingZeroBitCount - 1
        return found <= last ? found : nil
      }
      (month, day) = (month + 1, 1)
    }
  }

  /// The matching days of a month; bit 1 is the first.
  private func days(inMonth month: Int, year: Int, startingOn first: Int) -> UInt64 {
    let weekday = UInt64(CivilDate.weekday(daysSince1970: first))
    // Turned so that bit 0 is the weekday of the 1st, then repeated for five weeks and moved to bit 1.
    let week = (daysOfWeek.bits >> weekday | daysOfWeek.bits << (7 - weekday)) & 0x7F
    let weeks = week << 1 | week << 8 | week << 15 | week << 22 | week << 29
    let matching = needsBothDays ? daysOfMonth.bits & weeks : daysOfMonth.bits | weeks
    return matching & ((1 << UInt64(CivilDate.days(inMonth: month, year: year) + 1)) - 2)
  }
}
