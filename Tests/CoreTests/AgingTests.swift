import TaskBridgeCore
import Testing

/// Aging and the time that does not count for it (feature T60).
@Suite struct AgingTests {
  private static func time(_ seconds: Double) -> Timestamp {
    Timestamp(milliseconds: 1_800_000_000_000 + Int64(seconds * 1_000))
  }

  /// Priority, seconds of waiting, effective priority.
  @Test(
    "T60: after 300 s one step each 60 s, up to 64",
    arguments: [
      (192, 420, 190), (192, 0, 192), (192, 299, 192), (192, 300, 192), (192, 359, 192), (192, 360, 191),
      (192, 7_979, 65), (192, 7_980, 64), (192, 1_000_000_000, 64), (65, 100_000, 64), (64, 100_000, 64),
      (63, 100_000, 63), (0, 100_000, 0), (255, 100_000, 64),
    ])
  func waitingMakesMoreUrgent(priority: Int, seconds: Int64, expected: Int) {
    #expect(Aging().effective(priority, age: seconds * 1_000) == expected)
  }

  @Test("T60: counted from submission or the run's time; what has left keeps what it had")
  func aRunWaitsSinceItIsDue() {
    var run = Run(
      sequence: 1, id: RunID("01936a3e-0000-7000-8000-000000000000")!, task: TaskKey("a")!, state: .ready,
      createdAt: Self.time(0))
    run.priority = 192
    func effective(_ seconds: Double, _ aging: Aging? = Aging()) -> Int {
      run.effectivePriority(aging, paused: PausedTime(), at: Self.time(seconds))
    }

    #expect(effective(420) == 190)
    #expect(effective(420, nil) == 192)
    run.runAt = Self.time(1_000)
    #expect((effective(500), effective(1_420)) == (192, 190))
    run.agesFrom = Self.time(100)
    #expect(effective(520) == 190)
    run.pausedAt = Self.time(520)
    #expect(effective(5_000) == 190)
    run.pausedAt = nil
    run.queuedAt = Self.time(580)
    #expect(effective(5_000) == 189)
  }

  // MARK: Paused time

  private static func interval(_ start: Double, _ end: Double) -> PausedTime.Interval {
    PausedTime.Interval(start: time(start), end: time(end))
  }

  @Test("T60: pauses that overlap count once")
  func overlapsCountOnce() {
    let paused = PausedTime([
      Self.interval(50, 60), Self.interval(10, 20), Self.interval(15, 30), Self.interval(30, 40), Self.interval(5, 5),
    ])

    #expect(paused.intervals == [Self.interval(10, 40), Self.interval(50, 60)])
    #expect(paused.milliseconds(from: Self.time(0), to: Self.time(100)) == 40_000)
    #expect(paused.milliseconds(from: Self.time(20), to: Self.time(55)) == 25_000)
    #expect(paused.milliseconds(from: Self.time(70), to: Self.time(80)) == 0)
    #expect(paused.milliseconds(from: Self.time(80), to: Self.time(70)) == 0)
  }

  @Test(
    "T60: moving on by free time leaves pauses out",
    arguments: [(0, 5, 5), (0, 10, 40), (0, 15, 45), (0, 25, 65), (20, 0, 40), (45, 5, 60), (70, 3, 73), (0, 9, 9)])
  func advanceLeavesPausesOut(start: Double, by: Int64, expected: Double) {
    let paused = PausedTime([Self.interval(10, 40), Self.interval(50, 60)])

    let end = paused.advance(Self.time(start), by: by * 1_000)

    #expect(end == Self.time(expected))
    let free = end.milliseconds - Self.time(start).milliseconds - paused.milliseconds(from: Self.time(start), to: end)
    #expect(free == by * 1_000)
  }

  @Test("T60: many pauses of one subject stay few intervals, none of their time is lost")
  func manyPausesStayFew() {
    var controls = Controls()
    for number in 0..<200 {
      let start = Double(number) * 10
      _ = controls.remember(Self.interval(start, start + 3), of: .bridge)
    }

    let paused = controls.pausedTime(task: TaskKey("a.b")!, group: nil, until: Self.time(2_000))

    #expect(paused.intervals.count == Controls.pastPausesMax)
    #expect(paused.milliseconds(from: Self.time(-10_000), to: Self.time(2_000)) == 600_000)
    #expect(paused.milliseconds(from: Self.time(1_900), to: Self.time(2_000)) == 30_000)
  }
}
