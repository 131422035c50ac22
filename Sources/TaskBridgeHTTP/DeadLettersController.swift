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
    router.on(.get, "/v1/quarantine") { exchange throws(Problem) in
      Answer(try await exchange.bridge.quarantine(QuarantineView.Query(parameters: exchange.parameters())))
    }
  }
}
