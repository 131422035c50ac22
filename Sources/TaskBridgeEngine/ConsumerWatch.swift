import AMQPClient
import TaskBridgeCore
import TaskBridgeStore

/// Asks the broker how many workers listen on each run queue: a few queues at a time, in turn.
struct ConsumerWatch: Sendable {
  /// Between two rounds.
  static let intervalSeconds = 1.0
  /// Most queues asked for in one round; it takes the broker some 20 ms.
  static let looksMax = 50

  let bridge: BridgeContext
  let topology: Topology

  func run() async throws {
    var last = ""
    while !Task.isCancelled {
      last = try await runOnce(after: last)
      try await Task.sleep(for: .seconds(Self.intervalSeconds))
    }
  }

  /// - Parameter last: the queue after which to begin.
  /// - Returns: the last queue looked at; empty after the last of all.
  func runOnce(after last: String) async throws -> String {
    let queues: [(name: String, task: TaskKey)]
    do throws(StoreError) {
      queues = try await bridge.store.read { transaction throws(StoreError) in
        try transaction.runQueues(after: last, limit: Self.looksMax)
      }
    } catch {
      // The next round asks again.
      return last
    }
    let degraded = bridge.state.degraded
    for (name, task) in queues where degraded[task] == nil {
      // A queue that is gone and not needed again is not asked for: each such look costs a channel.
      if bridge.state.isQueueMissing(task), !topology.isKnown(task) { continue }
      try await look(name, task)
    }
    return queues.count < Self.looksMax ? "" : queues.last?.name ?? ""
  }

  private func look(_ queue: String, _ task: TaskKey) async throws {
    do {
      let info = try await topology.look(queue)
      bridge.state.setConsumers(task, info?.consumerCount)
      // Declared again when it is next needed.
      if info == nil { topology.forget(queue) }
    } catch {
      // Not ours to look at, such as another connection's exclusive queue: no reason to end the session.
      guard error.kind == .channelClosed || error.kind == .invalidArgument else { throw error }
      bridge.state.forgetConsumers(task)
    }
  }
}
