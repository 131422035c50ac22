import AMQPClient
import Logging
import TaskBridgeCore
import TaskBridgeEngine

/// What the broker says.
enum BrokerChecks {
  /// The oldest RabbitMQ its makers still support.
  static let supportedVersion = [3, 13]
  /// Counts of a queue lag for a moment; a difference counts when it is still there after this.
  static let secondLookAfter = Duration.milliseconds(200)

  /// - Parameter deadByTask: unresolved dead letters in the store by task key; nil when no bridge could be asked.
  static func run(_ configuration: TaskBridgeConfiguration, deadByTask: [String: Int]?) async -> [DoctorCheck] {
    let broker: AMQPConfiguration
    do {
      broker = try BrokerAccess.configuration(configuration, name: "taskbridge doctor")
    } catch {
      return [.failed("broker", "\(error)", nil)]
    }
    let connection: AMQPConnection
    do throws(AMQPError) {
      connection = try await AMQPConnection.open(broker, logger: Logger(label: "doctor"))
    } catch {
      return [.failed("broker", "\(broker.redacted): \(error.text)", nextStep(error))]
    }
    var checks = [describe(connection, broker)]
    checks += await objects(connection, prefix: configuration.prefix)
    let tasks = (deadByTask ?? [:]).keys.compactMap { TaskKey($0) }.sorted()
    for queue in configuration.wantedQueues(tasks) {
      if let check = await arguments(connection, queue.name, wanted: queue.arguments) { checks.append(check) }
    }
    for (task, dead) in (deadByTask ?? [:]).sorted(by: { $0.key < $1.key }) {
      if let check = await mirror(connection, prefix: configuration.prefix, task: task, dead: dead) {
        checks.append(check)
      }
    }
    await connection.close()
    return checks
  }

  private static func describe(_ connection: AMQPConnection, _ broker: AMQPConfiguration) -> DoctorCheck {
    let text = "\(broker.redacted), \(connection.serverProduct) \(connection.serverVersion)"
    let numbers = connection.serverVersion.split(separator: ".").compactMap { Int($0) }
    if connection.isBlocked {
      return .failed("broker", "\(text): blocked by an alarm", "free memory or disk of the broker")
    }
    if connection.serverProduct == "RabbitMQ", numbers.lexicographicallyPrecedes(supportedVersion) {
      return .warning("broker", text, "this version is no longer supported by its makers: upgrade to 3.13 or 4.x")
    }
    return .ok("broker", text)
  }

  private static func objects(_ connection: AMQPConnection, prefix: String) async -> [DoctorCheck] {
    var missing: [String] = []
    for name in ["submit", "events", "returned"] {
      do throws(AMQPError) {
        _ = try await connection.declareQueue("\(prefix).\(name)", passive: true)
      } catch {
        if error.code != AMQPError.notFound {
          return [.failed("broker_objects", "queue \(prefix).\(name): \(error.text)", nextStep(error))]
        }
        missing.append("\(prefix).\(name)")
      }
    }
    if missing.isEmpty { return [.ok("broker_objects", "the bridge's queues exist")] }
    return [
      .warning(
        "broker_objects", "missing: \(missing.joined(separator: ", "))", "the bridge declares them when it connects")
    ]
  }

  /// A queue that somebody has declared otherwise than the bridge would; it is used as it is.
  private static func arguments(
    _ connection: AMQPConnection, _ queue: String, wanted: [String: AMQPValue]
  ) async -> DoctorCheck? {
    do throws(AMQPError) {
      // Looked at first: doctor makes no queue that is not there.
      _ = try await connection.declareQueue(queue, passive: true)
      _ = try await connection.declareQueue(queue, arguments: wanted)
      return nil
    } catch {
      guard error.code == AMQPError.preconditionFailed else { return nil }
      return .warning(
        "broker_arguments", "\(queue): \(error.text)",
        "it is used as it is; for the bridge's own arguments delete it while it is empty, it is declared again")
    }
  }

  /// The dead-letter queue of a task key against the table.
  private static func mirror(
    _ connection: AMQPConnection, prefix: String, task: String, dead: Int
  ) async -> DoctorCheck? {
    let queue = "\(prefix).dead.\(task)"
    var count = await depth(connection, queue)
    if count != .success(dead) {
      _ = await StopLatch().pause(secondLookAfter)
      count = await depth(connection, queue)
    }
    switch count {
    case .success(dead):
      return dead == 0 ? nil : .ok("dead_letters", "\(task): \(dead) in the table, \(dead) in \(queue)")
    case .success(let messages):
      return .failed(
        "dead_letters", "\(task): \(dead) in the table, \(messages) in \(queue)",
        "the table is right, messages taken from the queue by hand were not replayed by that: taskbridge dead-letters sync"
      )
    case .failure(let error): return .failed("dead_letters", "\(queue): \(error.text)", nextStep(error))
    }
  }

  private static func depth(_ connection: AMQPConnection, _ queue: String) async -> Result<Int, AMQPError> {
    do throws(AMQPError) {
      return .success(try await connection.declareQueue(queue, passive: true).messageCount)
    } catch {
      return error.code == AMQPError.notFound ? .success(0) : .failure(error)
    }
  }

  private static func nextStep(_ error: AMQPError) -> String? {
    switch error.kind {
    case .connectFailed, .timeout: "start the broker, or name another with --amqp or TASKBRIDGE_AMQP_URL"
    case .loginRefused: "check user, password (TASKBRIDGE_AMQP_PASSWORD_FILE) and virtual host"
    case .tlsFailed: "check the CA file and that the URL has the name in the broker's certificate"
    case .channelClosed where error.code == AMQPError.accessRefused:
      "give the user the permissions listed in docs/operating.md"
    case .channelClosed, .invalidConfiguration, .invalidArgument, .notOpen, .cancelled, .connectionClosed,
      .connectionLost,
      .protocolViolation, .consumerCancelled, .overflow:
      nil
    }
  }
}
