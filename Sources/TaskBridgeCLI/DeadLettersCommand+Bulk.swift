import ArgumentParser

extension DeadLettersCommand {
  /// Which dead letters a change is for: ids, a filter, or everything said in so many words.
  struct Target: ParsableArguments {
    @Argument(help: "Ids of runs.", transform: ArgumentReader.run) var runs: [String] = []
    @OptionGroup var filter: Filter
    @Flag(name: .customLong("all"), help: "Every unresolved dead letter.") var everything = false
    @OptionGroup var bulk: BulkOptions

    func validate() throws {
      let ways = [!runs.isEmpty, !filter.isEmpty, everything].filter { $0 }.count
      guard ways == 1 else {
        throw ValidationError("say which: ids of runs, or a filter such as --task or --fingerprint, or --all")
      }
    }

    /// - Throws: `CommandFailure` with status 64.
    func body() throws -> JSONObjectText {
      var body = JSONObjectText()
      if runs.isEmpty {
        body.add("filter", raw: try filter.bytes())
        if everything { body.add("all", true) }
      } else {
        body.add("ids", strings: runs)
      }
      bulk.add(to: &body)
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
    @Option(help: "Why; kept in the audit. (--reason is the filter.)") var note: String?
    @OptionGroup var client: ClientOptions

    func validate() throws {
      if let ratePerSecond, ratePerSecond <= 0 { throw ValidationError("--rate \(ratePerSecond) must be above 0") }
      if let canary, canary < 1 { throw ValidationError("--canary \(canary) must be at least 1") }
      if canaryWait != nil, canary == nil { throw ValidationError("--canary-wait needs --canary") }
    }

    func run() async throws {
      var body = try target.body()
      body.add("reason", note)
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
    @Option(help: "Why; kept with the dead letters. (--reason is the filter.)") var note: String?
    @OptionGroup var client: ClientOptions

    func run() async throws {
      var body = try target.body()
      body.add("reason", note)
      let answer = try await client.client().call("POST", "/v1/dead-letters/discard", body: body.bytes)
      client.printer.one(answer.body, BulkView.properties)
    }
  }
}
