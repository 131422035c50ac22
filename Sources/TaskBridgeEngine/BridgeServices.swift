public import ServiceLifecycle
import TaskBridgeStore

extension TaskBridge {
  /// The services of the bridge, for one service group: the clock and the broker.
  public func services() -> [any Service] {
    [TimekeeperService(bridge: context), BrokerService(bridge: context)]
  }
}

/// Sweeps until asked to stop.
private struct TimekeeperService: Service {
  let bridge: BridgeContext

  func run() async throws {
    do {
      try await cancelWhenGracefulShutdown { try await Timekeeper(bridge: bridge).run() }
    } catch is CancellationError {
      return
    } catch let error as StoreError {
      throw StartError(message: error.message, exitCode: 5)
    }
  }
}
