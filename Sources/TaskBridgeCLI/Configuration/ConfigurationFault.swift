/// One thing that is wrong with the configuration, and where. Never holds a secret.
struct ConfigurationFault: Error, Equatable, CustomStringConvertible {
  /// `taskbridge.yaml:3:5`, `TASKBRIDGE_HTTP` or `--http`.
  var place: String
  var message: String

  var description: String { "\(place): \(message)" }
}

/// Everything that is wrong with a configuration; ends the command with status 64.
extension CommandFailure {
  static func configuration(_ faults: [ConfigurationFault]) -> CommandFailure {
    CommandFailure(.usage, "invalid_configuration", faults.map(\.description).joined(separator: "\n"))
  }
}

/// Where an effective value came from.
enum Origin: Equatable, Sendable, CustomStringConvertible {
  case standard
  case file(line: Int)
  case environment(String)
  case flag(String)

  var description: String {
    switch self {
    case .standard: "default"
    case .file(let line): "file, line \(line)"
    case .environment(let name): name
    case .flag(let name): name
    }
  }
}
