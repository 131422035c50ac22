import Testing

@testable import TaskBridgeCore

@Suite struct CivilTimeTests {
  @Test(
    arguments: [
      (0, "1970-01-01T00:00:00"), (-1, "1969-12-31T23:59:59"), (951_782_400, "2000-02-29T00:00:00"),
      (1_774_751_400, "2026-03-29T02:30:00"),
    ] as [(Int, String)])
  func itIsShownAsTheClockShowsIt(seconds: Int, text: String) {
    #expect(CivilTime(seconds: seconds).description == text)
  }

  @Test func itIsMadeOfItsParts() {
    #expect(CivilTime(2026, 3, 29, 2, 30) == CivilTime(seconds: 1_774_751_400))
    #expect(CivilTime(2026, 3, 29, 2, 30, 5).timeText == "02:30:05")
    #expect(CivilTime(2026, 3, 29, 2, 30).timeText == "02:30")
    #expect(CivilTime(987, 1, 2).dateText == "0987-01-02")
  }

  @Test func weekdaysFollowEachOther() {
    // 1970-01-01 was a Thursday.
    #expect(CivilDate.weekday(daysSince1970: 0) == 4)
    #expect(CivilDate.weekday(daysSince1970: -5) == 6)
    #expect(CivilDate.weekday(daysSince1970: CivilDate(year: 2000, month: 2, day: 29).daysSince1970) == 2)
    #expect(CivilDate.weekday(daysSince1970: CivilDate(year: 2026, month: 11, day: 21).daysSince1970) == 6)
  }

  @Test(arguments: [(7, 2, 3), (-7, 2, -4), (-8, 2, -4), (0, 5, 0), (-1, 86_400, -1)] as [(Int, Int, Int)])
  func flooredDivisionRoundsDown(value: Int, divisor: Int, quotient: Int) {
    #expect(value.flooredDivision(by: divisor) == quotient)
  }
}
