/// The value of POSIX `TZ`, as the last line of a time zone file has it: `CET-1CEST,M3.5.0,M10.5.0/3`.
///
/// The extensions of RFC 8536 are read: names in `<…>`, times of a change from -167 to 167 hours.
struct PosixTimeZone: Equatable {
  /// Seconds east of UTC, the sign turned: POSIX counts westwards.
  var standardOffset: Int
  var rule: DaylightRule?

  init(_ text: ArraySlice<UInt8>) throws(TimeZoneDataError) {
    var scanner = PosixScanner(rest: text)
    guard scanner.skipName(), let west = scanner.time(hoursMax: 24) else { throw Self.unreadable(text) }
    standardOffset = -west
    guard !scanner.rest.isEmpty else { return }
    guard scanner.skipName() else { throw Self.unreadable(text) }
    // Without an offset of its own daylight time is one hour ahead.
    var daylightOffset = standardOffset + 3600
    if scanner.rest.first != UInt8(ascii: ",") {
      guard let west = scanner.time(hoursMax: 24) else { throw Self.unreadable(text) }
      daylightOffset = -west
    }
    guard
      scanner.skip(","), let start = scanner.yearlyTime(), scanner.skip(","), let end = scanner.yearlyTime(),
      scanner.rest.isEmpty
    else { throw Self.unreadable(text) }
    rule = DaylightRule(
      standardOffset: standardOffset, daylightOffset: daylightOffset, daylightStart: start, daylightEnd: end)
  }

  private static func unreadable(_ text: ArraySlice<UInt8>) -> TimeZoneDataError {
    TimeZoneDataError("its last line, \(String(decoding: text, as: UTF8.self).quotedForError), is no rule")
  }
}

private struct PosixScanner {
  var rest: ArraySlice<UInt8>

  mutating func skip(_ character: Unicode.Scalar) -> Bool {
    guard rest.first == UInt8(character.value) else { return false }
    rest.removeFirst()
    return true
  }

  /// Three letters or more, or anything in angle brackets.
  mutating func skipName() -> Bool {
    if skip("<") {
      rest = rest.drop { $0 != UInt8(ascii: ">") }
      return skip(">")
    }
    let letters = rest.prefix { ($0 | 0x20) >= UInt8(ascii: "a") && ($0 | 0x20) <= UInt8(ascii: "z") }
    rest = rest.dropFirst(letters.count)
    return letters.count >= 3
  }

  /// `[+-]hh[:mm[:ss]]` in seconds.
  mutating func time(hoursMax: Int) -> Int? {
    let sign = skip("-") ? -1 : 1
    if sign == 1 { _ = skip("+") }
    guard let hours = number(0...hoursMax) else { return nil }
    var seconds = hours * 3600
    if skip(":") {
      guard let minutes = number(0...59) else { return nil }
      seconds += minutes * 60
      if skip(":") {
        guard let rest = number(0...59) else { return nil }
        seconds += rest
      }
    }
    return sign * seconds
  }

  /// A day, and the time of it, 02:00 when none is given.
  mutating func yearlyTime() -> DaylightRule.YearlyTime? {
    let day: DaylightRule.YearlyTime.Day
    if skip("J") {
      guard let number = number(1...365) else { return nil }
      day = .ofYearWithoutLeapDay(number)
    } else if skip("M") {
      guard
        let month = number(1...12), skip("."), let week = number(1...5), skip("."), let weekday = number(0...6)
      else { return nil }
      day = .ofMonth(month: month, week: week, weekday: weekday)
    } else {
      guard let number = number(0...365) else { return nil }
      day = .ofYear(number)
    }
    guard skip("/") else { return DaylightRule.YearlyTime(day: day, seconds: 7200) }
    guard let seconds = time(hoursMax: 167) else { return nil }
    return DaylightRule.YearlyTime(day: day, seconds: seconds)
  }

  private mutating func number(_ range: ClosedRange<Int>) -> Int? {
    let digits = rest.prefix { $0 >= 48 && $0 <= 57 }
    guard (1...3).contains(digits.count) else { return nil }
    rest = rest.dropFirst(digits.count)
    let value = digits.reduce(0) { $0 * 10 + Int($1) - 48 }
    return range.contains(value) ? value : nil
  }
}
