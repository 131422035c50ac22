import CRabbitMQ
import Glibc

/// Owns one connection of the library, with its socket logged in and channel 1 open.
///
/// librabbitmq is single-threaded per connection: a handle is made, used and destroyed on one thread. After a negative
/// status other than "no frame" the position in the stream is unknown and the only call left is the destructor.
struct AMQPHandle: ~Copyable {
  static let channel: amqp_channel_t = 1
  /// The smaller of this and the broker's wish counts. Large, because RabbitMQ does not split headers: one that exceeds
  /// what we negotiated would end the connection again and again.
  static let frameMaxWish = 1 << 20
  static let frameMaxLeast = 4096
  /// The library decodes nested tables by recursion without a limit; 1 MiB of nesting needs up to 24 MiB.
  static let stackBytes = 32 * frameMaxWish
  static let userTimeoutMilliseconds: UInt32 = 30_000

  let state: amqp_connection_state_t
  let descriptor: Int32
  let frameMax: Int
  let heartbeatSeconds: Int
  let server: Server
  private let guarded: SocketGuard

  struct Server: Sendable, Equatable {
    var product = ""
    var version = ""
  }

  deinit {
    guarded.detach()
    amqp_destroy_connection(state)
  }

  /// Connects, logs in and opens the channel. Blocks: DNS by itself as long as the resolver takes, the rest as long as
  /// the configuration allows.
  init(
    _ configuration: AMQPConfiguration, endpoint: AMQPConfiguration.Endpoint, guarded: SocketGuard
  ) throws(AMQPError) {
    guard let state = amqp_new_connection() else {
      throw AMQPError(.connectFailed, "no memory for a connection")
    }
    do {
      let opened = try openConnection(state, configuration, endpoint, guarded)
      descriptor = opened.descriptor
      frameMax = opened.frameMax
      heartbeatSeconds = Int(amqp_get_heartbeat(state))
      server = readServer(state)
    } catch {
      guarded.detach()
      amqp_destroy_connection(state)
      throw error
    }
    self.state = state
    self.guarded = guarded
  }
}

private func openConnection(
  _ state: amqp_connection_state_t, _ configuration: AMQPConfiguration, _ endpoint: AMQPConfiguration.Endpoint,
  _ guarded: SocketGuard
) throws(AMQPError) -> (descriptor: Int32, frameMax: Int) {
  ignoreBrokenPipes()
  guard configuration.vhost.utf8.count <= WireEncoder.shortStringMax else {
    throw AMQPError(.invalidConfiguration, "the virtual host is \(configuration.vhost.utf8.count) bytes, at most 255")
  }
  // The library takes C strings: what follows a NUL would silently be cut off.
  guard ![configuration.user, configuration.password, configuration.vhost].contains(where: { $0.utf8.contains(0) })
  else { throw AMQPError(.invalidConfiguration, "the user, password or virtual host has a NUL character") }

  let socket = try makeSocket(state, configuration.tls)
  var connectTimeout = configuration.timeouts.connect.timeval
  guarded.touch()
  let status = amqp_socket_open_noblock(socket, endpoint.host, Int32(endpoint.port), &connectTimeout)
  guarded.rest()
  guard status == AMQP_STATUS_OK.rawValue else { throw connectError(status, endpoint, configuration.tls) }
  let descriptor = amqp_get_sockfd(state)
  guarded.attach(descriptor)
  guard tb_tune_socket(descriptor, AMQPHandle.userTimeoutMilliseconds) == 0 else {
    throw AMQPError(.connectFailed, "the socket to \(endpoint) cannot be tuned: \(String(cString: strerror(errno)))")
  }

  var loginTimeout = configuration.timeouts.login.timeval
  amqp_set_handshake_timeout(state, &loginTimeout)
  var requestTimeout = configuration.timeouts.request.timeval
  amqp_set_rpc_timeout(state, &requestTimeout)
  guarded.touch()
  try logIn(state, configuration, endpoint)
  let frameMax = Int(amqp_get_frame_max(state))
  guard frameMax >= AMQPHandle.frameMaxLeast else {
    throw AMQPError(.protocolViolation, "\(endpoint) allows frames of \(frameMax) bytes, at least 4096 are needed")
  }
  guarded.touch()
  amqp_channel_open(state, AMQPHandle.channel)
  let reply = tb_reply(amqp_get_rpc_reply(state))
  guarded.rest()
  guard reply.status == 0, reply.code == 0 else {
    throw reply.error("open a channel at \(endpoint)", refused: .connectionClosed)
  }
  amqp_maybe_release_buffers(state)
  return (descriptor, frameMax)
}

private func logIn(
  _ state: amqp_connection_state_t, _ configuration: AMQPConfiguration, _ endpoint: AMQPConfiguration.Endpoint
) throws(AMQPError) {
  let arena = WireArena()
  let encoder = WireEncoder(arena: arena)
  // The library announces neither of these. Without the second a deleted queue ends its consumer silently, without the
  // last an alarm of the broker stays unknown.
  var properties = try encoder.arguments(
    [
      "capabilities": .table([
        "publisher_confirms": true, "consumer_cancel_notify": true, "basic.nack": true, "connection.blocked": true,
      ]),
      "connection_name": .string(configuration.connectionName),
    ], frameMax: AMQPHandle.frameMaxLeast)
  let heartbeat = Int32(min(max(configuration.heartbeatSeconds, 1), 600))
  let frameMax = Int32(AMQPHandle.frameMaxWish)
  let reply: tb_reply_t
  switch configuration.mechanism {
  case .plain:
    reply = tb_login_plain(
      state, configuration.vhost, 1, frameMax, heartbeat, &properties, configuration.user, configuration.password)
  case .external:
    reply = tb_login_external(state, configuration.vhost, 1, frameMax, heartbeat, &properties, configuration.user)
  }
  guard reply.status == 0, reply.code == 0 else {
    let what = "log in at \(endpoint) as \"\(configuration.user)\" to virtual host \"\(configuration.vhost)\""
    throw reply.error(what, refused: .loginRefused)
  }
}

private func readServer(_ state: amqp_connection_state_t) -> AMQPHandle.Server {
  var server = AMQPHandle.Server()
  guard let properties = amqp_get_server_properties(state) else { return server }
  do throws(WireDecoder.Malformed) {
    let table = try WireDecoder.table(properties.pointee, depth: 1)
    server.product = table["product"]?.stringValue ?? ""
    server.version = table["version"]?.stringValue ?? ""
  } catch {
    // It only tells us its name: a broker that cannot is still a broker.
    return AMQPHandle.Server()
  }
  return server
}

/// A peer that goes away while we write must be an error and not the end of the process. The library asks for that only
/// on plain sockets.
private func ignoreBrokenPipes() {
  var current = sigaction()
  sigaction(SIGPIPE, nil, &current)
  if current.__sigaction_handler.sa_handler == nil { signal(SIGPIPE, SIG_IGN) }
}

extension tb_reply_t {
  func error(_ what: String, refused: AMQPError.Kind) -> AMQPError {
    if code != 0 {
      return AMQPError(refused, code: Int(code), "cannot \(what): \(WireDecoder.string(text))")
    }
    return .library(status, "cannot \(what)")
  }
}
