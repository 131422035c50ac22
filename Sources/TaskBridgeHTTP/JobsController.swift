import HTTPTypes
import TaskBridgeCore
import TaskBridgeEngine

/// Background work: large calls on many runs, paced replays.
enum JobsController {
  static func addRoutes(to router: inout Router) {
    router.on(.get, "/v1/jobs") { exchange throws(Problem) in
      Answer(try await exchange.bridge.jobs(JobQuery(parameters: exchange.parameters())))
    }
    router.on(.get, "/v1/jobs/{id}") { exchange throws(Problem) in
      let id = try jobID(exchange)
      return Answer(try await exchange.bridge.job(id))
    }
    router.on(.post, "/v1/jobs/{id}/cancel", body: .optionalJSON) { exchange throws(Problem) in
      let id = try jobID(exchange)
      var fields = try BodyFields(exchange.body)
      try fields.finish()
      return Answer(try await exchange.bridge.cancelJob(id))
    }
  }

  private static func jobID(_ exchange: Exchange) throws(Problem) -> RunID {
    try exchange.refuseParameters()
    let text = exchange.captures.first ?? ""
    if let id = RunID(text) { return id }
    throw Problem(422, "invalid_job_id", "\"\(text.prefix(64))\" is no job id; a job id is a UUID, as job_id says it")
  }
}
