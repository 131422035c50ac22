import AMQPClient
import Logging
import TaskBridgeCore
import TaskBridgeStore

/// The orphan rule (fsm §4): finds runs whose message is no longer in the broker though nobody claimed it.
struct QueueProbe: Sendable {
  let bridge: BridgeContext
  let topology: Topology
  let incarnation: String

  /// When this session began: what was launched before it was lost by nobody's fault.
  let begun: Timestamp

  /// When a probe first saw a queue empty.
  struct FirstEmpty {
    var wall: Timestamp
    var uptime: Double
  }

  func run() async throws {
    let interval = max(0.5, Double(bridge.configuration.claimLatencyMaxSeconds) / 2)
    var empty: [String: FirstEmpty] = [:]
    while !Task.isCancelled {
      let start = bridge.clock.uptimeSeconds()
      try await Task.sleep(for: .seconds(interval))
      // After a stop or suspend, or while the store could not write, claims may lie unread: begin anew.
      if bridge.clock.uptimeSeconds() - start > interval + 5 || !bridge.state.readiness.isReady { empty = [:] }
      try await runOnce(&empty)
    }
  }

  func runOnce(_ empty: inout [String: FirstEmpty]) async throws {
    // Exchanges and queues that somebody deleted.
    try await topology.declareFixed()
    for (task, degradation) in bridge.state.degraded { try await retry(task, degradation) }
    let facts = try await bridge.writing { transaction throws(StoreError) in try transaction.queueFacts() }
    let degraded = bridge.state.degraded
    var gone: [TaskKey] = []
    for queue in facts {
      if queue.expected == 0 || degraded[queue.task] != nil {
        empty[queue.name] = nil
      } else if let info = try await topology.look(queue.name) {
        empty[queue.name] = try await probe(queue, info, firstEmpty: empty[queue.name])
      } else {
        empty[queue.name] = nil
        topology.forget(queue.name)
        gone.append(queue.task)
      }
    }
    // Deleted: what they held goes out again, free of charge. Each has a pause; together they take no longer.
    for task in gone { _ = try await bridge.haveRunQueue(task, topology: topology, incarnation: incarnation) }
  }

  /// A queue that was refused is tried again; one that does not answer only once it has been deleted.
  private func retry(_ task: TaskKey, _ degradation: BridgeState.Degradation) async throws {
    if degradation.isSilent, try await topology.look(topology.names.run(task)) != nil { return }
    if try await bridge.haveRunQueue(task, topology: topology, incarnation: incarnation) != nil {
      bridge.ready.raise()
    }
  }

  /// - Returns: when the queue was first seen empty; nil while it is not.
  private func probe(_ queue: QueueFacts, _ info: AMQPQueueInfo, firstEmpty: FirstEmpty?) async throws -> FirstEmpty? {
    let now = FirstEmpty(wall: bridge.clock.now(), uptime: bridge.clock.uptimeSeconds())
    guard info.messageCount == 0 else { return nil }
    guard let firstEmpty else {
      try await bridge.writing { transaction throws(StoreError) in try transaction.clearStale(queue.name) }
      return now
    }
    guard now.uptime - firstEmpty.uptime >= Double(bridge.configuration.claimLatencyMaxSeconds) else {
      return firstEmpty
    }
    // A claim may still lie unread.
    guard let events = try await topology.look(topology.names.events), events.messageCount == 0 else {
      return firstEmpty
    }
    let (policies, jitter, task, begun) = (bridge.policyLookup, bridge.jitter(), queue.task, begun)
    let (free, lost) = try await bridge.writing { transaction throws(StoreError) in
      // Lost with an earlier connection or broker: costs nothing.
      let free = try transaction.takeBackLaunched(
        task, confirmedBefore: min(begun, firstEmpty.wall), reason: "its message is gone", limit: 500, now: now.wall)
      let lost = try transaction.giveUpOrphans(
        task, confirmedBefore: firstEmpty.wall, limit: 500, policies: policies, now: now.wall, jitter: jitter)
      return (free, lost)
    }
    if free + lost > 0 {
      bridge.logger.warning(
        "messages vanished from the broker unclaimed",
        metadata: ["queue": "\(queue.name)", "free": "\(free)", "lost": "\(lost)"])
    }
    return now
  }
}
