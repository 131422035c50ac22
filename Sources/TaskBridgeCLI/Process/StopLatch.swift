import Dispatch
import Foundation

/// Tripped by the first signal that asks for an end; can be waited for by many, before and after.
final class StopLatch: Sendable {
  private let shot = OneShot<Int32>()

  /// The signal that tripped it, if one has.
  var signal: Int32? { shot.current }

  func trip(_ signal: Int32) { shot.fulfil(signal) }

  /// Waits until it is tripped. Returns nil when the waiting task is cancelled first.
  @discardableResult
  func wait() async -> Int32? { await shot.value() }

  /// Lets time pass, unless it is tripped.
  /// - Returns: whether to go on: false once it is tripped or the task is cancelled.
  func pause(_ duration: Duration) async -> Bool {
    await shot.value(within: duration) == nil && !Task.isCancelled
  }
}

extension StopSignals {
  /// A latch that the first SIGTERM or SIGINT trips; the second ends the process at once, after `onSecond`.
  static func latch(onSecond: @escaping @Sendable () -> Void = {}) -> StopLatch {
    let latch = StopLatch()
    let watch = onEach([SIGTERM, SIGINT]) { number, earlier in
      guard earlier > 0 else { return latch.trip(number) }
      onSecond()
      ProcessSetup.die(of: number)
    }
    watch.keepForever()
    return latch
  }
}

/// Waiting for time to pass.
enum Pause {
  /// Waits also in a cancelled task, for what must be done to its end.
  static func uncancelled(_ duration: Duration) async {
    await withCheckedContinuation { continuation in
      let milliseconds = Int(duration / .milliseconds(1))
      DispatchQueue.global().asyncAfter(deadline: .now() + .milliseconds(milliseconds)) { continuation.resume() }
    }
  }
}
