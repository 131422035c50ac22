import Foundation

/// What stdout is, as far as printing cares.
struct Terminal: Sendable {
  /// Columns of the terminal; nil off a terminal, where nothing is shortened.
  var columns: Int?
  var colors: Bool

  static let plain = Terminal(columns: nil, colors: false)

  /// The terminal behind stdout. Colours need a terminal, an empty or absent `NO_COLOR` and a `TERM` that is not
  /// `dumb`.
  static func standardOutput(environment: [String: String] = ProcessInfo.processInfo.environment) -> Terminal {
    guard isatty(STDOUT_FILENO) == 1 else { return .plain }
    var size = winsize()
    let known = ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0
    let noColor = environment["NO_COLOR"].map { !$0.isEmpty } ?? false
    return Terminal(columns: known ? Int(size.ws_col) : 80, colors: !noColor && environment["TERM"] != "dumb")
  }

  enum Color: String, Sendable {
    case red = "31"
    case green = "32"
    case yellow = "33"
    case blue = "34"
    case bold = "1"
  }

  func paint(_ text: String, _ color: Color?) -> String {
    guard colors, let color else { return text }
    return "\u{1B}[\(color.rawValue)m\(text)\u{1B}[0m"
  }

  /// The colour of a run or attempt state.
  static func color(ofState state: String) -> Color? {
    switch state {
    case "completed", "done": .green
    case "failed", "dead_lettered", "dependency_failed", "error", "fatal", "lost", "resource_error": .red
    case "running", "waiting", "launched": .blue
    case "cancelled", "cancelling", "expired", "superseded", "paused", "stopping", "triaging": .yellow
    default: nil
    }
  }
}
