/// Times of a wall clock that come again and again, written as five fields of cron, or six with seconds first.
///
/// ```text
/// ┌ second 0-59 (only with six fields; 0 with five)
/// │ ┌ minute 0-59
/// │ │ ┌ hour 0-23
/// │ │ │ ┌ day of month 1-31
/// │ │ │ │ ┌ month 1-12 or JAN-DEC
/// │ │ │ │ │ ┌ day of week 0-7 or SUN-SAT, 0 and 7 are Sunday
/// 0 30 2 * * 1-5
/// ```
///
/// A field is a list of parts with commas: `*`, a value, a range `a-b`, each but the value with a step: `*/15`,
/// `10-50/20`. `a/n` is short for `a-(largest)/n`. Steps count from the first value of their part and start anew in
/// every hour, day, month. `@yearly`, `@annually`, `@monthly`, `@weekly`, `@daily`, `@midnight` and `@hourly` stand
/// for whole expressions. Letter case does not matter; fields are separated by spaces or tabs.
///
/// **The day rule of Vixie cron.** When neither day field starts with `*`, a day matches that is in either of them;
/// when one or both start with `*`, it must be in both: `0 0 13 * FRI` is every 13th and every Friday,
/// `0 0 */2 * FRI` every Friday with an odd number.
///
/// What other readers of cron do, croniter of Python among them, and this one does not:
///
/// * A range that runs backwards (`22-2`, `FRI-MON`) is refused, not taken around the end of the field. Sunday at the
///   end of a range is 7: `FRI-SUN` is `5-7`.
/// * `a-a` is `a` alone; croniter takes it for the whole field.
/// * A day field that names every day without a leading `*` (`1-31`, `1,*`) is a day field like any other: beside it
///   every day matches. croniter takes it for `*` when the other day field has a `*`.
/// * A step that is larger than the field (`*/90` in minutes) is refused: it would be a plain `0`.
/// * `?`, `L`, `W`, `#`, `H` and `@reboot` are refused; so is a sixth field for the year.
/// * What happens where daylight saving moves the clocks does not depend on the shape of the expression, but on two
///   settings, ``DSTGap`` and ``DSTOverlap`` (see ``next(after:in:gap:overlap:through:)``).
/// * An expression no day of the calendar can match (`0 0 30 2 *`) is refused when it is read.
public struct CronExpression: Hashable, Sendable {
  /// As it was given, spaces at both ends cut.
  public let text: String

  var seconds: CronField
  var minutes: CronField
  var hours: CronField
  var daysOfMonth: CronField
  var months: CronField
  /// Sunday is 0.
  var daysOfWeek: CronField

  /// Whether a day must be in both day fields, or in one of them.
  var needsBothDays: Bool { daysOfMonth.startsWithStar || daysOfWeek.startsWithStar }
}

/// The values that one field of an expression allows.
struct CronField: Hashable, Sendable {
  /// Bit n stands for the value n.
  var bits: UInt64
  var startsWithStar = false

  func contains(_ value: Int) -> Bool { bits >> UInt64(value) & 1 == 1 }

  /// The smallest allowed value of at least `value`, which is 0...63.
  func first(from value: Int) -> Int? {
    let rest = bits >> UInt64(value)
    return rest == 0 ? nil : value + rest.trailingZeroBitCount
  }

  /// The smallest allowed value; there is always one.
  var lowest: Int { bits.trailingZeroBitCount }
}

/// Why a text is no cron expression.
public struct CronError: Error, Equatable, Sendable {
  /// Names the field, the value and what is allowed.
  public var reason: String

  init(_ reason: String) { self.reason = reason }
}
