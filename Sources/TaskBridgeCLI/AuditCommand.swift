import ArgumentParser

/// `taskbridge audit`: every state change of a run, or of a workflow.
struct AuditCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "audit", abstract: "Show the state changes of a run or a workflow, with reason and actor.")

  @Argument(help: "Id of the run.", transform: ArgumentReader.run) var run: String?
  @Option(help: "Every run of this workflow instead.") var workflowID: String?
  @OptionGroup var page: PageOptions
  @OptionGroup var client: ClientOptions

  func validate() throws {
    guard (run == nil) != (workflowID == nil) else {
      throw ValidationError("give the id of a run, or --workflow-id")
    }
  }

  func run() async throws {
    var query = Query()
    query.add("workflow_id", workflowID)
    let path = run.map { "/v1/runs/\($0)/audit" } ?? "/v1/audit"
    let table = Table("ENTERED", "RUN", "ATTEMPT", "FROM!", "TO!", "REASON~", "ACTOR~")
    try await client.client().list(path, query, page, printer: client.printer, table: table) { table, row in
      table.add(
        row["entered_at"]?.text, row["run_id"]?.text, row["attempt"]?.text, row["previous_state"]?.text,
        row["new_state"]?.text, row["reason"]?.text, row["actor"]?.text)
    }
  }
}
