import ArgumentParser

/// `taskbridge groups`: groups of runs, how they stand, and their settings.
struct GroupsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "groups", abstract: "Groups of runs: how they stand, and their settings.",
    subcommands: [List.self, Set.self], defaultSubcommand: List.self)

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List groups with their counts.")

    @OptionGroup var page: PageOptions
    @OptionGroup var client: ClientOptions

    func run() async throws {
      let table = Table(
        "GROUP~", "PAUSED", "READY", "QUEUED", "LAUNCHED", "RUNNING", "LIMIT", "WEIGHT", "MINIMUM", "RATE")
      try await client.client().list("/v1/groups", Query(), page, printer: client.printer, table: table) {
        table, group in
        let settings = group["settings"]
        table.add(
          group["name"]?.text, SettingsView.pause(group), group["ready"]?.text, group["queued"]?.text,
          group["launched"]?.text, group["running"]?.text, settings?["concurrency_limit"]?.text,
          settings?["weight"]?.text, settings?["minimum_slots"]?.text, settings?["rate_per_second"]?.text)
      }
    }
  }

  struct Set: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Change settings of a group.",
      discussion: "NAME=VALUE, such as concurrency_limit=5 or rate_per_second=10; NAME=null removes a setting.")

    @Argument(help: "Name of the group.") var group: String
    @Argument(help: ArgumentHelp("Setting and value.", valueName: "name=value"), transform: ArgumentReader.tag)
    var settings: [ArgumentReader.Tag]
    @OptionGroup var client: ClientOptions

    func run() async throws {
      let body = SettingsView.body(settings)
      let answer = try await client.client().call("PATCH", "/v1/groups/\(Query.encoded(group))", body: body)
      client.printer.one(answer.body, SettingsView.properties)
    }
  }
}
