import ArgumentParser

/// `taskbridge quarantine`: messages that could not be understood or were not allowed.
struct QuarantineCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "quarantine", abstract: "Messages that could not be understood or were not allowed.",
    subcommands: [List.self], defaultSubcommand: List.self)

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List them, newest first.")

    @Option(help: "Only this kind, such as submission, report or rejected.") var kind: String?
    @OptionGroup var page: PageOptions
    @OptionGroup var client: ClientOptions

    func run() async throws {
      var query = Query()
      query.add("kind", kind)
      let table = Table("ID", "RECEIVED", "KIND", "CODE", "BYTES", "DETAIL~")
      try await client.client().list("/v1/quarantine", query, page, printer: client.printer, table: table) { table, item in
        table.add(
          item["id"]?.text, (item["received_at"] ?? item["at"])?.text, item["kind"]?.text,
          (item["code"] ?? item["reason"])?.text, (item["bytes"] ?? item["size_bytes"])?.text,
          (item["detail"] ?? item["reason"])?.text)
      }
    }
  }
}
