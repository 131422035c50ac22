import Synchronization

/// A value that is there later, for any number of waiting tasks. The first value wins.
final class Promise<Value: Sendable>: Sendable {
  private typealias Waiter = CheckedContinuation<Value?, Never>

  private enum State {
    case pending(waiters: [UInt64: Waiter], nextWaiter: UInt64)
    case fulfilled(Value)
  }

  private let state = Mutex(State.pending(waiters: [:], nextWaiter: 0))

  /// The value, if it is there.
  var fulfilled: Value? {
    state.withLock { state in
      if case .fulfilled(let value) = state { return value }
      return nil
    }
  }

  /// - Returns: whether this was the first value.
  @discardableResult
  func fulfil(_ value: Value) -> Bool {
    let waiters = state.withLock { state -> [UInt64: Waiter]? in
      guard case .pending(let waiters, _) = state else { return nil }
      state = .fulfilled(value)
      return waiters
    }
    guard let waiters else { return false }
    for waiter in waiters.values { waiter.resume(returning: value) }
    return true
  }

  /// Waits for the value.
  /// - Returns: `nil` when the waiting task was cancelled first.
  func value() async -> Value? {
    let waiterID = newWaiterID()
    return await withTaskCancellationHandler {
      await wait(waiterID, evenIfCancelled: false)
    } onCancel: {
      take(waiterID)?.resume(returning: nil)
    }
  }

  /// Waits for a value that is bound to come, also in a task that was cancelled.
  func valueDespiteCancellation() async {
    _ = await wait(newWaiterID(), evenIfCancelled: true)
  }

  private func newWaiterID() -> UInt64 {
    state.withLock { state in
      guard case .pending(let waiters, let next) = state else { return 0 }
      state = .pending(waiters: waiters, nextWaiter: next + 1)
      return next
    }
  }

  private func wait(_ waiterID: UInt64, evenIfCancelled: Bool) async -> Value? {
    await withCheckedContinuation { (continuation: Waiter) in
      let immediate = state.withLock { state -> Value?? in
        switch state {
        case .fulfilled(let value): return .some(value)
        case .pending(var waiters, let next):
          // The cancellation handler may have run before we got here; then nobody would resume us.
          guard evenIfCancelled || !Task.isCancelled else { return .some(nil) }
          waiters[waiterID] = continuation
          state = .pending(waiters: waiters, nextWaiter: next)
          return nil
        }
      }
      if let immediate { continuation.resume(returning: immediate) }
    }
  }

  private func take(_ waiterID: UInt64) -> Waiter? {
    state.withLock { state in
      guard case .pending(var waiters, let next) = state else { return nil }
      let waiter = waiters.removeValue(forKey: waiterID)
      state = .pending(waiters: waiters, nextWaiter: next)
      return waiter
    }
  }
}

typealias Answer<Value: Sendable> = Promise<Result<Value, AMQPError>>

extension Promise {
  /// Waits for an answer. When the waiting task is cancelled the promise is fulfilled with that error, so that the
  /// thread learns that nobody waits any more.
  func answer<Success: Sendable>() async throws(AMQPError) -> Success where Value == Result<Success, AMQPError> {
    if let result = await value() { return try result.get() }
    let cancelled = AMQPError(.cancelled, "the waiting task was cancelled")
    if fulfil(.failure(cancelled)) { throw cancelled }
    // Fulfilled in the same moment: then that answer counts.
    switch fulfilled {
    case .some(let result): return try result.get()
    case .none: throw cancelled
    }
  }
}
