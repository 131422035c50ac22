import Foundation
import TaskBridgeCore
import TaskBridgeEngine
import Testing

@testable import TaskBridgeCLI

/// What the merged configuration is, and which mistakes are named where.
@Suite struct ConfigurationTests {
  @Test func nothingGivenMeansTheDefaults() throws {
    let effective = try load()

    #expect(effective.configuration == TaskBridgeConfiguration())
    #expect(effective.origins.isEmpty)
    #expect(effective.warnings.isEmpty)
  }

  @Test func flagsWinOverEnvironmentOverFile() throws {
    let yaml = "http: 127.0.0.1:1\ndata_directory: from-file\nlog_level: debug\n"
    let environment = ["TASKBRIDGE_HTTP": "127.0.0.1:2", "TASKBRIDGE_DATA": "from-environment"]

    let effective = try load(yaml, environment, ["http": "127.0.0.1:3"])

    #expect(effective.configuration.httpPort == 3)
    #expect(effective.configuration.dataDirectory == "from-environment")
    #expect(effective.configuration.logLevel == "debug")
    #expect(effective.origins["http"] == .flag("--http"))
    #expect(effective.origins["data_directory"] == .environment("TASKBRIDGE_DATA"))
    #expect(effective.origins["log_level"] == .file(line: 3))
  }

  @Test func anEmptyVariableIsNotSet() throws {
    #expect(try load(nil, ["TASKBRIDGE_HTTP": "", "TASKBRIDGE_CONFIG": ""]).origins.isEmpty)
  }

  @Test func taskSettingsAreReadByKey() throws {
    let yaml = """
      tasks:
        media.thumbnail:
          queue_bound: 7
          wire: envelope
          queue_type: classic
          retry: {strategy: linear, initial_seconds: 2.5, increment_seconds: 1}
          resource_limits: {memory_mb: 4096}
          disabled: true
      """

    let task = try #require(TaskKey("media.thumbnail"))
    let settings = try #require(load(yaml).configuration.tasks[task])

    #expect(settings.queueBound == 7)
    #expect(settings.wire == .envelope)
    #expect(settings.queueType == .classic)
    #expect(settings.retry == RetryPolicy(strategy: .linear, initialSeconds: 2.5, incrementSeconds: 1))
    #expect(settings.resourceLimits == ["memory_mb": 4096])
    #expect(settings.disabled)
  }

  private static let mistakes: [(String, String, String)] = [
    ("quue_bound: 5\n", "1:1", "did you mean 'queue_bound'?"),
    ("prefix: a\nprefix: b\n", "2:1", "given twice"),
    ("tasks:\n  a.b:\n    wire: raw\n    wire: raw\n", "4:5", "given twice"),
    ("queue_bound: \"5\"\n", "1:14", "expected a whole number"),
    ("queue_bound: 012\n", "1:14", "expected a whole number"),
    ("queue_bound: 0\n", "1:14", "out of range"),
    ("heartbeat_seconds: 61\n", "1:20", "out of range"),
    ("strict_tasks: yes\n", "1:15", "expected true or false"),
    ("prefix: no\n", "1:9", "quotes"),
    ("a:\n\tb: 1\n", "2:1", "tabs"),
    ("[1, 2]\n", "1:1", "expected a mapping"),
    ("amqp_url: amqp://\n", "1:11", "no host"),
    ("amqp_url: amqp://h:99999/\n", "1:11", "1 to 65535"),
    ("http: 0.0.0.0:80\n", "1:7", "not on loopback"),
    ("adopt_broker: true\n", "1:1", "--adopt-broker"),
    ("tasks:\n  Bad Key: {}\n", "2:3", "no task key"),
    ("tasks:\n  a.b: {wir: raw}\n", "2:9", "did you mean 'wire'?"),
    ("retry: {strategy: constan}\n", "1:19", "constant, linear, exponential, full_jitter"),
    ("retry: {delays_seconds: []}\n", "1:25", "list of 1...100"),
  ]

  @Test(arguments: mistakes)
  func aMistakeInTheFileIsNamedWithItsPlace(yaml: String, place: String, words: String) throws {
    let failure = try #require(throws: CommandFailure.self) { try load(yaml) }

    #expect(failure.status == .usage)
    #expect(failure.message.contains(":\(place): "), "\(failure.message)")
    #expect(failure.message.contains(words), "\(failure.message)")
  }

  @Test func everyMistakeIsNamedNotOnlyTheFirst() throws {
    let failure = try #require(throws: CommandFailure.self) { try load("max_lost: -1\nlease_seconds: 0\n") }

    #expect(failure.message.split(separator: "\n").count == 2)
  }

  @Test func aRemotePasswordInAnArgumentIsRefusedWithoutBeingRepeated() throws {
    let failure = try #require(throws: CommandFailure.self) {
      try load(nil, [:], ["amqp_url": "amqps://u:sesame@broker.example/"])
    }

    #expect(failure.status == .usage)
    #expect(failure.message.contains("TASKBRIDGE_AMQP_PASSWORD_FILE"))
    #expect(!failure.message.contains("sesame"))
  }

  @Test(arguments: [
    "amqp://u:p@127.0.0.1/", "amqp://u:p@[::1]/", "amqps://broker.example/", "amqps://u@broker.example/",
  ])
  func argumentsWithoutASecretForOthersAreTaken(url: String) throws {
    #expect(try load(nil, [:], ["amqp_url": url]).configuration.amqpURL == url)
  }

  @Test func aRemotePasswordMayStandInTheEnvironment() throws {
    let environment = ["TASKBRIDGE_AMQP_URL": "amqps://u:sesame@broker.example/"]

    let effective = try load(nil, environment)

    let shown = ConfigurationView.items(effective).map(\.value).joined(separator: " ")
    #expect(!shown.contains("sesame"))
    #expect(shown.contains("amqps://u:***@broker.example"))
  }

  @Test func aSecretFileThatOthersCanReadIsWarnedOf() throws {
    let path = try temporaryFile("secret\n", mode: 0o644)
    defer { unlink(path) }

    let effective = try load(nil, ["TASKBRIDGE_AMQP_PASSWORD_FILE": path])

    #expect(effective.warnings.count == 1)
    #expect(effective.warnings.first?.contains("chmod 600") == true)
  }

  @Test func anEncryptedKeyIsRefused() throws {
    let key = try temporaryFile("-----BEGIN ENCRYPTED PRIVATE KEY-----\n", mode: 0o600)
    defer { unlink(key) }
    let environment = [
      "TASKBRIDGE_AMQP_URL": "amqps://b.example/", "TASKBRIDGE_AMQP_KEY_FILE": key,
      "TASKBRIDGE_AMQP_CERTIFICATE_FILE": key,
    ]

    let failure = try #require(throws: CommandFailure.self) { try load(nil, environment) }

    #expect(failure.message.contains("encrypted"))
  }

  @Test func theSampleFileHoldsEveryKeyWithItsDefault() throws {
    let sample = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
      "../../config/taskbridge.yaml"
    ).standardizedFileURL.path
    var flags = ConfigurationLoader.Flags()
    flags.configurationFile = sample

    let effective = try ConfigurationLoader(flags: flags, environment: [:]).load()

    #expect(effective.configuration == TaskBridgeConfiguration())
    let text = try String(contentsOfFile: sample, encoding: .utf8)
    for setting in Setting.all { #expect(text.contains("\(setting.key): "), "\(setting.key) is missing") }
  }

  // MARK: Helpers

  private func load(
    _ yaml: String? = nil, _ environment: [String: String] = [:], _ values: [String: String] = [:]
  ) throws -> ConfigurationLoader.Effective {
    var flags = ConfigurationLoader.Flags()
    flags.values = values
    let path = try yaml.map { try temporaryFile($0, mode: 0o600) }
    defer { path.map { _ = unlink($0) } }
    flags.configurationFile = path
    return try ConfigurationLoader(flags: flags, environment: environment).load()
  }

  private func temporaryFile(_ text: String, mode: mode_t) throws -> String {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("taskbridge-\(UUID().uuidString)").path
    try text.write(toFile: path, atomically: false, encoding: .utf8)
    chmod(path, mode)
    return path
  }
}
