import ArgumentParser

/// `taskbridge runs`: the runs that match every filter.
struct RunsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "runs", abstract: "List runs, newest first.")

  @Option(help: "State; repeatable, any of them.") var state: [String] = []
  @Option(help: "Task key.") var task: String?
  @Option(help: "First part of the task key.") var domain: String?
  @Option(help: ArgumentHelp("Tag; repeatable, all of them.", valueName: "key=value"), transform: ArgumentReader.tag)
  var tag: [ArgumentReader.Tag] = []
  @Option(help: "Group.") var group: String?
  @Option(help: "Workflow.") var workflowID: String?
  @Option(help: "Parent run.", transform: ArgumentReader.run) var parent: String?
  @Option(help: "Dedup key.") var dedupKey: String?
  @Option(help: "Name.") var name: String?
  @Option(help: "Part of the name.") var nameLike: String?
  @Option(help: "Type of the last error.") var errorType: String?
  @Option(help: ArgumentHelp("What holds a ready run back, such as queue_bound.", valueName: "reason")) var heldBy:
    String?
  @Option(help: ArgumentHelp("Created after.", valueName: "time"), transform: ArgumentReader.time) var createdAfter:
    String?
  @Option(help: ArgumentHelp("Created before.", valueName: "time"), transform: ArgumentReader.time) var createdBefore:
    String?
  @Option(help: ArgumentHelp("Finished after.", valueName: "time"), transform: ArgumentReader.time) var finishedAfter:
    String?
  @Option(help: ArgumentHelp("Finished before.", valueName: "time"), transform: ArgumentReader.time)
  var finishedBefore: String?
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
    var query = Query()
    query.add("state", state)
    query.add("task", task)
    query.add("domain", domain)
    for item in tag { query.add("tag.\(item.key)", item.value) }
    query.add("group", group)
    query.add("workflow_id", workflowID)
    query.add("parent_id", parent)
    query.add("dedup_key", dedupKey)
    query.add("name", name)
    query.add("name_like", nameLike)
    query.add("error_type", errorType)
    query.add("held_by", heldBy)
    query.add("created_after", createdAfter)
    query.add("created_before", createdBefore)
    query.add("finished_after", finishedAfter)
    query.add("finished_before", finishedBefore)
    query.add("sort", sort)
    return query
  }
}
