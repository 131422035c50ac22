import AMQPClient
import Logging
import TaskBridgeCore
import TaskBridgeStore

/// Keeps `taskbridge.dead.<task key>` in line with the table: takes out messages of resolved dead letters and puts
/// missing ones back. Looks only after something was resolved, and once at connect.
struct DeadLetterMirror: Sendable {
  let bridge: BridgeContext
  let topology: Topology
  /// Opens a connection of its own for each pass: closing it puts back what was only looked at.
  let open: @Sendable (String) async throws(AMQPError) -> AMQPConnection

  func run() async throws {
    while !Task.isCancelled {
      for task in try await bridge.writing({ transaction throws(StoreError) in try transaction.mirroredTasks() }) {
        try await sync(task)
      }
      await bridge.mirror.wait(atMost: 3_600)
      // Several replays in a row are one pass.
      try await Task.sleep(for: .milliseconds(200))
    }
  }

  /// One pass over the queue of `task`.
  func sync(_ task: TaskKey) async throws {
    let queue = topology.names.dead(task)
    try await topology.ensureDeadQueue(task)
    let wanted = try await bridge.writing { transaction throws(StoreError) in
      try transaction.unresolvedDeadLetters(of: task)
    }
    guard let info = try await topology.look(queue) else {
      topology.forget(queue)
      return
    }
    if info.messageCount == wanted.count, wanted.isEmpty { return }
    let connection = try await open("mirror")
    var seen: Set<RunID> = []
    do {
      for _ in 0..<info.messageCount {
        guard let delivery = try await connection.get(queue, acknowledge: true) else { break }
        let id = delivery.properties.headers["tb-run-id"]?.stringValue.flatMap { RunID($0) }
        if let id, wanted.contains(id), seen.insert(id).inserted { continue }
        connection.settle(acknowledged: [delivery.deliveryTag])
      }
    } catch {
      await connection.close()
      throw error
    }
    await connection.close()
    let missing = wanted.subtracting(seen)
    guard !missing.isEmpty else { return }
    let now = bridge.clock.now()
    try await bridge.writing { transaction throws(StoreError) in try transaction.mirrorAgain(missing, now: now) }
    bridge.logger.info("dead letters mirrored again", metadata: ["queue": "\(queue)", "messages": "\(missing.count)"])
  }
}
