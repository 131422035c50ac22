import Dispatch
import Synchronization

/// Wakes one waiting loop; raising it many times before the loop looks wakes it once.
final class Signal: Sendable {
  private struct State {
    var isRaised = false
    var waiter: (id: UInt64, continuation: CheckedContinuation<Void, Never>)?
    var lastID: UInt64 = 0
  }

  private let state = Mutex(State())

  /// Whether a loop waits that nothing has woken yet.
  var isAwaited: Bool { state.withLock { $0.waiter != nil } }

  func raise() {
    let waiter = state.withLock { state in
      guard let waiter = state.waiter else {
        state.isRaised = true
        return nil as CheckedContinuation<Void, Never>?
      }
      state.waiter = nil
      return waiter.continuation
    }
    waiter?.resume()
  }

  /// Returns when raised, when `seconds` have passed, or when the task is cancelled. One waiter at a time.
  func wait(atMost seconds: Double) async {
    let id = state.withLock { state in
      state.lastID += 1
      return state.lastID
    }
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let (isDone, displaced) = state.withLock { state in
          if state.isRaised || Task.isCancelled {
            state.isRaised = false
            return (true, nil as CheckedContinuation<Void, Never>?)
          }
          let displaced = state.waiter?.continuation
          state.waiter = (id, continuation)
          return (false, displaced)
        }
        // A second waiter is a mistake of ours, but never one that hangs the first.
        displaced?.resume()
        if isDone { return continuation.resume() }
        DispatchQueue.global().asyncAfter(deadline: .now() + max(0, min(seconds, 3_600))) { self.end(id) }
      }
    } onCancel: {
      end(id)
    }
  }

  private func end(_ id: UInt64) {
    let waiter = state.withLock { state in
      guard let waiter = state.waiter, waiter.id == id else { return nil as CheckedContinuation<Void, Never>? }
      state.waiter = nil
      return waiter.continuation
    }
    waiter?.resume()
  }
}
