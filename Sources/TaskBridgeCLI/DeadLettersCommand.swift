import ArgumentParser
import TaskBridgeCore

/// `taskbridge dead-letters`: runs that ended without success and wait for a person.
struct DeadLettersCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "dead-letters", abstract: "Runs that ended without success and wait for a person.",
    subcommands: [List.self, Groups.self, Show.self, Replay.self, Discard.self, Export.self, Sync.self],
    defaultSubcommand: List.self)

  /// Which dead letters are meant.
  struct Filter: ParsableArguments {
    @Option(help: "Task key.") var task: String?
    @Option(help: "First part of the task key.") var domain: String?
    @Option(help: "Fingerprint, as `dead-letters groups` shows it.") var fingerprint: String?
    @Option(
      help: "Reason: exhausted, permanent, rejected, lost, undeliverable, delivery_limit, resources or child_failed.")
    var reason: String?
    @Option(help: ArgumentHelp("Dead since.", valueName: "time"), transform: ArgumentReader.time) var since: String?
    @Option(help: ArgumentHelp("Dead until.", valueName: "time"), transform: ArgumentReader.time) var until: String?
    @Option(
      help: ArgumentHelp(
        "A place in the payload and what stands there, such as user.id=42; repeatable, all of them.",
        valueName: "path=value"), transform: ArgumentReader.tag)
    var payload: [ArgumentReader.Tag] = []
    @Option(
      help: ArgumentHelp(
        "The whole filter instead, as the HTTP interface takes it: JSON, @FILE or -.", valueName: "json"))
    var filter: String?

    private var fields: [(name: String, value: String?)] {
      [
        ("task", task), ("domain", domain), ("fingerprint", fingerprint), ("reason", reason), ("since", since),
        ("until", until),
      ]
    }

    var isEmpty: Bool { fields.allSatisfy { $0.value == nil } && payload.isEmpty && filter == nil }

    func validate() throws {
      if filter != nil, !payload.isEmpty || fields.contains(where: { $0.value != nil }) {
        throw ValidationError("--filter is the whole filter: put the others into it")
      }
    }

    /// - Throws: `CommandFailure` with status 64 for a `--filter` that is no object of strings.
    func query() throws -> Query {
      var query = Query()
      for field in fields { query.add(field.name, field.value) }
      for item in payload { query.add("payload.\(item.key)", item.value) }
      guard let filter else { return query }
      for member in JSONSlice(try PayloadSource(argument: filter).json()).members {
        query.add(
          member.key, member.key == "payload" ? String(decoding: member.value.bytes, as: UTF8.self) : member.value.text)
      }
      return query
    }

    /// The `filter` of a body.
    /// - Throws: `CommandFailure` with status 64 for a `--filter` that is no JSON.
    func bytes() throws -> [UInt8] {
      if let filter { return try PayloadSource(argument: filter).json() }
      var object = JSONObjectText()
      for field in fields { object.add(field.name, field.value) }
      if !payload.isEmpty {
        var conditions = JSONObjectText()
        for item in payload { conditions.add(item.key, raw: Self.value(item.value)) }
        object.add("payload", object: conditions)
      }
      return object.bytes
    }

    /// What reads as JSON is that value, anything else a string.
    private static func value(_ text: String) -> [UInt8] {
      do {
        _ = try JSONValue.parse(text)
        return Array(text.utf8)
      } catch {
        return Array(JSONText.quoted(text).utf8)
      }
    }
  }

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List unresolved dead letters.")

    @OptionGroup var filter: Filter
    @Option(help: "Show resolved ones instead: replayed or discarded.") var resolution: String?
    @OptionGroup var page: PageOptions
    @OptionGroup var client: ClientOptions

    func run() async throws {
      var query = try filter.query()
      query.add("resolution", resolution)
      let table = Table("RUN", "TASK", "REASON", "DEAD", "ATTEMPTS", "REPLAYS", "FINGERPRINT", "ERROR~")
      try await client.client().list("/v1/dead-letters", query, page, printer: client.printer, table: table) {
        table, item in
        let run = item["run"] ?? item
        table.add(
          run["id"]?.text, run["task"]?.text, item["reason"]?.text, item["dead_at"]?.text, item["attempt"]?.text,
          item["replays"]?.text, item["fingerprint"]?.text, RunView.errorText(run["last_error"]))
      }
    }
  }

  struct Groups: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Count dead letters by what went wrong.")

    @OptionGroup var filter: Filter
    @OptionGroup var page: PageOptions
    @OptionGroup var client: ClientOptions

    func run() async throws {
      let table = Table("FINGERPRINT", "TASK", "COUNT", "FIRST SEEN", "LAST SEEN", "SAMPLE~")
      try await client.client().list(
        "/v1/dead-letters/groups", filter.query(), page, printer: client.printer, table: table
      ) { table, item in
        table.add(
          item["fingerprint"]?.text, item["task"]?.text, item["count"]?.text,
          item["first_seen"]?.text, item["last_seen"]?.text, RunView.errorText(item["sample"]))
      }
    }
  }

  struct Show: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Show one dead letter.")

    @Argument(help: "Id of the run.", transform: ArgumentReader.run) var run: String
    @OptionGroup var client: ClientOptions

    func run() async throws {
      let answer = try await client.client().get("/v1/dead-letters/\(run)")
      client.printer.one(answer.body) { item in
        var properties = RunView.properties(item["run"] ?? item)
        for (key, value) in item.members where key != "run" { properties.add(key, value.text) }
        return properties
      }
    }
  }
}
