import ArgumentParser
import TaskBridgeCore

/// `taskbridge schedules add`: a new schedule.
struct SchedulesAddCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "add", abstract: "Add a schedule: runs of a task, again and again.",
    discussion: """
      Give --cron or --every. The payload is JSON: given as an argument, read from a file (@FILE) or from stdin (-); \
      without one it is null. Try an expression with `taskbridge schedules test` first.
      """)

  @Argument(help: "Name of the schedule: letters, digits, '.', '_' and '-'.") var name: String
  @Argument(help: "Task key.", transform: ArgumentReader.task) var task: String
  @Argument(help: "Payload: JSON, @FILE or -.") var payload: String?

  @Option(help: "Expression in quotation marks, such as \"30 2 * * 1-5\", or a word such as @daily.") var cron: String?
  @Option(
    help: ArgumentHelp("Interval, such as 90s or 1h.", valueName: "duration"), transform: DurationArgument.parse)
  var every: Double?
  @Option(help: "What an interval counts from.") var mode: ScheduleRule.IntervalMode?
  @Option(help: ArgumentHelp("IANA time zone, such as Europe/Berlin; default: UTC.", valueName: "zone"))
  var timezone: String?
  @Option(help: ArgumentHelp("No run before this time.", valueName: "time"), transform: ArgumentReader.time)
  var startsAt: String?
  @Option(help: ArgumentHelp("No run after this time.", valueName: "time"), transform: ArgumentReader.time)
  var endsAt: String?
  @Option(help: "So many runs in all.") var maxRuns: Int?
  @Option(help: "What to do with local times that the clocks jump over.") var dstGap: DSTGap?
  @Option(help: "When to run at local times that come twice.") var dstOverlap: DSTOverlap?
  @Option(help: "Which of the times run that were missed while the bridge was down or the schedule paused.")
  var catchUp: ScheduleRule.CatchUp?
  @Option(help: "How many missed times run at most, 1...1000.") var catchUpLimit: Int?
  @Option(help: "What to do when a run has not ended at the next time.") var overlap: ScheduleRule.Overlap?

  @Option(help: "0 (most urgent) ... 255.") var priority: Int?
  @Option(help: "Group, for limits and weights.") var group: String?
  @Option(help: ArgumentHelp("A tag of each run; repeatable.", valueName: "key=value"), transform: ArgumentReader.tag)
  var tag: [ArgumentReader.Tag] = []
  @Option(
    help: ArgumentHelp(
      "Any other field of a submission, such as max_attempts=2 or retry='{\"strategy\":\"constant\"}'; repeatable.",
      valueName: "name=value"),
    transform: ArgumentReader.tag)
  var field: [ArgumentReader.Tag] = []

  @OptionGroup var client: ClientOptions

  func validate() throws {
    guard (cron == nil) != (every == nil) else {
      throw ValidationError("give one of --cron EXPRESSION and --every DURATION")
    }
  }

  func run() async throws {
    let answer = try await client.client().call("POST", "/v1/schedules", body: try body().bytes)
    client.printer.one(answer.body, ScheduleArgument.properties)
  }

  /// The body of the request.
  func body() throws -> JSONObjectText {
    var body = JSONObjectText()
    body.add("name", name)
    body.add("task", task)
    try PayloadSource(argument: payload, contentType: nil).add(to: &body)
    body.add("cron", cron)
    body.add("every_seconds", every)
    body.add("mode", mode?.rawValue)
    body.add("timezone", timezone)
    body.add("starts_at", startsAt)
    body.add("ends_at", endsAt)
    body.add("max_runs", maxRuns)
    body.add("dst_gap", dstGap?.rawValue)
    body.add("dst_overlap", dstOverlap?.rawValue)
    body.add("catch_up", catchUp?.rawValue)
    body.add("catch_up_limit", catchUpLimit)
    body.add("overlap", overlap?.rawValue)
    body.add("priority", priority)
    body.add("group", group)
    if !tag.isEmpty {
      var tags = JSONObjectText()
      for item in tag { tags.add(item.key, item.value) }
      body.add("tags", object: tags)
    }
    for item in field { SettingsView.add(item, to: &body) }
    return body
  }
}

/// `taskbridge schedules set`: changes a schedule, from its next time on.
struct SchedulesSetCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "set", abstract: "Change fields of a schedule, from its next time on.",
    discussion: """
      NAME=VALUE, such as cron="0 3 * * *" max_runs=10 payload='{"n":1}'; a value that is JSON is taken as it is, any \
      other one as a string. NAME=null goes back to the default.
      """)

  @Argument(help: "Name of the schedule.") var name: String
  @Argument(help: ArgumentHelp("Field and value.", valueName: "name=value"), transform: ArgumentReader.tag)
  var fields: [ArgumentReader.Tag]
  @OptionGroup var client: ClientOptions

  func run() async throws {
    let answer = try await client.client().call(
      "PATCH", ScheduleArgument.path(name), body: SettingsView.body(fields))
    client.printer.one(answer.body, ScheduleArgument.properties)
  }
}
