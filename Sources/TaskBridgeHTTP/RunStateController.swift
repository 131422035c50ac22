import HTTPTypes
import TaskBridgeCore
import TaskBridgeEngine

/// Asking a run for a state, and changing one that still waits.
enum RunStateController {
  static func addRoutes(to router: inout Router) {
    let body = BodyRule(bytesMax: HTTPLimits.reportBytesMax, contentTypes: ["application/json"], isRequired: true)
    router.on(.post, "/v1/runs/{id}/state", body: body) { exchange throws(Problem) in
      let id = try exchange.runID()
      try exchange.refuseParameters()
      let request = try request(exchange)
      return Answer(try await exchange.bridge.setState(of: id, request, actor: exchange.actor))
    }
    router.on(.patch, "/v1/runs/{id}", body: .json) { exchange throws(Problem) in
      let id = try exchange.runID()
      try exchange.refuseParameters()
      var fields = try BodyFields(exchange.body)
      let change = try RunChange(fields.takeAll())
      return Answer(try await exchange.bridge.change(id, by: change, actor: exchange.actor))
    }
  }

  private static func request(_ exchange: Exchange) throws(Problem) -> StateRequest {
    var fields = try BodyFields(exchange.body)
    let allowed = StateRequest.askable.map(\.rawValue)
    var state: RunState?
    if let value = fields.value("state") {
      state = value.stringValue.flatMap(RunState.init(rawValue:))
      if state == nil {
        fields.refuse("state", "\(value.kind) is no state of a run; allowed: \(allowed.joined(separator: ", "))")
      }
    } else {
      fields.refuse("state", "state is missing; allowed: \(allowed.joined(separator: ", "))")
    }
    var request = StateRequest(state ?? .ready)
    request.isForced = fields.flag("force") ?? false
    request.transitionID = fields.text("transition_id", bytesMax: 512)
    if request.transitionID?.isEmpty ?? false {
      fields.refuse("transition_id", "an empty transition_id is not allowed; leave it out")
    }
    request.reason = fields.text("reason", bytesMax: RunsController.reasonBytesMax)
    request.runAt = fields.time("run_at")
    request.claim = fields.text("claim", bytesMax: 512)
    request.worker = fields.text("worker", bytesMax: 512)
    request.result = fields.value("result")?.canonical()
    if let error = fields.object("error") { request.error = read(error, &fields) }
    try fields.finish()
    return request
  }

  private static func read(_ object: JSONObject, _ fields: inout BodyFields) -> WorkerError {
    var error = WorkerError()
    for member in object.members {
      let text = member.value.stringValue
      switch member.key {
      case "type" where text != nil: error.type = text
      case "message" where text != nil: error.message = text
      case "retryable" where member.value.boolValue != nil: error.retryable = member.value.boolValue ?? true
      case "traceback" where text != nil: error.traceback = text
      case "details": error.details = member.value.canonical()
      default:
        fields.refuse(
          "error/\(member.key)",
          "\(member.key.prefix(128)): \(member.value.kind) is not allowed; allowed: type, message, traceback (strings), retryable (true or false), details"
        )
      }
    }
    return error
  }
}
