import ArgumentParser

/// `taskbridge runs`: the runs that match every filter.
struct RunsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "runs", abstract: "List runs, newest first.")

  @OptionGroup var filter: RunFilterOptions
  @Option(help: "id, -id, run_at, -run_at, name, -name, -finished_at, priority or release.") var sort: String?

  @OptionGroup var page: PageOptions
  @OptionGroup var client: ClientOptions

  func run() async throws {
    let table = Table("ID", "TASK", "STATE!", "ATTEMPT", "PRIORITY", "CREATED", "NAME~", "LAST ERROR~")
    try await client.client().list("/v1/runs", query, page, printer: client.printer, table: table) { table, run in
      table.add(
        run["id"]?.text, run["task"]?.text, run["state"]?.text,
        run["attempt"]?.text,
        run["effective_priority"]?.text ?? run["priority"]?.text, run["created_at"]?.text, run["name"]?.text,
        RunView.errorText(run["last_error"]))
    }
  }

  var query: Query {
    var query = filter.query
    query.add("sort", sort)
    return query
  }
}
