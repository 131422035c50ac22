/// A request as a job keeps it: the fields of the call, so that it can be read again after a restart and shown.
extension BulkRequest: JSONWritable {
  public func write(to json: inout JSONWriter) {
    json.object { json in
      switch target {
      case .runs, .deadLetters:
        json.key("filter")
        json.value(.object(filter ?? JSONObject()))
      case .ids(let ids):
        json.key("ids")
        json.array { json in for id in ids { json.value(id) } }
      }
      if let reason = options.reason { json.member("reason", reason) }
      if options.retry.force { json.member("force", true) }
      if let priority = options.retry.priority { json.member("priority", priority) }
      if let runAt = options.retry.runAt { json.member("run_at", runAt) }
      if let maxAttempts = options.retry.maxAttempts { json.member("max_attempts", maxAttempts) }
      if options.retry.withDependents { json.member("with_dependents", true) }
      if let patch = options.patch {
        json.key("patch")
        json.value(patch)
      }
      if let rate = options.ratePerSecond { json.member("rate_per_second", rate) }
      if let canary = options.canary {
        json.member("canary", canary)
        json.member("canary_wait_seconds", options.canaryWaitSeconds)
      }
    }
  }

  /// What ``write(to:)`` has written.
  /// - Throws: 422 for a filter that this version does not know.
  public init(_ verb: BulkVerb, stored text: String) throws(Problem) {
    let value: JSONValue
    do throws(JSONError) { value = try JSONValue.parse(text) } catch { throw Problem(error) }
    if let ids = value["ids"]?.arrayValue {
      self.init(verb, ids: ids.compactMap { $0.stringValue.flatMap { RunID($0) } })
    } else {
      try self.init(verb, filter: value["filter"]?.objectValue ?? JSONObject())
    }
    func integer(_ name: String) -> Int? { value[name]?.int64Value.flatMap(Int.init(exactly:)) }
    options.reason = value["reason"]?.stringValue
    options.retry.force = value["force"]?.boolValue ?? false
    options.retry.priority = integer("priority")
    options.retry.runAt = value["run_at"]?.stringValue.flatMap { Self.time($0) }
    options.retry.maxAttempts = integer("max_attempts")
    options.retry.withDependents = value["with_dependents"]?.boolValue ?? false
    options.patch = value["patch"]
    options.ratePerSecond = value["rate_per_second"]?.doubleValue
    options.canary = integer("canary")
    options.canaryWaitSeconds = value["canary_wait_seconds"]?.doubleValue ?? BulkOptions.canaryWaitDefault
  }

  private static func time(_ text: String) -> Timestamp? {
    do { return try Timestamp(rfc3339: text) } catch { return nil }
  }
}
