import Glibc
import HummingbirdCore
public import Logging
import NIOCore
import NIOPosix
public import ServiceLifecycle
public import TaskBridgeEngine

/// The HTTP server of one bridge. It serves from its start on, whether or not the broker is there.
public struct HTTPServer: Service {
  private let bridge: TaskBridge
  private let host: String
  private let port: Int
  private let logger: Logger
  private let onListening: @Sendable (_ port: Int) -> Void
  /// Open connections; above, the longest idle one is closed for each new one.
  var connectionsMax = HTTPServer.connectionsAllowed

  /// - Parameters:
  ///   - host: name or address to listen on.
  ///   - port: 0...65,535; 0 lets the system choose.
  ///   - onListening: called once with the port when requests are taken.
  public init(
    bridge: TaskBridge, host: String, port: Int, logger: Logger,
    onListening: @escaping @Sendable (_ port: Int) -> Void = { _ in }
  ) {
    self.bridge = bridge
    self.host = host
    self.port = port
    self.logger = logger
    self.onListening = onListening
  }

  /// Serves until asked to stop; requests in progress are then given ``HTTPLimits/stopSeconds``.
  /// - Throws: `StartError` when it cannot listen there.
  public func run() async throws {
    let server = try makeServer()
    do {
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await server.run() }
        group.addTask {
          try await gracefulShutdown()
          try await Task.sleep(for: .seconds(HTTPLimits.stopSeconds))
        }
        // Whichever comes first: everything served, or the time is up.
        try await group.next()
        group.cancelAll()
        do { try await group.waitForAll() } catch is CancellationError {}
      }
    } catch let error as IOError {
      throw startError(error.errnoCode)
    } catch let error as SocketAddressError {
      throw StartError(
        message: "cannot listen on \(address): \(error). Give an address of this machine with --http HOST:PORT.",
        exitCode: 1)
    }
  }

  private var address: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

  private func startError(_ code: Int32) -> StartError {
    let advice =
      switch code {
      case EADDRINUSE: "the address is in use. Stop what listens there, or choose another with --http HOST:PORT."
      case EADDRNOTAVAIL: "this machine has no such address. Choose another with --http HOST:PORT."
      case EACCES: "not permitted. Choose a port above 1023 with --http HOST:PORT."
      default: "\(String(cString: strerror(code))). Choose another with --http HOST:PORT."
      }
    return StartError(message: "cannot listen on \(address): \(advice)", exitCode: 1)
  }

  private func makeServer() throws -> any Service {
    let responder = Responder(bridge: bridge, logger: logger)
    let table = ConnectionTable(countMax: connectionsMax)
    // The server's own lines name every connection it loses; those that matter are ours.
    var quiet = logger
    quiet.logLevel = max(logger.logLevel, .warning)
    let (log, listening, shown) = (logger, onListening, host)
    return try HTTPServerBuilder.http1(
      configuration: HTTP1Channel.Configuration(
        additionalChannelHandlers: [ConnectionGuard(table: table)], idleTimeout: .seconds(HTTPLimits.idleSeconds),
        httpDecoderConfiguration: .init(
          maxHeaderFieldSize: HTTPLimits.decoderHeaderBytesMax, maxHeaderListSize: HTTPLimits.decoderHeaderBytesMax,
          maxHeaderFieldCount: HTTPLimits.decoderHeaderFieldsMax))
    ).buildServer(
      configuration: ServerConfiguration(
        address: .hostname(host, port: port), serverName: nil, backlog: HTTPLimits.backlog, reuseAddress: true,
        // Some room above the table's bound, where idle connections are being closed for new ones.
        availableConnectionsDelegate: MaximumAvailableConnections(connectionsMax + 64)),
      eventLoopGroup: MultiThreadedEventLoopGroup.singleton, logger: quiet
    ) { request, writer, channel in
      try await responder.respond(to: request, writer, channel: channel)
    } onServerRunning: { channel in
      let port = channel.localAddress?.port ?? 0
      log.info("HTTP listening", metadata: ["host": "\(shown)", "port": "\(port)"])
      listening(port)
    }
  }

  /// At most ``HTTPLimits/connectionsMax``, and never more than half of the descriptors the process may open.
  private static var connectionsAllowed: Int {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return HTTPLimits.connectionsMax }
    return min(HTTPLimits.connectionsMax, max(16, Int(clamping: limit.rlim_cur) / 2))
  }
}
