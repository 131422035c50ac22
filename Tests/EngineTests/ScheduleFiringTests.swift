import Foundation
import Logging
import Synchronization
import TaskBridgeCore
import TaskBridgeStore
import Testing

@testable import TaskBridgeEngine

/// When the bridge fires schedules at all, by a clock that the tests hold.
@Suite struct ScheduleFiringTests {
  private static let start = Timestamp(milliseconds: 1_800_000_000_000)

  /// A bridge without services, and its clock.
  private final class Bridge: Sendable {
    let context: BridgeContext
    let bridge: TaskBridge
    let seconds: Clock

    final class Clock: Sendable {
      private let value = Mutex(0.0)
      func set(_ seconds: Double) { value.withLock { $0 = seconds } }
      var now: Double { value.withLock { $0 } }
    }

    init(folder: String, backlogLimit: Int) throws {
      var configuration = TaskBridgeConfiguration()
      configuration.dataDirectory = folder
      configuration.backlogLimit = backlogLimit
      let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
      let signals = CommitSignals()
      let clock = Clock()
      let store = try Store.open(directory: folder, randomBytes: Array(0..<48), logger: logger)
      context = BridgeContext(
        configuration: configuration, store: store, signals: signals,
        clock: WallClock(now: { start.adding(seconds: clock.now) }, uptimeSeconds: { clock.now }), logger: logger)
      bridge = TaskBridge(context: context)
      seconds = clock
    }

    /// One round of the clock at `seconds`; the seconds until the next one.
    @discardableResult
    func round(at seconds: Double) async throws -> Double {
      self.seconds.set(seconds)
      return try await Timekeeper(bridge: context).runOnce()
    }

    func add(_ fields: String) async throws {
      _ = try await bridge.addSchedule(body: Array(#"{"name":"s","task":"t",\#(fields)}"#.utf8))
    }

    /// `next_run_at` of the snapshot, in seconds.
    func snapshotNext() async throws -> Double? {
      try await bridge.snapshot().nextRunAt?.seconds(since: start)
    }

    /// Nominal times of the runs, oldest first.
    func fired() async throws -> [Double] {
      try await bridge.runs(RunQuery(sort: .idAscending, limit: 1_000)).items
        .compactMap { $0.run.nominalAt?.seconds(since: start) }
    }
  }

  private func withBridge(backlogLimit: Int = 1_000, _ body: (Bridge) async throws -> Void) async throws {
    let folder = NSTemporaryDirectory() + "taskbridge-\(UUID().uuidString)"
    defer {
      do { try FileManager.default.removeItem(atPath: folder) } catch { print("left behind: \(folder): \(error)") }
    }
    let bridge = try Bridge(folder: folder, backlogLimit: backlogLimit)
    try await body(bridge)
    await bridge.bridge.close()
  }

  @Test("N35: before the first restore is done nothing fires, and what passed until then was missed")
  func nothingFiresBeforeTheRestore() async throws {
    try await withBridge { bridge in
      try await bridge.add(#""every_seconds":10,"catch_up":"latest""#)
      try await bridge.round(at: 35)
      #expect(try await bridge.fired() == [])

      bridge.context.state.enter(.running)
      try await bridge.round(at: 36)
      #expect(try await bridge.fired() == [30])
      // The broker goes away: the store goes on.
      bridge.context.state.enter(.brokerDown("gone"))
      try await bridge.round(at: 55)

      #expect(try await bridge.fired() == [30, 40, 50])
      let reasons = try await bridge.bridge.schedule("s").recent?.compactMap(\.reason)
      #expect(reasons == [.missed])
    }
  }

  @Test("T46: the clock sleeps no longer than until the next nominal time")
  func theClockSleepsUntilTheNextTime() async throws {
    try await withBridge { bridge in
      bridge.context.state.enter(.running)
      try await bridge.add(#""every_seconds":10"#)

      #expect(try await bridge.round(at: 5) == 1)
      let wait = try await bridge.round(at: 9.75)
      #expect(abs(wait - 0.25) < 0.002, "\(wait)")
      #expect(try await bridge.snapshotNext() == 10)
    }
  }

  @Test func aFullBacklogMakesSchedulesLateAndLosesNothing() async throws {
    try await withBridge(backlogLimit: 2) { bridge in
      bridge.context.state.enter(.running)
      try await bridge.add(#""every_seconds":10"#)
      for seconds in [1.0, 10, 20, 30, 40] { try await bridge.round(at: seconds) }
      #expect(try await bridge.fired() == [10, 20])

      for run in try await bridge.bridge.runs(RunQuery()).items {
        _ = try await bridge.bridge.cancel(run.run.id, reason: nil, actor: "test")
      }
      try await bridge.round(at: 45)

      #expect(try await bridge.fired() == [10, 20, 30, 40])
    }
  }

  @Test("N36: while time stood still for more than a minute, or the clock jumped ahead, times were missed")
  func aLongGapIsAnOutage() {
    #expect(!Timekeeper.hasMissed(gapSeconds: 30, jumpSeconds: 0))
    #expect(!Timekeeper.hasMissed(gapSeconds: 0.5, jumpSeconds: -3_600))
    #expect(Timekeeper.hasMissed(gapSeconds: 61, jumpSeconds: 0))
    #expect(Timekeeper.hasMissed(gapSeconds: 0.5, jumpSeconds: 3_600))
  }

  @Test func aRunByHandIsRefusedWhereASubmissionIs() async throws {
    try await withBridge(backlogLimit: 1) { bridge in
      try await bridge.add(#""every_seconds":10"#)
      _ = try await bridge.bridge.runNow(schedule: "s", actor: "test")

      let refusal = await #expect(throws: Problem.self) {
        try await bridge.bridge.runNow(schedule: "s", actor: "test")
      }
      #expect(refusal?.code == "backlog_full")
    }
  }
}
