import ArgumentParser

/// `taskbridge cancel`: ends runs that nobody wants any more.
struct CancelCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "cancel", abstract: "Cancel a run, or all that match; a running one is told to stop first.")

  @OptionGroup var target: RunTarget
  @Option(help: "Why; kept in the audit.") var reason: String?
  @OptionGroup var client: ClientOptions

  func run() async throws {
    var body = JSONObjectText()
    body.add("reason", reason)
    try await target.call("cancel", body, client)
  }
}
