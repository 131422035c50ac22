import CRabbitMQ
import Glibc

/// Makes the socket of a connection. It belongs to the connection and is freed with it.
func makeSocket(
  _ state: amqp_connection_state_t, _ tls: AMQPConfiguration.TLS?
) throws(AMQPError) -> OpaquePointer {
  guard let tls else {
    guard let socket = amqp_tcp_socket_new(state) else { throw AMQPError(.connectFailed, "no memory for a socket") }
    return socket
  }
  guard let socket = amqp_ssl_socket_new(state) else {
    throw AMQPError(.tlsFailed, "the TLS library could not be set up")
  }
  guard tb_tls_at_least_1_2(socket) == AMQP_STATUS_OK.rawValue else {
    throw AMQPError(.tlsFailed, "the TLS library has no TLS 1.2")
  }
  amqp_ssl_socket_set_verify_peer(socket, tls.verifyPeer ? 1 : 0)
  amqp_ssl_socket_set_verify_hostname(socket, tls.verifyPeer ? 1 : 0)
  if tls.verifyPeer {
    _ = try readable(tls.certificateAuthorityFile, "cacertfile")
    guard amqp_ssl_socket_set_cacert(socket, tls.certificateAuthorityFile) == AMQP_STATUS_OK.rawValue else {
      throw AMQPError(.invalidConfiguration, "cacertfile \(tls.certificateAuthorityFile) holds no PEM certificate")
    }
  }
  if let certificateFile = tls.certificateFile, let keyFile = tls.keyFile {
    try setClientCertificate(socket, certificateFile, keyFile, tls.keyPassphrase)
  }
  return socket
}

private func setClientCertificate(
  _ socket: OpaquePointer, _ certificateFile: String, _ keyFile: String, _ passphrase: String?
) throws(AMQPError) {
  _ = try readable(certificateFile, "certfile")
  let key = try readable(keyFile, "keyfile")
  // OpenSSL would ask for the passphrase on the terminal and wait there.
  if passphrase == nil, key.contains("ENCRYPTED") {
    throw AMQPError(
      .invalidConfiguration, "keyfile \(keyFile) is encrypted: give its passphrase, or a key without one")
  }
  let status = (passphrase ?? "").withCString { text in
    amqp_ssl_socket_set_key_passwd(socket, text)
    defer { amqp_ssl_socket_set_key_passwd(socket, nil) }
    return amqp_ssl_socket_set_key(socket, certificateFile, keyFile)
  }
  guard status == AMQP_STATUS_OK.rawValue else {
    throw AMQPError(
      .invalidConfiguration,
      "certfile \(certificateFile) and keyfile \(keyFile) are not a PEM certificate and its key, "
        + "or the passphrase is wrong")
  }
}

/// - Returns: the first 64 KiB, as text.
private func readable(_ path: String, _ option: String) throws(AMQPError) -> String {
  guard let file = fopen(path, "re") else {
    throw AMQPError(.invalidConfiguration, "\(option) \(path) cannot be read: \(String(cString: strerror(errno)))")
  }
  defer { fclose(file) }
  var bytes = [UInt8](repeating: 0, count: 65_536)
  let count = fread(&bytes, 1, bytes.count, file)
  guard count > 0 else { throw AMQPError(.invalidConfiguration, "\(option) \(path) is empty or not a file") }
  return String(decoding: bytes[..<count], as: UTF8.self)
}

/// Explains why no connection came about.
func connectError(
  _ status: Int32, _ endpoint: AMQPConfiguration.Endpoint, _ tls: AMQPConfiguration.TLS?
) -> AMQPError {
  switch status {
  case AMQP_STATUS_HOSTNAME_RESOLUTION_FAILED.rawValue:
    return AMQPError(.connectFailed, code: Int(status), "the host name \"\(endpoint.host)\" cannot be resolved")
  case AMQP_STATUS_TIMEOUT.rawValue:
    return AMQPError(.timeout, code: Int(status), "no connection to \(endpoint) in time")
  case AMQP_STATUS_SSL_PEER_VERIFY_FAILED.rawValue:
    let authority = tls?.certificateAuthorityFile ?? ""
    return AMQPError(
      .tlsFailed, code: Int(status), "the certificate of \(endpoint) is not signed by an authority in \(authority)")
  case AMQP_STATUS_SSL_HOSTNAME_VERIFY_FAILED.rawValue:
    return AMQPError(
      .tlsFailed, code: Int(status),
      "the certificate of \(endpoint) is for another host name (IP addresses are not compared: use a DNS name)")
  case AMQP_STATUS_SSL_CONNECTION_FAILED.rawValue, AMQP_STATUS_SSL_ERROR.rawValue:
    return AMQPError(
      .tlsFailed, code: Int(status), "no TLS session with \(endpoint): is it a TLS port, and TLS 1.2 or newer?")
  case AMQP_STATUS_SOCKET_ERROR.rawValue:
    // The library does not keep the system's reason.
    return AMQPError(
      .connectFailed, code: Int(status), "no connection to \(endpoint): refused or unreachable; is the broker running?")
  default:
    return AMQPError(.connectFailed, code: Int(status), "no connection to \(endpoint): \(libraryText(status))")
  }
}

func libraryText(_ status: Int32) -> String {
  guard let text = amqp_error_string2(status) else { return "status \(status)" }
  return String(cString: text)
}

extension AMQPError {
  /// A failure inside the library.
  static func library(_ status: Int32, _ what: String) -> AMQPError {
    let kind: Kind
    switch status {
    case AMQP_STATUS_BAD_AMQP_DATA.rawValue, AMQP_STATUS_UNKNOWN_CLASS.rawValue, AMQP_STATUS_UNKNOWN_METHOD.rawValue,
      AMQP_STATUS_WRONG_METHOD.rawValue, AMQP_STATUS_UNEXPECTED_STATE.rawValue,
      AMQP_STATUS_INCOMPATIBLE_AMQP_VERSION.rawValue:
      kind = .protocolViolation
    case AMQP_STATUS_TIMEOUT.rawValue: kind = .timeout
    case AMQP_STATUS_INVALID_PARAMETER.rawValue, AMQP_STATUS_TABLE_TOO_BIG.rawValue: kind = .invalidArgument
    case AMQP_STATUS_BROKER_UNSUPPORTED_SASL_METHOD.rawValue: kind = .loginRefused
    default: kind = .connectionLost
    }
    return AMQPError(kind, code: Int(status), "\(what): \(libraryText(status))")
  }
}
