extension RunFilter {
  /// Names of the filters, for hints; `tag.<key>` stands for any key.
  public static let names: [String] = {
    [
      "state", "task", "domain", "tag.<key>", "tag_prefix", "group", "workflow_id", "kept_by", "parent_id", "dedup_key",
      "name_like",
      "id", "name", "template", "array", "has_children", "held_by", "error_type", "exclude_task",
    ] + NullableField.allCases.map { "\($0.rawValue)_is_null" }
      + TimeField.allCases.flatMap { ["\($0.rawValue)_after", "\($0.rawValue)_before"] }
  }()

  /// Takes every filter out of `reader`; what is wrong is noted there.
  public init(_ reader: inout ParameterReader) {
    for parameter in reader.all("state") {
      if let state = reader.word(parameter, as: RunState.self), !states.contains(state) { states.append(state) }
    }
    for parameter in reader.all("task") {
      if let task = reader.task(parameter), !tasks.contains(task) { tasks.append(task) }
    }
    for parameter in reader.all("exclude_task") {
      if let task = reader.task(parameter), !excludedTasks.contains(task) { excludedTasks.append(task) }
    }
    domain = reader.domain("domain")
    readTags(&reader)
    group = reader.text("group")
    workflowID = reader.text("workflow_id")
    keptBy = reader.text("kept_by")
    parentID = reader.runID("parent_id")
    dedupKey = reader.text("dedup_key")
    name = reader.text("name")
    nameLike = reader.text("name_like")
    template = reader.text("template")
    array = reader.text("array")
    readIDs(&reader)
    hasChildren = reader.bool("has_children")
    heldBy = reader.word("held_by", as: Hold.self)
    errorType = reader.text("error_type")
    for field in NullableField.allCases {
      if let value = reader.bool("\(field.rawValue)_is_null") { isNull[field] = value }
    }
    for field in TimeField.allCases {
      let after = reader.time("\(field.rawValue)_after")
      let before = reader.time("\(field.rawValue)_before")
      if after != nil || before != nil { times[field] = Bounds(after: after, before: before) }
    }
  }

  private mutating func readTags(_ reader: inout ParameterReader) {
    tagPrefix = reader.text("tag_prefix", bytesMax: 64)
    for parameter in reader.all(prefix: "tag.") {
      let key = String(parameter.name.dropFirst(4))
      guard (1...64).contains(key.utf8.count), !key.utf8.contains(0) else {
        reader.refuse(parameter.pointer, "a tag key has \(key.utf8.count) bytes, 1...64 without NUL are allowed")
        continue
      }
      guard parameter.value.utf8.count <= 256, !parameter.value.utf8.contains(0) else {
        reader.refuse(
          parameter.pointer, "a tag value has \(parameter.value.utf8.count) bytes, at most 256 without NUL are allowed")
        continue
      }
      tags.append(Tag(key: key, value: parameter.value))
    }
    if tags.count > Self.tagsMax {
      reader.refuse("?tag", "the filter names \(tags.count) tags, at most \(Self.tagsMax)", code: "too_many")
    }
  }

  private mutating func readIDs(_ reader: inout ParameterReader) {
    let parameters = reader.all("id")
    if parameters.count > Self.idsMax {
      reader.refuse(
        parameters[0].pointer, "the filter names \(parameters.count) ids, at most \(Self.idsMax)", code: "too_many")
      return
    }
    for parameter in parameters {
      if let id = reader.runID(parameter) { ids.append(id) }
    }
  }

  /// The filters of a JSON object (`POST /v1/runs/count`, bulk): the names of the list, `tags` an object, what can be
  /// repeated a string or a list.
  /// - Parameter pointer: of the object itself, such as `/filter`.
  /// - Throws: 422 naming each wrong field.
  public init(json object: JSONObject, pointer: String = "") throws(Problem) {
    var reader = ParameterReader(try Self.parameters(of: object, pointer: pointer))
    self.init(&reader)
    try reader.finish(known: Self.names.map { $0 == "tag.<key>" ? "tags" : $0 })
  }

  private static let repeatable: Set<String> = ["state", "task", "exclude_task", "id"]

  private static func parameters(of object: JSONObject, pointer: String) throws(Problem) -> [Parameter] {
    var parameters: [Parameter] = []
    var reader = ParameterReader([])
    func add(_ name: String, _ value: JSONValue, _ pointer: String) {
      switch value {
      case .string(let text): parameters.append(Parameter(name: name, value: text, pointer: pointer))
      case .bool(let flag): parameters.append(Parameter(name: name, value: flag ? "true" : "false", pointer: pointer))
      case .null, .number, .array, .object:
        reader.refuse(pointer, "\(name) must be a string, or true or false")
      }
    }
    for member in object.members {
      let place = "\(pointer)/\(member.key)"
      switch member.value {
      case .null: continue
      case .array(let items) where repeatable.contains(member.key):
        for (index, item) in items.enumerated() { add(member.key, item, "\(place)/\(index)") }
      case .object(let tags) where member.key == "tags":
        for tag in tags.members { add("tag.\(tag.key)", tag.value, "\(place)/\(tag.key)") }
      case .string, .bool, .number, .array, .object: add(member.key, member.value, place)
      }
    }
    try reader.finish()
    return parameters
  }
}
