import AMQPClient
import Logging
import Synchronization
import TaskBridgeCore
import TaskBridgeStore

/// Publishes what committed rows ask for and writes the broker's answers back. The confirm decides: until it is
/// committed the row stays, and a crash between is a repeat under the same message id, never a loss.
final class OutboxPublisher: Sendable {
  /// Most messages in flight.
  static let window = AMQPConnection.publishWindow
  /// Most payload bytes in flight.
  static let bytesMax = 32 << 20
  /// Mandatory returns in a row after which an attempt is `unpublished`.
  static let returnsMax = 5
  /// Most notices read at once; a dead letter's may be a payload each.
  static let noticesMax = 20
  /// Seconds before a message that the broker nacked is published again.
  static let nackDelaySeconds = 0.5

  private enum Item: Sendable {
    case dispatch(Dispatch)
    case notice(Transaction.Notice)

    var payloadBytes: Int {
      switch self {
      case .dispatch(let dispatch): dispatch.payload.bytes.count
      case .notice(let notice): notice.deadLetter?.payload.bytes.count ?? 0
      }
    }
  }

  /// A message on its way: by the id the connection answers with.
  private typealias Sent = (id: UInt64, item: Item)

  private struct Flying {
    var item: Item
    /// When it was handed to the connection last, in monotonic seconds.
    var since: Double
  }

  private struct Flight {
    var items: [UInt64: Flying] = [:]
    var lastID: UInt64 = 0
    var payloadBytes = 0
    var delayed: [Sent] = []
    var lastNotice: Int64 = 0
  }

  private let flight = Mutex(Flight())
  let connection: AMQPConnection
  private let bridge: BridgeContext
  private let topology: Topology
  private let incarnation: String
  /// Raised when something in flight was settled.
  let settled = Signal()
  private let delayed = Signal()
  private let drained = Signal()

  init(connection: AMQPConnection, bridge: BridgeContext, topology: Topology, incarnation: String) {
    self.connection = connection
    self.bridge = bridge
    self.topology = topology
    self.incarnation = incarnation
    // What the last connection had in flight is published again.
    bridge.inFlight.store(0, ordering: .relaxed)
  }

  /// How many more dispatches may be handed over now.
  var room: Int {
    flight.withLock { flight in
      flight.payloadBytes >= Self.bytesMax ? 0 : max(0, Self.window - flight.items.count)
    }
  }

  var inFlight: Int { flight.withLock { $0.items.count } }

  /// Hands messages to the connection; returns when all were taken.
  func send(_ dispatches: [Dispatch]) async throws(AMQPError) { try await send(dispatches.map(Item.dispatch)) }

  private func send(_ items: [Item]) async throws(AMQPError) {
    guard !items.isEmpty else { return }
    let now = bridge.clock.uptimeSeconds()
    let sent = flight.withLock { flight in
      defer { tellInFlight(flight) }
      return items.map { item -> Sent in
        flight.lastID += 1
        flight.items[flight.lastID] = Flying(item: item, since: now)
        flight.payloadBytes += item.payloadBytes
        return (flight.lastID, item)
      }
    }
    try await publish(sent)
  }

  private func publish(_ sent: [Sent]) async throws(AMQPError) {
    let now = bridge.clock.now()
    try await connection.publish(sent.map { (id: $0.id, message: message(for: $0.item, now: now)) })
  }

  private func message(for item: Item, now: Timestamp) -> AMQPMessage {
    switch item {
    case .dispatch(let dispatch):
      bridge.codec.message(
        for: dispatch, wire: bridge.configuration.tasks[dispatch.run.task]?.wire ?? .raw, now: now)
    case .notice(let notice): bridge.codec.message(for: notice, now: now)
    }
  }

  // MARK: Loops

  /// Writes outcomes back, as many in one transaction as have arrived.
  func runOutcomes() async throws {
    for await outcomes in connection.outcomes { try await settle(outcomes) }
    throw await connection.waitUntilClosed() ?? AMQPError(.connectionLost, "the publish connection has ended")
  }

  private func settle(_ outcomes: [AMQPPublishOutcome]) async throws {
    var confirmed: [DispatchID] = []
    var published: [Int64] = []
    var landed: [UInt64] = []
    var returned: [(sent: Sent, text: String, isFinal: Bool)] = []
    let items = flight.withLock { flight in outcomes.map { flight.items[$0.id]?.item } }
    for (outcome, item) in zip(outcomes, items) {
      guard let item else { continue }
      switch outcome.result {
      case .confirmed:
        landed.append(outcome.id)
        switch item {
        case .dispatch(let dispatch): confirmed.append(dispatch.id)
        case .notice(let notice): published.append(notice.outboxID)
        }
      case .returned(_, let text): returned.append(((outcome.id, item), text, false))
      case .refused(let error): returned.append(((outcome.id, item), error.text, true))
      case .nacked, .unknown: delay((outcome.id, item))
      }
    }
    if !confirmed.isEmpty {
      bridge.confirms.add(confirmed, at: bridge.clock.now(), uptime: bridge.clock.uptimeSeconds())
    }
    if !published.isEmpty {
      let notices = published
      try await bridge.writing { transaction throws(StoreError) in try transaction.removeFromOutbox(notices) }
    }
    if !landed.isEmpty { land(landed) }
    for entry in returned { try await settleReturned(entry.sent, text: entry.text, isFinal: entry.isFinal) }
  }

  private func land(_ ids: [UInt64]) {
    flight.withLock { flight in
      for id in ids {
        if let flying = flight.items.removeValue(forKey: id) { flight.payloadBytes -= flying.item.payloadBytes }
      }
      tellInFlight(flight)
    }
    settled.raise()
    drained.raise()
  }

  private func tellInFlight(_ flight: borrowing Flight) {
    bridge.inFlight.store(flight.items.count, ordering: .relaxed)
  }

  private func delay(_ sent: Sent) {
    flight.withLock { $0.delayed.append(sent) }
    delayed.raise()
  }

  /// Publishes again what was nacked, returned or lost with its channel, after a pause; the attempt is unchanged.
  func runDelayed() async throws {
    while !Task.isCancelled {
      await delayed.wait(atMost: 60)
      if flight.withLock({ $0.delayed.isEmpty }) { continue }
      try await Task.sleep(for: .seconds(Self.nackDelaySeconds))
      let late = flight.withLock { flight in
        defer { flight.delayed = [] }
        return flight.delayed
      }
      for sent in late where try await isPublishable(sent) {
        let now = bridge.clock.uptimeSeconds()
        flight.withLock { $0.items[sent.id]?.since = now }
        try await publish([sent])
      }
    }
  }

  // MARK: Silence

  /// Ends the session when a queue takes messages and never confirms them, so that it does not hold up all others: what
  /// waits for it is given up with the connection, and its task key is held from the next one on.
  func watchConfirms() async throws {
    let patience = Double(bridge.configuration.confirmTimeoutSeconds)
    while !Task.isCancelled {
      try await Task.sleep(for: .seconds(patience / 4))
      let now = bridge.clock.uptimeSeconds()
      let isBlocked = bridge.state.isBlocked
      let silent: Set<TaskKey> = flight.withLock { flight in
        var tasks: Set<TaskKey> = []
        for (id, flying) in flight.items {
          // While the broker is short of room nothing is confirmed, by nobody's fault.
          if isBlocked { flight.items[id]?.since = now }
          if case .dispatch(let dispatch) = flying.item, now - flying.since > patience {
            tasks.insert(dispatch.run.task)
          }
        }
        return isBlocked ? [] : tasks
      }
      if silent.isEmpty { continue }
      for task in silent {
        let queue = topology.names.run(task)
        bridge.state.setDegraded(
          task,
          because:
            "\(queue) has confirmed nothing for \(Int(patience)) s; delete it, the bridge declares it again and loses nothing",
          isSilent: true)
        bridge.logger.error("a queue does not confirm, its runs are held", metadata: ["queue": "\(queue)"])
      }
      throw AMQPError(.timeout, "\(silent.count) queue(s) confirm nothing: connecting anew without them")
    }
  }

  // MARK: Returns

  private func settleReturned(_ sent: Sent, text: String, isFinal: Bool) async throws {
    switch sent.item {
    case .notice(let notice):
      if notice.kind == .dead, !isFinal {
        topology.forget(topology.names.dead(notice.run.task))
        if try await bridge.haveDeadQueue(notice.run.task, topology: topology) {
          try await publish([sent])
        } else {
          land([sent.id])
        }
      } else {
        // It can't be had as a message; the table has it.
        bridge.logger.error(
          "message cannot be published", metadata: ["run": "\(notice.run.id)", "error": "\(text)"])
        try await bridge.writing { transaction throws(StoreError) in
          try transaction.removeFromOutbox([notice.outboxID])
        }
        land([sent.id])
      }
    case .dispatch(let dispatch):
      topology.forget(topology.names.run(dispatch.run.task))
      let now = bridge.clock.now()
      let policy = bridge.policy(dispatch.run.task)
      let jitter = bridge.jitter()
      let again = try await bridge.writing { transaction throws(StoreError) in
        try transaction.returned(
          dispatch, text: text, returnsMax: isFinal ? 1 : Self.returnsMax, policy: policy, now: now, jitter: jitter)
      }
      // Its queue is declared again by whoever publishes it again, after a pause that holds up nobody else.
      if again { delay(sent) } else { land([sent.id]) }
    }
  }

  /// Declares the queue of what is to be published again.
  ///
  /// - Returns: false when the queue cannot be had: the dispatch was taken back.
  private func isPublishable(_ sent: Sent) async throws -> Bool {
    guard case .dispatch(let dispatch) = sent.item, !topology.isKnown(dispatch.run.task) else { return true }
    if try await bridge.haveRunQueue(dispatch.run.task, topology: topology, incarnation: incarnation) != nil {
      return true
    }
    try await takeBack([dispatch])
    land([sent.id])
    return false
  }

  private func takeBack(_ dispatches: [Dispatch]) async throws {
    guard !dispatches.isEmpty else { return }
    let now = bridge.clock.now()
    try await bridge.writing { transaction throws(StoreError) in
      try transaction.takeBack(dispatches, reason: "its queue cannot be used", now: now)
    }
  }

  // MARK: Notices

  /// Publishes control and dead-letter messages as they appear in the outbox.
  func runNotices() async throws {
    while !Task.isCancelled {
      let last = flight.withLock { $0.lastNotice }
      let notices = try await bridge.writing { transaction throws(StoreError) in
        try transaction.pendingNotices(after: last, limit: Self.noticesMax)
      }
      if bridge.state.phase != .running {
        await bridge.outbox.wait(atMost: 1)
      } else if let newest = notices.last {
        flight.withLock { $0.lastNotice = newest.outboxID }
        var unusable: Set<TaskKey> = []
        for task in Set(notices.lazy.filter { $0.kind == .dead }.map(\.run.task)) {
          if try await !bridge.haveDeadQueue(task, topology: topology) { unusable.insert(task) }
        }
        try await send(notices.filter { $0.kind != .dead || !unusable.contains($0.run.task) }.map(Item.notice))
      } else {
        await bridge.outbox.wait(atMost: 30)
      }
    }
  }

  /// Publishes again, under the same message ids, what was in flight when the last connection or process ended.
  func republishPending() async throws {
    var last: Dispatch?
    var count = 0
    let policy = bridge.policyLookup.policy
    while true {
      let after = last
      let pending = try await bridge.writing { transaction throws(StoreError) in
        try transaction.pendingDispatches(after: after, limit: 200, policy: policy)
      }
      guard let newest = pending.last else { break }
      last = newest
      count += pending.count
      let degraded = bridge.state.degraded
      let usable = pending.filter { degraded[$0.run.task] == nil }
      try await takeBack(pending.filter { degraded[$0.run.task] != nil })
      for task in Set(usable.map(\.run.task)) where !topology.isKnown(task) {
        _ = try await bridge.haveRunQueue(task, topology: topology, incarnation: incarnation)
      }
      let held = bridge.state.degraded
      try await takeBack(usable.filter { held[$0.run.task] != nil })
      try await send(usable.filter { held[$0.run.task] == nil })
    }
    if count > 0 { bridge.logger.info("published again", metadata: ["runs": "\(count)"]) }
  }

  /// Waits until nothing is in flight, at most `seconds`.
  func drain(atMost seconds: Double) async {
    let end = bridge.clock.uptimeSeconds() + seconds
    while inFlight > 0 {
      let left = end - bridge.clock.uptimeSeconds()
      guard left > 0 else { return }
      await drained.wait(atMost: min(left, 0.2))
    }
  }
}
