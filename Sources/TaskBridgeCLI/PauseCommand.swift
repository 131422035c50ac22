import ArgumentParser

/// What `pause` and `resume` are about: exactly one of these.
struct PauseTarget: ParsableArguments {
  @Argument(help: "Id of one run.", transform: ArgumentReader.run) var run: String?
  @Option(help: "A task key.", transform: ArgumentReader.task) var task: String?
  @Option(help: "A domain: the part of task keys before the first dot.") var domain: String?
  @Option(help: "A group.") var group: String?
  @Flag(help: "The whole bridge.") var all = false

  func validate() throws {
    let named = [run, task, domain, group].filter { $0 != nil }.count + (all ? 1 : 0)
    guard named == 1 else {
      throw ValidationError("name exactly one of: a run, --task, --domain, --group, --all")
    }
  }

  /// Path of the thing, without the verb.
  var path: String {
    if let run { return "/v1/runs/\(run)" }
    if let task { return "/v1/tasks/\(task)" }
    if let domain { return "/v1/domains/\(Query.encoded(domain))" }
    if let group { return "/v1/groups/\(Query.encoded(group))" }
    return "/v1"
  }

  /// The answer for people.
  func properties(_ answer: JSONSlice) -> Properties {
    if run != nil { return RunView.properties(answer) }
    var properties = Properties()
    for (name, value) in [("task", task), ("domain", domain), ("group", group)] { properties.add(name, value) }
    if all { properties.add("bridge", "all task keys") }
    properties.add("paused", answer["paused"]?.text)
    properties.add("until", answer["paused_until"]?.text)
    properties.add("ready", answer["ready"]?.text)
    return properties
  }
}

/// `taskbridge pause`: nothing new leaves the store; work that was handed out goes on.
struct PauseCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pause", abstract: "Hold back a run, a task key, a domain, a group or everything.",
    discussion: "What was handed to workers goes on. A run that has left the store cannot be paused (status 4).")

  @OptionGroup var target: PauseTarget
  @Option(
    help: ArgumentHelp("End by itself at this time; not for a run.", valueName: "time"), transform: ArgumentReader.time)
  var until: String?
  @Option(help: "Why; kept with the pause.") var reason: String?
  @OptionGroup var client: ClientOptions

  func validate() throws {
    if until != nil, target.run != nil { throw ValidationError("--until is not for a single run") }
  }

  func run() async throws {
    var body = JSONObjectText()
    body.add("until", until)
    body.add("reason", reason)
    let answer = try await client.client().call("POST", "\(target.path)/pause", body: body.bytes)
    client.printer.one(answer.body, target.properties)
  }
}

/// `taskbridge resume`: takes one pause away; what else holds its runs still does.
struct ResumeCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "resume", abstract: "Let a paused run, task key, domain, group or the bridge go on.")

  @OptionGroup var target: PauseTarget
  @Option(help: "Why; kept in the audit of a run.") var reason: String?
  @OptionGroup var client: ClientOptions

  func run() async throws {
    var body = JSONObjectText()
    body.add("reason", reason)
    let answer = try await client.client().call("POST", "\(target.path)/resume", body: body.bytes)
    client.printer.one(answer.body, target.properties)
  }
}
