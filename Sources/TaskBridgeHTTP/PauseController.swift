import HTTPTypes
import TaskBridgeCore
import TaskBridgeEngine

/// Holding back: one run, a task key, a domain, a group, the whole bridge.
enum PauseController {
  static func addRoutes(to router: inout Router) {
    router.on(.post, "/v1/runs/{id}/pause", body: .optionalJSON) { exchange throws(Problem) in
      let id = try exchange.runID()
      return Answer(try await exchange.bridge.pause(id, reason: exchange.reason(), actor: exchange.actor))
    }
    router.on(.post, "/v1/runs/{id}/resume", body: .optionalJSON) { exchange throws(Problem) in
      let id = try exchange.runID()
      return Answer(try await exchange.bridge.resume(id, reason: exchange.reason(), actor: exchange.actor))
    }
    router.on(.post, "/v1/pause", body: .optionalJSON) { exchange throws(Problem) in
      Answer(try await pause(.bridge, exchange))
    }
    router.on(.post, "/v1/resume", body: .optionalJSON) { exchange throws(Problem) in
      Answer(try await resume(.bridge, exchange))
    }
    router.on(.post, "/v1/domains/{domain}/pause", body: .optionalJSON) { exchange throws(Problem) in
      Answer(try await pause(.domain(try exchange.domain()), exchange))
    }
    router.on(.post, "/v1/domains/{domain}/resume", body: .optionalJSON) { exchange throws(Problem) in
      Answer(try await resume(.domain(try exchange.domain()), exchange))
    }
    router.on(.post, "/v1/tasks/{key}/pause", body: .optionalJSON) { exchange throws(Problem) in
      let key = try exchange.taskKey()
      _ = try await pause(.task(key), exchange)
      return Answer(try await exchange.bridge.task(key))
    }
    router.on(.post, "/v1/tasks/{key}/resume", body: .optionalJSON) { exchange throws(Problem) in
      let key = try exchange.taskKey()
      _ = try await resume(.task(key), exchange)
      return Answer(try await exchange.bridge.taskOrEmpty(key))
    }
    router.on(.post, "/v1/groups/{name}/pause", body: .optionalJSON) { exchange throws(Problem) in
      let name = try exchange.groupName()
      _ = try await pause(.group(name), exchange)
      return Answer(try await exchange.bridge.group(name))
    }
    router.on(.post, "/v1/groups/{name}/resume", body: .optionalJSON) { exchange throws(Problem) in
      let name = try exchange.groupName()
      _ = try await resume(.group(name), exchange)
      return Answer(try await exchange.bridge.group(name))
    }
  }

  private static func pause(_ subject: ControlSubject, _ exchange: Exchange) async throws(Problem) -> PauseView {
    try exchange.refuseParameters()
    var fields = try BodyFields(exchange.body)
    let until = fields.time("until")
    let reason = fields.text("reason", bytesMax: RunsController.reasonBytesMax)
    try fields.finish()
    return try await exchange.bridge.pause(subject, until: until, reason: reason, actor: exchange.actor)
  }

  private static func resume(_ subject: ControlSubject, _ exchange: Exchange) async throws(Problem) -> PauseView {
    _ = try exchange.reason()
    return try await exchange.bridge.resume(subject)
  }
}

extension Exchange {
  /// The task key the path names.
  /// - Throws: 422 `invalid_task`.
  func taskKey() throws(Problem) -> TaskKey {
    let text = captures.first ?? ""
    if let key = TaskKey(text) { return key }
    throw Problem(422, "invalid_task", "\"\(text.prefix(130))\" is no task key: \(TaskKey.grammar)")
  }

  /// The domain the path names.
  /// - Throws: 422 `invalid_domain`.
  func domain() throws(Problem) -> String {
    let text = captures.first ?? ""
    if let key = TaskKey(text), key.domain == text { return text }
    throw Problem(
      422, "invalid_domain",
      "\"\(text.prefix(130))\" is no domain: the part of a task key before its first dot (a-z, 0-9, _ and -)")
  }

  /// The group the path names: 1 to 512 bytes without NUL.
  /// - Throws: 422 `invalid_group`.
  func groupName() throws(Problem) -> String {
    let text = captures.first ?? ""
    if (1...512).contains(text.utf8.count), !text.utf8.contains(0) { return text }
    throw Problem(422, "invalid_group", "a group's name has \(text.utf8.count) bytes, 1...512 without NUL are allowed")
  }
}
