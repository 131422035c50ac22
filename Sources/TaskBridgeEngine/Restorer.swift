import AMQPClient
import Logging
import TaskBridgeCore
import TaskBridgeStore

/// What is to be done with one run queue at start (fsm §4).
enum RestoreCase: String, Sendable, CaseIterable {
  /// The queue or the broker is new: the unclaimed runs are dispatched again, no duplicate is possible.
  case a = "A"
  /// The broker holds them all.
  case b = "B"
  /// Some are missing and nobody consumes: purge and dispatch again.
  case c = "C"
  /// Some are missing and somebody may hold them: the orphan rule decides.
  case d = "D"

  /// - Parameters:
  ///   - ready: messages ready in the queue; nil when it does not exist.
  ///   - isSameBroker: the queue was last seen in this broker incarnation.
  static func of(_ facts: QueueFacts, ready: Int?, consumers: Int, isSameBroker: Bool) -> RestoreCase {
    guard let ready, isSameBroker else { return .a }
    if facts.isPurging { return .c }
    if ready >= facts.expected + facts.stale + facts.unknown { return .b }
    return consumers == 0 ? .c : .d
  }
}

extension QueueFacts {
  /// Nothing can be missing where nothing is expected: such queues are declared when they are next needed.
  var canMissAny: Bool { expected > 0 || unknown > 0 || isPurging }
}

/// Brings the broker's queues in line with the store: writes to the store only, so that there is no second way of
/// publishing. Runs at every connection, because a broker may have lost its data while the bridge lived on.
struct Restorer: Sendable {
  /// Most runs taken back in one transaction.
  static let slice = 500

  let bridge: BridgeContext
  let topology: Topology

  /// - Parameter incarnation: of the broker, from the marker.
  func run(incarnation: String) async throws {
    var restored = 0
    var cases: [RestoreCase: Int] = [:]
    for facts in try await bridge.writing({ transaction throws(StoreError) in try transaction.queueFacts() }) {
      if !facts.canMissAny || bridge.state.degraded[facts.task] != nil { continue }
      let (ready, consumers) = try await topology.settledCount(facts.name)
      let which = RestoreCase.of(facts, ready: ready, consumers: consumers, isSameBroker: facts.broker == incarnation)
      cases[which, default: 0] += 1
      bridge.logger.debug(
        "restore",
        metadata: [
          "queue": "\(facts.name)", "case": "\(which.rawValue)", "expected": "\(facts.expected)",
          "stale": "\(facts.stale)", "unknown": "\(facts.unknown)", "ready": "\(ready ?? -1)",
          "consumers": "\(consumers)",
        ])
      switch which {
      case .a:
        guard let again = try await bridge.haveRunQueue(facts.task, topology: topology, incarnation: incarnation) else {
          continue
        }
        restored += again
        restored += try await takeBack(facts, reason: "the queue is new", incarnation: incarnation)
      case .b, .d:
        _ = try await bridge.haveRunQueue(facts.task, topology: topology, incarnation: incarnation)
      case .c:
        try await bridge.writing { transaction throws(StoreError) in try transaction.beginPurge(facts.name) }
        try await purge(facts)
        restored += try await takeBack(facts, reason: "messages were missing", incarnation: incarnation)
      }
    }
    bridge.logger.info(
      "restore done",
      metadata: [
        "restored": "\(restored)", "left_alone": "\(cases[.b, default: 0])",
        "cases": "\(cases.map { "\($0.key.rawValue)=\($0.value)" }.sorted().joined(separator: " "))",
      ])
  }

  /// A queue that does not answer must not keep all others from starting: its task key is held from the next
  /// connection on. RabbitMQ 3.10 leaves a quorum queue without leader for ever when the broker is killed within
  /// 0.1 s of its declaration.
  private func purge(_ facts: QueueFacts) async throws {
    do {
      try await topology.purge(facts.name)
    } catch {
      if error.kind == .timeout || error.kind == .channelClosed {
        bridge.state.setDegraded(
          facts.task,
          because:
            "\(facts.name) does not answer (\(error)); delete it, the bridge declares it again and loses nothing",
          isSilent: true)
      }
      throw error
    }
  }

  private func takeBack(_ facts: QueueFacts, reason: String, incarnation: String) async throws -> Int {
    try await takeBackAll(
      facts.task, queue: facts.name, confirmedBefore: nil, reason: reason, incarnation: incarnation)
  }

  /// Takes back every launched and unclaimed run of `task`, in slices, then marks the queue as emptied.
  func takeBackAll(
    _ task: TaskKey, queue: String, confirmedBefore: Timestamp?, reason: String, incarnation: String
  ) async throws -> Int {
    var total = 0
    while true {
      let now = bridge.clock.now()
      let count = try await bridge.writing { transaction throws(StoreError) in
        try transaction.takeBackLaunched(
          task, confirmedBefore: confirmedBefore, reason: reason, limit: Self.slice, now: now)
      }
      total += count
      if count < Self.slice { break }
    }
    try await bridge.writing { transaction throws(StoreError) in
      try transaction.queueEmptied(queue, broker: incarnation)
    }
    return total
  }
}
