import ArgumentParser

/// `taskbridge retry`: replays runs that have ended.
struct RetryCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "retry", abstract: "Run an ended run, or all that match, again: same ids, new attempts.")

  @OptionGroup var target: RunTarget
  @Option(help: "Why; kept in the audit.") var reason: String?
  @Flag(help: "Also when it has completed.") var force = false
  @Flag(help: "Also the runs that failed because of it.") var withDependents = false
  @Option(help: "New priority, 0 (most urgent) ... 255.") var priority: Int?
  @Option(help: ArgumentHelp("Start no sooner than at this time.", valueName: "time"), transform: ArgumentReader.time)
  var at: String?
  @Option(help: "New number of attempts, 1...1000.") var maxAttempts: Int?
  @OptionGroup var client: ClientOptions

  func validate() throws {
    if let priority, !(0...255).contains(priority) {
      throw ValidationError("--priority \(priority) is out of range: 0 (most urgent) ... 255")
    }
    if let maxAttempts, !(1...1_000).contains(maxAttempts) {
      throw ValidationError("--max-attempts \(maxAttempts) is out of range: 1...1000")
    }
  }

  func run() async throws {
    var body = JSONObjectText()
    body.add("reason", reason)
    if force { body.add("force", true) }
    if withDependents { body.add("with_dependents", true) }
    body.add("priority", priority)
    body.add("run_at", at)
    body.add("max_attempts", maxAttempts)
    try await target.call("retry", body, client)
  }
}
