import HTTPTypes
import TaskBridgeCore
import TaskBridgeEngine

/// Groups of runs: how they stand, and their settings.
enum GroupsController {
  static func addRoutes(to router: inout Router) {
    router.on(.get, "/v1/groups") { exchange throws(Problem) in
      Answer(try await exchange.bridge.groups(ListQuery(parameters: exchange.parameters(), scope: "groups")))
    }
    router.on(.patch, "/v1/groups/{name}", body: .json) { exchange throws(Problem) in
      let name = try exchange.groupName()
      try exchange.refuseParameters()
      var fields = try BodyFields(exchange.body)
      try await exchange.bridge.change(group: name, by: fields.takeAll())
      return Answer(try await exchange.bridge.group(name))
    }
  }
}
