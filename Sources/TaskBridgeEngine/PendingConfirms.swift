import Synchronization
import TaskBridgeCore
import TaskBridgeStore

/// Confirms of the broker that are not written yet.
///
/// Nothing waits for a confirm to be in the store: a run is `queued` until then, and after a crash its message is
/// published again under the same id. So a confirm is kept for a moment: the reports of a fast worker arrive meanwhile,
/// and all steps of the run are one write.
final class PendingConfirms: Sendable {
  /// How long a confirm waits for the reports of its run, in seconds.
  static let holdSeconds = 0.2
  /// Most confirms that wait; more are written at once.
  static let countMax = 2_000

  private struct Waiting {
    var times: [DispatchID: Timestamp] = [:]
    /// In the order of their arrival; those taken meanwhile are still named.
    var order: [(dispatch: DispatchID, since: Double)] = []
  }

  private let waiting = Mutex(Waiting())
  /// Raised when confirms have arrived.
  let arrived = Signal()

  var isEmpty: Bool { waiting.withLock { $0.times.isEmpty } }

  /// - Parameter uptime: monotonic seconds.
  func add(_ dispatches: [DispatchID], at now: Timestamp, uptime: Double) {
    waiting.withLock { waiting in
      for dispatch in dispatches {
        waiting.times[dispatch] = now
        waiting.order.append((dispatch, uptime))
      }
    }
    arrived.raise()
  }

  /// Takes the confirms of the named dispatches out, in the order named.
  func take(_ dispatches: some Sequence<DispatchID>) -> [Confirmed] {
    waiting.withLock { waiting in
      if waiting.times.isEmpty { return [] }
      return dispatches.compactMap { dispatch in
        waiting.times.removeValue(forKey: dispatch).map { Confirmed(dispatch: dispatch, at: $0) }
      }
    }
  }

  /// Takes out what arrived before `uptime`, and everything when there is too much; nil: everything.
  func take(olderThan uptime: Double?) -> [Confirmed] {
    waiting.withLock { waiting in
      let isFull = waiting.times.count > Self.countMax
      var end = 0
      var taken: [Confirmed] = []
      while end < waiting.order.count, isFull || waiting.order[end].since < uptime ?? .infinity {
        let dispatch = waiting.order[end].dispatch
        if let at = waiting.times.removeValue(forKey: dispatch) { taken.append(Confirmed(dispatch: dispatch, at: at)) }
        end += 1
      }
      waiting.order.removeFirst(end)
      return taken
    }
  }
}

extension BridgeContext {
  /// Writes confirms as they get older than ``PendingConfirms/holdSeconds``, until cancelled.
  func writeOldConfirms() async throws {
    while !Task.isCancelled {
      if confirms.isEmpty { await confirms.arrived.wait(atMost: 60) }
      try await Task.sleep(for: .seconds(PendingConfirms.holdSeconds / 4))
      try await write(confirms.take(olderThan: clock.uptimeSeconds() - PendingConfirms.holdSeconds))
    }
  }

  /// Writes every confirm that has arrived.
  func writeConfirms() async throws { try await write(confirms.take(olderThan: nil)) }

  func write(_ confirmed: [Confirmed]) async throws {
    if confirmed.isEmpty { return }
    try await writing { transaction throws(StoreError) in try transaction.confirm(confirmed) }
  }
}
