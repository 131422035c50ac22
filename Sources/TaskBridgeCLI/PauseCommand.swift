import ArgumentParser

/// What `pause` and `resume` are about: one run, a task key, a domain, a group, the bridge, or all runs that match.
struct PauseTarget: ParsableArguments {
  @Argument(help: "Id of one run.", transform: ArgumentReader.run) var run: String?
  @OptionGroup(title: "--task, --domain or --group alone, or runs by filters, all of which must match")
  var filter: RunFilterOptions
  @Flag(help: "The whole bridge.") var all = false
  @Flag(help: "--task, --domain, --group and --all mean the runs that are there, each for itself.") var runs = false
  @OptionGroup var bulk: BulkOptions

  func validate() throws {
    let named = [run != nil, !filter.isEmpty, all].filter { $0 }.count
    guard named == 1 else {
      throw ValidationError("name exactly one of: a run, --task, --domain, --group, --all; or filters of runs")
    }
    if runs, run != nil { throw ValidationError("--runs is for filters, not for one run") }
    if !runs, kinds > 1, isKindAlone {
      throw ValidationError("name one of --task, --domain, --group; with --runs they are filters of runs")
    }
    if !isBulk { try bulk.refuseForOne() }
  }

  /// How many task keys, domains and groups are named.
  private var kinds: Int { filter.task.count + (filter.domain == nil ? 0 : 1) + (filter.group == nil ? 0 : 1) }

  /// Whether nothing else is.
  private var isKindAlone: Bool {
    var rest = filter
    (rest.task, rest.domain, rest.group) = ([], nil, nil)
    return rest.isEmpty
  }

  /// The one thing that is named as such; nil for runs by filters.
  private var subject: (kind: String, name: String)? {
    guard !runs, kinds == 1, isKindAlone else { return nil }
    if let task = filter.task.first { return ("tasks", task) }
    if let domain = filter.domain { return ("domains", domain) }
    return filter.group.map { ("groups", $0) }
  }

  /// Whether it is about runs by filters.
  var isBulk: Bool { run == nil && subject == nil && (!all || runs) }

  /// Path of the thing, without the verb.
  private var path: String {
    if let run { return "/v1/runs/\(run)" }
    if let subject { return "/v1/\(subject.kind)/\(Query.encoded(subject.name))" }
    return isBulk ? "/v1/runs" : "/v1"
  }

  /// Calls the verb with `fields` and prints the answer.
  func call(_ verb: String, _ fields: JSONObjectText, _ client: ClientOptions) async throws {
    var body = fields
    if isBulk {
      body.add("filter", object: filter.object)
      if all { body.add("all", true) }
      bulk.add(to: &body)
    }
    let answer = try await client.client().call("POST", "\(path)/\(verb)", body: body.bytes)
    client.printer.one(answer.body, properties)
  }

  /// The answer for people.
  private func properties(_ answer: JSONSlice) -> Properties {
    if isBulk { return BulkView.properties(answer) }
    if run != nil { return RunView.properties(answer) }
    var properties = Properties()
    if let subject { properties.add(String(subject.kind.dropLast()), subject.name) }
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
    commandName: "pause",
    abstract: "Hold back a run, a task key, a domain, a group, everything, or all runs that match.",
    discussion: "What was handed to workers goes on. A run that has left the store cannot be paused (status 4).")

  @OptionGroup var target: PauseTarget
  @Option(
    help: ArgumentHelp("End by itself at this time; not for a run.", valueName: "time"), transform: ArgumentReader.time)
  var until: String?
  @Option(help: "Why; kept with the pause.") var reason: String?
  @OptionGroup var client: ClientOptions

  func validate() throws {
    if until != nil, target.run != nil || target.isBulk { throw ValidationError("--until is not for single runs") }
  }

  func run() async throws {
    var body = JSONObjectText()
    body.add("until", until)
    body.add("reason", reason)
    try await target.call("pause", body, client)
  }
}

/// `taskbridge resume`: takes one pause away; what else holds its runs still does.
struct ResumeCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "resume",
    abstract: "Let a paused run, task key, domain, group, the bridge, or all runs that match go on.")

  @OptionGroup var target: PauseTarget
  @Option(help: "Why; kept in the audit of a run.") var reason: String?
  @OptionGroup var client: ClientOptions

  func run() async throws {
    var body = JSONObjectText()
    body.add("reason", reason)
    try await target.call("resume", body, client)
  }
}
