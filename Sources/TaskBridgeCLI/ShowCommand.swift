import ArgumentParser

/// `taskbridge show`: one run, or one of its histories.
struct ShowCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show", abstract: "Show a run, its attempts, reports, errors or dependencies.")

  @Argument(help: "Id of the run.", transform: ArgumentReader.run) var run: String

  @Flag(help: "Only its attempts.") var attempts = false
  @Flag(help: "Only the reports of its workers, refused ones with their code.") var reports = false
  @Flag(help: "Only its errors.") var errors = false
  @Flag(help: "Only what it waits for.") var dependencies = false

  @OptionGroup var page: PageOptions
  @OptionGroup var client: ClientOptions

  func validate() throws {
    if [attempts, reports, errors, dependencies].filter({ $0 }).count > 1 {
      throw ValidationError("--attempts, --reports, --errors and --dependencies exclude each other")
    }
  }

  func run() async throws {
    let bridge = try client.client()
    if attempts { return try await list(bridge, "attempts", Self.attemptTable, Self.addAttempt) }
    if reports { return try await list(bridge, "reports", Self.reportTable, Self.addReport) }
    if errors {
      return try await list(bridge, "errors", Table("ATTEMPT", "AT", "TYPE", "MESSAGE~")) { table, item in
        let error = item["error"] ?? item
        table.add(item["attempt"]?.text, item["at"]?.text, error["type"]?.text, error["message"]?.text)
      }
    }
    if dependencies {
      return try await list(bridge, "dependencies", Table("ID", "TASK", "STATE!", "SATISFIED")) { table, item in
        table.add(item["id"]?.text, item["task"]?.text, item["state"]?.text, item["satisfied"]?.text)
      }
    }
    try await showRun(bridge)
  }

  private func showRun(_ bridge: BridgeClient) async throws {
    let printer = client.printer
    let answer = try await bridge.get("/v1/runs/\(run)")
    printer.one(answer.body, RunView.properties)
    guard printer.format == .table else { return }
    let attempts = try await bridge.get("/v1/runs/\(run)/attempts").json["items"]?.elements ?? []
    guard !attempts.isEmpty else { return }
    StandardOutput.write("\n")
    printer.items(attempts, Self.attemptTable, fill: Self.addAttempt)
  }

  private func list(
    _ bridge: BridgeClient, _ part: String, _ table: Table, _ fill: (inout Table, JSONSlice) -> Void
  ) async throws {
    try await bridge.list("/v1/runs/\(run)/\(part)", Query(), page, printer: client.printer, table: table, fill: fill)
  }

  private static var attemptTable: Table {
    Table("ATTEMPT", "STATE!", "DISPATCHES", "WORKER~", "STARTED", "FINISHED", "ERROR~")
  }

  private static func addAttempt(_ table: inout Table, _ attempt: JSONSlice) {
    table.add(
      attempt["number"]?.text, attempt["state"]?.text, attempt["dispatches"]?.text, attempt["worker"]?.text,
      attempt["started_at"]?.text, attempt["finished_at"]?.text, RunView.errorText(attempt["error"]))
  }

  private static var reportTable: Table {
    Table("RECEIVED", "ATTEMPT", "STATE!", "VERDICT", "CODE", "WORKER~", "VIA", "DETAIL~")
  }

  private static func addReport(_ table: inout Table, _ report: JSONSlice) {
    table.add(
      report["received_at"]?.text, report["attempt"]?.text, report["state"]?.text, report["verdict"]?.text,
      report["code"]?.text, report["worker"]?.text, report["via"]?.text, report["detail"]?.text)
  }
}
