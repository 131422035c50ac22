import ArgumentParser

/// `taskbridge explain`: why a run is not running, and what will unblock it.
struct ExplainCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "explain", abstract: "Why a run is not running yet, and what will unblock it.")

  @Argument(help: "Id of the run.", transform: ArgumentReader.run) var run: String
  @OptionGroup var client: ClientOptions

  func run() async throws {
    let printer = client.printer
    let answer = try await client.client().get("/v1/runs/\(run)/explain")
    printer.one(answer.body, Self.properties)
    guard printer.format == .table else { return }
    StandardOutput.write("\n")
    printer.items(answer.json["reasons"]?.elements ?? [], Table("REASON", "UNBLOCKED BY~", "AT", "DETAIL~")) {
      table, reason in
      table.add(reason["code"]?.text, reason["unblocked_by"]?.text, reason["at"]?.text, reason["detail"]?.text)
    }
    let runs = (answer.json["reasons"]?.elements ?? []).flatMap { $0["runs"]?.elements ?? [] }
    guard !runs.isEmpty else { return }
    StandardOutput.write("\n")
    printer.items(runs, Table("WAITS FOR", "TASK", "STATE!")) { table, run in
      table.add(run["id"]?.text, run["task"]?.text, run["state"]?.text)
    }
  }

  private static func properties(_ explanation: JSONSlice) -> Properties {
    var properties = Properties()
    properties.add("run", explanation["run_id"]?.text)
    properties.add("task", explanation["task"]?.text)
    properties.add("state", explanation["state"]?.text, isState: true)
    properties.add("held by", (explanation["held_by"]?.elements ?? []).compactMap(\.text).joined(separator: ", "))
    return properties
  }
}
