import ArgumentParser
import Foundation

/// `taskbridge jobs`: background work.
struct JobsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "jobs", abstract: "Background work: large changes of many runs, paced replays.",
    subcommands: [List.self, Show.self, Cancel.self], defaultSubcommand: List.self)

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List jobs, newest first.")

    @Option(help: "State; repeatable: pending, running, waiting, completed, stopped, cancelled or failed.")
    var state: [String] = []
    @Option(help: "What they do: cancel, retry, pause, resume, replay or discard.") var kind: String?
    @OptionGroup var page: PageOptions
    @OptionGroup var client: ClientOptions

    func run() async throws {
      var query = Query()
      query.add("state", state)
      query.add("kind", kind)
      let table = Table("JOB", "KIND", "STATE", "PROGRESS", "MATCHED", "CHANGED", "SKIPPED", "CREATED", "ERROR~")
      try await client.client().list("/v1/jobs", query, page, printer: client.printer, table: table) { table, job in
        table.add(
          job["id"]?.text, job["kind"]?.text, job["state"]?.text, JobView.percent(job), job["matched"]?.text,
          job["changed"]?.text, job["skipped"]?.text, job["created_at"]?.text, job["error"]?["detail"]?.text)
      }
    }
  }

  struct Show: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Show one job.", discussion: "With --wait: status 2 when it ended otherwise than completed.")

    @Argument(help: "Id of the job.", transform: ArgumentReader.job) var job: String
    @Flag(help: "Show it when it has ended.") var wait = false
    @OptionGroup var client: ClientOptions

    func run() async throws {
      let answer = wait ? try await ended() : try await client.client().get("/v1/jobs/\(job)")
      client.printer.one(answer.body, JobView.properties)
      if wait, answer.json["state"]?.string != "completed" { throw ExitStatus.waitFailed.code }
    }

    /// Pause between two looks.
    private static let pause = Duration.milliseconds(300)

    private func ended() async throws -> BridgeClient.Answer {
      let bridge = try client.client()
      let showsProgress = isatty(STDERR_FILENO) == 1
      while true {
        let answer = try await bridge.get("/v1/jobs/\(job)")
        let state = answer.json["state"]?.string ?? ""
        let isOpen = ["pending", "running", "waiting"].contains(state)
        if showsProgress {
          StandardError.write("\r\(state) \(JobView.percent(answer.json))\(isOpen ? "" : "\n")")
        }
        if !isOpen { return answer }
        try await Task.sleep(for: Self.pause)
      }
    }
  }

  struct Cancel: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Stop a job; what it did stays done.")

    @Argument(help: "Id of the job.", transform: ArgumentReader.job) var job: String
    @OptionGroup var client: ClientOptions

    func run() async throws {
      let answer = try await client.client().call("POST", "/v1/jobs/\(job)/cancel", body: Array("{}".utf8))
      client.printer.one(answer.body, JobView.properties)
    }
  }
}

/// How a job is shown to people.
enum JobView {
  static func percent(_ job: JSONSlice) -> String {
    "\(Int((job["progress"]?.double ?? 0) * 100)) %"
  }

  static func properties(_ job: JSONSlice) -> Properties {
    var properties = Properties()
    for name in ["id", "kind", "state"] { properties.add(name, job[name]?.text, isState: name == "state") }
    properties.add("progress", percent(job))
    for name in ["matched", "changed", "skipped", "as_of", "actor", "created_at", "started_at", "finished_at"] {
      properties.add(name, job[name]?.text)
    }
    properties.add("request", job["request"]?.text)
    properties.add("canary until", job["canary_until"]?.text)
    for (reason, count) in job["skipped_by_reason"]?.members ?? [] { properties.add(reason, count.text) }
    for id in job["canary"]?.elements ?? [] { properties.add("canary", id.text) }
    for skipped in job["skips"]?.elements ?? [] {
      properties.add("skipped", "\(skipped["id"]?.text ?? "?"): \(skipped["reason"]?.text ?? "")")
    }
    properties.add("error", job["error"]?["detail"]?.text)
    return properties
  }
}
