import Testing

@testable import TaskBridgeCore

/// The coming times of an expression (N33, N34).
@Suite struct CronNextTests {
  private func next(
    _ cron: String, _ zone: TimeZoneRules = .utc, after: String, gap: DSTGap = .runAfter,
    overlap: DSTOverlap = .first, count: Int = 1
  ) throws -> [Occurrence] {
    let expression = try CronExpression(cron)
    var found: [Occurrence] = []
    var last = try Timestamp(rfc3339: after)
    while found.count < count, let next = expression.next(after: last, in: zone, gap: gap, overlap: overlap) {
      found.append(next)
      last = next.at
    }
    return found
  }

  @Test(
    arguments: [
      ("30 2 * * *", "2026-11-20T23:39:00.123Z", "2026-11-21T02:30:00.000Z"),
      ("30 2 * * *", "2026-11-21T02:30:00Z", "2026-11-22T02:30:00.000Z"),
      ("30 2 * * *", "2026-11-21T02:29:59.999Z", "2026-11-21T02:30:00.000Z"),
      ("* * * * * *", "2026-11-20T23:59:59.5Z", "2026-11-21T00:00:00.000Z"),
      ("59 59 23 31 12 *", "2026-12-31T23:59:59Z", "2027-12-31T23:59:59.000Z"),
      ("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00.000Z"),
      ("0 0 29 2 *", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00.000Z"),
      ("0 0 31 * *", "2026-01-31T00:00:00Z", "2026-03-31T00:00:00.000Z"),
      // Either day field when both are restricted; both when one begins with a star.
      ("0 0 13 * FRI", "2026-11-14T00:00:00Z", "2026-11-20T00:00:00.000Z"),
      ("0 0 13 * FRI", "2026-12-12T00:00:00Z", "2026-12-13T00:00:00.000Z"),
      ("0 0 */13 * FRI", "2026-11-14T00:00:00Z", "2026-11-27T00:00:00.000Z"),
      ("0 0 13 * */5", "2026-11-14T00:00:00Z", "2026-12-13T00:00:00.000Z"),
      ("0 0 29 2 */6", "2026-11-14T00:00:00Z", "2032-02-29T00:00:00.000Z"),
      ("0 0 30 2 MON", "2026-11-14T00:00:00Z", "2027-02-01T00:00:00.000Z"),
      ("0 0 1 1 *", "9999-06-01T00:00:00Z", nil),
    ] as [(String, String, String?)])
  func theNextTime(cron: String, after: String, expected: String?) throws {
    #expect(try next(cron, after: after).first?.at.description == expected)
  }

  /// N33: a job at 02:30 in Berlin when the clocks go forward.
  @Test func aGapRunsAfterOrNotAtAll() throws {
    let berlin = try zone("Europe/Berlin")
    let after = try next("30 2 * * *", berlin, after: "2026-03-28T12:00:00Z", count: 2)
    let skipped = try next("30 2 * * *", berlin, after: "2026-03-28T12:00:00Z", gap: .skip, count: 2)

    #expect(after.map(\.localText) == ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"])
    #expect(after.map(\.note) == ["gap: 02:30 does not exist, runs after", nil])
    #expect(skipped.map(\.localText) == ["2026-03-30T02:30:00+02:00", "2026-03-31T02:30:00+02:00"])
    #expect(skipped.map(\.note) == ["gap: 2026-03-29 02:30 does not exist, skipped", nil])
  }

  /// N33: a job at 02:30 in Berlin when the clocks go back.
  @Test(
    arguments: [
      (.first, ["2026-10-25T00:30:00.000Z", "2026-10-26T01:30:00.000Z"]),
      (.second, ["2026-10-25T01:30:00.000Z", "2026-10-26T01:30:00.000Z"]),
      (.both, ["2026-10-25T00:30:00.000Z", "2026-10-25T01:30:00.000Z"]),
    ] as [(DSTOverlap, [String])])
  func anOverlapRunsOnceOrTwice(overlap: DSTOverlap, expected: [String]) throws {
    let found = try next(
      "30 2 * * *", try zone("Europe/Berlin"), after: "2026-10-24T12:00:00Z", overlap: overlap, count: 2)

    #expect(found.map(\.at.description) == expected)
    #expect(found[0].note?.hasPrefix("overlap: 02:30 comes twice, runs ") == true)
    #expect((found[1].note == nil) == (overlap != .both))
  }

  @Test func missingTimesOfOneGapRunOnce() throws {
    let found = try next("*/20 1-3 * * *", try zone("Europe/Berlin"), after: "2026-03-29T00:30:00Z", count: 3)

    #expect(
      found.map(\.localText) == [
        "2026-03-29T01:40:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-29T03:20:00+02:00",
      ])
    #expect(found[1].note == "gap: 02:00 to 02:40 do not exist, runs once after")
  }

  @Test func anHourlyJobRunsEveryHourWithBothAndSkip() throws {
    let berlin = try zone("Europe/Berlin")
    for after in ["2026-03-28T20:30:00Z", "2026-10-24T20:30:00Z"] {
      let found = try next("30 * * * *", berlin, after: after, gap: .skip, overlap: .both, count: 12)
      #expect(zip(found, found.dropFirst()).allSatisfy { $1.at.seconds(since: $0.at) == 3600 })
    }
  }

  /// Zones with half hours, two hours, midnight and a whole day.
  @Test(
    arguments: [
      ("Australia/Lord_Howe", "15 2 * * *", "2026-10-03T00:00:00Z", "2026-10-04T02:30:00+11:00"),
      ("Antarctica/Troll", "30 1 * * *", "2026-03-28T12:00:00Z", "2026-03-29T03:00:00+02:00"),
      ("Africa/Cairo", "0 0 * * *", "2026-04-23T00:00:00Z", "2026-04-24T01:00:00+03:00"),
      ("America/Santiago", "@daily", "2026-09-05T12:00:00Z", "2026-09-06T01:00:00-03:00"),
      ("Pacific/Apia", "0 12 30 12 *", "2011-12-01T00:00:00Z", "2011-12-31T00:00:00+14:00"),
      ("Pacific/Chatham", "50 2 * * *", "2026-09-26T00:00:00Z", "2026-09-27T03:45:00+13:45"),
    ] as [(String, String, String, String)])
  func gapsOfOddZones(name: String, cron: String, after: String, expected: String) throws {
    #expect(try next(cron, try zone(name), after: after).first?.localText == expected)
  }

  @Test func nothingIsFoundPastTheLimit() throws {
    let cron = try CronExpression("0 0 1 * *")
    let start = try Timestamp(rfc3339: "2026-11-02T00:00:00Z")
    let first = try Timestamp(rfc3339: "2026-12-01T00:00:00Z")

    #expect(cron.next(after: start, in: .utc, through: first)?.at == first)
    #expect(cron.next(after: start, in: .utc, through: first.adding(seconds: -0.001)) == nil)
    #expect(cron.next(after: .latest, in: .utc) == nil)
  }

  /// Rarely or never within the calendar: the search ends, and soon.
  @Test func theSearchIsBounded() throws {
    let berlin = try zone("Europe/Berlin")
    let begun = ContinuousClock.now
    for _ in 0..<100 {
      #expect(try next("0 0 29 2 */6", berlin, after: "2073-01-01T00:00:00Z").first != nil)
      #expect(try next("30 2 29 3 *", berlin, after: "2026-01-01T00:00:00Z", gap: .skip, count: 8).count == 8)
      #expect(try next("0 0 29 2 *", berlin, after: "9996-03-01T00:00:00Z").isEmpty)
    }
    #expect(ContinuousClock.now - begun < .seconds(5))
  }

  /// Each time that is found is one of those that a walk second by second finds, in several zones and settings.
  @Test func theSearchFindsWhatAWalkFinds() throws {
    var random = SplitMix64(seed: 34)
    let zones = try ["Europe/Berlin", "Australia/Lord_Howe", "America/Santiago", "Africa/Casablanca"].map(zone)
    for _ in 0..<60 {
      let minutes = Int.random(in: 0...59, using: &random)
      let hours = Int.random(in: 0...5, using: &random)
      let text = "\(minutes)/\(Int.random(in: 1...30, using: &random)) \(hours)-\(hours + 2) * * *"
      let zone = zones[Int.random(in: 0..<zones.count, using: &random)]
      let gap = DSTGap.allCases.randomElement(using: &random) ?? .skip
      let overlap = DSTOverlap.allCases.randomElement(using: &random) ?? .both
      // Two days around a change of the clocks.
      var period = zone.period(at: .random(in: 1_600_000_000..<2_000_000_000, using: &random))
      if period.end == TimeZoneRules.end { period.end = 1_700_000_000 }
      let range = (period.end - 86_400)..<(period.end + 86_400)
      let cron = try CronExpression(text)
      var found: [Int] = []
      var last = Timestamp(milliseconds: Int64(range.lowerBound) * 1000)
      while let next = cron.next(after: last, in: zone, gap: gap, overlap: overlap) {
        guard next.at.milliseconds < Int64(range.upperBound) * 1000 else { break }
        found.append(Int(next.at.milliseconds / 1000))
        last = next.at
      }

      let walked = walk(cron, zone, range, gap, overlap)

      #expect(found == walked, "\(text) in \(zone.name), \(gap), \(overlap), from \(range.lowerBound)")
    }
  }

  /// The rule itself, spelled out for every minute of `range` (its start excluded).
  private func walk(
    _ cron: CronExpression, _ zone: TimeZoneRules, _ range: Range<Int>, _ gap: DSTGap, _ overlap: DSTOverlap
  ) -> [Int] {
    var found: [Int] = []
    for second in stride(from: range.lowerBound / 60 * 60 + 60, to: range.upperBound, by: 60) {
      let offset = zone.offset(at: second)
      let jump = offset - zone.offset(at: second - 60)
      let local = second + offset
      let missed =
        jump > 0 && gap == .runAfter
        && stride(from: local - jump, to: local, by: 60).contains { matches(cron, $0) }
      if missed || (matches(cron, local) && counts(second, local, zone, overlap)) { found.append(second) }
    }
    return found
  }

  /// Whether no moment within three hours, on the side that `overlap` prefers, shows the same local time.
  private func counts(_ second: Int, _ local: Int, _ zone: TimeZoneRules, _ overlap: DSTOverlap) -> Bool {
    let steps: StrideTo<Int>
    switch overlap {
    case .both: return true
    case .first: steps = stride(from: second - 3 * 3600, to: second, by: 60)
    case .second: steps = stride(from: second + 60, to: second + 3 * 3600, by: 60)
    }
    return !steps.contains { $0 + zone.offset(at: $0) == local }
  }

  private func matches(_ cron: CronExpression, _ local: Int) -> Bool {
    cron.minutes.contains(local / 60 % 60) && cron.hours.contains(local / 3600 % 24)
  }
}
