import ArgumentParser

/// `taskbridge cancel`: ends a run that nobody wants any more.
struct CancelCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "cancel", abstract: "Cancel a run; a running one is told to stop first.")

  @Argument(help: "Id of the run.", transform: ArgumentReader.run) var run: String
  @Option(help: "Why; kept in the audit.") var reason: String?
  @OptionGroup var client: ClientOptions

  func run() async throws {
    var body = JSONObjectText()
    body.add("reason", reason)
    let answer = try await client.client().call("POST", "/v1/runs/\(run)/cancel", body: body.bytes)
    client.printer.one(answer.body) { RunView.properties($0["run"] ?? $0) }
  }
}
