import ArgumentParser

/// `taskbridge schedules`: work that comes again by the clock.
struct SchedulesCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "schedules", abstract: "Work that comes again by the clock.",
    subcommands: [
      SchedulesListCommand.self, SchedulesShowCommand.self, SchedulesAddCommand.self, SchedulesSetCommand.self,
      SchedulesNextCommand.self, SchedulesPauseCommand.self, SchedulesResumeCommand.self, SchedulesRunNowCommand.self,
      SchedulesRemoveCommand.self, SchedulesTestCommand.self,
    ], defaultSubcommand: SchedulesListCommand.self)
}

/// How a schedule is named and shown.
enum ScheduleArgument {
  static func path(_ name: String) -> String { "/v1/schedules/\(Query.encoded(name))" }

  /// `cron`, or the interval with its mode.
  static func timing(_ schedule: JSONSlice) -> String? {
    if let cron = schedule["cron"]?.text { return cron }
    return schedule["every_seconds"]?.text.map { seconds in
      schedule["mode"]?.text == "fixed_delay" ? "\(seconds) s after the end" : "every \(seconds) s"
    }
  }

  static func standing(_ schedule: JSONSlice) -> String {
    if schedule["ended"]?.bool == true { return "ended" }
    return schedule["paused"]?.bool == true ? "paused" : "active"
  }

  static func lastRun(_ schedule: JSONSlice) -> String? {
    guard let run = schedule["last_run"], let id = run["id"]?.text else { return nil }
    return "\(id) \(run["state"]?.text ?? "")"
  }

  /// Every field that is set; the ones people look for first at the top.
  static func properties(_ schedule: JSONSlice) -> Properties {
    var properties = Properties()
    properties.add("schedule", schedule["name"]?.text)
    properties.add("task", schedule["task"]?.text)
    properties.add("when", timing(schedule))
    properties.add("standing", standing(schedule))
    properties.add("next_at", schedule["next_at"]?.text)
    properties.add("last_at", schedule["last_at"]?.text)
    properties.add("last_run", lastRun(schedule))
    let shown: Set<String> = [
      "name", "task", "cron", "every_seconds", "mode", "paused", "ended", "next_at", "last_at", "last_run", "recent",
    ]
    for (key, value) in schedule.members where !shown.contains(key) && !value.isNull { properties.add(key, value.text) }
    return properties
  }
}

struct SchedulesListCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "list", abstract: "List schedules by name.")

  @OptionGroup var page: PageOptions
  @OptionGroup var client: ClientOptions

  func run() async throws {
    let table = Table(
      "NAME", "TASK", "WHEN", "ZONE", "STANDING", "RUNS LEFT", "LAST", "NEXT", "LAST RUN", "STATE!")
    try await client.client().list("/v1/schedules", Query(), page, printer: client.printer, table: table) {
      table, item in
      table.add(
        item["name"]?.text, item["task"]?.text, ScheduleArgument.timing(item), item["timezone"]?.text,
        ScheduleArgument.standing(item), item["runs_left"]?.text, item["last_at"]?.text, item["next_at"]?.text,
        item["last_run"]?["id"]?.text, item["last_run"]?["state"]?.text)
    }
  }
}

struct SchedulesShowCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show", abstract: "Show a schedule and what became of its last times.")

  @Argument(help: "Name of the schedule.") var name: String
  @OptionGroup var client: ClientOptions

  func run() async throws {
    let answer = try await client.client().get(ScheduleArgument.path(name))
    client.printer.one(answer.body, ScheduleArgument.properties)
    let recent = answer.json["recent"]?.elements ?? []
    guard client.printer.format == .table, !recent.isEmpty else { return }
    StandardOutput.write("\n")
    client.printer.items(recent, Table("NOMINAL", "THROUGH", "COUNT", "RUN", "REASON", "NOTE~")) { table, time in
      let isRange = time["count"]?.int ?? 1 > 1
      table.add(
        time["nominal_at"]?.text, isRange ? time["last_nominal_at"]?.text : nil, time["count"]?.text,
        time["run_id"]?.text, time["reason"]?.text, time["note"]?.text)
    }
  }
}

struct SchedulesNextCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "next", abstract: "Show the coming times of a schedule, and what daylight saving does to them.")

  @Argument(help: "Name of the schedule.") var name: String
  @Option(
    help: ArgumentHelp("First time after this one, which is not shown; default: now.", valueName: "time"),
    transform: ArgumentReader.time)
  var after: String?
  @Option(help: "How many times, 1...1000.") var count = 10
  @OptionGroup var client: ClientOptions

  static let table = Table("AT", "LOCAL", "NOTE~")

  static func add(_ table: inout Table, _ item: JSONSlice) {
    table.add(item["at"]?.text, item["local"]?.text, item["note"]?.text)
  }

  func validate() throws {
    guard ScheduleForecast.countRange.contains(count) else {
      throw ValidationError("--count \(count) is out of range: 1...1000")
    }
  }

  func run() async throws {
    var query = Query()
    query.add("count", String(count))
    query.add("after", after)
    let answer = try await client.client().get("\(ScheduleArgument.path(name))/next", query)
    client.printer.page(answer.body, Self.table, fill: Self.add)
    if answer.json["items"]?.elements.count ?? 0 < count { StandardError.say("no further time follows") }
  }
}

struct SchedulesPauseCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pause", abstract: "No further run until a resume; runs that were made go on.")

  @Argument(help: "Name of the schedule.") var name: String
  @Option(help: "Why; kept with the pause.") var reason: String?
  @OptionGroup var client: ClientOptions

  func run() async throws {
    var body = JSONObjectText()
    body.add("reason", reason)
    let answer = try await client.client().call("POST", "\(ScheduleArgument.path(name))/pause", body: body.bytes)
    client.printer.one(answer.body, ScheduleArgument.properties)
  }
}

struct SchedulesResumeCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "resume", abstract: "Go on with the next time; missed ones run as catch_up says.")

  @Argument(help: "Name of the schedule.") var name: String
  @OptionGroup var client: ClientOptions

  func run() async throws {
    let answer = try await client.client().call("POST", "\(ScheduleArgument.path(name))/resume", body: Array("{}".utf8))
    client.printer.one(answer.body, ScheduleArgument.properties)
  }
}

struct SchedulesRunNowCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run-now", abstract: "Make one run at once; the plan stays as it is.")

  @Argument(help: "Name of the schedule.") var name: String
  @OptionGroup var client: ClientOptions

  func run() async throws {
    let answer = try await client.client().call(
      "POST", "\(ScheduleArgument.path(name))/run-now", body: Array("{}".utf8))
    client.printer.one(answer.body) { answer in
      var properties = Properties()
      properties.add("run", answer["run"]?["id"]?.text)
      properties.add("outcome", answer["outcome"]?.text)
      properties.add("state", answer["run"]?["state"]?.text, isState: true)
      return properties
    }
  }
}

struct SchedulesRemoveCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "remove", abstract: "Remove a schedule; runs that were made stay.")

  @Argument(help: "Name of the schedule.") var name: String
  @OptionGroup var client: ClientOptions

  func run() async throws {
    _ = try await client.client().call("DELETE", ScheduleArgument.path(name))
    StandardError.say("schedule \(Escaping.visible(name)) is removed")
  }
}
