import Foundation
import Logging
import TaskBridgeCore

/// Level names of the configuration.
enum LogLevels {
  static let names = Logger.Level.allCases.map(\.rawValue)
}

/// Writes one line per record to stderr: `2026-11-20T23:39:00.123Z info message key=value`. Control characters are
/// escaped.
struct LineLogHandler: LogHandler {
  var logLevel: Logger.Level
  var metadata: Logger.Metadata = [:]
  private let label: String

  init(label: String, level: Logger.Level) {
    self.label = label
    logLevel = level
  }

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    var merged = metadata
    if let own = event.metadata { merged.merge(own) { $1 } }
    var line = "\(Self.now()) \(event.level) \(Escaping.visible(event.message.description))"
    for (key, value) in merged.sorted(by: { $0.key < $1.key }) { line += " \(key)=\(Self.quoted(value.description))" }
    if let error = event.error { line += " error=\(Self.quoted(String(describing: error)))" }
    StandardError.say(line)
  }

  /// Sets the handler up for the whole process; to be called once, before the first logger is made.
  static func bootstrap(level: String) {
    let level = Logger.Level(rawValue: level) ?? .info
    LoggingSystem.bootstrap { LineLogHandler(label: $0, level: level) }
  }

  private static func now() -> Timestamp {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Timestamp(milliseconds: Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000)
  }

  private static func quoted(_ text: String) -> String {
    let escaped = Escaping.visible(text)
    guard escaped.isEmpty || escaped.contains(where: { $0 == " " || $0 == "\"" || $0 == "=" }) else { return escaped }
    return "\"" + escaped.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
  }
}
