/// What went wrong between this client and a broker.
///
/// `text` is meant for people: it names the thing, the limit and, where there is one, the next step. It never holds
/// a password.
public struct AMQPError: Error, Sendable, Equatable, CustomStringConvertible {
  /// Where the failure belongs, and so what a caller can do about it.
  public enum Kind: String, Sendable {
    /// The URL or a TLS file is wrong. Trying again does not help.
    case invalidConfiguration
    /// A name, a property or a header breaks a limit of the protocol. Nothing was sent.
    case invalidArgument
    /// The connection is closed or closing; nothing was sent.
    case notOpen
    /// The waiting task was cancelled.
    case cancelled
    /// No TCP connection: unknown host, refused, unreachable.
    case connectFailed
    /// No TLS session: unknown issuer, wrong host name, refused client certificate.
    case tlsFailed
    /// The broker refused the login: user, password or virtual host.
    case loginRefused
    /// The broker closed the channel (`code` 403, 404, 405, 406, …). The connection goes on with a new one.
    case channelClosed
    /// The broker closed the connection (`code` 320, 501…541).
    case connectionClosed
    /// The connection broke: peer gone, socket error, silent for two heartbeats.
    case connectionLost
    /// The broker did not answer in time; the connection is given up.
    case timeout
    /// The peer sent what AMQP does not allow; the connection is given up.
    case protocolViolation
    /// The broker ended a consumer, nearly always because its queue was deleted.
    case consumerCancelled
    /// A consumer that gets messages without acknowledgement did not keep up with them.
    case overflow
  }

  public let kind: Kind
  /// The broker's reply code (positive), or librabbitmq's status (negative), or 0.
  public let code: Int
  public let text: String

  public init(_ kind: Kind, code: Int = 0, _ text: String) {
    self.kind = kind
    self.code = code
    self.text = text
  }

  public var description: String {
    code == 0 ? text : "\(text) (\(code))"
  }

  /// Whether the same thing can succeed later without anybody changing the program or its input.
  public var isRetriable: Bool {
    switch kind {
    case .invalidConfiguration, .invalidArgument: false
    case .notOpen, .cancelled, .connectFailed, .tlsFailed, .loginRefused, .connectionClosed, .connectionLost,
      .timeout, .protocolViolation, .consumerCancelled, .overflow:
      true
    // 406: the object exists with other arguments, or the message is too large. It stays so.
    case .channelClosed: code != AMQPError.preconditionFailed
    }
  }

  /// Whether an operator has to act first, so that trying often is of no use: credentials, permissions, virtual host.
  public var needsOperator: Bool {
    switch kind {
    case .loginRefused, .tlsFailed: true
    // Not 541: RabbitMQ 3.10 closes a connection with it that publishes to a quorum queue while it is being deleted.
    case .channelClosed, .connectionClosed:
      code == AMQPError.accessRefused || code == AMQPError.notAllowed || code == AMQPError.notImplemented
    case .invalidConfiguration, .invalidArgument, .notOpen, .cancelled, .connectFailed, .connectionLost, .timeout,
      .protocolViolation, .consumerCancelled, .overflow:
      false
    }
  }

  public static let noRoute = 312
  public static let accessRefused = 403
  public static let notFound = 404
  public static let resourceLocked = 405
  public static let preconditionFailed = 406
  public static let notAllowed = 530
  public static let notImplemented = 540
}
