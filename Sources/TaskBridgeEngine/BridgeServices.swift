public import ServiceLifecycle
import TaskBridgeStore

extension TaskBridge {
  /// The services of the bridge, for one service group: the clock, the load samples, the jobs and the broker.
  public func services() -> [any Service] {
    let (timekeeper, sampler) = (Timekeeper(bridge: context), LoadSampler(bridge: context))
    let jobs = JobRunner(bridge: context)
    return [
      ClockService { try await timekeeper.run() }, ClockService { try await sampler.run() },
      ClockService { try await jobs.run() }, BrokerService(bridge: context),
    ]
  }
}

/// Goes by the clock until asked to stop.
private struct ClockService: Service {
  let work: @Sendable () async throws -> Void

  func run() async throws {
    do {
      try await cancelWhenGracefulShutdown { try await work() }
    } catch is CancellationError {
      return
    } catch let error as StoreError {
      if error.kind == .cancelled { return }
      throw StartError(message: error.message, exitCode: 5)
    }
  }
}
