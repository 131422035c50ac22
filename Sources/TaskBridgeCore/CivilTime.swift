/// A date and time of day as a wall clock shows it, in whole seconds of the proleptic Gregorian calendar.
///
/// It says nothing about a zone: with one, it is a moment once, twice or not at all (see ``TimeZoneRules``).
public struct CivilTime: Hashable, Comparable, Sendable {
  /// Seconds from 1970-01-01T00:00:00 on the same wall clock, every day counted as 86,400.
  public var seconds: Int

  public init(seconds: Int) {
    self.seconds = seconds
  }

  /// - Parameters: a date that exists, and a time of day from 00:00:00 to 23:59:59.
  public init(_ year: Int, _ month: Int, _ day: Int, _ hour: Int = 0, _ minute: Int = 0, _ second: Int = 0) {
    let days = CivilDate(year: year, month: month, day: day).daysSince1970
    seconds = days * 86_400 + hour * 3600 + minute * 60 + second
  }

  public static func < (left: CivilTime, right: CivilTime) -> Bool { left.seconds < right.seconds }

  var date: CivilDate { CivilDate(daysSince1970: seconds.flooredDivision(by: 86_400)) }

  /// 0..<86,400.
  var secondOfDay: Int { seconds - seconds.flooredDivision(by: 86_400) * 86_400 }
}

extension CivilTime: CustomStringConvertible {
  /// `2026-03-29T02:30:00`.
  public var description: String { dateText + "T" + twoDigits(secondOfDay / 3600) + ":" + minutesAndSeconds }

  /// `2026-03-29`.
  public var dateText: String {
    let date = date
    let year = String(date.year)
    return String(repeating: "0", count: max(0, 4 - year.count)) + year + "-" + twoDigits(date.month) + "-"
      + twoDigits(date.day)
  }

  /// `02:30`, with seconds only when they are not 0.
  public var timeText: String {
    let rest = secondOfDay % 60 == 0 ? twoDigits(secondOfDay / 60 % 60) : minutesAndSeconds
    return twoDigits(secondOfDay / 3600) + ":" + rest
  }

  private var minutesAndSeconds: String { twoDigits(secondOfDay / 60 % 60) + ":" + twoDigits(secondOfDay % 60) }
}

/// 0...99 as two digits.
func twoDigits(_ value: Int) -> String { value < 10 ? "0\(value)" : "\(value)" }

extension Int {
  /// The quotient rounded towards minus infinity; `divisor` is positive.
  func flooredDivision(by divisor: Int) -> Int {
    let quotient = self / divisor
    return self % divisor < 0 ? quotient - 1 : quotient
  }
}
