import ArgumentParser

/// `taskbridge tasks`: task keys, how they stand, and their settings.
struct TasksCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tasks", abstract: "Task keys: how they stand, and their settings.",
    subcommands: [List.self, Show.self, Set.self], defaultSubcommand: List.self)

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List task keys with their counts.")

    @OptionGroup var page: PageOptions
    @OptionGroup var client: ClientOptions

    func run() async throws {
      let table = Table(
        "TASK", "PAUSED", "BLOCKED", "SCHEDULED", "READY", "QUEUED", "LAUNCHED", "RUNNING", "DEAD", "CONSUMERS",
        "LIMIT",
        "RATE", "OLDEST READY")
      try await client.client().list("/v1/tasks", Query(), page, printer: client.printer, table: table) { table, task in
        let settings = task["settings"]
        table.add(
          task["key"]?.text, SettingsView.pause(task), task["blocked"]?.text, task["scheduled"]?.text,
          task["ready"]?.text, task["queued"]?.text, task["launched"]?.text, task["running"]?.text, task["dead"]?.text,
          task["consumers"]?.text, settings?["concurrency_limit"]?.text, settings?["rate_per_second"]?.text,
          task["oldest_ready_seconds"]?.double.map { "\(Int($0)) s" })
      }
    }
  }

  struct Show: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Show one task key with the settings in force.")

    @Argument(help: "Task key.", transform: ArgumentReader.task) var task: String
    @OptionGroup var client: ClientOptions

    func run() async throws {
      let answer = try await client.client().get("/v1/tasks/\(task)")
      client.printer.one(answer.body, SettingsView.properties)
    }
  }

  struct Set: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Change settings of a task key; they hold for what has not left the store.",
      discussion:
        "NAME=VALUE, such as concurrency_limit=5 rate_per_second=10 order=lifo; NAME=null goes back to the configuration."
    )

    @Argument(help: "Task key.", transform: ArgumentReader.task) var task: String
    @Argument(help: ArgumentHelp("Setting and value.", valueName: "name=value"), transform: ArgumentReader.tag)
    var settings: [ArgumentReader.Tag]
    @OptionGroup var client: ClientOptions

    func run() async throws {
      let body = SettingsView.body(settings)
      let answer = try await client.client().call("PATCH", "/v1/tasks/\(task)", body: body)
      client.printer.one(answer.body, SettingsView.properties)
    }
  }
}
