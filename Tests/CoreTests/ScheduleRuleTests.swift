import Testing

@testable import TaskBridgeCore

/// Intervals, bounds, catch-up and overlap (T81, T82, N35).
@Suite struct ScheduleRuleTests {
  private let created = Timestamp(milliseconds: 1_795_217_940_123)

  private func at(_ seconds: Double) -> Timestamp { created.adding(seconds: seconds) }

  private func times(_ rule: ScheduleRule, after: Timestamp, count: Int) -> [Double] {
    var times: [Double] = []
    var last = after
    while times.count < count, let next = rule.next(after: last) {
      times.append(next.at.seconds(since: created))
      last = next.at
    }
    return times
  }

  /// T82: the grid does not drift.
  @Test func aFixedRateIsAGrid() {
    let rule = ScheduleRule(.every(milliseconds: 1700, .fixedRate), createdAt: created)

    #expect(times(rule, after: created, count: 1000).last == 1700)
    #expect(rule.next(after: at(1_000_000))?.at == at(1_000_001.2))
    #expect(rule.next(after: at(-50))?.at == at(1.7))
  }

  @Test func aStartIsTheFirstTimeItself() {
    let rule = ScheduleRule(
      .every(milliseconds: 10_000, .fixedRate), startsAt: at(100), endsAt: at(130), createdAt: created)

    #expect(times(rule, after: created, count: 9) == [100, 110, 120, 130])
    #expect(rule.next(after: at(130)) == nil)
    #expect(rule.next(after: at(99.999))?.at == at(100))
  }

  @Test func cronKeepsWithinStartAndEnd() throws {
    let rule = ScheduleRule(
      .cron(try CronExpression("* * * * *")), startsAt: try Timestamp(rfc3339: "2026-11-21T00:00:00Z"),
      endsAt: try Timestamp(rfc3339: "2026-11-21T00:02:00Z"), createdAt: created)
    var found: [String] = []
    var last = created
    while let next = rule.next(after: last) {
      found.append(next.at.description)
      last = next.at
    }

    #expect(
      found == ["2026-11-21T00:00:00.000Z", "2026-11-21T00:01:00.000Z", "2026-11-21T00:02:00.000Z"])
  }

  @Test func aFixedDelayCountsFromTheEndOfTheLastRun() {
    let rule = ScheduleRule(.every(milliseconds: 10_000, .fixedDelay), createdAt: created)

    #expect(rule.next(after: created)?.at == at(10))
    #expect(rule.next(after: at(10), lastEnd: at(13.5))?.at == at(23.5))
    let open = rule.due(
      now: at(100), progress: ScheduleProgress(decidedThrough: at(10), missedThrough: created, hasOpenRun: true))
    #expect(open == DuePlan(decidedThrough: at(10)))
    let late = rule.due(
      now: at(100), progress: ScheduleProgress(decidedThrough: at(10), missedThrough: created, lastEnd: at(13.5)))
    #expect(late.runs.map(\.at) == [at(23.5)])
    #expect(late.next == nil && !late.hasEnded)
  }

  @Test func anIntervalThatIsTooLongNeverComes() {
    let rule = ScheduleRule(.every(milliseconds: .max / 2, .fixedRate), createdAt: created)
    #expect(rule.next(after: created) == nil)
    #expect(rule.next(after: Timestamp(milliseconds: .max)) == nil)
    #expect(rule.next(after: Timestamp(milliseconds: .min)) == nil)
  }

  /// N35: six nominal times passed while the bridge was down.
  @Test(
    arguments: [
      (.skip, [], 6, 10.0), (.latest, [60.0], 5, 10.0), (.all, [40.0, 50.0, 60.0], 3, 10.0),
    ] as [(ScheduleRule.CatchUp, [Double], Int, Double)])
  func missedTimesAreCaughtUp(catchUp: ScheduleRule.CatchUp, runs: [Double], over: Int, first: Double) {
    let rule = ScheduleRule(
      .every(milliseconds: 10_000, .fixedRate), catchUp: catchUp, catchUpLimit: 3, createdAt: created)
    let plan = rule.due(now: at(65), progress: ScheduleProgress(decidedThrough: created, missedThrough: at(64)))

    #expect(plan.runs.map { $0.at.seconds(since: created) } == runs)
    #expect(
      plan.passedOver == [
        .init(reason: .missed, first: at(first), last: at(Double(over) * 10), count: over)
      ])
    #expect(plan.next?.at == at(70))
    #expect(plan.decidedThrough == at(65))
  }

  @Test func allOfThemRunWhenTheLimitAllows() {
    let rule = ScheduleRule(.every(milliseconds: 10_000, .fixedRate), catchUp: .all, createdAt: created)
    let plan = rule.due(now: at(65), progress: ScheduleProgress(decidedThrough: created, missedThrough: at(64)))

    #expect(plan.runs.map { $0.at.seconds(since: created) } == [10, 20, 30, 40, 50, 60])
    #expect(plan.passedOver.isEmpty)
  }

  @Test func whatIsOnTimeRunsWhateverCatchUpSays() {
    let rule = ScheduleRule(.every(milliseconds: 10_000, .fixedRate), createdAt: created)
    let plan = rule.due(now: at(31), progress: ScheduleProgress(decidedThrough: created, missedThrough: at(20)))

    #expect(plan.runs.map { $0.at.seconds(since: created) } == [30])
    #expect(plan.passedOver == [.init(reason: .missed, first: at(10), last: at(20), count: 2)])
  }

  /// T81: `max_runs` counts runs, not times.
  @Test func theLastOfMaxRunsEndsTheSchedule() {
    let rule = ScheduleRule(.every(milliseconds: 10_000, .fixedRate), maxRuns: 5, catchUp: .all, createdAt: created)
    let plan = rule.due(
      now: at(65), progress: ScheduleProgress(decidedThrough: created, missedThrough: at(64), runsMade: 3))

    #expect(plan.runs.map { $0.at.seconds(since: created) } == [10, 20])
    #expect(plan.hasEnded && plan.next == nil)
    #expect(plan.decidedThrough == at(20), "what is beyond max_runs is undecided until the runs are made")
    let over = rule.due(
      now: at(65), progress: ScheduleProgress(decidedThrough: created, missedThrough: at(64), runsMade: 5))
    #expect(over.runs.isEmpty && over.hasEnded)
  }

  @Test func overlapSkipPassesOverWhileARunIsOpen() {
    let rule = ScheduleRule(
      .every(milliseconds: 10_000, .fixedRate), catchUp: .all, overlap: .skip, createdAt: created)
    var progress = ScheduleProgress(decidedThrough: created, missedThrough: created)

    let free = rule.due(now: at(35), progress: progress)
    progress.hasOpenRun = true
    let busy = rule.due(now: at(35), progress: progress)

    #expect(free.runs.map(\.at) == [at(10)])
    #expect(free.passedOver == [.init(reason: .overlap, first: at(20), last: at(30), count: 2)])
    #expect(busy.runs.isEmpty)
    #expect(busy.passedOver == [.init(reason: .overlap, first: at(10), last: at(30), count: 3)])
    #expect(busy.next?.at == at(40))
  }

  /// Bad input 52: a year of seconds is caught up within the limit, and soon.
  @Test func aYearOfSecondsIsBounded() throws {
    let rule = ScheduleRule(
      .cron(try CronExpression("* * * * * *")), catchUp: .all, catchUpLimit: 1000, createdAt: created)
    let now = at(365 * 86_400)
    let begun = ContinuousClock.now
    let plan = rule.due(now: now, progress: ScheduleProgress(decidedThrough: created, missedThrough: now))

    #expect(ContinuousClock.now - begun < .seconds(5))
    #expect(plan.runs.count == 1000)
    #expect(zip(plan.runs, plan.runs.dropFirst()).allSatisfy { $1.at.seconds(since: $0.at) == 1 })
    #expect(now.seconds(since: plan.runs[999].at) < 1)
    #expect(plan.passedOver.map(\.count) == [DuePlan.countMax])
    #expect(plan.passedOver.first?.last == plan.runs[0].at.adding(seconds: -1))
  }

  @Test func onePlanDecidesAtMostSoMany() {
    let rule = ScheduleRule(.every(milliseconds: 1000, .fixedRate), createdAt: created)
    var progress = ScheduleProgress(decidedThrough: created, missedThrough: created)
    var made: [Timestamp] = []
    for _ in 0..<3 {
      let plan = rule.due(now: at(2500), progress: progress)
      made += plan.runs.map(\.at)
      progress.decidedThrough = plan.decidedThrough
      #expect(plan.runs.count <= DuePlan.dueMax)
    }

    #expect(made == (1...2500).map { at(Double($0)) })
    #expect(progress.decidedThrough == at(2500))
  }

  @Test func aClockSetBackMakesNothingTwice() {
    let rule = ScheduleRule(.every(milliseconds: 10_000, .fixedRate), createdAt: created)
    let plan = rule.due(now: at(-3600), progress: ScheduleProgress(decidedThrough: at(30), missedThrough: created))

    #expect(plan.runs.isEmpty && plan.passedOver.isEmpty)
    #expect(plan.decidedThrough == at(30))
    #expect(plan.next?.at == at(40))
  }

  /// `last` is the inverse of `next`, whatever the clocks do.
  @Test func theNewestMissedTimeIsFound() throws {
    let rule = ScheduleRule(
      .cron(try CronExpression("*/20 2 * * *")), zone: try zone("Europe/Berlin"), dstOverlap: .both, createdAt: created)
    var random = SplitMix64(seed: 35)
    for _ in 0..<300 {
      let start = Timestamp(milliseconds: .random(in: 1_750_000_000_000...1_850_000_000_000, using: &random))
      let end = start.adding(seconds: .random(in: 0...400_000, using: &random))
      var expected: Occurrence?
      var last = start
      while let next = rule.next(after: last), next.at <= end {
        expected = next
        last = next.at
      }

      #expect(rule.last(through: end, after: start) == expected)
    }
  }
}
