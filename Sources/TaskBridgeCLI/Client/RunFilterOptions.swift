import ArgumentParser

/// Which runs are meant: the filters of `runs`, and of the verbs that change many runs.
struct RunFilterOptions: ParsableArguments {
  @Option(help: "State; repeatable, any of them.") var state: [String] = []
  @Option(help: "Task key; repeatable, any of them.", transform: ArgumentReader.task) var task: [String] = []
  @Option(help: "First part of the task key.") var domain: String?
  @Option(help: ArgumentHelp("Tag; repeatable, all of them.", valueName: "key=value"), transform: ArgumentReader.tag)
  var tag: [ArgumentReader.Tag] = []
  @Option(help: "Beginning of a tag's key.") var tagPrefix: String?
  @Option(help: "Group.") var group: String?
  @Option(name: [.customLong("workflow"), .customLong("workflow-id")], help: "Workflow.") var workflow: String?
  @Option(help: "Parent run.", transform: ArgumentReader.run) var parent: String?
  @Option(help: "Dedup key.") var dedupKey: String?
  @Option(help: "Name.") var name: String?
  @Option(help: "Part of the name.") var nameLike: String?
  @Option(help: "Type of the last error.") var errorType: String?
  @Option(help: ArgumentHelp("What holds a ready run back, such as queue_bound.", valueName: "reason")) var heldBy:
    String?
  @Option(help: ArgumentHelp("Created after.", valueName: "time"), transform: ArgumentReader.time) var createdAfter:
    String?
  @Option(help: ArgumentHelp("Created before.", valueName: "time"), transform: ArgumentReader.time) var createdBefore:
    String?
  @Option(help: ArgumentHelp("Finished after.", valueName: "time"), transform: ArgumentReader.time) var finishedAfter:
    String?
  @Option(help: ArgumentHelp("Finished before.", valueName: "time"), transform: ArgumentReader.time)
  var finishedBefore: String?

  private var texts: [(name: String, value: String?)] {
    [
      ("domain", domain), ("tag_prefix", tagPrefix), ("group", group), ("workflow_id", workflow),
      ("parent_id", parent), ("dedup_key", dedupKey), ("name", name), ("name_like", nameLike),
      ("error_type", errorType), ("held_by", heldBy), ("created_after", createdAfter),
      ("created_before", createdBefore), ("finished_after", finishedAfter), ("finished_before", finishedBefore),
    ]
  }

  var isEmpty: Bool { object.isEmpty }

  /// As parameters of a list.
  var query: Query {
    var query = Query()
    query.add("state", state)
    query.add("task", task)
    for item in tag { query.add("tag.\(item.key)", item.value) }
    for text in texts { query.add(text.name, text.value) }
    return query
  }

  /// As the `filter` of a body.
  var object: JSONObjectText {
    var object = JSONObjectText()
    object.add("state", strings: state)
    object.add("task", strings: task)
    if !tag.isEmpty {
      var tags = JSONObjectText()
      for item in tag { tags.add(item.key, item.value) }
      object.add("tags", object: tags)
    }
    for text in texts { object.add(text.name, text.value) }
    return object
  }
}

/// What a verb is done to: one run, or all that match the filters.
struct RunTarget: ParsableArguments {
  @Argument(help: "Id of one run.", transform: ArgumentReader.run) var run: String?
  @OptionGroup(title: "Many runs: filters, all of which must match") var filter: RunFilterOptions
  @Flag(help: "Every run, when there is no filter.") var all = false
  @OptionGroup var bulk: BulkOptions

  func validate() throws {
    let named = [run != nil, !filter.isEmpty, all].filter { $0 }.count
    guard named == 1 else {
      throw ValidationError("say which: one run by its id, or filters such as --task or --workflow, or --all")
    }
    if run != nil { try bulk.refuseForOne() }
  }

  /// Calls the verb with `fields`, and prints the run or what became of all.
  func call(_ verb: String, _ fields: JSONObjectText, _ client: ClientOptions) async throws {
    if let run {
      let answer = try await client.client().call("POST", "/v1/runs/\(run)/\(verb)", body: fields.bytes)
      return client.printer.one(answer.body) { RunView.properties($0["run"] ?? $0) }
    }
    var body = JSONObjectText()
    body.add("filter", object: filter.object)
    if all { body.add("all", true) }
    bulk.add(to: &body)
    for member in fields.members { body.add(member.name, raw: member.value) }
    let answer = try await client.client().call("POST", "/v1/runs/\(verb)", body: body.bytes)
    client.printer.one(answer.body, BulkView.properties)
  }
}

/// Options of every call on many runs.
struct BulkOptions: ParsableArguments {
  @Flag(help: "Only say what would be changed.") var dryRun = false
  @Option(
    help: ArgumentHelp("Touch nothing newer; the as_of of a dry run.", valueName: "time"),
    transform: ArgumentReader.time)
  var asOf: String?

  func add(to body: inout JSONObjectText) {
    if dryRun { body.add("dry_run", true) }
    body.add("as_of", asOf)
  }

  func refuseForOne() throws {
    if dryRun || asOf != nil { throw ValidationError("--dry-run and --as-of are for filters, not for one run") }
  }
}

/// How the answer of a call on many runs is shown.
enum BulkView {
  static func properties(_ answer: JSONSlice) -> Properties {
    var properties = Properties()
    for name in ["matched", "changed", "as_of", "eligible", "conflicts", "not_eligible"] {
      properties.add(name, answer[name]?.text)
    }
    properties.add("job", answer["job_id"]?.text)
    for id in answer["ids"]?.elements ?? [] { properties.add("run", id.text) }
    for skipped in answer["skipped"]?.elements ?? [] {
      properties.add("skipped", "\(skipped["id"]?.text ?? "?"): \(skipped["reason"]?.text ?? "")")
    }
    for id in answer["failed_dependents"]?.elements ?? [] { properties.add("still dependency_failed", id.text) }
    properties.add("sample before", answer["sample"]?["payload_before"]?.text)
    properties.add("sample", answer["sample"]?["payload"]?.text)
    return properties
  }
}
