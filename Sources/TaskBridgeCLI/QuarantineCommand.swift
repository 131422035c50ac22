import ArgumentParser

/// `taskbridge quarantine`: messages that could not be understood or were not allowed.
struct QuarantineCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "quarantine", abstract: "Messages that could not be understood or were not allowed.",
    subcommands: [List.self, Release.self, Discard.self], defaultSubcommand: List.self)

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

  struct Release: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Take one after all, as if it came now: once what was wrong with it is mended.")

    @Argument(help: "Its number, as the list shows it.") var message: Int64
    @OptionGroup var client: ClientOptions

    func run() async throws { try await QuarantineCommand.call("release", message, client) }
  }

  struct Discard: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Give one up for good.")

    @Argument(help: "Its number, as the list shows it.") var message: Int64
    @OptionGroup var client: ClientOptions

    func run() async throws { try await QuarantineCommand.call("discard", message, client) }
  }

  fileprivate static func call(_ verb: String, _ message: Int64, _ client: ClientOptions) async throws {
    let path = "/v1/quarantine/\(message)/\(verb)"
    let answer = try await client.client().call("POST", path, body: Array("{}".utf8))
    client.printer.one(answer.body) { answer in
      var properties = Properties()
      for (name, value) in answer.members where !value.isNull {
        properties.add(name, name == "run" ? value["id"]?.text : value.text)
      }
      return properties
    }
  }
}
