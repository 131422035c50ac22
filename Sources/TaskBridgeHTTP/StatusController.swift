import HTTPTypes
import TaskBridgeCore
import TaskBridgeEngine

/// How the bridge is.
enum StatusController {
  static func addRoutes(to router: inout Router) {
    router.on(.get, "/v1/snapshot") { exchange throws(Problem) in
      var reader = ParameterReader(try exchange.parameters())
      let domain = reader.domain("domain")
      try reader.finish(known: ["domain"])
      return Answer(try await exchange.bridge.snapshot(domain: domain))
    }
    router.on(.get, "/v1/queue/load") { exchange throws(Problem) in
      Answer(try await exchange.bridge.load(parameters: exchange.parameters()))
    }
    router.on(.get, "/v1/queue/status") { exchange throws(Problem) in
      Answer(
        try await exchange.bridge.queueStatus(ListQuery(parameters: exchange.parameters(), scope: "queue-status")))
    }
    router.on(.get, "/livez") { _ throws(Problem) in Answer { $0.member("status", "alive") } }
    router.on(.get, "/readyz") { exchange throws(Problem) in readiness(exchange.bridge.readiness) }
    router.on(.get, "/metrics") { exchange throws(Problem) in
      let snapshot = try await exchange.bridge.snapshot()
      let text = PrometheusText(snapshot, readiness: exchange.bridge.readiness).text
      return Answer(status: .ok, fields: Answer.metricsFields, body: Array(text.utf8))
    }
  }

  /// 200 when the whole work is done, else 503 with the reasons.
  private static func readiness(_ readiness: Readiness) -> Answer {
    var answer = Answer(status: readiness.isReady ? .ok : .serviceUnavailable) { json in
      json.member("status", readiness.isReady ? "ready" : "not_ready")
      json.key("reasons")
      json.array { json in for reason in readiness.reasons { json.value(reason) } }
    }
    if !readiness.isReady { answer.fields[.retryAfter] = "1" }
    return answer
  }
}
