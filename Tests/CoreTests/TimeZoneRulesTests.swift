import Testing

@testable import TaskBridgeCore

@Suite struct TimeZoneRulesTests {
  private func seconds(_ text: String) throws -> Int { Int(try Timestamp(rfc3339: text).milliseconds / 1000) }

  @Test(
    arguments: [
      ("Europe/Berlin", "2026-03-29T00:59:59Z", 3600), ("Europe/Berlin", "2026-03-29T01:00:00Z", 7200),
      ("Europe/Berlin", "2026-10-25T00:59:59Z", 7200), ("Europe/Berlin", "2026-10-25T01:00:00Z", 3600),
      ("Europe/Berlin", "1850-01-01T00:00:00Z", 3208), ("Europe/Berlin", "2537-07-01T00:00:00Z", 7200),
      ("Europe/Berlin", "9999-12-31T23:59:59Z", 3600), ("Asia/Kathmandu", "2026-01-01T00:00:00Z", 20_700),
      ("Australia/Lord_Howe", "2026-07-01T00:00:00Z", 37_800), ("Australia/Lord_Howe", "2026-12-01T00:00:00Z", 39_600),
      ("Europe/Dublin", "2026-12-01T00:00:00Z", 0), ("Europe/Dublin", "2050-07-01T00:00:00Z", 3600),
      ("America/Nuuk", "2040-07-01T00:00:00Z", -3600), ("America/Nuuk", "2040-01-01T00:00:00Z", -7200),
      ("Asia/Jerusalem", "2041-07-01T00:00:00Z", 10_800), ("Pacific/Apia", "2011-12-30T09:59:59Z", -36_000),
      ("Pacific/Apia", "2011-12-30T10:00:00Z", 50_400), ("Etc/GMT+5", "2026-01-01T00:00:00Z", -18_000),
      ("UTC", "2026-01-01T00:00:00Z", 0),
    ] as [(String, String, Int)])
  func offsets(name: String, at text: String, offset: Int) throws {
    #expect(try zone(name).offset(at: try seconds(text)) == offset)
  }

  /// The last line of a file says the same as its table, where both speak of the same years.
  @Test(
    arguments: [
      "Europe/Berlin", "Europe/Dublin", "America/New_York", "America/Santiago", "Australia/Lord_Howe",
      "Antarctica/Troll", "Asia/Jerusalem", "Pacific/Chatham", "America/Havana", "Africa/Cairo", "Asia/Beirut",
    ])
  func theRuleGoesOnAsTheTableDid(name: String) throws {
    let whole = try zone(name)
    let start = try seconds("2026-11-20T00:00:00Z")
    let short = TimeZoneRules(
      name: name, firstOffset: whole.firstOffset, changes: whole.changes.filter { $0.at < start }, rule: whole.rule)
    // Debian's files have a table up to 2037; without one there is nothing to compare.
    #expect(whole.rule != nil)
    var at = start
    var count = 0
    while at < 2_100_000_000 {
      let (left, right) = (whole.period(at: at), short.period(at: at))
      #expect(left == right)
      at = right.end
      count += 1
    }
    #expect(count >= 20)
  }

  @Test func periodsTileTime() throws {
    for name in ["Europe/Berlin", "Africa/Casablanca", "America/Nuuk", "Antarctica/Casey", "Asia/Tehran", "Etc/UTC"] {
      let zone = try zone(name)
      var period = zone.period(at: TimeZoneRules.beginning)
      #expect(period.start == TimeZoneRules.beginning)
      while period.end < 20_000_000_000 {
        let next = zone.period(at: period.end)
        #expect(next.start == period.end)
        #expect(zone.period(at: period.end - 1) == period)
        #expect(next.offset != period.offset, "\(name) at \(next.start)")
        period = next
      }
    }
  }

  @Test(
    arguments: [
      ("UTC0", 0, nil), ("<+0330>-3:30", 12_600, nil), ("EST5EDT,M3.2.0,M11.1.0", -18_000, -14_400),
      ("IST-1GMT0,M10.5.0,M3.5.0/1", 3600, 0), ("<-02>2<-01>,M3.5.0/-1,M10.5.0/0", -7200, -3600),
      ("AAA3BBB,J60/0,J300", -10_800, -7200), ("AAA-3BBB-4:30:15,0/0,365/167", 10_800, 16_215),
    ] as [(String, Int, Int?)])
  func lastLinesAreRead(text: String, standard: Int, daylight: Int?) throws {
    let zone = try PosixTimeZone(Array(text.utf8)[...])

    #expect(zone.standardOffset == standard)
    #expect(zone.rule?.daylightOffset == daylight)
  }

  @Test(arguments: [
    "", "UT0", "UTC", "UTC25", "<+03-3", "EST5EDT", "EST5EDT,M3.2.0", "EST5EDT,M13.2.0,M11.1.0",
    "EST5EDT,M3.6.0,M11.1.0",
    "EST5EDT,M3.2.7,M11.1.0", "EST5EDT,J0,J1", "EST5EDT,366,1", "EST5EDT,M3.2.0/168,M11.1.0", "EST5EDT,M3.2.0,M11.1.0x",
    "EST5:60", "EST1234",
  ])
  func otherLastLinesAreRefused(text: String) {
    #expect(throws: TimeZoneDataError.self) { try PosixTimeZone(Array(text.utf8)[...]) }
  }

  @Test func daysOfTheYearCountWithAndWithoutTheLeapDay() {
    let midnight = DaylightRule.YearlyTime(day: .ofYearWithoutLeapDay(60), seconds: 0)
    #expect(midnight.civil(inYear: 2028) == CivilTime(2028, 3, 1).seconds)
    #expect(midnight.civil(inYear: 2027) == CivilTime(2027, 3, 1).seconds)
    let counted = DaylightRule.YearlyTime(day: .ofYear(59), seconds: 0)
    #expect(counted.civil(inYear: 2028) == CivilTime(2028, 2, 29).seconds)
    let last = DaylightRule.YearlyTime(day: .ofMonth(month: 10, week: 5, weekday: 0), seconds: -3600)
    #expect(last.civil(inYear: 2026) == CivilTime(2026, 10, 24, 23).seconds)
  }

  /// Daylight time all the year: the two changes fall together.
  @Test func daylightTimeMayNeverEnd() throws {
    let posix = try PosixTimeZone(Array("XXX3EDT4,0/0,J365/23".utf8)[...])
    let zone = TimeZoneRules(name: "X", firstOffset: posix.standardOffset, changes: [], rule: posix.rule)
    for at in stride(from: 0, to: 2_000_000_000, by: 1_000_003) { #expect(zone.offset(at: at) == -14_400) }
  }
}

/// Bytes that are damaged or hostile.
@Suite struct TimeZoneFileTests {
  private struct File {
    var magic = Array("TZif".utf8)
    var version = UInt8(ascii: "2")
    var times: [Int64] = [0, 1000]
    var kinds: [UInt8] = [1, 0]
    var offsets: [Int32] = [0, 3600]
    var leaps = 0
    var footer = "\n<+00>0\n"

    var bytes: [UInt8] {
      let old = header(counts: [0, 0, 0, 0, 1, 1]) + [UInt8](repeating: 0, count: 7)
      var bytes = old + header(counts: [0, 0, leaps, times.count, offsets.count, 4])
      for time in times { bytes += number(time) }
      bytes += kinds
      for offset in offsets { bytes += number(Int64(offset)).suffix(4) + [0, 0] }
      return bytes + Array("UTC\u{0}".utf8) + [UInt8](repeating: 0, count: leaps * 12) + Array(footer.utf8)
    }

    private func header(counts: [Int]) -> [UInt8] {
      magic + [version] + [UInt8](repeating: 0, count: 15) + counts.flatMap { number(Int64($0)).suffix(4) }
    }

    private func number(_ value: Int64) -> [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: value >> (56 - 8 * $0)) } }
  }

  private func read(_ file: File) throws -> TimeZoneRules { try TimeZoneRules(name: "Test", tzif: file.bytes) }

  @Test func aSmallFileIsRead() throws {
    let zone = try read(File())

    #expect(zone.period(at: -1) == TimeZoneRules.Period(start: TimeZoneRules.beginning, end: 0, offset: 0))
    #expect(zone.period(at: 999) == TimeZoneRules.Period(start: 0, end: 1000, offset: 3600))
    #expect(zone.period(at: 1000) == TimeZoneRules.Period(start: 1000, end: TimeZoneRules.end, offset: 0))
  }

  @Test func aFileWithoutTableHasTheOffsetOfItsLastLine() throws {
    let zone = try read(File(times: [], kinds: [], footer: "\n<-03>3\n"))
    #expect(zone.offset(at: 0) == -10_800)
  }

  @Test func theBeginningOfTimeIsNoChange() throws {
    let zone = try read(File(times: [-(1 << 59), 1000], kinds: [1, 0]))
    #expect(zone.period(at: 0) == TimeZoneRules.Period(start: TimeZoneRules.beginning, end: 1000, offset: 3600))
  }

  @Test func damagedFilesAreRefusedWithTheReason() {
    let cases: [(File, String)] = [
      (File(magic: Array("TZxf".utf8)), "no TZif file"), (File(version: 0), "version 1"),
      (File(times: [1000, 0]), "not in order"), (File(kinds: [1, 2]), "an offset it lacks"),
      (File(offsets: [0, 100_000]), "too large"), (File(leaps: 1), "leap seconds"), (File(footer: ""), "last line"),
      (File(footer: "\n<+00>0"), "last line"), (File(footer: "\nnonsense\n"), "is no rule"),
    ]
    for (file, reason) in cases {
      #expect {
        try read(file)
      } throws: { error in
        (error as? TimeZoneDataError)?.reason.contains(reason) == true
      }
    }
    #expect(throws: TimeZoneDataError.self) {
      try TimeZoneRules(name: "x", tzif: [UInt8](repeating: 0, count: TimeZoneRules.bytesMax + 1))
    }
  }

  @Test func noBytesTrap() throws {
    let whole = File().bytes
    for length in 0..<whole.count {
      #expect(throws: TimeZoneDataError.self) { try TimeZoneRules(name: "x", tzif: Array(whole[..<length])) }
    }
    var random = SplitMix64(seed: 7)
    for _ in 0..<20_000 {
      var bytes = whole
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        bytes[Int.random(in: 0..<bytes.count, using: &random)] = .random(in: 0...255, using: &random)
      }
      if let zone = try? TimeZoneRules(name: "x", tzif: bytes) {
        _ = try CronExpression("30 2 * * *").next(after: Timestamp(milliseconds: 500_000), in: zone)
      }
    }
  }
}
