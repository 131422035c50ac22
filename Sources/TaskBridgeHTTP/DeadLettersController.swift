import HTTPTypes
import TaskBridgeCore
import TaskBridgeEngine

/// Runs that wait for a person.
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
    router.on(.post, "/v1/dead-letters/export", body: .json) { exchange throws(Problem) in
      try await export(exchange)
    }
    router.on(.post, "/v1/dead-letters/sync", body: .optionalJSON) { exchange throws(Problem) in
      try exchange.refuseParameters()
      var fields = try BodyFields(exchange.body)
      try fields.finish()
      return Answer(try await exchange.bridge.syncMirror())
    }
  }

  /// One line of JSON for each; in a dry run how many there are.
  private static func export(_ exchange: Exchange) async throws(Problem) -> Answer {
    try exchange.refuseParameters()
    var fields = try BodyFields(exchange.body)
    // Its rows are those that a replay would look at.
    let selection = BulkSelection(&fields, .replay)
    let dryRun = fields.flag("dry_run") ?? false
    try fields.finish()
    let request = try selection.request(.replay)
    if dryRun { return Answer(try await exchange.bridge.matches(request, asOf: selection.asOf)) }
    let export = exchange.bridge.export(request, asOf: selection.asOf)
    // The first lines before the head: what goes wrong at once is answered as a problem.
    var answer = Answer(status: .ok, fields: Answer.linesFields, body: try await export.next() ?? [])
    answer.rest = { () async throws(Problem) in try await export.next() }
    return answer
  }
}
