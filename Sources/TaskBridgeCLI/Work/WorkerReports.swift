import Foundation
import TaskBridgeCore

/// The bodies of the reports a worker sends (`contract.md` §2.3).
struct WorkerReports: Sendable {
  /// Most characters of an output that go with a report; the bridge keeps no more.
  static let outputCharactersMax = 10_000
  /// Longest error message; the whole output goes beside it.
  static let messageCharactersMax = 500

  var worker: String
  var node: String
  var claim: String
  var nextReportSeconds: Double

  func running() -> [UInt8] { base("running").bytes }

  func heartbeat() -> [UInt8] { base("heartbeat").bytes }

  /// Gives a claimed run back; the attempt does not count.
  func snoozed() -> [UInt8] {
    var body = base("snoozed")
    body.add("retry_after_seconds", 0)
    return body.bytes
  }

  /// What an end of the command means.
  func end(_ outcome: ExecutedCommand.Outcome) -> (state: String, body: [UInt8]) {
    let state: String
    switch outcome.end {
    case .exited(0): state = "completed"
    case .exited, .killed, .unknown: state = outcome.wasStopped ? "cancelled" : "failed"
    }
    var body = base(state)
    switch state {
    case "completed":
      body.add("result", raw: Self.result(outcome.output))
    case "failed":
      body.add("error", object: Self.error(outcome))
      fallthrough
    default:
      body.add("stdout", Self.nonEmpty(outcome.output.tail(characters: Self.outputCharactersMax)))
    }
    body.add("stderr", Self.nonEmpty(outcome.error.tail(characters: Self.outputCharactersMax)))
    var usage = JSONObjectText()
    usage.add("wallclock_seconds", outcome.wallclockSeconds)
    usage.add("cpu_seconds", outcome.usage.cpuSeconds)
    usage.add("max_rss_bytes", outcome.usage.maxRSSBytes)
    body.add("usage", object: usage)
    return (state, body.bytes)
  }

  /// The command could not even be started.
  func failed(type: String, message: String, retryable: Bool) -> [UInt8] {
    var error = JSONObjectText()
    error.add("type", type)
    error.add("message", message)
    error.add("retryable", retryable)
    var body = base("failed")
    body.add("error", object: error)
    return body.bytes
  }

  private func base(_ state: String) -> JSONObjectText {
    var body = JSONObjectText()
    body.add("state", state)
    body.add("worker", worker)
    body.add("node", node)
    body.add("claim", claim)
    if state == "running" || state == "heartbeat" { body.add("next_report_seconds", nextReportSeconds) }
    return body
  }

  /// Stdout as it is when it is JSON, else as a JSON string without its last line end; null when there is none.
  static func result(_ output: OutputBuffer) -> [UInt8] {
    guard output.byteCount > 0 else { return Array("null".utf8) }
    if !output.isCut, isJSON(output.head) { return Array(JSONSlice(output.head).bytes) }
    var text = String(decoding: output.head, as: UTF8.self)
    if !output.isCut, text.last?.isNewline == true { text.removeLast() }
    var literal = JSONText.quoted(text)
    // Escaping can make it longer than the kept bytes; the limit is one of the report.
    while literal.utf8.count > ExecutedCommand.resultBytesMax {
      text = String(text.prefix(text.count * 3 / 4))
      literal = JSONText.quoted(text)
    }
    return Array(literal.utf8)
  }

  private static func isJSON(_ bytes: [UInt8]) -> Bool {
    do {
      _ = try JSONValue.parse(bytes)
      return true
    } catch {
      return false
    }
  }

  private static func error(_ outcome: ExecutedCommand.Outcome) -> JSONObjectText {
    var error = JSONObjectText()
    let lastLine = outcome.error.tail(characters: outputCharactersMax).split(whereSeparator: \.isNewline)
      .last { !$0.allSatisfy(\.isWhitespace) }.map { String($0.prefix(messageCharactersMax)) }
    switch outcome.end {
    case .exited(let status):
      error.add("type", "exit_\(status)")
      let byShell = status > 128 ? SignalNames.name(status - 128).map { " (ended by \($0))" } : nil
      error.add("message", (lastLine ?? "exit status \(status)") + (byShell ?? ""))
      // What the shell says when the command is not there or not to be run: the next try would be no better.
      error.add("retryable", status != 127 && status != 126)
    case .killed(let number):
      let name = SignalNames.name(number) ?? "signal \(number)"
      error.add("type", "signal_\(name)")
      error.add("message", "killed by \(name) (\(number))" + (lastLine.map { ": \($0)" } ?? ""))
      error.add("retryable", true)
    case .unknown:
      error.add("type", "unknown_end")
      error.add("message", "the end of the command was collected by somebody else")
      error.add("retryable", true)
    }
    return error
  }

  private static func nonEmpty(_ text: String) -> String? { text.isEmpty ? nil : text }
}

/// Names of the signals that end processes.
enum SignalNames {
  private static let names: [Int32: String] = [
    SIGHUP: "SIGHUP", SIGINT: "SIGINT", SIGQUIT: "SIGQUIT", SIGILL: "SIGILL", SIGTRAP: "SIGTRAP", SIGABRT: "SIGABRT",
    SIGBUS: "SIGBUS", SIGFPE: "SIGFPE", SIGKILL: "SIGKILL", SIGUSR1: "SIGUSR1", SIGSEGV: "SIGSEGV", SIGUSR2: "SIGUSR2",
    SIGPIPE: "SIGPIPE", SIGALRM: "SIGALRM", SIGTERM: "SIGTERM", SIGXCPU: "SIGXCPU", SIGXFSZ: "SIGXFSZ",
  ]

  static func name(_ number: Int32) -> String? { names[number] }
}
