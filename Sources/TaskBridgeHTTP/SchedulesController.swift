import HTTPTypes
import TaskBridgeCore
import TaskBridgeEngine

/// Schedules: work that comes again by the clock.
enum SchedulesController {
  static func addRoutes(to router: inout Router, payloadBytesMax: Int) {
    let body = BodyRule.submission(payloadBytesMax: payloadBytesMax)
    router.on(.get, "/v1/schedules") { exchange throws(Problem) in
      Answer(try await exchange.bridge.schedules(ListQuery(parameters: exchange.parameters(), scope: "schedules")))
    }
    router.on(.post, "/v1/schedules", body: body) { exchange throws(Problem) in
      try exchange.refuseParameters()
      let schedule = try await exchange.bridge.addSchedule(body: exchange.body)
      var answer = Answer(status: .created, schedule)
      answer.fields[.location] = "/v1/schedules/\(schedule.name)"
      return answer
    }
    router.on(.get, "/v1/schedules/{name}") { exchange throws(Problem) in
      try exchange.refuseParameters()
      return Answer(try await exchange.bridge.schedule(exchange.scheduleName))
    }
    router.on(.patch, "/v1/schedules/{name}", body: body) { exchange throws(Problem) in
      try exchange.refuseParameters()
      return Answer(try await exchange.bridge.change(schedule: exchange.scheduleName, by: exchange.body))
    }
    router.on(.delete, "/v1/schedules/{name}") { exchange throws(Problem) in
      try exchange.refuseParameters()
      try await exchange.bridge.remove(schedule: exchange.scheduleName)
      return Answer(status: .noContent, fields: [:], body: [])
    }
    router.on(.post, "/v1/schedules/{name}/pause", body: .optionalJSON) { exchange throws(Problem) in
      let reason = try exchange.reason()
      return Answer(
        try await exchange.bridge.pause(schedule: exchange.scheduleName, reason: reason, actor: exchange.actor))
    }
    router.on(.post, "/v1/schedules/{name}/resume", body: .optionalJSON) { exchange throws(Problem) in
      _ = try exchange.reason()
      return Answer(try await exchange.bridge.resume(schedule: exchange.scheduleName))
    }
    router.on(.post, "/v1/schedules/{name}/run-now", body: .optionalJSON) { exchange throws(Problem) in
      _ = try exchange.reason()
      return RunsController.answer(
        to: try await exchange.bridge.runNow(schedule: exchange.scheduleName, actor: exchange.actor))
    }
    router.on(.get, "/v1/schedules/{name}/next") { exchange throws(Problem) in
      var reader = ParameterReader(try exchange.parameters())
      let count = reader.integer("count", in: 1...ScheduleRule.forecastCountMax)
      let after = reader.time("after")
      try reader.finish(known: ["count", "after"])
      return Answer(
        try await exchange.bridge.forecast(
          ofSchedule: exchange.scheduleName, count: count ?? ScheduleRule.forecastCountDefault, after: after))
    }
  }
}

extension Exchange {
  /// The schedule the path names; one that cannot exist is not found.
  var scheduleName: String { captures.first ?? "" }
}
