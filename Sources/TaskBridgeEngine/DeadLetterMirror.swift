import AMQPClient
import Logging
import Synchronization
import TaskBridgeCore
import TaskBridgeStore

/// Keeps `taskbridge.dead.<task key>` in line with the table: takes out messages of resolved dead letters and puts
/// missing ones back. Looks only after something was resolved, and once at connect.
struct DeadLetterMirror: Sendable {
  /// A pass reads each message of the queues; after it comes a rest of so many times its length.
  static let restFactor = 4.0
  /// While a job resolves dead letters by the thousand, passes wait for its end: each would read all that is left and
  /// take the broker from the others that the job steps aside for. So many seconds at most.
  static let jobSeconds = 60.0
  /// After the store could not be read.
  static let retrySeconds = 5.0

  let bridge: BridgeContext
  let topology: Topology
  /// Opens a connection of its own for each pass: closing it puts back what was only looked at.
  let open: @Sendable (String) async throws(AMQPError) -> AMQPConnection

  func run() async throws {
    bridge.mirrorDesk.open()
    defer { bridge.mirrorDesk.close() }
    while !Task.isCancelled {
      let waiting = bridge.mirrorDesk.take()
      let begun = bridge.clock.uptimeSeconds()
      var next = 3_600.0
      do {
        let reports = try await syncAll()
        for continuation in waiting { continuation.resume(returning: .success(reports)) }
      } catch {
        for continuation in waiting { continuation.resume(returning: .failure(MirrorDesk.unserved)) }
        guard let error = error as? StoreError, error.isRetriable else { throw error }
        bridge.logger.warning("the dead letters cannot be read now", metadata: ["error": "\(error)"])
        next = Self.retrySeconds
      }
      let pass = bridge.clock.uptimeSeconds() - begun
      await bridge.mirror.wait(atMost: next)
      // Several replays in a row are one pass, and a long one leaves the broker to others for longer.
      await bridge.mirrorDesk.rest(atMost: max(0.2, Self.restFactor * pass))
      let rested = bridge.clock.uptimeSeconds()
      while bridge.isWorkingOff.load(ordering: .relaxed), !bridge.mirrorDesk.isAsked, !Task.isCancelled,
        bridge.clock.uptimeSeconds() - rested < Self.jobSeconds
      {
        await bridge.mirrorDesk.rest(atMost: 0.2)
      }
    }
  }

  private func syncAll() async throws -> [MirrorReport] {
    var reports: [MirrorReport] = []
    for task in try await bridge.store.read({ transaction throws(StoreError) in try transaction.mirroredTasks() }) {
      let leftovers = try await bridge.store.read { transaction throws(StoreError) in
        try transaction.mirrorLeftovers(of: task)
      }
      guard let (report, isWhole) = try await sync(task) else { continue }
      reports.append(report)
      guard isWhole, leftovers > 0 else { continue }
      try await bridge.writing { transaction throws(StoreError) in
        try transaction.forgetMirrorLeftovers(of: task, seen: leftovers)
      }
    }
    return reports
  }

  /// One pass over the queue of `task`; nil when it cannot be had or read now.
  ///
  /// The table is read twice: a letter counts as missing only when it was there, and out of the outbox, before the
  /// first look; a message goes only when its letter is resolved after the last.
  ///
  /// - Returns: also whether all that lay in the queue was looked at.
  func sync(_ task: TaskKey) async throws -> (report: MirrorReport, isWhole: Bool)? {
    let queue = topology.names.dead(task)
    guard try await bridge.haveDeadQueue(task, topology: topology) else { return nil }
    let before = try await bridge.store.read { transaction throws(StoreError) in
      try transaction.unresolvedDeadLetters(of: task, onlyPublished: true)
    }
    guard let info = try await topology.look(queue) else {
      topology.forget(queue)
      return nil
    }
    var report = MirrorReport(task: task, table: before.count, queue: info.messageCount, removed: 0, added: 0)
    if info.messageCount == 0, before.isEmpty { return (report, true) }
    let connection: AMQPConnection
    do {
      connection = try await open("mirror")
    } catch {
      // No connection to spare: the next pass will do.
      bridge.logger.warning("dead letters cannot be compared now", metadata: ["error": "\(error)"])
      return nil
    }
    let found = await messages(of: queue, atMost: info.messageCount, on: connection)
    let wanted = try await bridge.store.read { transaction throws(StoreError) in
      try transaction.unresolvedDeadLetters(of: task, onlyPublished: false)
    }
    // By the id of the message: one of an earlier death of the same run is no mirror of this one.
    let runs = Dictionary(
      wanted.map { (MessageCodec.deadLetterID($0.key, replays: $0.value), $0.key) }, uniquingKeysWith: { $1 })
    var seen: Set<RunID> = []
    let surplus = found.filter { message in
      guard let run = message.id.flatMap({ runs[$0] }) else { return true }
      return !seen.insert(run).inserted
    }
    connection.settle(acknowledged: surplus.map(\.tag))
    await connection.close()
    report.table = wanted.count
    report.removed = surplus.count
    let isWhole = found.count >= info.messageCount
    let missing =
      !isWhole ? [] : wanted.filter { before[$0.key] == $0.value && !seen.contains($0.key) }.map(\.key)
    report.added = missing.count
    guard !missing.isEmpty else { return (report, isWhole) }
    let now = bridge.clock.now()
    try await bridge.writing { transaction throws(StoreError) in try transaction.mirrorAgain(missing, now: now) }
    bridge.logger.info("dead letters mirrored again", metadata: ["queue": "\(queue)", "messages": "\(missing.count)"])
    return (report, isWhole)
  }

  /// What lies in the queue, unsettled: closing the connection puts it back.
  private func messages(
    of queue: String, atMost limit: Int, on connection: AMQPConnection
  ) async -> [(tag: UInt64, id: String?)] {
    var found: [(tag: UInt64, id: String?)] = []
    do {
      for _ in 0..<limit {
        guard let delivery = try await connection.get(queue, acknowledge: true) else { break }
        found.append((delivery.deliveryTag, delivery.properties.messageID))
      }
    } catch {
      bridge.logger.warning("dead letters cannot be read", metadata: ["queue": "\(queue)", "error": "\(error)"])
    }
    return found
  }
}
