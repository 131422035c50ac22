import AMQPClient
import Foundation
import TaskBridgeEngine

/// Merges flags over environment over file over defaults into one configuration.
struct ConfigurationLoader {
  /// What the flags of a command said, by setting key.
  struct Flags: Sendable {
    var configurationFile: String?
    var values: [String: String] = [:]
    var adoptBroker = false
    var acceptRollback = false
  }

  /// The outcome, with the origin of each value that is not a default.
  struct Effective: Sendable {
    var configuration = TaskBridgeConfiguration()
    var origins: [String: Origin] = [:]
    /// What is allowed and yet unwise; said at every start.
    var warnings: [String] = []
    /// The file that was read.
    var file: String?
  }

  var flags: Flags
  var environment: [String: String]

  init(flags: Flags, environment: [String: String] = ProcessInfo.processInfo.environment) {
    self.flags = flags
    self.environment = environment
  }

  /// - Throws: `CommandFailure` with status 64 that names every fault with its place.
  func load() throws -> Effective {
    var effective = Effective()
    var faults: [ConfigurationFault] = []
    try readFile(into: &effective, &faults)
    for setting in Setting.all {
      // An empty variable is one that was not set: compose files and unit files produce them.
      if let text = environment[setting.environment], !text.isEmpty {
        apply(setting, text, .environment(setting.environment), &effective, &faults)
      }
      if let text = flags.values[setting.key], let flag = setting.flag {
        if setting.key == "amqp_url" { refusePassword(in: text, flag, &faults) }
        apply(setting, text, .flag(flag), &effective, &faults)
      }
    }
    effective.configuration.adoptBroker = flags.adoptBroker
    effective.configuration.acceptRollback = flags.acceptRollback
    ConfigurationRules.check(effective, &faults)
    guard faults.isEmpty else { throw CommandFailure.configuration(faults) }
    effective.warnings = ConfigurationRules.warnings(effective)
    return effective
  }

  private func readFile(into effective: inout Effective, _ faults: inout [ConfigurationFault]) throws {
    let named = environment["TASKBRIDGE_CONFIG"].flatMap { $0.isEmpty ? nil : $0 }
    guard let path = flags.configurationFile ?? named else { return }
    let bytes = try FileReading.bytes(ofFile: path, atMost: ConfigurationFile.bytesMax)
    let name = Escaping.visible(path)
    guard let text = String(validating: bytes, as: UTF8.self) else {
      return faults.append(ConfigurationFault(place: "\(name):1:1", message: "is not UTF-8"))
    }
    var file = ConfigurationFile(name: name)
    file.read(text, into: &effective.configuration)
    faults += file.faults
    for (key, line) in file.lines { effective.origins[key] = .file(line: line) }
    effective.file = path
  }

  private func apply(
    _ setting: Setting, _ text: String, _ origin: Origin, _ effective: inout Effective,
    _ faults: inout [ConfigurationFault]
  ) {
    switch setting.value(ofText: text) {
    case .failure(let unfit):
      faults.append(ConfigurationFault(place: origin.description, message: unfit.reason))
    case .success(let value):
      if let reason = setting.store(&effective.configuration, value) {
        faults.append(ConfigurationFault(place: origin.description, message: reason))
      }
      effective.origins[setting.key] = origin
    }
  }

  /// Everybody on the machine can read the arguments of a process.
  private func refusePassword(in url: String, _ flag: String, _ faults: inout [ConfigurationFault]) {
    do {
      try AMQPArgument.check(url)
    } catch {
      faults.append(ConfigurationFault(place: flag, message: error.reason))
    }
  }
}

/// AMQP URLs given as arguments.
enum AMQPArgument {
  struct Refused: Error, Equatable { let reason: String }

  /// - Throws: `Refused` when the URL carries a password for a broker that is not on loopback.
  static func check(_ url: String) throws(Refused) {
    let configuration: AMQPConfiguration
    do {
      configuration = try AMQPConfiguration(url: url)
    } catch {
      // What is wrong with the URL itself is said where it is read.
      return
    }
    guard carriesPassword(url), !configuration.isLoopback else { return }
    throw Refused(
      reason:
        "a password for a broker that is not on loopback does not belong into an argument, where everybody can "
        + "read it: "
        + "leave it out and name a file that holds it in TASKBRIDGE_AMQP_PASSWORD_FILE (or put the whole URL "
        + "into TASKBRIDGE_AMQP_URL)"
    )
  }

  private static func carriesPassword(_ url: String) -> Bool {
    guard let start = url.range(of: "://")?.upperBound else { return false }
    let authority = url[start...].prefix { $0 != "/" && $0 != "?" }
    guard let at = authority.lastIndex(of: "@") else { return false }
    return authority[..<at].contains(":")
  }
}
