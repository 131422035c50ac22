public import Logging

/// One life of a connection to a broker: one socket, one channel, one thread of its own.
///
/// It does not reconnect. When it ends, every message in flight is reported as `.unknown`, every consumer ends with the
/// error, and `waitUntilClosed()` returns; open a new one when `AMQPConnectionMachine` says so. A channel that the broker
/// closes is opened again, because most such errors concern one object only.
///
/// A connection that nobody holds any more closes by itself; its consumers do not hold it.
public final class AMQPConnection: Sendable {
  /// Bodies larger than this are delivered cut, as `.tooLarge`.
  public static let bodyBytesMaxDefault = 16 << 20
  /// Messages that may be in flight before `publish` waits.
  public static let publishWindow = ConnectionLine.window

  let line: ConnectionLine
  let confirmsAtClose: Duration
  /// What the broker says of itself, for example `RabbitMQ` and `3.10.8`; empty when it does not.
  public let serverProduct: String
  public let serverVersion: String
  public let endpoint: AMQPConfiguration.Endpoint

  private init(
    line: ConnectionLine, confirmsAtClose: Duration, server: AMQPHandle.Server, endpoint: AMQPConfiguration.Endpoint
  ) {
    self.line = line
    self.confirmsAtClose = confirmsAtClose
    serverProduct = server.product
    serverVersion = server.version
    self.endpoint = endpoint
  }

  deinit { line.mailbox.beginClosing(within: .zero) }

  /// Connects, logs in and opens the channel.
  /// - Parameters:
  ///   - endpointIndex: which of the configuration's endpoints, modulo their number.
  ///   - bodyBytesMax: at least 64 KiB.
  /// - Throws: `.invalidConfiguration`, `.connectFailed`, `.tlsFailed`, `.loginRefused`, `.timeout`, `.connectionLost`,
  ///   `.protocolViolation`, or `.cancelled`. No connection is left behind then.
  public static func open(
    _ configuration: AMQPConfiguration, endpointIndex: Int = 0,
    bodyBytesMax: Int = AMQPConnection.bodyBytesMaxDefault, logger: Logger
  ) async throws(AMQPError) -> AMQPConnection {
    guard !configuration.endpoints.isEmpty else { throw AMQPError(.invalidConfiguration, "there is no endpoint") }
    let count = configuration.endpoints.count
    let endpoint = configuration.endpoints[((endpointIndex % count) + count) % count]
    let line = ConnectionLine()
    let opened = Answer<AMQPHandle.Server>()
    let timeouts = configuration.timeouts
    // While connecting, a call may take as long as the configuration allows, and the library's own deadline comes first.
    let guarded = SocketGuard(limit: max(timeouts.call, max(timeouts.connect, timeouts.login) + .seconds(1))) {
      // Name resolution has no deadline and no socket to shut down: then nobody waits for the thread any longer.
      opened.fulfil(.failure(AMQPError(.timeout, "no connection to \(endpoint) in time")))
    }
    try Watchdog.shared.add(guarded)
    do throws(AMQPError) {
      try AMQPThread.start(name: "amqp-\(configuration.connectionName)", stackBytes: AMQPHandle.stackBytes) {
        defer { Watchdog.shared.remove(guarded) }
        let loop: FrameLoop
        let server: AMQPHandle.Server
        do throws(AMQPError) {
          let handle = try AMQPHandle(configuration, endpoint: endpoint, guarded: guarded)
          server = handle.server
          guarded.setLimit(timeouts.call)
          loop = FrameLoop(
            handle: handle, guarded: guarded, line: line, timeouts: timeouts,
            bodyBytesMax: max(bodyBytesMax, ContentAssembly.keptBytesMax), logger: logger)
        } catch {
          opened.fulfil(.failure(error))
          return
        }
        if !opened.fulfil(.success(server)) { line.mailbox.beginClosing(within: .zero) }
        loop.run()
      }
    } catch {
      Watchdog.shared.remove(guarded)
      throw error
    }
    let server = try await opened.answer()
    logger.debug(
      "connection open",
      metadata: ["endpoint": "\(endpoint)", "product": "\(server.product)", "version": "\(server.version)"])
    return AMQPConnection(
      line: line, confirmsAtClose: timeouts.confirmsAtClose, server: server, endpoint: endpoint)
  }

  /// `false` from the moment `close()` was called or the connection ended.
  public var isOpen: Bool { line.mailbox.isOpen }

  /// Whether the broker has an alarm (memory, disk) and takes no messages.
  public var isBlocked: Bool { line.mailbox.isBlocked }

  /// Messages given to `publish` that have no outcome yet.
  public var unconfirmedCount: Int { line.mailbox.outstanding }

  /// What happens to the connection, newest 256 kept; ends after `.closed`. For one reader.
  public var stateChanges: AsyncStream<AMQPConnectionState> { line.states }

  /// Waits for the end.
  /// - Returns: why; `nil` after an orderly `close()`; `.cancelled` when the waiting task was cancelled first.
  public func waitUntilClosed() async -> AMQPError? {
    switch await line.closed.value() {
    case .some(let error): error
    case .none: AMQPError(.cancelled, "the waiting task was cancelled")
    }
  }

  /// Takes no more work, waits for confirms as long as the configuration says (5 s) and says goodbye. Returns when the
  /// connection has ended, also when another task had closed it or it was broken. Consumers end without an error; what
  /// they had not acknowledged is delivered again by the broker.
  public func close() async {
    line.mailbox.beginClosing(within: confirmsAtClose)
    // Also a cancelled task waits to the end: the thread's own deadlines bound it.
    await line.closed.valueDespiteCancellation()
  }
}
