import Logging
import TaskBridgeCore
import TaskBridgeStore

/// Writes down how many runs are where, at each full interval of the wall clock. Nothing is made up for the time the
/// bridge was down, and nothing is written twice.
struct LoadSampler: Sendable {
  let bridge: BridgeContext

  func run() async throws {
    while !Task.isCancelled {
      let interval = Int64(bridge.configuration.loadSampleSeconds) * 1_000
      let now = bridge.clock.now().milliseconds
      try await Task.sleep(for: .milliseconds(interval - now % interval))
      do {
        try await runOnce(interval: interval)
      } catch let error as StoreError where error.kind == .other {
        bridge.logger.error("a load sample cannot be written", metadata: ["error": "\(error)"])
      }
    }
  }

  /// - Parameter interval: milliseconds.
  func runOnce(interval: Int64) async throws {
    let now = bridge.clock.now()
    let measured = Timestamp(milliseconds: now.milliseconds - now.milliseconds % interval)
    let keepSince = now.adding(seconds: -Double(bridge.configuration.loadSampleDays) * 86_400)
    try await bridge.writing { transaction throws(StoreError) in
      try transaction.sampleLoad(measured: measured, keepSince: keepSince)
    }
  }
}
