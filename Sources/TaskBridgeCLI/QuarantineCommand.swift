import ArgumentParser

/// `taskbridge quarantine`: messages that could not be understood or were not allowed.
struct QuarantineCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "quarantine", abstract: "Messages that could not be understood or were not allowed.",
    subcommands: [List.self], defaultSubcommand: List.self)

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List them, newest first.")

    @Option(help: "Only this kind, invalid or rejected.") var kind: String?
    @OptionGroup var page: PageOptions
    @OptionGroup var client: ClientOptions

    func run() async throws {
      var query = Query()
      query.add("kind", kind)
      let table = Table("ID", "RECEIVED", "SOURCE", "KIND", "CODE", "BYTES", "DETAIL~")
      try await client.client().list("/v1/quarantine", query, page, printer: client.printer, table: table) {
        table, item in
        table.add(
          item["id"]?.text, item["received_at"]?.text, item["source"]?.text, item["kind"]?.text, item["code"]?.text,
          item["size_bytes"]?.text, item["detail"]?.text)
      }
    }
  }
}
