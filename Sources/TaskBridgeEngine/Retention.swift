import Logging
import TaskBridgeCore
import TaskBridgeStore

/// Deletes what the configuration no longer keeps, a few runs at a time and only while nothing is being written.
struct Retention {
  /// Runs of one transaction: short against the p99 of a submission.
  static let slice = 50
  /// Between two slices, seconds.
  static let pauseSeconds = 0.05
  /// A pass is followed by a pause so many times as long: looking costs at most a hundredth of a core.
  static let pauseFactor = 100.0
  static let failurePauseSeconds = 60.0
  static let rejectedDays = 1.0
  static let rejectedMax = 500

  let bridge: BridgeContext
  /// The pass that is under way: up to where, and where it is.
  private var pass: (bound: PruneBound, after: Int64)?
  private var nextPass = -Double.infinity

  init(bridge: BridgeContext) { self.bridge = bridge }

  /// One slice, or nothing while others write. What the store refuses is tried again with the next pass.
  ///
  /// - Returns: seconds until the next call is of use, at most 1.
  mutating func runOnce() async throws -> Double {
    do {
      return try await look()
    } catch {
      guard let error = error as? StoreError, error.kind == .other || error.kind == .tooExpensive || error.isRetriable
      else { throw error }
      bridge.logger.warning("retention goes on later", metadata: ["error": "\(error)"])
      pass = nil
      nextPass = bridge.clock.uptimeSeconds() + Self.failurePauseSeconds
      return 1
    }
  }

  private mutating func look() async throws -> Double {
    guard bridge.store.isIdle else { return 1 }
    guard let current = pass else {
      let begun = bridge.clock.uptimeSeconds()
      guard begun >= nextPass else { return min(1, nextPass - begun) }
      try await sweepRejected()
      pass = try await bound().map { ($0, 0) }
      let ended = bridge.clock.uptimeSeconds()
      nextPass = ended + max(1, (ended - begun) * Self.pauseFactor)
      return pass == nil ? 1 : 0
    }
    let (found, next) = try await bridge.store.read { transaction throws(StoreError) in
      try transaction.retentionSlice(upTo: current.bound, after: current.after, limit: Self.slice)
    }
    if !found.isEmpty {
      let deleted = try await bridge.writing { transaction throws(StoreError) in
        try transaction.prune(found, PruneRequest(.keepLast(0)), upTo: current.bound)
      }
      bridge.logger.debug("retention", metadata: ["deleted": "\(deleted)"])
    }
    pass = next.map { (current.bound, $0) }
    return pass == nil ? 1 : Self.pauseSeconds
  }

  /// What both limits together no longer keep; nil when that is nothing.
  private func bound() async throws -> PruneBound? {
    let (days, runs) = (bridge.configuration.retentionDays, bridge.configuration.retentionRuns)
    if days == 0, runs == 0 { return nil }
    let now = bridge.clock.now()
    return try await bridge.store.read { transaction throws(StoreError) in
      var bound: PruneBound?
      if days > 0 { bound = try transaction.pruneBound(PruneRequest(.olderThanDays(Double(days))), now: now) }
      if runs > 0, try transaction.endedCount() > runs {
        bound = .later(bound, try transaction.pruneBound(PruneRequest(.keepLast(runs)), now: now))
      }
      return bound
    }
  }

  private func sweepRejected() async throws {
    let before = bridge.clock.now().adding(seconds: -Self.rejectedDays * 86_400)
    guard try await bridge.store.read({ transaction throws(StoreError) in try transaction.hasRejected(before: before) })
    else { return }
    _ = try await bridge.writing { transaction throws(StoreError) in
      try transaction.sweepRejected(before: before, limit: Self.rejectedMax)
    }
  }
}
