import Synchronization

/// A value that comes once and can be waited for by many, before and after.
final class OneShot<Value: Sendable>: Sendable {
  private struct State {
    var value: Value?
    var nextWaiter = 0
    var waiters: [Int: CheckedContinuation<Value?, Never>] = [:]
  }

  private let state = Mutex(State())

  var current: Value? { state.withLock { $0.value } }

  /// Gives the value; later ones are dropped.
  func fulfil(_ value: Value) {
    let waiters = state.withLock { state -> [CheckedContinuation<Value?, Never>] in
      guard state.value == nil else { return [] }
      state.value = value
      defer { state.waiters = [:] }
      return Array(state.waiters.values)
    }
    for waiter in waiters { waiter.resume(returning: value) }
  }

  /// Waits for the value. Returns nil when the waiting task is cancelled first.
  func value() async -> Value? {
    let id = state.withLock { state in
      state.nextWaiter += 1
      return state.nextWaiter
    }
    return await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let now: Value?? = state.withLock { state in
          if let value = state.value { return .some(value) }
          // Cancelled before we got here: the handler below has found nobody to wake.
          if Task.isCancelled { return .some(nil) }
          state.waiters[id] = continuation
          return nil
        }
        if let now { continuation.resume(returning: now) }
      }
    } onCancel: {
      state.withLock { $0.waiters.removeValue(forKey: id) }?.resume(returning: nil)
    }
  }

  /// Waits for the value, but no longer than `duration`.
  func value(within duration: Duration) async -> Value? {
    await withTaskGroup(of: Value?.self) { tasks in
      tasks.addTask { await self.value() }
      tasks.addTask {
        // Woken by the group when the value comes first: an early end of the sleep is as good as its end.
        do { try await Task.sleep(for: duration) } catch { return nil }
        return nil
      }
      defer { tasks.cancelAll() }
      return await tasks.next() ?? nil
    }
  }
}
