import Synchronization

/// Hands elements from the connection's thread to a task, many at a time: the task is woken once per batch, and while it
/// is busy the next batch grows. The producer keeps the bound (prefetch, window).
final class BatchBuffer<Element: Sendable>: Sendable {
  enum Step: Sendable {
    case batch([Element])
    case failed(AMQPError)
    case ended
  }

  private struct State {
    var elements: [Element] = []
    /// Set once; an error is reported once.
    var isFinished = false
    var error: AMQPError?
    var waiters: [(id: UInt64, continuation: CheckedContinuation<Step, Never>)] = []
    var nextWaiter: UInt64 = 0
  }

  private let state = Mutex(State())

  var count: Int { state.withLock { $0.elements.count } }
  var isFinished: Bool { state.withLock { $0.isFinished } }

  /// Adds a batch; after `finish` it is dropped.
  func append(_ batch: [Element]) {
    guard !batch.isEmpty else { return }
    let waiter: CheckedContinuation<Step, Never>? = state.withLock { state in
      guard !state.isFinished else { return nil }
      if !state.waiters.isEmpty { return state.waiters.removeFirst().continuation }
      if state.elements.isEmpty { state.elements = batch } else { state.elements.append(contentsOf: batch) }
      return nil
    }
    waiter?.resume(returning: .batch(batch))
  }

  /// Ends the sequence behind the last element, with an error or without. The first call counts.
  func finish(_ error: AMQPError?) {
    let waiters = state.withLock { state -> [CheckedContinuation<Step, Never>] in
      guard !state.isFinished else { return [] }
      state.isFinished = true
      let waiting = state.waiters.map(\.continuation)
      state.waiters = []
      // A waiting task means that no element is left; one of them gets the error.
      if waiting.isEmpty { state.error = error }
      return waiting
    }
    for (index, waiter) in waiters.enumerated() {
      if index == 0, let error { waiter.resume(returning: .failed(error)) } else { waiter.resume(returning: .ended) }
    }
  }

  /// Everything that came since the last call, at least one element; `.ended` also when the task is cancelled.
  func next() async -> Step {
    let waiterID = state.withLock { state in
      state.nextWaiter += 1
      return state.nextWaiter
    }
    return await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let immediate: Step? = state.withLock { state in
          if !state.elements.isEmpty {
            let batch = state.elements
            state.elements = []
            return .batch(batch)
          }
          if let error = state.error {
            state.error = nil
            return .failed(error)
          }
          if state.isFinished || Task.isCancelled { return .ended }
          state.waiters.append((waiterID, continuation))
          return nil
        }
        if let immediate { continuation.resume(returning: immediate) }
      }
    } onCancel: {
      let waiter = state.withLock { state -> CheckedContinuation<Step, Never>? in
        guard let index = state.waiters.firstIndex(where: { $0.id == waiterID }) else { return nil }
        return state.waiters.remove(at: index).continuation
      }
      waiter?.resume(returning: .ended)
    }
  }
}
