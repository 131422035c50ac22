import ArgumentParser
import TaskBridgeCore

/// `taskbridge prune`: deletes runs that have ended.
struct PruneCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "prune", abstract: "Delete runs that have ended, with all that belongs to them.",
    discussion: """
      Active runs are never deleted, unresolved dead letters only when their state is named. One call deletes at most \
      100,000 runs and says how many remain.
      """)

  @Option(help: "Keep so many, the most recently finished ones.") var keepLast: Int?
  @Option(help: ArgumentHelp("What finished at least so many days ago.", valueName: "days")) var olderThanDays: Double?
  @Option(help: "Only runs that ended so; repeatable.") var state: [String] = []
  @Option(help: "Only runs of this task key.", transform: ArgumentReader.task) var task: String?
  @Flag(help: "Only say how many would be deleted.") var dryRun = false
  @OptionGroup var client: ClientOptions

  func validate() throws {
    guard (keepLast == nil) != (olderThanDays == nil) else {
      throw ValidationError("give one of --keep-last and --older-than-days")
    }
    if let keepLast, !PruneRequest.keepLastRange.contains(keepLast) {
      throw ValidationError("--keep-last \(keepLast) is out of range: 0...1000000000")
    }
    if let olderThanDays, !PruneRequest.daysRange.contains(olderThanDays) {
      throw ValidationError("--older-than-days \(olderThanDays) is out of range: 0...36500")
    }
    let ends = RunState.allCases.filter(\.isTerminal).map(\.rawValue)
    if let other = state.first(where: { !ends.contains($0) }) {
      throw ValidationError("--state \(other) is no end; allowed: \(ends.joined(separator: ", "))")
    }
  }

  func run() async throws {
    var body = JSONObjectText()
    body.add("keep_last", keepLast)
    body.add("older_than_days", olderThanDays)
    body.add("states", strings: state)
    body.add("task", task)
    if dryRun { body.add("dry_run", true) }
    let answer = try await client.client().call("POST", "/v1/prune", body: body.bytes)
    client.printer.one(answer.body) { answer in
      var properties = Properties()
      properties.add(dryRun ? "would delete" : "deleted", answer["deleted"]?.text)
      properties.add("remaining", answer["remaining"]?.text)
      properties.add("mirror_pending", answer["mirror_pending"]?.text)
      return properties
    }
  }
}
