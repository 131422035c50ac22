import HTTPTypes
import TaskBridgeCore
import TaskBridgeEngine

/// Runs that wait for a person, and messages nobody understood.
enum DeadLettersController {
  static func addRoutes(to router: inout Router) {
    router.on(.get, "/v1/dead-letters") { exchange throws(Problem) in
      let query = try DeadLetterQuery(parameters: exchange.parameters(), scope: DeadLetterQuery.listScope)
      return Answer(try await exchange.bridge.deadLetters(query))
    }
    router.on(.get, "/v1/dead-letters/groups") { exchange throws(Problem) in
      let query = try DeadLetterQuery(parameters: exchange.parameters(), scope: DeadLetterQuery.groupsScope)
      return Answer(try await exchange.bridge.deadLetterGroups(query))
    }
    router.on(.get, "/v1/dead-letters/{id}") { exchange throws(Problem) in
      let id = try exchange.runID()
      try exchange.refuseParameters()
      return Answer(try await exchange.bridge.deadLetter(id))
    }
    router.on(.post, "/v1/dead-letters/replay", body: .json) { exchange throws(Problem) in
      try await resolve(exchange, isReplay: true)
    }
    router.on(.post, "/v1/dead-letters/discard", body: .json) { exchange throws(Problem) in
      try await resolve(exchange, isReplay: false)
    }
    router.on(.get, "/v1/quarantine") { exchange throws(Problem) in
      Answer(try await exchange.bridge.quarantine(QuarantineView.Query(parameters: exchange.parameters())))
    }
  }

  private static func resolve(_ exchange: Exchange, isReplay: Bool) async throws(Problem) -> Answer {
    try exchange.refuseParameters()
    var fields = try BodyFields(exchange.body)
    let ids = fields.list("ids", count: 1...RunFilter.idsMax, of: "run ids") { RunID($0) }
    let filterObject = fields.object("filter")
    let isAll = fields.flag("all") ?? false
    let asOf = fields.time("as_of")
    let dryRun = fields.flag("dry_run") ?? false
    let reason = isReplay ? nil : fields.text("reason", bytesMax: RunsController.reasonBytesMax)
    if isReplay {
      for name in ["rate_per_second", "canary", "canary_wait_seconds", "patch"] where fields.value(name) != nil {
        fields.refuse(name, "\(name) is not supported by this version; leave it out", code: "not_supported")
      }
    }
    try fields.finish()
    let target = try target(ids: ids, filterObject: filterObject, isAll: isAll)
    let answer = try await exchange.bridge.resolveDeadLetters(
      isReplay ? .replay : .discard(reason: reason), selection: DeadLetterSelection(target, asOf: asOf), dryRun: dryRun,
      actor: exchange.actor)
    return Answer(answer)
  }

  private static func target(
    ids: [RunID]?, filterObject: JSONObject?, isAll: Bool
  ) throws(Problem) -> DeadLetterSelection.Target {
    if let ids {
      guard filterObject == nil, !isAll else {
        throw Problem(422, "invalid_field", "ids and filter exclude each other: give one of them")
      }
      return .ids(ids)
    }
    let filter = try filterObject.map { object throws(Problem) in try DeadLetterFilter(json: object, pointer: "/filter")
    }
    guard let filter, !filter.isEmpty || isAll else {
      if isAll { return .filter(DeadLetterFilter()) }
      throw Problem(
        422, "empty_filter",
        "say which dead letters: ids, or a filter by \(DeadLetterFilter.names.dropLast().joined(separator: ", ")), or \"all\": true"
      )
    }
    return .filter(filter)
  }
}
