import AMQPClient
import Logging
import ServiceLifecycle
import TaskBridgeCore
import TaskBridgeStore

/// One life with one broker: connect, lock, restore, then everything that needs it, until a connection ends.
struct BrokerSession: Sendable {
  /// Seconds to wait at least for a lock that a dead connection of ours may still hold.
  static let lockSecondsMin = 60.0
  /// Seconds in-flight messages get at shutdown.
  static let farewellSeconds = 5.0

  let bridge: BridgeContext
  let publish: AMQPConnection
  let consume: AMQPConnection
  let admin: AMQPConnection
  let topology: Topology
  let openConnection: @Sendable (String) async throws(AMQPError) -> AMQPConnection
  /// 1 once store and broker were in line.
  let wasReady = AtomicCount()

  static func open(
    _ bridge: BridgeContext, configuration: AMQPConfiguration, endpointIndex: Int
  ) async throws(AMQPError) -> BrokerSession {
    let logger = bridge.logger
    let openConnection: @Sendable (String) async throws(AMQPError) -> AMQPConnection = { role throws(AMQPError) in
      var configuration = configuration
      configuration.connectionName = "taskbridge \(bridge.store.identity.storeID.prefix(8)) \(role)"
      return try await AMQPConnection.open(configuration, endpointIndex: endpointIndex, logger: logger)
    }
    let publish = try await openConnection("publish")
    let consume = try await orClose([publish]) { () async throws(AMQPError) in try await openConnection("consume") }
    let admin = try await orClose([publish, consume]) { () async throws(AMQPError) in
      try await openConnection("admin")
    }
    return BrokerSession(
      bridge: bridge, publish: publish, consume: consume, admin: admin,
      topology: Topology(
        connection: admin, names: bridge.names, configuration: bridge.configuration, clock: bridge.clock,
        logger: logger),
      openConnection: openConnection)
  }

  /// When `body` fails, what was opened before it is closed again.
  private static func orClose(
    _ opened: [AMQPConnection], _ body: () async throws(AMQPError) -> AMQPConnection
  ) async throws(AMQPError) -> AMQPConnection {
    do {
      return try await body()
    } catch {
      for connection in opened { await connection.close() }
      throw error
    }
  }

  /// Works until a connection ends (throws why) or the process is asked to stop (returns).
  func run() async throws {
    let end = await end()
    await close()
    try end.get()
  }

  private func end() async -> Result<Void, any Error> {
    do {
      let incarnation = try await cancelWhenGracefulShutdown {
        try await lock()
        let incarnation = try await identify()
        try await topology.declareFixed()
        return incarnation
      }
      try await work(incarnation: incarnation)
      return .success(())
    } catch {
      return .failure(error)
    }
  }

  private func close() async {
    await consume.close()
    await publish.close()
    await admin.close()
  }

  /// The exclusive queue that only one bridge of this store can hold on this broker.
  private func lock() async throws {
    let name = bridge.names.lock(bridge.store.identity.storeID)
    // A broker gives a silent connection up after at most three heartbeats.
    let patience = max(Self.lockSecondsMin, 3 * Double(bridge.configuration.heartbeatSeconds) + 10)
    let end = bridge.clock.uptimeSeconds() + patience
    var isHeld = try await takeLock(name)
    while !isHeld {
      guard bridge.clock.uptimeSeconds() < end else {
        throw StartError(
          message:
            "another bridge with this store (or a copy of it) holds \(name) on the broker. Stop that one, or give the copy a broker prefix of its own.",
          exitCode: 5)
      }
      try await Task.sleep(for: .seconds(1))
      isHeld = try await takeLock(name)
    }
  }

  /// - Returns: false while another connection holds it.
  private func takeLock(_ name: String) async throws -> Bool {
    do {
      _ = try await consume.declareQueue(name, durable: false, exclusive: true, autoDelete: true, passive: false)
      return true
    } catch {
      if error.code == AMQPError.resourceLocked { return false }
      throw error
    }
  }

  /// Which broker this is, by its marker; leaves a new one.
  private func identify() async throws -> String {
    let storeID = bridge.store.identity.storeID
    let markers = MarkerQueue(connection: admin, names: bridge.names, storeID: storeID)
    let finding = try await markers.read(adopts: bridge.configuration.adoptBroker)
    let known = try await bridge.writing { transaction throws(StoreError) in try transaction.generation() }
    let incarnation: String
    switch finding {
    case .own(let marker):
      if marker.generation > known, !bridge.configuration.acceptRollback {
        throw StartError(
          message:
            "the broker knows generation \(marker.generation) of this store, the store is at \(known): it is a restored backup. Look at the runs the broker holds, then start with --accept-rollback.",
          exitCode: 5)
      }
      try await bridge.writing { transaction throws(StoreError) in
        try transaction.raiseGeneration(to: marker.generation)
      }
      incarnation = marker.incarnation
    case .fresh:
      incarnation = (0..<16).map { _ in UInt8.random(in: 0...255) }.hexadecimal
    case .foreign(let marker):
      guard bridge.configuration.adoptBroker else {
        throw StartError(
          message:
            "this broker carries the marker of another store (\(marker.storeID)) under the prefix \(bridge.names.prefix); this store is \(storeID). Use another broker, vhost or prefix, or start with --adopt-broker.",
          exitCode: 5)
      }
      incarnation = marker.incarnation
    }
    // The store's number is committed before the broker sees it: only a restored backup can be behind.
    let generation = try await bridge.writing { transaction throws(StoreError) in try transaction.nextGeneration() }
    try await markers.write(Marker(storeID: storeID, generation: generation, incarnation: incarnation))
    return incarnation
  }

  private func work(incarnation: String) async throws {
    let publisher = OutboxPublisher(connection: publish, bridge: bridge, topology: topology, incarnation: incarnation)
    let replies = ReplySender(
      codec: bridge.codec, names: bridge.names, logger: bridge.logger, clock: bridge.clock, open: openConnection)
    let events = try await topology.look(bridge.names.events)?.messageCount ?? 0
    let returned = try await topology.look(bridge.names.returned)?.messageCount ?? 0
    let eventsGate = DrainGate(expected: events)
    let returnedGate = DrainGate(expected: returned)
    let submitGate = DrainGate(expected: 0)
    // What the last session's broker confirmed; restore compares it with what this one holds.
    try await bridge.writeConfirms()
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await publisher.runOutcomes() }
      group.addTask { try await bridge.writeOldConfirms() }
      group.addTask { try await publisher.runDelayed() }
      group.addTask { try await publisher.watchConfirms() }
      group.addTask { try await replies.run() }
      group.addTask {
        try await consuming {
          try await ReportConsumer(bridge: bridge, connection: consume, replies: replies, drain: eventsGate).run()
        }
      }
      group.addTask {
        try await consuming {
          try await ReturnConsumer(bridge: bridge, connection: consume, drain: returnedGate).run()
        }
      }
      group.addTask {
        try await consuming {
          try await SubmissionConsumer(bridge: bridge, connection: consume, replies: replies, drain: submitGate).run()
        }
      }
      group.addTask { try await watch(publish) }
      group.addTask { try await watch(consume) }
      group.addTask { try await watch(admin) }
      group.addTask { try await watchState() }
      group.addTask {
        // What waited in the broker is judged before anything is counted as missing and before any lease can end.
        try await eventsGate.wait { try await isEmpty(bridge.names.events) }
        try await returnedGate.wait { try await isEmpty(bridge.names.returned) }
        try await Restorer(bridge: bridge, topology: topology).run(incarnation: incarnation)
        try await Timekeeper(bridge: bridge).grantGrace()
        try await publisher.republishPending()
        try await submitGate.wait { true }
        bridge.state.enter(.running)
        wasReady.add(1)
        // Leases end and schedules fire again.
        bridge.due.raise()
        bridge.logger.info("ready", metadata: ["broker": "\(publish.endpoint) \(publish.serverVersion)"])
        try await release(publisher: publisher, incarnation: incarnation)
      }
      group.addTask {
        // Whatever ends the session, no lease ends before reports are read again.
        defer { if bridge.state.phase == .running { bridge.state.enter(.brokerDown("the session has ended")) } }
        try await gracefulShutdown()
        bridge.state.enter(.brokerDown("stopping"))
        await publisher.drain(atMost: Self.farewellSeconds)
        try await bridge.writeConfirms()
      }
      try await group.next()
      group.cancelAll()
    }
  }

  private func isEmpty(_ queue: String) async throws -> Bool {
    try await topology.look(queue)?.messageCount ?? 0 == 0
  }

  /// What starts only once store and broker are in line.
  private func release(publisher: OutboxPublisher, incarnation: String) async throws {
    let releaser = Releaser(bridge: bridge, publisher: publisher, topology: topology, incarnation: incarnation)
    let mirror = DeadLetterMirror(bridge: bridge, topology: topology, open: openConnection)
    let probe = QueueProbe(
      bridge: bridge, topology: topology, incarnation: incarnation, begun: bridge.clock.now())
    let consumers = ConsumerWatch(bridge: bridge, topology: topology)
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await releaser.run() }
      group.addTask { try await publisher.runNotices() }
      group.addTask { try await probe.run() }
      group.addTask { try await consumers.run() }
      group.addTask { try await mirror.run() }
      try await group.next()
      group.cancelAll()
    }
  }

  /// Goes on consuming when the queue was deleted: declared and bound again, which is logged.
  private func consuming(_ body: @Sendable () async throws -> Void) async throws {
    while true {
      do {
        try await body()
        if Task.isCancelled { return }
        throw AMQPError(.connectionLost, "a consumer has ended")
      } catch let error as AMQPError
        where !error.needsOperator
        && (error.kind == .consumerCancelled || (error.kind == .channelClosed && consume.isOpen))
      {
        bridge.logger.error("a consumer was ended by the broker", metadata: ["error": "\(error)"])
        try await topology.declareFixed()
      }
    }
  }

  private func watch(_ connection: AMQPConnection) async throws {
    let error = await connection.waitUntilClosed()
    if Task.isCancelled { return }
    throw error ?? AMQPError(.connectionLost, "the connection was closed")
  }

  /// Alarms of the broker stop releases; a reopened publish channel means that an exchange was gone.
  private func watchState() async throws {
    for await change in publish.stateChanges {
      switch change {
      case .blocked(let reason):
        bridge.state.setBlocked(reason)
        bridge.logger.warning("broker has blocked publishing", metadata: ["reason": "\(reason)"])
      case .unblocked:
        bridge.state.setBlocked(nil)
        bridge.ready.raise()
        bridge.logger.notice("broker takes messages again")
      case .channelReopened(let error):
        bridge.logger.error("publish channel was closed by the broker", metadata: ["error": "\(error)"])
        try await topology.declareFixed()
        topology.doubtAll()
        bridge.ready.raise()
      case .closed: return
      }
    }
    try await Task.sleep(for: .seconds(86_400))
  }
}
