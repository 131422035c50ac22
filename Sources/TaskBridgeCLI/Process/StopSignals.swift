import Dispatch
import Foundation

/// Signals as events instead of the end of the process.
///
/// Unchecked: both properties never change, and cancelling, all that is ever done to a source, is allowed from any
/// thread.
final class StopSignals: @unchecked Sendable {
  private let sources: [any DispatchSourceSignal]
  private let numbers: [Int32]

  private init(sources: [any DispatchSourceSignal], numbers: [Int32]) {
    self.sources = sources
    self.numbers = numbers
  }

  /// Calls `handler` on a queue of its own for each arrival, with the signal's number and how many came before it.
  static func onEach(_ signals: [Int32], _ handler: @escaping @Sendable (Int32, Int) -> Void) -> StopSignals {
    let queue = DispatchQueue(label: "taskbridge.signals")
    let counter = Counter()
    let sources = signals.map { number -> any DispatchSourceSignal in
      signal(number, SIG_IGN)
      let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
      source.setEventHandler { handler(number, counter.next()) }
      source.resume()
      return source
    }
    return StopSignals(sources: sources, numbers: signals)
  }

  /// As `onEach`, for the first arrival only.
  static func onFirst(_ signals: [Int32], _ handler: @escaping @Sendable (Int32) -> Void) -> StopSignals {
    onEach(signals) { number, earlier in
      if earlier == 0 { handler(number) }
    }
  }

  /// Gives the signals back their usual meaning.
  func cancel() {
    for source in sources { source.cancel() }
    for number in numbers { signal(number, SIG_DFL) }
  }

  /// Keeps watching until the process ends, without anybody holding on to this.
  func keepForever() { _ = Unmanaged.passRetained(self) }

  /// Only ever touched on the queue of the signals, one after the other.
  private final class Counter: @unchecked Sendable {
    private var count = 0
    func next() -> Int {
      defer { count += 1 }
      return count
    }
  }
}

extension ProcessSetup {
  /// Ends the process by `number`, so that a shell sees what ended it (130 for SIGINT).
  static func die(of number: Int32) -> Never {
    signal(number, SIG_DFL)
    // Sent to this very thread and not blocked in it, it takes effect before raise() returns.
    var set = sigset_t()
    sigemptyset(&set)
    sigaddset(&set, number)
    pthread_sigmask(SIG_UNBLOCK, &set, nil)
    raise(number)
    _exit(128 + number)
  }
}
