import AMQPClient
import Foundation
import TaskBridgeEngine

/// How verbs other than `serve` reach the broker that is configured.
enum BrokerAccess {
  /// Largest password file.
  static let passwordBytesMax = 64 << 10

  /// - Parameter name: shown by the broker beside the connection.
  /// - Throws: `CommandFailure` with status 64 when the URL or a file is not usable.
  static func configuration(_ configuration: TaskBridgeConfiguration, name: String) throws -> AMQPConfiguration {
    var broker: AMQPConfiguration
    do {
      broker = try AMQPConfiguration(url: configuration.amqpURL)
    } catch {
      throw CommandFailure.usage("\(error)")
    }
    if let path = configuration.amqpPasswordFile {
      let bytes = try FileReading.bytes(ofFile: path, atMost: passwordBytesMax)
      broker.password = String(String(decoding: bytes, as: UTF8.self).prefix { !$0.isNewline })
    }
    if var tls = broker.tls {
      if let path = configuration.amqpCAFile { tls.certificateAuthorityFile = path }
      if let path = configuration.amqpCertificateFile { tls.certificateFile = path }
      if let path = configuration.amqpKeyFile { tls.keyFile = path }
      broker.tls = tls
    }
    broker.heartbeatSeconds = configuration.heartbeatSeconds
    broker.connectionName = name
    return broker
  }
}
