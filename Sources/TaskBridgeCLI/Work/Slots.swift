import Synchronization

/// A number of places; whoever finds none free waits in line.
final class Slots: Sendable {
  private struct State {
    var free: Int
    var waiters: [CheckedContinuation<Bool, Never>] = []
    var isClosed = false
  }

  private let state: Mutex<State>

  init(_ count: Int) { state = Mutex(State(free: count)) }

  /// Takes a place. False when no place will be given any more.
  func take() async -> Bool {
    await withCheckedContinuation { continuation in
      let now: Bool? = state.withLock { state in
        if state.isClosed { return false }
        if state.free > 0 {
          state.free -= 1
          return true
        }
        state.waiters.append(continuation)
        return nil
      }
      if let now { continuation.resume(returning: now) }
    }
  }

  func release() {
    let next = state.withLock { state -> CheckedContinuation<Bool, Never>? in
      guard !state.waiters.isEmpty else {
        state.free += 1
        return nil
      }
      return state.waiters.removeFirst()
    }
    next?.resume(returning: true)
  }

  /// Sends everybody in line away; places that are taken stay so.
  func close() {
    let waiters = state.withLock { state in
      state.isClosed = true
      defer { state.waiters = [] }
      return state.waiters
    }
    for waiter in waiters { waiter.resume(returning: false) }
  }
}
