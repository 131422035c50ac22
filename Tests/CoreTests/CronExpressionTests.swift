import Testing

@testable import TaskBridgeCore

/// The grammar of `cron` (contract §3.5).
@Suite struct CronExpressionTests {
  private func values(_ field: CronField) -> [Int] { (0...63).filter(field.contains) }

  @Test func fiveFieldsAreReadWithSecondZero() throws {
    let cron = try CronExpression(" 5,35  2-4 */10\t1,JUL-SEP 1-5/2 ")

    #expect(cron.text == "5,35  2-4 */10\t1,JUL-SEP 1-5/2")
    #expect(values(cron.seconds) == [0])
    #expect(values(cron.minutes) == [5, 35])
    #expect(values(cron.hours) == [2, 3, 4])
    #expect(values(cron.daysOfMonth) == [1, 11, 21, 31])
    #expect(values(cron.months) == [1, 7, 8, 9])
    #expect(values(cron.daysOfWeek) == [1, 3, 5])
  }

  @Test func sixFieldsHaveTheSecondFirst() throws {
    let cron = try CronExpression("*/20 0 2 * * *")

    #expect(values(cron.seconds) == [0, 20, 40])
    #expect(values(cron.minutes) == [0])
    #expect(values(cron.hours) == [2])
  }

  @Test(
    arguments: [
      ("@yearly", "0 0 1 1 *"), ("@annually", "0 0 1 1 *"), ("@monthly", "0 0 1 * *"), ("@weekly", "0 0 * * 0"),
      ("@daily", "0 0 * * *"), ("@midnight", "0 0 * * *"), (" @Hourly ", "0 * * * *"),
    ] as [(String, String)])
  func wordsStandForExpressions(word: String, expression: String) throws {
    let (left, right) = (try CronExpression(word), try CronExpression(expression))

    #expect(left.minutes == right.minutes && left.hours == right.hours && left.seconds == right.seconds)
    #expect(left.daysOfMonth == right.daysOfMonth && left.months == right.months)
    #expect(left.daysOfWeek == right.daysOfWeek)
  }

  @Test(
    arguments: [
      ("*", [0, 1, 2, 3, 4, 5, 6]), ("7", [0]), ("0", [0]), ("sun", [0]), ("5-7", [0, 5, 6]), ("FRI-SUN", [0, 5, 6]),
      ("fri-0", [0, 5, 6]), ("0-7", [0, 1, 2, 3, 4, 5, 6]), ("SUN-WED", [0, 1, 2, 3]), ("SUN-SUN", [0]),
      ("1-7/3", [0, 1, 4]),
      ("5/1", [5, 6]), ("7/2", [0, 2, 4, 6]), ("*/7", [0]), ("Mon,wed,FRI", [1, 3, 5]), ("3-3", [3]),
    ] as [(String, [Int])])
  func daysOfTheWeek(field: String, expected: [Int]) throws {
    #expect(values(try CronExpression("0 0 * * \(field)").daysOfWeek) == expected)
  }

  @Test(
    arguments: [
      ("0", [0]), ("059", [59]), ("50/3", [50, 53, 56, 59]), ("59/15", [59]), ("10-20/4", [10, 14, 18]),
      ("1,1,2", [1, 2]), ("10-10", [10]),
    ] as [(String, [Int])])
  func minutes(field: String, expected: [Int]) throws {
    #expect(values(try CronExpression("\(field) * * * *").minutes) == expected)
  }

  /// Bad input 51: every refusal names the field, the value and what is allowed.
  @Test(
    arguments: [
      ("61 * * * *", "minute \"61\": \"61\" is not allowed; allowed: 0-59"),
      ("* 24 * * *", "hour \"24\": \"24\" is not allowed; allowed: 0-23"),
      ("* * 0 * *", "day of month \"0\": \"0\" is not allowed; allowed: 1-31"),
      ("* * * 13 *", "month \"13\": \"13\" is not allowed; allowed: 1-12 or JAN-DEC"),
      ("* * * * 8", "day of week \"8\": \"8\" is not allowed; allowed: 0-7 or SUN-SAT"),
      ("60 * * * * *", "second \"60\": \"60\" is not allowed; allowed: 0-59"),
      ("* * * *", "\"* * * *\" has 4 fields; needed are five"),
      ("* * * * * * *", "has 7 fields"), ("", "\"\" has 0 fields"), ("daily", "has 1 field;"),
      ("0 22-2 * * *", "hour \"22-2\": the range \"22-2\" runs backwards; write 22-23,0-2"),
      ("0 0 * * FRI-MON", "the range \"fri-mon\" runs backwards; write 5-6,0-1"),
      ("*/0 * * * *", "minute \"*/0\": the step \"0\" is not allowed; allowed: 1-59"),
      ("*/90 * * * *", "the step \"90\" is not allowed; allowed: 1-59"), ("1/2/3 * * * *", "the step \"2/3\""),
      ("1,,2 * * * *", "minute \"1,,2\": \"\" is not allowed"), ("-5 * * * *", "\"\" is not allowed"),
      ("5- * * * *", "\"\" is not allowed"), ("*-5 * * * *", "\"*\" is not allowed"), ("** * * * *", "\"**\" is not"),
      ("1.5 * * * *", "\"1.5\" is not allowed"), ("+5 * * * *", "\"+5\""), ("٣ * * * *", "is not allowed"),
      ("0 0 ? * 1", "?, L, W, # and H are not part of this grammar"), ("0 0 L * *", "are not part of this grammar"),
      ("0 0 15W * *", "are not part of this grammar"), ("0 0 * * 5#2", "are not part of this grammar"),
      ("0 0 * MON *", "month \"mon\": \"mon\" is not allowed"), ("0 0 * * JAN", "\"jan\" is not allowed"),
      ("0 0 30 2 *", "\"0 0 30 2 *\" never comes: no month it names has a day 30"),
      ("0 0 31 4,6,9,11 *", "never comes: no month it names has a day 31"),
      ("0 0 30,31 FEB */2", "never comes"),
      ("@reboot", "it names no time"), ("@every 5m", "use every_seconds"), ("@hurly", "known are @yearly"),
      ("@daily x", "is not known"),
    ] as [(String, String)])
  func whatIsWrongIsSaid(text: String, reason: String) {
    #expect { try CronExpression(text) } throws: { error in
      (error as? CronError)?.reason.contains(reason) == true
    }
  }

  @Test func tooLongIsRefused() {
    #expect(throws: CronError.self) { try CronExpression(String(repeating: "*", count: 1001)) }
    #expect(throws: CronError.self) { try CronExpression(String(repeating: "1,", count: 600) + "1 * * * *") }
  }

  /// The longest list there can be: every value of every field.
  @Test func listsOfEverythingFit() throws {
    func all(_ range: ClosedRange<Int>) -> String { range.map(String.init).joined(separator: ",") }
    let parts = [all(0...59), all(0...59), all(0...23), all(1...31), all(1...12), all(0...7)]
    let cron = try CronExpression(parts.joined(separator: " "))

    #expect(values(cron.minutes).count == 60)
    #expect(!cron.needsBothDays)
  }

  @Test func noTextTraps() {
    var random = SplitMix64(seed: 51)
    let letters = Array("0123456789*/,-@ \tLWSUNMONJANFEB?#é\u{0}".unicodeScalars)
    for _ in 0..<20_000 {
      var text = ""
      for _ in 0..<Int.random(in: 0...24, using: &random) {
        text.unicodeScalars.append(letters.randomElement(using: &random) ?? "*")
      }
      if let cron = try? CronExpression(text) {
        #expect(cron.next(after: Timestamp(milliseconds: 0), in: .utc) != nil)
      }
    }
  }
}
