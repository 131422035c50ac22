import HTTPTypes
import TaskBridgeCore
import TaskBridgeEngine

/// Messages that could not be understood or were not allowed.
enum QuarantineController {
  static func addRoutes(to router: inout Router) {
    router.on(.get, "/v1/quarantine") { exchange throws(Problem) in
      Answer(try await exchange.bridge.quarantine(QuarantineView.Query(parameters: exchange.parameters())))
    }
    router.on(.post, "/v1/quarantine/{id}/release", body: .optionalJSON) { exchange throws(Problem) in
      let id = try messageID(exchange)
      return switch try await exchange.bridge.releaseQuarantined(id, actor: exchange.actor) {
      case .submission(let answer): RunsController.answer(to: answer)
      case .report(let answer): Answer(answer)
      }
    }
    router.on(.post, "/v1/quarantine/{id}/discard", body: .optionalJSON) { exchange throws(Problem) in
      let id = try messageID(exchange)
      try await exchange.bridge.discardQuarantined(id)
      return Answer { json in
        json.member("id", id)
        json.member("outcome", "discarded")
      }
    }
  }

  private static func messageID(_ exchange: Exchange) throws(Problem) -> Int64 {
    try exchange.refuseParameters()
    var fields = try BodyFields(exchange.body)
    try fields.finish()
    let text = exchange.captures.first ?? ""
    if let id = Int64(text), id > 0 { return id }
    throw Problem(
      422, "invalid_field", "\"\(text.prefix(64))\" is no number of a message; GET /v1/quarantine lists them as id")
  }
}
