import AMQPClient
import Synchronization
import TaskBridgeCore
import TaskBridgeStore

/// Lets ready runs leave the store for the broker, just in time: the broker holds only what workers are about to take.
struct Releaser: Sendable {
  /// Most runs in one transaction.
  static let batchMax = 256
  /// Most queues declared between two releases: declaring them is slow, and others wait meanwhile.
  static let declarationsMax = 16

  let bridge: BridgeContext
  let publisher: OutboxPublisher
  let topology: Topology
  let incarnation: String

  func run() async throws {
    while !Task.isCancelled {
      let seconds = try await runOnce()
      if seconds > 0 { await bridge.ready.wait(atMost: seconds) }
    }
  }

  /// - Returns: seconds until it is worth trying again, at most 1; 0 when something was handed over, or might be at once.
  func runOnce() async throws -> Double {
    // Nothing new leaves while the broker is short of room, or after the process was asked to stop.
    guard bridge.state.phase == .running, !bridge.state.isBlocked else { return 1 }
    let room = min(publisher.room, Self.batchMax)
    if room == 0 {
      await publisher.settled.wait(atMost: 1)
      return 0
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
    let (dispatches, nextToken, hasMoreKeys) = try await bridge.writing { transaction throws(StoreError) in
      (try transaction.release(request), transaction.nextToken, transaction.hasMoreKeys)
    }
    try await publisher.send(dispatches)
    for task in missing.tasks.prefix(Self.declarationsMax) {
      _ = try await bridge.haveRunQueue(task, topology: topology, incarnation: incarnation)
    }
    if !dispatches.isEmpty || !missing.tasks.isEmpty || hasMoreKeys { return 0 }
    // A rate limit goes on by itself; a millisecond more, so that the token is there.
    return nextToken.map { min(1, max(0.001, $0.seconds(since: bridge.clock.now()) + 0.001)) } ?? 1
  }
}

/// Task keys met during a release whose queue is not declared yet.
private final class MissingQueues: Sendable {
  private let found = Mutex<Set<TaskKey>>([])
  func add(_ task: TaskKey) { found.withLock { _ = $0.insert(task) } }
  var tasks: Set<TaskKey> { found.withLock { $0 } }
}
