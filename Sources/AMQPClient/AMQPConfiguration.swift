/// Where the broker is, who we are there, and how long each step may take.
public struct AMQPConfiguration: Sendable, Equatable {
  public struct Endpoint: Sendable, Equatable, CustomStringConvertible {
    public var host: String
    public var port: Int

    public init(host: String, port: Int) {
      self.host = host
      self.port = port
    }

    public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
  }

  /// TLS 1.2 or newer. With `verifyPeer` the chain and the host name are both checked.
  public struct TLS: Sendable, Equatable {
    /// Debian's bundle of public authorities.
    public static let defaultCertificateAuthorityFile = "/etc/ssl/certs/ca-certificates.crt"

    public var certificateAuthorityFile = TLS.defaultCertificateAuthorityFile
    public var certificateFile: String?
    public var keyFile: String?
    public var keyPassphrase: String?
    public var verifyPeer = true

    public init() {}
  }

  /// How long each step may take before the connection is given up.
  public struct Timeouts: Sendable, Equatable {
    /// TCP connect and TLS handshake together.
    public var connect = Duration.seconds(10)
    public var login = Duration.seconds(10)
    /// An answer of the broker to a declare, a bind and so on.
    public var request = Duration.seconds(10)
    /// Any one call into the library; afterwards the watchdog cuts the socket.
    public var call = Duration.seconds(15)
    /// How long `close()` waits for confirms.
    public var confirmsAtClose = Duration.seconds(5)
    /// How long `close()` waits for the broker's farewell.
    public var farewell = Duration.seconds(3)

    public init() {}
  }

  public enum Mechanism: Sendable, Equatable { case plain, external }

  /// Never empty.
  public var endpoints: [Endpoint]
  public var vhost: String
  public var user: String
  public var password: String
  public var mechanism = Mechanism.plain
  public var tls: TLS?
  /// 1 to 600. The smaller of this and the broker's wish counts; a peer silent for twice as long is given up.
  public var heartbeatSeconds = AMQPConfiguration.defaultHeartbeatSeconds
  /// Shown by the broker beside the connection; at most 255 bytes.
  public var connectionName = "AMQPClient"
  public var timeouts = Timeouts()

  public static let defaultHeartbeatSeconds = 10

  public init(
    endpoints: [Endpoint], vhost: String = "/", user: String = "guest", password: String = "guest", tls: TLS? = nil
  ) {
    self.endpoints = endpoints
    self.vhost = vhost
    self.user = user
    self.password = password
    self.tls = tls
  }

  /// The URL without its secrets, for logs and messages.
  public var redacted: String {
    let scheme = tls == nil ? "amqp" : "amqps"
    let hosts = endpoints.map(\.description).joined(separator: ",")
    return "\(scheme)://\(percentEncoded(user)):***@\(hosts)/\(percentEncoded(vhost))"
  }

  /// Whether every endpoint is this machine, so that a password does not cross a network.
  public var isLoopback: Bool {
    endpoints.allSatisfy { endpoint in
      let host = endpoint.host.lowercased()
      return host == "localhost" || host == "::1" || isLoopbackIPv4(host)
    }
  }
}

/// Shows `redacted` however it is printed, so that a password cannot end up in a log by accident.
extension AMQPConfiguration: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
  public var description: String { redacted }
  public var debugDescription: String { redacted }
  public var customMirror: Mirror { Mirror(self, children: ["url": redacted]) }
}

extension AMQPConfiguration.TLS: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
  public var description: String {
    "cacertfile \(certificateAuthorityFile), certfile \(certificateFile ?? "none"), verify \(verifyPeer)"
  }
  public var debugDescription: String { description }
  public var customMirror: Mirror { Mirror(self, children: ["tls": description]) }
}

private func isLoopbackIPv4(_ host: String) -> Bool {
  let parts = host.split(separator: ".", omittingEmptySubsequences: false)
  return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
}

private func percentEncoded(_ text: String) -> String {
  let hex = Array("0123456789ABCDEF")
  var result = ""
  for byte in text.utf8 {
    let scalar = Unicode.Scalar(byte)
    switch scalar {
    case "a"..."z", "A"..."Z", "0"..."9", "-", ".", "_", "~": result.unicodeScalars.append(scalar)
    default: result += "%\(hex[Int(byte >> 4)])\(hex[Int(byte & 15)])"
    }
  }
  return result
}
