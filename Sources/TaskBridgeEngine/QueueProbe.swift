import AMQPClient
import Logging
import TaskBridgeCore
import TaskBridgeStore

/// The orphan rule (fsm §4): finds runs whose message is no longer in the broker though nobody claimed it.
struct QueueProbe: Sendable {
  let bridge: BridgeContext
  let topology: Topology
  let incarnation: String

  func run() async throws {
    let interval = max(0.5, Double(bridge.configuration.claimLatencyMaxSeconds) / 2)
    while !Task.isCancelled {
      try await Task.sleep(for: .seconds(interval))
      try await runOnce()
    }
  }

  func runOnce() async throws {
    for (task, degradation) in bridge.state.degraded { try await retry(task, degradation) }
    let facts = try await bridge.writing { transaction throws(StoreError) in try transaction.queueFacts() }
    for queue in facts where queue.expected > 0 || queue.emptySince != nil {
      try await probe(queue)
    }
  }

  /// A queue that was refused is tried again; one that does not answer only once it has been deleted.
  private func retry(_ task: TaskKey, _ degradation: BridgeState.Degradation) async throws {
    do {
      if degradation.isSilent, try await topology.look(topology.names.run(task)) != nil { return }
      try await bridge.ensureRunQueue(task, topology: topology, incarnation: incarnation)
      bridge.state.setDegraded(task, because: nil)
      bridge.ready.raise()
    } catch let error as AMQPError where error.kind == .channelClosed {
      bridge.state.setDegraded(task, because: error.description)
    }
  }

  private func probe(_ queue: QueueFacts) async throws {
    let now = bridge.clock.now()
    guard let info = try await topology.look(queue.name) else {
      // Deleted: what it held goes out again, free of charge.
      topology.forget(queue.name)
      return try await bridge.ensureRunQueue(queue.task, topology: topology, incarnation: incarnation)
    }
    let isEmpty = info.messageCount == 0
    try await bridge.writing { transaction throws(StoreError) in
      try transaction.noteProbe(queue.name, isEmpty: isEmpty, now: now)
    }
    guard isEmpty, let since = queue.emptySince,
      now.seconds(since: since) >= Double(bridge.configuration.claimLatencyMaxSeconds)
    else { return }
    // A claim may still lie unread.
    guard let events = try await topology.look(topology.names.events), events.messageCount == 0 else { return }
    let (policies, jitter) = (bridge.policyLookup, bridge.jitter())
    let lost = try await bridge.writing { transaction throws(StoreError) in
      let lost = try transaction.giveUpOrphans(
        queue.task, confirmedBefore: since, limit: 500, policies: policies, now: now, jitter: jitter)
      // The next pair of probes starts here.
      try transaction.noteProbe(queue.name, isEmpty: false, now: now)
      try transaction.noteProbe(queue.name, isEmpty: true, now: now)
      return lost
    }
    if lost > 0 {
      bridge.logger.warning(
        "messages vanished from the broker unclaimed", metadata: ["queue": "\(queue.name)", "runs": "\(lost)"])
    }
  }
}
