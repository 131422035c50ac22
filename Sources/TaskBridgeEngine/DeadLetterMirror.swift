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
        let leftovers = try await bridge.writing { transaction throws(StoreError) in
          try transaction.mirrorLeftovers(of: task)
        }
        guard try await sync(task), leftovers > 0 else { continue }
        try await bridge.writing { transaction throws(StoreError) in
          try transaction.forgetMirrorLeftovers(of: task, seen: leftovers)
        }
      }
      await bridge.mirror.wait(atMost: 3_600)
      // Several replays in a row are one pass.
      try await Task.sleep(for: .milliseconds(200))
    }
  }

  /// One pass over the queue of `task`.
  ///
  /// The table is read twice: a letter counts as missing only when it was there, and out of the outbox, before the
  /// first look; a message goes only when its letter is resolved after the last.
  ///
  /// - Returns: whether all that lay in the queue was looked at.
  func sync(_ task: TaskKey) async throws -> Bool {
    let queue = topology.names.dead(task)
    guard try await bridge.haveDeadQueue(task, topology: topology) else { return false }
    let before = try await bridge.writing { transaction throws(StoreError) in
      try transaction.unresolvedDeadLetters(of: task, onlyPublished: true)
    }
    guard let info = try await topology.look(queue) else {
      topology.forget(queue)
      return false
    }
    if info.messageCount == 0, before.isEmpty { return true }
    let connection: AMQPConnection
    do {
      connection = try await open("mirror")
    } catch {
      // No connection to spare: the next pass will do.
      bridge.logger.warning("dead letters cannot be compared now", metadata: ["error": "\(error)"])
      return false
    }
    let found = await messages(of: queue, atMost: info.messageCount, on: connection)
    let wanted = try await bridge.writing { transaction throws(StoreError) in
      try transaction.unresolvedDeadLetters(of: task, onlyPublished: false)
    }
    var seen: Set<RunID> = []
    let surplus = found.filter { message in
      guard let id = message.id, wanted.contains(id) else { return true }
      return !seen.insert(id).inserted
    }
    connection.settle(acknowledged: surplus.map(\.tag))
    await connection.close()
    let missing = found.count < info.messageCount ? [] : before.intersection(wanted).subtracting(seen)
    let isWhole = found.count >= info.messageCount
    guard !missing.isEmpty else { return isWhole }
    let now = bridge.clock.now()
    try await bridge.writing { transaction throws(StoreError) in try transaction.mirrorAgain(missing, now: now) }
    bridge.logger.info("dead letters mirrored again", metadata: ["queue": "\(queue)", "messages": "\(missing.count)"])
    return isWhole
  }

  /// What lies in the queue, unsettled: closing the connection puts it back.
  private func messages(
    of queue: String, atMost limit: Int, on connection: AMQPConnection
  ) async -> [(tag: UInt64, id: RunID?)] {
    var found: [(tag: UInt64, id: RunID?)] = []
    do {
      for _ in 0..<limit {
        guard let delivery = try await connection.get(queue, acknowledge: true) else { break }
        found.append(
          (delivery.deliveryTag, delivery.properties.headers["tb-run-id"]?.stringValue.flatMap { RunID($0) }))
      }
    } catch {
      bridge.logger.warning("dead letters cannot be read", metadata: ["queue": "\(queue)", "error": "\(error)"])
    }
    return found
  }
}
