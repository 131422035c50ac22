import ArgumentParser

extension DeadLettersCommand {
  /// Which dead letters a change is for: ids, a filter, or everything said in so many words.
  struct Target: ParsableArguments {
    @Argument(help: "Ids of runs.", transform: ArgumentReader.run) var runs: [String] = []
    @OptionGroup var filter: Filter
    @Flag(name: .customLong("all"), help: "Every unresolved dead letter.") var everything = false
    @Flag(help: "Only say what would be changed.") var dryRun = false

    func validate() throws {
      let ways = [!runs.isEmpty, !filter.isEmpty, everything].filter { $0 }.count
      guard ways == 1 else {
        throw ValidationError("say which: ids of runs, or a filter such as --task or --fingerprint, or --all")
      }
    }

    var body: JSONObjectText {
      var body = JSONObjectText()
      if runs.isEmpty {
        body.add("filter", object: filter.object)
        if everything { body.add("all", true) }
      } else {
        body.add("ids", strings: runs)
      }
      if dryRun { body.add("dry_run", true) }
      return body
    }
  }

  struct Replay: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Run dead letters again: same ids, new attempts.")

    @OptionGroup var target: Target
    @Option(name: .customLong("rate"), help: "At most this many per second.") var ratePerSecond: Double?
    @Option(help: "Replay this many first; go on only when none of them dies again.") var canary: Int?
    @Option(
      help: ArgumentHelp("How long to watch the first ones.", valueName: "duration"), transform: DurationArgument.parse)
    var canaryWait: Double?
    @Option(help: ArgumentHelp("Merge patch (RFC 7396) for the payloads: JSON, @FILE or -.", valueName: "json"))
    var patch: String?
    @OptionGroup var client: ClientOptions

    func validate() throws {
      if let ratePerSecond, ratePerSecond <= 0 { throw ValidationError("--rate \(ratePerSecond) must be above 0") }
      if let canary, canary < 1 { throw ValidationError("--canary \(canary) must be at least 1") }
      if canaryWait != nil, canary == nil { throw ValidationError("--canary-wait needs --canary") }
    }

    func run() async throws {
      var body = target.body
      body.add("rate_per_second", ratePerSecond)
      body.add("canary", canary)
      body.add("canary_wait_seconds", canaryWait)
      if let patch { body.add("patch", raw: try PayloadSource(argument: patch).json()) }
      let answer = try await client.client().call("POST", "/v1/dead-letters/replay", body: body.bytes)
      client.printer.one(answer.body, BulkView.properties)
    }
  }

  struct Discard: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Resolve dead letters without running them again.")

    @OptionGroup var target: Target
    @OptionGroup var client: ClientOptions

    func run() async throws {
      let answer = try await client.client().call("POST", "/v1/dead-letters/discard", body: target.body.bytes)
      client.printer.one(answer.body, BulkView.properties)
    }
  }
}

/// How the answer of a bulk call is shown.
enum BulkView {
  static func properties(_ answer: JSONSlice) -> Properties {
    var properties = Properties()
    properties.add("matched", answer["matched"]?.text)
    properties.add("changed", answer["changed"]?.text)
    properties.add("as_of", answer["as_of"]?.text)
    properties.add("job", answer["job_id"]?.text)
    for id in answer["ids"]?.elements ?? [] { properties.add("run", id.text) }
    for skipped in answer["skipped"]?.elements ?? [] {
      properties.add("skipped", "\(skipped["id"]?.text ?? "?"): \(skipped["reason"]?.text ?? "")")
    }
    return properties
  }
}
