import AMQPClient
import Synchronization
import TaskBridgeCore
import TaskBridgeStore

/// Lets ready runs leave the store for the broker, just in time: the broker holds only what workers are about to take.
struct Releaser: Sendable {
  /// Most runs in one transaction.
  static let batchMax = 256

  let bridge: BridgeContext
  let publisher: OutboxPublisher
  let topology: Topology
  let incarnation: String

  func run() async throws {
    while !Task.isCancelled {
      if try await !runOnce() { await bridge.ready.wait(atMost: 1) }
    }
  }

  /// - Returns: whether anything was handed over, or might be at once.
  func runOnce() async throws -> Bool {
    // Nothing new leaves while the broker is short of room, or after the process was asked to stop.
    guard bridge.state.phase == .running, !bridge.state.isBlocked else { return false }
    let room = min(publisher.room, Self.batchMax)
    if room == 0 {
      await publisher.settled.wait(atMost: 1)
      return true
    }
    let degraded = bridge.state.degraded
    let missing = MissingQueues()
    let (topology, configuration) = (topology, bridge.configuration)
    let request = ReleaseRequest(now: bridge.clock.now(), runsMax: room) { task in
      if degraded[task] != nil { return nil }
      guard topology.isKnown(task) else {
        if topology.pause(task) == 0 { missing.add(task) }
        return nil
      }
      return configuration.policy(for: task)
    }
    let dispatches = try await bridge.writing { transaction throws(StoreError) in try transaction.release(request) }
    try await publisher.send(dispatches)
    for task in missing.tasks {
      _ = try await bridge.haveRunQueue(task, topology: topology, incarnation: incarnation)
    }
    return !dispatches.isEmpty || !missing.tasks.isEmpty
  }
}

/// Task keys met during a release whose queue is not declared yet.
private final class MissingQueues: Sendable {
  private let found = Mutex<Set<TaskKey>>([])
  func add(_ task: TaskKey) { found.withLock { _ = $0.insert(task) } }
  var tasks: Set<TaskKey> { found.withLock { $0 } }
}
