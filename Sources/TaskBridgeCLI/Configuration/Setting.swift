import AMQPClient
import TaskBridgeEngine

/// One setting of the bridge: its names, its type with the allowed range, and how to store and to show it.
struct Setting: Sendable {
  /// What a value may be.
  enum Kind: Sendable, Equatable {
    case text
    case integer(ClosedRange<Int>)
    case boolean
    case choice([String])
  }

  /// A value that was read and fits the kind.
  enum Value: Sendable, Equatable {
    case text(String)
    case integer(Int)
    case boolean(Bool)
  }

  /// Key in the file; the environment variable is derived from it unless named.
  let key: String
  let environment: String
  let flag: String?
  let kind: Kind
  /// Stores a value; the text says why it is not allowed.
  let store: @Sendable (inout TaskBridgeConfiguration, Value) -> String?
  /// The effective value, without secrets.
  let show: @Sendable (TaskBridgeConfiguration) -> String

  /// Reads a value given as bare text, by the environment or a flag.
  func value(ofText text: String) -> Result<Value, Setting.Unfit> {
    switch kind {
    case .text, .choice: check(.text(text))
    case .integer: Int(text).map { check(.integer($0)) } ?? .failure(Unfit(expected))
    case .boolean:
      switch text {
      case "true": .success(.boolean(true))
      case "false": .success(.boolean(false))
      default: .failure(Unfit(expected))
      }
    }
  }

  /// Whether a value of the right type is in range.
  func check(_ value: Value) -> Result<Value, Setting.Unfit> {
    switch (kind, value) {
    case (.text, .text(let text)):
      // Control characters would reach host names, paths and broker objects; the broker strips them silently.
      text.isEmpty || text.unicodeScalars.contains { $0.value < 0x20 || $0.value == 0x7F }
        ? .failure(Unfit("must be a text without control characters that is not empty")) : .success(value)
    case (.integer(let range), .integer(let number)):
      range.contains(number) ? .success(value) : .failure(Unfit("\(number) is out of range: \(expected)"))
    case (.boolean, .boolean): .success(value)
    case (.choice(let choices), .text(let text)):
      choices.contains(text)
        ? .success(value) : .failure(Unfit("'\(Escaping.visible(text))' is not known: \(expected)"))
    case (.text, _), (.integer, _), (.boolean, _), (.choice, _): .failure(Unfit(expected))
    }
  }

  /// What is allowed, for messages.
  var expected: String {
    switch kind {
    case .text: "expected a text"
    case .integer(let range): "expected a whole number \(range.lowerBound)...\(range.upperBound)"
    case .boolean: "expected true or false"
    case .choice(let choices): "expected one of \(choices.joined(separator: ", "))"
    }
  }

  struct Unfit: Error, Equatable {
    let reason: String
    init(_ reason: String) { self.reason = reason }
  }
}

extension Setting {
  private static func text(
    _ key: String, environment: String? = nil, flag: String? = nil,
    _ store: @escaping @Sendable (inout TaskBridgeConfiguration, String) -> String?,
    show: @escaping @Sendable (TaskBridgeConfiguration) -> String
  ) -> Setting {
    Setting(
      key: key, environment: environment ?? "TASKBRIDGE_\(key.uppercased())", flag: flag, kind: .text,
      store: { configuration, value in
        guard case .text(let text) = value else { return "expected a text" }
        return store(&configuration, text)
      }, show: show)
  }

  private static func path(_ key: String, _ path: any WritableKeyPath<TaskBridgeConfiguration, String?> & Sendable)
    -> Setting
  {
    text(key) { configuration, text in
      configuration[keyPath: path] = text
      return nil
    } show: {
      $0[keyPath: path] ?? ""
    }
  }

  private static func integer(
    _ key: String, _ range: ClosedRange<Int>, _ path: any WritableKeyPath<TaskBridgeConfiguration, Int> & Sendable
  ) -> Setting {
    Setting(
      key: key, environment: "TASKBRIDGE_\(key.uppercased())", flag: nil, kind: .integer(range),
      store: { configuration, value in
        guard case .integer(let number) = value else { return "expected a whole number" }
        configuration[keyPath: path] = number
        return nil
      }, show: { String($0[keyPath: path]) })
  }

  private static func choice(
    _ key: String, _ choices: [String], flag: String? = nil,
    _ store: @escaping @Sendable (inout TaskBridgeConfiguration, String) -> Void,
    show: @escaping @Sendable (TaskBridgeConfiguration) -> String
  ) -> Setting {
    Setting(
      key: key, environment: "TASKBRIDGE_\(key.uppercased())", flag: flag, kind: .choice(choices),
      store: { configuration, value in
        guard case .text(let text) = value else { return "expected a text" }
        store(&configuration, text)
        return nil
      }, show: show)
  }

  /// Every setting that is one value, in the order of `config show` and of the sample file.
  static let all: [Setting] = [
    text("amqp_url", flag: "--amqp") { configuration, text in
      do throws(AMQPError) {
        _ = try AMQPConfiguration(url: text)
        configuration.amqpURL = text
        return nil
      } catch {
        return error.text
      }
    } show: {
      RedactedURL.text($0.amqpURL)
    },
    path("amqp_password_file", \.amqpPasswordFile),
    path("amqp_ca_file", \.amqpCAFile),
    path("amqp_certificate_file", \.amqpCertificateFile),
    path("amqp_key_file", \.amqpKeyFile),
    text("data_directory", environment: "TASKBRIDGE_DATA", flag: "--data") { configuration, text in
      configuration.dataDirectory = text
      return nil
    } show: {
      $0.dataDirectory
    },
    text("http", flag: "--http") { configuration, text in
      guard let address = BridgeAddress(text) else {
        return "'\(Escaping.visible(text))' is not HOST:PORT with a port of 0...65535, as in 127.0.0.1:8085"
      }
      guard address.isLoopback else {
        return "\(address) is not on loopback: access tokens come in a later release, so listen on 127.0.0.1 or [::1]"
      }
      configuration.httpHost = address.host
      configuration.httpPort = address.port
      return nil
    } show: {
      BridgeAddress(host: $0.httpHost, port: $0.httpPort).description
    },
    text("prefix") { configuration, text in
      let isAllowed =
        text.utf8.count <= 60 && text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "._-".contains($0)) }
      guard isAllowed, text.first != "." else {
        return "'\(Escaping.visible(text))' is no prefix: 1 to 60 letters, digits, '.', '_' or '-', not '.' first"
      }
      guard text != "amq", !text.hasPrefix("amq.") else { return "names that begin with amq. belong to the broker" }
      configuration.prefix = text
      return nil
    } show: {
      $0.prefix
    },
    integer("heartbeat_seconds", 1...60, \.heartbeatSeconds),
    integer("claim_latency_max_seconds", 1...3_600, \.claimLatencyMaxSeconds),
    integer("confirm_timeout_seconds", 1...3_600, \.confirmTimeoutSeconds),
    integer("load_sample_seconds", 1...3_600, \.loadSampleSeconds),
    integer("load_sample_days", 1...3_660, \.loadSampleDays),
    integer("retention_days", 0...36_500, \.retentionDays),
    integer("retention_runs", 0...1_000_000_000, \.retentionRuns),
    integer("backlog_limit", 1...100_000_000, \.backlogLimit),
    integer("payload_limit_bytes", 1...16_777_216, \.payloadLimitBytes),
    integer("queue_bound", 1...100_000, \.queueBound),
    choice("queue_type", QueueType.allCases.map(\.rawValue)) { configuration, text in
      configuration.queueType = QueueType(rawValue: text) ?? configuration.queueType
    } show: {
      $0.queueType.rawValue
    },
    integer("lease_seconds", 1...86_400, \.leaseSeconds),
    integer("max_attempts", 1...1_000, \.maxAttempts),
    integer("max_lost", 0...1_000, \.maxLost),
    Setting(
      key: "strict_tasks", environment: "TASKBRIDGE_STRICT_TASKS", flag: nil, kind: .boolean,
      store: { configuration, value in
        guard case .boolean(let isStrict) = value else { return "expected true or false" }
        configuration.strictTasks = isStrict
        return nil
      }, show: { String($0.strictTasks) }),
    choice("log_level", LogLevels.names, flag: "--log-level") { configuration, text in
      configuration.logLevel = text
    } show: {
      $0.logLevel
    },
  ]
}

/// AMQP URLs without their secrets.
enum RedactedURL {
  static func text(_ url: String) -> String {
    do {
      return try AMQPConfiguration(url: url).redacted
    } catch {
      return "(not valid)"
    }
  }
}
