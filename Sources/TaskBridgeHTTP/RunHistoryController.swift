import HTTPTypes
import TaskBridgeCore
import TaskBridgeEngine

/// What happened to a run, and the runs it is bound to.
enum RunHistoryController {
  static func addRoutes(to router: inout Router) {
    router.on(.get, "/v1/runs/{id}/attempts") { exchange throws(Problem) in
      let (id, page) = try request(exchange, "attempts")
      return Answer(try await exchange.bridge.attempts(of: id, page))
    }
    router.on(.get, "/v1/runs/{id}/audit") { exchange throws(Problem) in
      let (id, page) = try request(exchange, "run-audit")
      return Answer(try await exchange.bridge.audit(of: id, page))
    }
    router.on(.get, "/v1/runs/{id}/explain") { exchange throws(Problem) in
      let id = try exchange.runID()
      try exchange.refuseParameters()
      return Answer(try await exchange.bridge.explain(id))
    }
    router.on(.get, "/v1/runs/{id}/errors") { exchange throws(Problem) in
      let (id, page) = try request(exchange, "errors")
      return Answer(try await exchange.bridge.errors(of: id, page))
    }
    router.on(.get, "/v1/runs/{id}/reports") { exchange throws(Problem) in
      let (id, page) = try request(exchange, "reports")
      return Answer(try await exchange.bridge.reports(of: id, page))
    }
    router.on(.get, "/v1/runs/{id}/dependencies") { exchange throws(Problem) in
      let (id, page) = try request(exchange, "dependencies")
      return Answer(try await exchange.bridge.dependencies(of: id, page))
    }
    router.on(.get, "/v1/runs/{id}/dependents") { exchange throws(Problem) in
      let (id, page) = try request(exchange, "dependents")
      return Answer(try await exchange.bridge.dependents(of: id, page))
    }
    router.on(.get, "/v1/runs/{id}/children") { exchange throws(Problem) in
      let (id, page) = try request(exchange, RunQuery().scope)
      return Answer(try await exchange.bridge.children(of: id, page))
    }
    router.on(.get, "/v1/audit") { exchange throws(Problem) in
      Answer(try await exchange.bridge.audit(AuditQuery(parameters: exchange.parameters())))
    }
  }

  /// - Throws: 422 for a path that names no id, and for unknown parameters.
  private static func request(_ exchange: Exchange, _ scope: String) throws(Problem) -> (RunID, PageQuery) {
    (try exchange.runID(), try PageQuery(parameters: exchange.parameters(), scope: scope))
  }
}
