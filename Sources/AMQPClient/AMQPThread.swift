import CRabbitMQ
import Glibc

/// A thread of our own for calls that can block. They never run on the cooperative pool, whose few threads they would
/// starve.
enum AMQPThread {
  private final class Start {
    let name: String
    let body: () -> Void

    init(name: String, body: @escaping () -> Void) {
      self.name = name
      self.body = body
    }
  }

  /// Runs `body` on a new thread.
  /// - Parameters:
  ///   - name: shown by `ps -L` and debuggers, cut to 15 bytes.
  ///   - stackBytes: virtual memory; only what is used counts.
  /// - Throws: `.connectFailed` when the system gives no thread.
  static func start(name: String, stackBytes: Int, _ body: @escaping @Sendable () -> Void) throws(AMQPError) {
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    defer { pthread_attr_destroy(&attributes) }
    pthread_attr_setstacksize(&attributes, stackBytes)
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    // The new thread inherits this mask: signals are for the threads of the program that expect them.
    var all = sigset_t()
    var previous = sigset_t()
    sigfillset(&all)
    pthread_sigmask(SIG_SETMASK, &all, &previous)
    defer { pthread_sigmask(SIG_SETMASK, &previous, nil) }
    var thread = pthread_t()
    let start = Unmanaged.passRetained(Start(name: String(name.prefix(15)), body: body))
    let status = pthread_create(
      &thread, &attributes,
      { argument in
        guard let argument else { return nil }
        let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
        tb_name_thread(start.name)
        start.body()
        return nil
      }, start.toOpaque())
    guard status == 0 else {
      start.release()
      throw AMQPError(.connectFailed, "no thread for the connection: \(String(cString: strerror(status)))")
    }
  }
}
