import AMQPClient
import Synchronization

/// A worker that knows only the contract. One connection takes runs, another publishes reports; a run is acknowledged,
/// in ranges, once the broker has confirmed its last report.
final class LoadWorker: Sendable {
  static let prefetch: UInt16 = 500
  /// Consumers on one connection; a client looks through them for each message.
  static let consumersPerConnection = 100

  /// What it says about a run.
  enum Manner: Sendable {
    /// `running`, then `completed`.
    case completes
    /// Only `running`, and remembers the token.
    case claims
  }

  /// Called with every batch as it arrives, before anything is said about it.
  typealias Observer = @Sendable (_ batch: [AMQPDelivery], _ at: ContinuousClock.Instant) -> Void

  private static let runningBody = Array(#"{"state":"running","worker":"bench"}"#.utf8)
  private static let completedBody = Array(#"{"state":"completed","result":"done"}"#.utf8)

  private let intakes: [AMQPConnection]
  private let outlet: AMQPConnection
  private let consumers: [(intake: Int, consumer: AMQPConsumer)]
  private let manner: Manner
  private let observer: Observer?

  private struct State {
    var taken = 0
    var settled = 0
    /// Batches whose reports are just handed over.
    var publishing = 0
    var tokens: [String] = []
    var foundTransient = false
    /// Runs whose last report is not confirmed: what is to be acknowledged where.
    var pending: [UInt64: (intake: Int, tag: UInt64)] = [:]
    var nextID: UInt64 = 0
  }

  private let state = Mutex(State())

  /// Connects and starts to consume; the queues must exist.
  init(
    _ broker: BenchBroker, _ names: BridgeNames, tasks: [String], manner: Manner = .completes,
    prefetch: UInt16 = LoadWorker.prefetch, observer: Observer? = nil
  ) async throws {
    self.manner = manner
    self.observer = observer
    outlet = try await broker.connect("bench-reports")
    var intakes: [AMQPConnection] = []
    var consumers: [(intake: Int, consumer: AMQPConsumer)] = []
    for (index, task) in tasks.enumerated() {
      if index % Self.consumersPerConnection == 0 { intakes.append(try await broker.connect("bench-worker")) }
      let consumer = try await intakes[intakes.count - 1].consume(names.runQueue(task), prefetch: prefetch)
      consumers.append((intakes.count - 1, consumer))
    }
    self.intakes = intakes
    self.consumers = consumers
  }

  /// Runs that were taken so far.
  var taken: Int { state.withLock { $0.taken } }

  /// Tokens of the runs that were claimed.
  var tokens: [String] { state.withLock { $0.tokens } }

  /// Whether every run message was persistent.
  var sawOnlyPersistent: Bool { state.withLock { !$0.foundTransient } }

  /// Takes `count` runs, says what it has to and acknowledges them.
  /// - Parameter answerTo: queue that gets the bridge's answer to the last report: everything before it is committed
  ///   then, because the events queue is read in order.
  /// - Throws: `BenchError` when a connection ends or a report is not confirmed.
  func work(_ count: Int, answerTo: String? = nil) async throws {
    state.withLock { state in
      state.taken = 0
      state.settled = 0
      state.publishing = 0
      state.tokens.removeAll()
    }
    try await withThrowingTaskGroup(of: Bool.self) { group in
      group.addTask {
        try await self.settle(count)
        return true
      }
      for (intake, consumer) in consumers {
        group.addTask {
          try await self.take(from: consumer, intake: intake, count, answerTo: answerTo)
          return false
        }
      }
      // Those that take know nothing of each other; the one that settles knows the end.
      while let isDone = try await group.next(), !isDone {}
      group.cancelAll()
    }
  }

  private func take(from consumer: AMQPConsumer, intake: Int, _ count: Int, answerTo: String?) async throws {
    for try await batch in consumer {
      observer?(batch, .now)
      let (messages, isLast) = state.withLock { state in
        state.publishing += 1
        let messages = reports(on: batch, intake: intake, count: count, answerTo: answerTo, &state)
        return (messages, state.taken >= count)
      }
      // The report that asks for an answer stands behind all others in the events queue.
      while isLast, state.withLock({ $0.publishing }) > 1 { try await Task.sleep(for: .milliseconds(1)) }
      try await outlet.publish(messages)
      state.withLock { $0.publishing -= 1 }
      if isLast { return }
    }
  }

  private func reports(
    on batch: [AMQPDelivery], intake: Int, count: Int, answerTo: String?, _ state: inout State
  ) -> [(id: UInt64, message: AMQPMessage)] {
    var messages: [(id: UInt64, message: AMQPMessage)] = []
    messages.reserveCapacity(batch.count * 2)
    for run in batch {
      state.taken += 1
      if run.properties.deliveryMode != 2 { state.foundTransient = true }
      let token = run.properties.correlationID ?? ""
      let address = run.properties.replyTo ?? ""
      let answer = state.taken == count ? answerTo : nil
      state.nextID += 1
      state.pending[state.nextID] = (intake, run.deliveryTag)
      switch manner {
      case .completes:
        messages.append((0, Self.report(Self.runningBody, token: token, address: address)))
        messages.append(
          (state.nextID, Self.report(Self.completedBody, token: token, address: address, answerTo: answer)))
      case .claims:
        state.tokens.append(token)
        messages.append((state.nextID, Self.report(Self.runningBody, token: token, address: address, answerTo: answer)))
      }
    }
    return messages
  }

  private static func report(
    _ body: [UInt8], token: String, address: String, answerTo: String? = nil
  ) -> AMQPMessage {
    AMQPMessage(
      routingKey: address, mandatory: false,
      properties: AMQPProperties(
        contentType: "application/json", deliveryMode: 2, correlationID: token, replyTo: answerTo),
      body: body)
  }

  /// Acknowledges the runs whose last report is confirmed. Reports of a channel to one queue are confirmed in order, so
  /// the earlier one of the same run is, too.
  private func settle(_ count: Int) async throws {
    for await outcomes in outlet.outcomes {
      var tags = [[UInt64]](repeating: [], count: intakes.count)
      let settled = try state.withLock { state in
        for outcome in outcomes {
          guard outcome.result == .confirmed else { throw BenchError("a report was not confirmed: \(outcome.result)") }
          guard let (intake, tag) = state.pending.removeValue(forKey: outcome.id) else { continue }
          tags[intake].append(tag)
          state.settled += 1
        }
        return state.settled
      }
      for (intake, tags) in zip(intakes, tags) { intake.settle(acknowledged: tags) }
      if settled >= count { return }
    }
    try Task.checkCancellation()
    throw BenchError("the worker's connection ended")
  }

  /// Sends `completed` for tokens that were claimed before, as fast as the broker takes them, and returns when all are
  /// confirmed. Not at the same time as `work`.
  func complete(_ tokens: [String], address: String, answerTo: String? = nil) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        var seen = 0
        for await outcomes in self.outlet.outcomes {
          for outcome in outcomes where outcome.result != .confirmed {
            throw BenchError("a report was not confirmed: \(outcome.result)")
          }
          seen += outcomes.count
          if seen >= tokens.count { return }
        }
        throw BenchError("the worker's connection ended")
      }
      group.addTask {
        var next = 0
        while next < tokens.count {
          let end = min(tokens.count, next + LoadSubmitter.batch)
          try await self.outlet.publish(
            (next..<end).map { index in
              let answer = index == tokens.count - 1 ? answerTo : nil
              return (0, Self.report(Self.completedBody, token: tokens[index], address: address, answerTo: answer))
            })
          next = end
        }
      }
      try await group.waitForAll()
    }
  }

  func close() async {
    await outlet.close()
    for intake in intakes { await intake.close() }
  }
}
