import ArgumentParser
import Foundation

/// `taskbridge submit`: asks for one run, and waits for its end when told to.
struct SubmitCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "submit",
    abstract: "Ask for a run of a task.",
    discussion: """
      The payload is JSON: given as an argument, read from a file (@FILE) or from stdin (-); without one it is null. \
      With --content-type it may be any bytes.
      With --lines FILE (-: stdin) each line is a submission, as `dead-letters export` writes them.
      Prints the run; with --wait the result, and ends with status 2 unless the run completed in time.
      """)

  @Argument(help: "Task key.", transform: ArgumentReader.task)
  var task: String?

  @Argument(help: "Payload: JSON, @FILE or -.")
  var payload: String?

  @Option(help: "The payload is bytes of this content type, not JSON.")
  var contentType: String?

  @Option(
    help: ArgumentHelp("Start no sooner than after this time, such as 10s.", valueName: "duration"),
    transform: DurationArgument.parse)
  var delay: Double?

  @Option(help: ArgumentHelp("Start no sooner than at this time.", valueName: "time"), transform: ArgumentReader.time)
  var at: String?

  @Option(help: "0 (most urgent) ... 255.")
  var priority: Int?

  @Option(help: "At most one active run has this key; $payload stands for the payload's hash.")
  var dedupKey: String?

  @Option(help: "What to do with an active run of the same dedup key: skip, supersede or reject.")
  var onDuplicate: String?

  @Option(help: "The first run with this key is returned however often it is asked for.")
  var idempotencyKey: String?

  @Option(
    help: ArgumentHelp("Start after this run has completed; repeatable.", valueName: "run"),
    transform: ArgumentReader.run)
  var after: [String] = []

  @Option(help: ArgumentHelp("A tag; repeatable.", valueName: "key=value"), transform: ArgumentReader.tag)
  var tag: [ArgumentReader.Tag] = []

  @Option(help: "Attempts that count, 1...1000.")
  var maxAttempts: Int?

  @Option(help: "A name for people.")
  var name: String?

  @Option(help: "Group, for limits and weights.")
  var group: String?

  @Option(help: "Workflow the run belongs to.")
  var workflowID: String?

  @Option(
    help: ArgumentHelp("Wait for the end of the run, at most this long when given (--wait=30s).", valueName: "duration")
  )
  var wait: String?

  @Option(help: ArgumentHelp("Submit every line of this file instead.", valueName: "file"))
  var lines: String?

  @OptionGroup var client: ClientOptions

  func validate() throws {
    if lines != nil, task != nil || wait != nil {
      throw ValidationError("--lines takes no task and no --wait: each line names its own task")
    }
    if lines == nil, task == nil { throw ValidationError("name the task key, or give --lines FILE") }
    if delay != nil, at != nil { throw ValidationError("--delay and --at exclude each other") }
    if let priority, !(0...255).contains(priority) {
      throw ValidationError("--priority \(priority) is out of range: 0 (most urgent) ... 255")
    }
    if let maxAttempts, !(1...1_000).contains(maxAttempts) {
      throw ValidationError("--max-attempts \(maxAttempts) is out of range: 1...1000")
    }
    if let onDuplicate, !["skip", "supersede", "reject"].contains(onDuplicate) {
      throw ValidationError("--on-duplicate '\(onDuplicate)': expected skip, supersede or reject")
    }
    if let wait, wait != ArgumentRewriter.waitForever, DurationArgument(argument: wait) == nil {
      throw ValidationError("--wait='\(wait)': expected a length of time such as 30s or 5m")
    }
  }

  func run() async throws {
    if let lines {
      var submission = LineSubmission(client: try client.client(), printer: client.printer)
      return try await submission.submit(lines)
    }
    let bridge = try client.client()
    let answer = try await bridge.call("POST", "/v1/runs", body: try submission().bytes)
    guard let run = answer.json["run"], let id = run["id"]?.string else {
      throw CommandFailure(.failed, "unexpected_answer", "\(bridge.base) answered without a run; is it a bridge?")
    }
    guard let wait else {
      return client.printer.one(answer.body) { answer in
        var properties = Properties()
        properties.add("run", id)
        properties.add("outcome", answer["outcome"]?.text)
        properties.add("state", run["state"]?.text, isState: true)
        properties.add("run_at", run["run_at"]?.text)
        properties.add("replaced", answer["replaced_id"]?.text)
        properties.add("follow_up", answer["follow_up_id"]?.text)
        return properties
      }
    }
    StandardError.say("run \(id) \(answer.json["outcome"]?.text ?? "")")
    try await RunWaiter(client: bridge, printer: client.printer).wait(
      for: answer.json["follow_up_id"]?.string ?? id,
      seconds: DurationArgument(argument: wait)?.seconds)
  }

  /// The body of the request.
  func submission() throws -> JSONObjectText {
    var body = JSONObjectText()
    body.add("task", task)
    try PayloadSource(argument: payload, contentType: contentType).add(to: &body)
    body.add("delay_seconds", delay)
    body.add("run_at", at)
    body.add("priority", priority)
    body.add("dedup_key", dedupKey)
    body.add("on_duplicate", onDuplicate)
    body.add("idempotency_key", idempotencyKey)
    body.add("depends_on", strings: after)
    if !tag.isEmpty {
      var tags = JSONObjectText()
      for item in tag { tags.add(item.key, item.value) }
      body.add("tags", object: tags)
    }
    body.add("max_attempts", maxAttempts)
    body.add("name", name)
    body.add("group", group)
    body.add("workflow_id", workflowID)
    return body
  }
}
