import HTTPTypes
import TaskBridgeCore
import TaskBridgeEngine

extension Router {
  /// Every route there is.
  static func build(_ configuration: TaskBridgeConfiguration) -> Router {
    var router = Router()
    RunsController.addRoutes(to: &router, payloadBytesMax: configuration.payloadLimitBytes)
    RunHistoryController.addRoutes(to: &router)
    PruneController.addRoutes(to: &router)
    AttemptsController.addRoutes(to: &router)
    DeadLettersController.addRoutes(to: &router)
    QuarantineController.addRoutes(to: &router)
    BulkController.addRoutes(to: &router)
    JobsController.addRoutes(to: &router)
    PauseController.addRoutes(to: &router)
    RunStateController.addRoutes(to: &router)
    LookupController.addRoutes(to: &router)
    TasksController.addRoutes(to: &router)
    GroupsController.addRoutes(to: &router)
    SchedulesController.addRoutes(to: &router, payloadBytesMax: configuration.payloadLimitBytes)
    StatusController.addRoutes(to: &router)
    let descriptions = router.descriptions
    router.on(.get, "/") { exchange throws(Problem) in
      try exchange.refuseParameters()
      return Answer { json in
        json.member("name", "TaskBridge")
        json.member("version", TaskBridge.version)
        json.key("routes")
        json.array { json in for description in descriptions { json.value(description) } }
      }
    }
    return router
  }
}
