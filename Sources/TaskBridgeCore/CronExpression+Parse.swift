extension CronExpression {
  /// The most bytes of an expression; a list of every value of every field has fewer.
  public static let bytesMax = 1000

  /// The words that stand for an expression.
  static let words = [
    ("@yearly", "0 0 1 1 *"), ("@annually", "0 0 1 1 *"), ("@monthly", "0 0 1 * *"), ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"), ("@midnight", "0 0 * * *"), ("@hourly", "0 * * * *"),
  ]

  /// Reads an expression of five or six fields, or a word such as `@daily`.
  /// - Throws: what is wrong, with the field and what is allowed there; also for days that never come.
  public init(_ text: String) throws(CronError) {
    guard text.utf8.count <= Self.bytesMax else {
      throw CronError("the expression is \(text.utf8.count) bytes long, at most \(Self.bytesMax) are allowed")
    }
    let parts = text.utf8.split { $0 == 32 || $0 == 9 }.map { Substring($0).asciiLowercased }
    self.text = text.trimmedOfSpaces
    if let word = parts.first, word.hasPrefix("@") {
      guard parts.count == 1, let known = Self.words.first(where: { $0.0 == word }) else {
        throw Self.unknownWord(text.trimmedOfSpaces)
      }
      let fields = known.1.split(separator: " ").map(String.init)
      (seconds, minutes, hours, daysOfMonth, months, daysOfWeek) = try Self.fields(["0"] + fields)
      return
    }
    guard parts.count == 5 || parts.count == 6 else {
      throw CronError(
        "\(text.quotedForError) has \(parts.count) field\(parts.count == 1 ? "" : "s"); needed are five "
          + "(minute hour day-of-month month day-of-week), or six with the second first, or a word such as @daily")
    }
    (seconds, minutes, hours, daysOfMonth, months, daysOfWeek) = try Self.fields(
      parts.count == 5 ? ["0"] + parts : parts)
    try checkThatSomeDayMatches()
  }

  private static func fields(
    _ parts: [String]
  ) throws(CronError) -> (CronField, CronField, CronField, CronField, CronField, CronField) {
    (
      try CronFieldKind.second.parse(parts[0]), try CronFieldKind.minute.parse(parts[1]),
      try CronFieldKind.hour.parse(parts[2]), try CronFieldKind.dayOfMonth.parse(parts[3]),
      try CronFieldKind.month.parse(parts[4]), try CronFieldKind.dayOfWeek.parse(parts[5])
    )
  }

  private static func unknownWord(_ text: String) -> CronError {
    let advice: String
    switch text.asciiLowercased.split(separator: " ").first {
    case "@reboot": advice = "it names no time"
    case "@every": advice = "use every_seconds"
    default: advice = "known are " + words.map(\.0).joined(separator: ", ")
    }
    return CronError("\(text.quotedForError) is not known; \(advice)")
  }

  /// Refuses what never comes. Weekdays alone can't be the reason: within 400 years every date has each of them.
  private func checkThatSomeDayMatches() throws(CronError) {
    guard needsBothDays else { return }
    let exists = (1...12).contains { month in
      // 2000 was a leap year.
      months.contains(month) && daysOfMonth.lowest <= CivilDate.days(inMonth: month, year: 2000)
    }
    guard exists else {
      throw CronError(
        "\(text.quotedForError) never comes: no month it names has a day \(daysOfMonth.lowest)")
    }
  }
}

extension StringProtocol {
  /// A–Z as a–z; everything else stays.
  fileprivate var asciiLowercased: String {
    String(decoding: utf8.map { $0 >= 65 && $0 <= 90 ? $0 | 0x20 : $0 }, as: UTF8.self)
  }

  fileprivate var trimmedOfSpaces: String {
    var rest = Array(utf8)[...].drop { $0 == 32 || $0 == 9 }
    while rest.last == 32 || rest.last == 9 { rest.removeLast() }
    return String(decoding: rest, as: UTF8.self)
  }
}
