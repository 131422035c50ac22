import TaskBridgeCore
import Testing

@Suite struct TimestampTests {
  @Test(
    arguments: [
      ("1970-01-01T00:00:00Z", 0),
      ("2026-11-20T23:39:00.123Z", 1_795_217_940_123),
      ("2026-11-21T00:39:00.123+01:00", 1_795_217_940_123),
      ("2026-11-20t18:09:00.123-05:30", 1_795_217_940_123),
      ("2026-11-20 23:39:00.123z", 1_795_217_940_123),
      ("2026-11-20T23:39:00.1239Z", 1_795_217_940_123),
      ("2026-11-20T23:39:00.123456789Z", 1_795_217_940_123),
      ("2026-11-20T23:39:00.5Z", 1_795_217_940_500),
      ("2024-02-29T12:00:00Z", 1_709_208_000_000),
      ("2016-12-31T23:59:60Z", 1_483_228_800_000),
      ("0001-01-01T00:00:00Z", -62_135_596_800_000),
      ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
    ] as [(String, Int64)])
  func rfc3339IsRead(text: String, milliseconds: Int64) throws {
    #expect(try Timestamp(rfc3339: text).milliseconds == milliseconds)
  }

  @Test(arguments: [
    "", "tomorrow", "-1000000-01-01T00:00:00Z", "2026-11-20", "2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z",
    "2026-00-01T00:00:00Z", "2026-01-00T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z",
    "2026-01-01T00:00:61Z", "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00.1234567890Z", "2026-01-01T00:00:00+1:00",
    "2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00Zx", "2026-01-01T00:00Z", "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01", "10000-01-01T00:00:00Z", "2026-01-01T00:00:00\u{0}Z",
    "２026-01-01T00:00:00Z",
  ])
  func nonsenseIsUnreadable(text: String) {
    #expect(throws: TimestampError.unreadable) { try Timestamp(rfc3339: text) }
  }

  @Test(arguments: ["2026-11-20T23:39:00", "2026-11-20T23:39:00.123"])
  func aTimeWithoutZoneIsRefusedAsSuch(text: String) {
    #expect(throws: TimestampError.withoutZone) { try Timestamp(rfc3339: text) }
  }

  @Test func everyMomentReadsBackAsWritten() throws {
    var random = SplitMix64(seed: 1)
    for _ in 0..<20_000 {
      let moment = Timestamp(
        milliseconds: .random(in: Timestamp.earliest.milliseconds...Timestamp.latest.milliseconds, using: &random))
      let text = moment.description

      #expect(try Timestamp(rfc3339: text) == moment)
      #expect(text.utf8.count == 24)
    }
  }

  @Test func orderOfTextsIsOrderOfTime() {
    var random = SplitMix64(seed: 2)
    for _ in 0..<2000 {
      let left = Timestamp(milliseconds: .random(in: -1_000_000_000_000...4_000_000_000_000, using: &random))
      let right = Timestamp(milliseconds: .random(in: -1_000_000_000_000...4_000_000_000_000, using: &random))
      #expect((left < right) == (left.description < right.description))
    }
  }

  @Test func addingRoundsUpToTheNextMillisecond() {
    let start = Timestamp(milliseconds: 1000)

    #expect(start.adding(seconds: 0.029).milliseconds == 1029)
    #expect(start.adding(seconds: 0.0001).milliseconds == 1001)
    #expect(start.adding(seconds: -0.0005).milliseconds == 1000)
    #expect(start.adding(seconds: 93).milliseconds == 94_000)
    #expect(start.adding(seconds: 0) == start)
    #expect(start.adding(seconds: .nan) == start)
  }

  @Test(arguments: [1e15, 1e300, .infinity])
  func addingSaturates(seconds: Double) {
    #expect(Timestamp(milliseconds: 0).adding(seconds: seconds) == .latest)
    #expect(Timestamp(milliseconds: 0).adding(seconds: -seconds) == .earliest)
    #expect(Timestamp(milliseconds: .max).adding(seconds: 1) == .latest)
  }

  @Test func secondsSinceIsTheInverseOfAdding() {
    let start = Timestamp(milliseconds: 1_795_217_940_123)

    #expect(start.adding(seconds: 12.5).seconds(since: start) == 12.5)
    #expect(start.seconds(since: start.adding(seconds: 12.5)) == -12.5)
    #expect(Timestamp(milliseconds: .max).seconds(since: Timestamp(milliseconds: .min)) > 1e16)
  }

  @Test func momentsBeyondTheCalendarAreShownAtItsEdge() {
    #expect(Timestamp(milliseconds: .max).description == "9999-12-31T23:59:59.999Z")
    #expect(Timestamp(milliseconds: .min).description == "0001-01-01T00:00:00.000Z")
  }
}
