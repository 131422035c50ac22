import CRabbitMQ
import Glibc
import Synchronization

/// Frees a thread that hangs in the library: when a call lasts too long, another thread shuts the socket down, and the
/// call comes back with an error.
///
/// `shutdown`, never `close`: a closed number could be given to another file while the library still uses it. For the
/// same reason the number is taken away under the lock before the library closes the socket.
final class SocketGuard: Sendable {
  /// Of the call in progress; 0 while the thread is outside the library.
  private let deadline = Atomic<UInt64>(0)
  private let fileDescriptor = Mutex<Int32>(-1)
  private let limitNanoseconds: Atomic<UInt64>
  private let expired = Atomic<Bool>(false)
  private let onExpiry: @Sendable () -> Void

  init(limit: Duration, onExpiry: @escaping @Sendable () -> Void = {}) {
    limitNanoseconds = Atomic(limit.nanoseconds)
    self.onExpiry = onExpiry
  }

  var hasExpired: Bool { expired.load(ordering: .relaxed) }

  /// For the calls from now on.
  func setLimit(_ limit: Duration) { limitNanoseconds.store(limit.nanoseconds, ordering: .relaxed) }

  /// The thread begins a call, or the next one.
  func touch() {
    deadline.store(MonotonicClock.now() + limitNanoseconds.load(ordering: .relaxed), ordering: .relaxed)
  }

  /// The thread is outside the library.
  func rest() { deadline.store(0, ordering: .relaxed) }

  func attach(_ descriptor: Int32) { fileDescriptor.withLock { $0 = descriptor } }

  /// To be called before the library closes the socket.
  func detach() { fileDescriptor.withLock { $0 = -1 } }

  /// Called by the watchdog.
  func check(now: UInt64) {
    let deadline = deadline.load(ordering: .relaxed)
    guard deadline != 0, now > deadline else { return }
    self.deadline.store(0, ordering: .relaxed)
    expired.store(true, ordering: .relaxed)
    fileDescriptor.withLock { descriptor in
      if descriptor >= 0 { _ = Glibc.shutdown(descriptor, Int32(SHUT_RDWR)) }
    }
    onExpiry()
  }
}

/// The one thread that looks after all guarded calls of the process.
final class Watchdog: Sendable {
  static let shared = Watchdog()
  static let checkMilliseconds: Int32 = 100
  private static let stackBytes = 512 * 1024

  private struct State {
    var guards: [ObjectIdentifier: SocketGuard] = [:]
    var isRunning = false
  }

  private let state = Mutex(State())
  private let wakeUp = tb_event_new()

  /// - Throws: `.connectFailed` when its thread cannot be started.
  func add(_ guarded: SocketGuard) throws(AMQPError) {
    let mustStart = state.withLock { state in
      state.guards[ObjectIdentifier(guarded)] = guarded
      defer { state.isRunning = true }
      return !state.isRunning
    }
    if mustStart {
      do {
        try AMQPThread.start(name: "amqp-watchdog", stackBytes: Self.stackBytes) { self.run() }
      } catch {
        state.withLock {
          $0.isRunning = false
          $0.guards[ObjectIdentifier(guarded)] = nil
        }
        throw error
      }
    }
    tb_event_signal(wakeUp)
  }

  func remove(_ guarded: SocketGuard) {
    state.withLock { _ = $0.guards.removeValue(forKey: ObjectIdentifier(guarded)) }
  }

  private func run() {
    while true {
      let guards = state.withLock { Array($0.guards.values) }
      let now = MonotonicClock.now()
      for guarded in guards { guarded.check(now: now) }
      var poller = pollfd(fd: wakeUp, events: Int16(POLLIN), revents: 0)
      // Without connections it sleeps until the next one is added.
      if poll(&poller, 1, guards.isEmpty ? -1 : Self.checkMilliseconds) > 0 {
        tb_event_clear(wakeUp)
      }
    }
  }
}
