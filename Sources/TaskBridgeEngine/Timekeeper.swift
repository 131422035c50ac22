import Logging
import TaskBridgeCore
import TaskBridgeStore

/// Watches the clock: due runs, schedules, expiry, leases and time limits. Holds one due time in memory, not a list.
struct Timekeeper: Sendable {
  /// Most rows of one kind in one transaction.
  static let slice = 500
  /// A loop that was away for longer than this was stopped or suspended: reports may wait unread.
  static let gapSecondsMax = 5.0
  /// A wall clock that moved by more than this against the boot clock was set.
  static let jumpSecondsMax = 2.0
  /// Nominal times in a gap or jump of more than this are missed; in a shorter one they are late.
  static let missedSecondsMin = 60.0
  /// In one transaction no further schedule is fired once so many runs were made.
  static let firedMax = 200

  let bridge: BridgeContext

  func run() async throws {
    var offset = wallOffset()
    var last = bridge.clock.uptimeSeconds()
    var retention = Retention(bridge: bridge)
    while !Task.isCancelled {
      let uptime = bridge.clock.uptimeSeconds()
      let moved = wallOffset() - offset
      if uptime - last > Self.gapSecondsMax || abs(moved) > Self.jumpSecondsMax {
        bridge.logger.warning(
          "clock jumped or the process was stopped: open leases get a full grace",
          metadata: ["stopped_seconds": "\(uptime - last)", "wall_moved_seconds": "\(moved)"])
        try await grantGrace(clockMoved: moved)
        offset = wallOffset()
        if Self.hasMissed(gapSeconds: uptime - last, jumpSeconds: moved) { bridge.state.setFiresSchedules(false) }
      }
      var wait: Double
      do {
        wait = try await runOnce()
        if wait > 0 { wait = min(wait, try await retention.runOnce()) }
      } catch let error as StoreError where error.kind == .other {
        // One sweep that the store refuses must not stop the clock for all others.
        bridge.logger.error("a sweep failed", metadata: ["error": "\(error)"])
        wait = 1
      }
      last = bridge.clock.uptimeSeconds()
      await bridge.due.wait(atMost: wait)
    }
  }

  /// Whether nominal times were missed as if the bridge had been down: it was stopped or suspended, or the wall clock
  /// was set ahead, by more than a moment.
  static func hasMissed(gapSeconds: Double, jumpSeconds: Double) -> Bool {
    max(gapSeconds, jumpSeconds) > missedSecondsMin
  }

  private func wallOffset() -> Double {
    Double(bridge.clock.now().milliseconds) / 1_000 - bridge.clock.uptimeSeconds()
  }

  /// - Parameter clockMoved: seconds by which the wall clock was set.
  func grantGrace(clockMoved: Double = 0) async throws {
    let (now, policies) = (bridge.clock.now(), bridge.policyLookup)
    let moved = Int64((clockMoved * 1_000).rounded())
    var rest = try await bridge.store.read { store throws(StoreError) in try store.openLeases() }[...]
    while !rest.isEmpty {
      let slice = rest.prefix(Self.slice)
      rest = rest.dropFirst(Self.slice)
      try await bridge.writing { transaction throws(StoreError) in
        try transaction.extendLeases(of: slice, now: now, policies: policies, clockMoved: moved)
      }
    }
  }

  /// One round of sweeps.
  ///
  /// - Returns: seconds until the next one, at most 1.
  func runOnce() async throws -> Double {
    let (now, policies, jitter) = (bridge.clock.now(), bridge.policyLookup, bridge.jitter())
    // No lease ends while reports cannot come in.
    let sweepsLeases = !bridge.state.leasesFrozen
    let firing = firing()
    let (isFull, next, problems) = try await bridge.writing { transaction throws(StoreError) in
      try transaction.endPauses(now: now)
      var isFull = try transaction.promoteDue(now: now, limit: Self.slice) == Self.slice
      isFull = try transaction.expire(now: now, limit: Self.slice) == Self.slice || isFull
      if sweepsLeases {
        let timeouts = try transaction.sweepTimeouts(now: now, limit: Self.slice, policies: policies, jitter: jitter)
        let leases = try transaction.sweepLeases(now: now, limit: Self.slice, policies: policies, jitter: jitter)
        isFull = isFull || timeouts == Self.slice || leases == Self.slice
      }
      let fired = try firing?.run(transaction, now: now) ?? FiredSchedules()
      let scheduleDue = firing == nil ? nil : try transaction.nextScheduleDue()
      let next = [try transaction.nextDue(), scheduleDue].compactMap { $0 }.min()
      return (isFull || fired.isFull, next, fired.problems)
    }
    if firing != nil { bridge.state.setFiresSchedules(true) }
    for (schedule, problem) in problems {
      bridge.logger.error(
        "a schedule made no run",
        metadata: ["schedule": "\(schedule)", "code": "\(problem.code)", "detail": "\(problem.detail)"])
    }
    if isFull { return 0 }
    guard let next else { return 1 }
    // What is overdue although it was just swept is a frozen lease: no reason to spin.
    let wait = next.seconds(since: bridge.clock.now())
    return wait <= 0 ? 0.25 : min(1, wait)
  }
}
