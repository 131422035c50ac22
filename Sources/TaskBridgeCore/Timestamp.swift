/// A moment in UTC with millisecond resolution, the only kind of time the core knows.
///
/// On the wire it is RFC 3339 with milliseconds and `Z`. Arithmetic saturates at the years 0001 and 9999, so that
/// every value that arithmetic or parsing yields can be written.
public struct Timestamp: Hashable, Comparable, Sendable {
  /// Milliseconds since 1970-01-01T00:00:00Z.
  public var milliseconds: Int64

  public init(milliseconds: Int64) {
    self.milliseconds = milliseconds
  }

  /// 0001-01-01T00:00:00.000Z.
  public static let earliest = Timestamp(milliseconds: -62_135_596_800_000)
  /// 9999-12-31T23:59:59.999Z.
  public static let latest = Timestamp(milliseconds: 253_402_300_799_999)

  public static func < (left: Timestamp, right: Timestamp) -> Bool {
    left.milliseconds < right.milliseconds
  }

  /// The moment `seconds` later (earlier when negative), rounded up to the next millisecond.
  ///
  /// Saturates at ``earliest`` and ``latest``; not-a-number counts as 0.
  public func adding(seconds: Double) -> Timestamp {
    guard !seconds.isNaN else { return self }
    let exact = seconds * 1000
    // 0.029 × 1000 is 29.000000000000004 in binary: what is that near to a whole number is meant to be it.
    let nearest = exact.rounded()
    let whole = (exact - nearest).magnitude < 1e-6 ? nearest : exact.rounded(.up)
    guard whole > -1e15 else { return .earliest }
    guard whole < 1e15 else { return .latest }
    let (sum, overflow) = milliseconds.addingReportingOverflow(Int64(whole))
    if overflow { return whole < 0 ? .earliest : .latest }
    return min(max(Timestamp(milliseconds: sum), .earliest), .latest)
  }

  /// Seconds from `earlier` to this moment; negative when this moment is the earlier one.
  public func seconds(since earlier: Timestamp) -> Double {
    let (difference, overflow) = milliseconds.subtractingReportingOverflow(earlier.milliseconds)
    return overflow ? (Double(milliseconds) - Double(earlier.milliseconds)) / 1000 : Double(difference) / 1000
  }
}

/// Why a text is no time that TaskBridge accepts.
public enum TimestampError: Error, Equatable, Sendable {
  /// Not of the form `2026-11-20T23:39:00.123Z`, no such day, or outside the years 0001 to 9999.
  case unreadable
  /// A time of day without `Z` or an offset: whose clock it means is unknown.
  case withoutZone
}

extension Timestamp {
  /// Reads RFC 3339, with `Z` or an offset, and up to nine digits of a second's fraction (cut to milliseconds).
  ///
  /// A leap second (`:60`) is read as the first moment of the next minute.
  /// - Throws: ``TimestampError/withoutZone`` when only the zone is missing, else ``TimestampError/unreadable``.
  public init(rfc3339 text: String) throws(TimestampError) {
    var scanner = DigitScanner(text.utf8)
    guard
      let year = scanner.digits(4), scanner.skip("-"), let month = scanner.digits(2), scanner.skip("-"),
      let day = scanner.digits(2), scanner.skip("T") || scanner.skip("t") || scanner.skip(" "),
      let hour = scanner.digits(2), scanner.skip(":"), let minute = scanner.digits(2), scanner.skip(":"),
      let second = scanner.digits(2),
      year >= 1, (1...12).contains(month), (1...CivilDate.days(inMonth: month, year: year)).contains(day),
      hour <= 23, minute <= 59, second <= 60
    else { throw .unreadable }
    var fraction = 0
    if scanner.skip(".") {
      guard let read = scanner.fractionMilliseconds() else { throw .unreadable }
      fraction = read
    }
    if scanner.isAtEnd { throw .withoutZone }
    var offsetMinutes = 0
    if !(scanner.skip("Z") || scanner.skip("z")) {
      let sign = scanner.skip("+") ? 1 : scanner.skip("-") ? -1 : 0
      guard sign != 0, let hours = scanner.digits(2), scanner.skip(":"), let minutes = scanner.digits(2),
        hours <= 23, minutes <= 59
      else { throw .unreadable }
      offsetMinutes = sign * (hours * 60 + minutes)
    }
    guard scanner.isAtEnd else { throw .unreadable }
    let days = CivilDate(year: year, month: month, day: day).daysSince1970
    let seconds = days * 86_400 + hour * 3600 + (minute - offsetMinutes) * 60 + second
    self.init(milliseconds: Int64(seconds * 1000 + fraction))
    guard self >= .earliest, self <= .latest else { throw .unreadable }
  }
}

extension Timestamp: CustomStringConvertible {
  /// `2026-11-20T23:39:00.123Z`, always with milliseconds and `Z`.
  public var description: String {
    let shown = Int(min(max(self, .earliest), .latest).milliseconds)
    let dayMilliseconds = 86_400_000
    let ofDay = ((shown % dayMilliseconds) + dayMilliseconds) % dayMilliseconds
    let date = CivilDate(daysSince1970: (shown - ofDay) / dayMilliseconds)
    return String(unsafeUninitializedCapacity: 24) { buffer in
      var at = 0
      func put(_ value: Int, width: Int, then separator: Unicode.Scalar) {
        var rest = value
        for position in stride(from: at + width - 1, through: at, by: -1) {
          buffer[position] = UInt8(48 + rest % 10)
          rest /= 10
        }
        at += width
        buffer[at] = UInt8(separator.value)
        at += 1
      }
      put(date.year, width: 4, then: "-")
      put(date.month, width: 2, then: "-")
      put(date.day, width: 2, then: "T")
      put(ofDay / 3_600_000, width: 2, then: ":")
      put(ofDay / 60_000 % 60, width: 2, then: ":")
      put(ofDay / 1000 % 60, width: 2, then: ".")
      put(ofDay % 1000, width: 3, then: "Z")
      return at
    }
  }
}

/// A day of the proleptic Gregorian calendar; the arithmetic counts eras of 400 years that start on 1 March.
struct CivilDate {
  let year: Int
  let month: Int
  let day: Int

  init(year: Int, month: Int, day: Int) {
    self.year = year
    self.month = month
    self.day = day
  }

  init(daysSince1970: Int) {
    let shifted = daysSince1970 + 719_468
    let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shiftedMonth = (5 * dayOfYear + 2) / 153
    day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
    month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
    year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
  }

  var daysSince1970: Int {
    let shiftedYear = month <= 2 ? year - 1 : year
    let era = (shiftedYear >= 0 ? shiftedYear : shiftedYear - 399) / 400
    let yearOfEra = shiftedYear - era * 400
    let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
    return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
  }

  static func days(inMonth month: Int, year: Int) -> Int {
    switch month {
    case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
    case 4, 6, 9, 11: 30
    default: 31
    }
  }
}

/// Reads fixed numbers of digits and single characters from the front of a text.
private struct DigitScanner {
  private var rest: Substring.UTF8View

  init(_ text: String.UTF8View) {
    rest = text[...]
  }

  var isAtEnd: Bool { rest.isEmpty }

  mutating func skip(_ character: Unicode.Scalar) -> Bool {
    guard rest.first == UInt8(character.value) else { return false }
    rest.removeFirst()
    return true
  }

  mutating func digits(_ count: Int) -> Int? {
    var value = 0
    for _ in 0..<count {
      guard let digit = digit() else { return nil }
      value = value * 10 + digit
    }
    return value
  }

  /// One to nine digits after the point, as whole milliseconds; `nil` for none or more.
  mutating func fractionMilliseconds() -> Int? {
    var value = 0
    var count = 0
    while let digit = digit() {
      if count < 3 { value = value * 10 + digit }
      count += 1
    }
    guard (1...9).contains(count) else { return nil }
    return count == 1 ? value * 100 : count == 2 ? value * 10 : value
  }

  private mutating func digit() -> Int? {
    guard let byte = rest.first, byte >= 48, byte <= 57 else { return nil }
    rest.removeFirst()
    return Int(byte) - 48
  }
}
