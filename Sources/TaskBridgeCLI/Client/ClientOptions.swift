import ArgumentParser
import Foundation

/// Options of every verb that prints data.
struct OutputOptions: ParsableArguments {
  @Option(help: "How to print: table, json (the server's bytes) or jsonl (one item per line).")
  var output = OutputFormat.table

  var printer: Printer { Printer(output) }
}

/// Options of every verb that talks HTTP to a running bridge.
struct ClientOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Address of the bridge.",
      discussion: "Else TASKBRIDGE_URL, else http://127.0.0.1:8085. A bearer token is read from TASKBRIDGE_TOKEN.",
      valueName: "url"))
  var url: String?

  @OptionGroup var output: OutputOptions

  var printer: Printer { output.printer }

  /// - Throws: `CommandFailure` with status 64 when the address is no `http(s)://` URL.
  func client() throws -> BridgeClient {
    let environment = ProcessInfo.processInfo.environment
    let address = url ?? environment["TASKBRIDGE_URL"] ?? BridgeClient.defaultURL
    return try BridgeClient(address, token: environment["TASKBRIDGE_TOKEN"])
  }
}

/// Which part of a list to print.
struct PageOptions: ParsableArguments {
  @Option(help: "Most items to print, 1...1000.")
  var limit = 50

  @Option(help: "Go on after this cursor (`next_cursor` of the page before).")
  var cursor: String?

  @Flag(help: "Print every page (table and jsonl).")
  var all = false

  func validate() throws {
    guard (1...1_000).contains(limit) else {
      throw ValidationError("--limit \(limit) is out of range: 1...1000; use --all for everything")
    }
  }
}
