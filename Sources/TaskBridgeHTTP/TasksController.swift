import HTTPTypes
import TaskBridgeCore
import TaskBridgeEngine

/// Task keys: how they stand, and their settings.
enum TasksController {
  static func addRoutes(to router: inout Router) {
    router.on(.get, "/v1/tasks") { exchange throws(Problem) in
      Answer(try await exchange.bridge.tasks(ListQuery(parameters: exchange.parameters(), scope: "tasks")))
    }
    router.on(.get, "/v1/tasks/{key}") { exchange throws(Problem) in
      let key = try exchange.taskKey()
      try exchange.refuseParameters()
      return Answer(try await exchange.bridge.task(key))
    }
    router.on(.patch, "/v1/tasks/{key}", body: .json) { exchange throws(Problem) in
      let key = try exchange.taskKey()
      try exchange.refuseParameters()
      var fields = try BodyFields(exchange.body)
      try await exchange.bridge.change(key, by: fields.takeAll())
      return Answer(try await exchange.bridge.taskOrEmpty(key))
    }
  }
}
