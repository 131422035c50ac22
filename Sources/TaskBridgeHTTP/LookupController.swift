import HTTPTypes
import TaskBridgeCore
import TaskBridgeEngine

/// Finding an attempt or a run without its id.
enum LookupController {
  static func addRoutes(to router: inout Router) {
    // A body, not a path: a token is a permission and stands in no URL.
    router.on(.post, "/v1/attempts/lookup", body: .json) { exchange throws(Problem) in
      try exchange.refuseParameters()
      var fields = try BodyFields(exchange.body)
      let token = fields.text("token", bytesMax: tokenBytesMax)
      if token == nil { fields.refuse("token", "token is missing; give the token of a run's message") }
      try fields.finish()
      return Answer(try await exchange.bridge.attempt(token: token ?? ""))
    }
    router.on(.get, "/v1/arrays/{workflow}/{array}/{index}/attempt") { exchange throws(Problem) in
      try exchange.refuseParameters()
      guard let index = Int(exchange.captures[2]), (0...Int(Int32.max)).contains(index) else {
        throw Problem(
          422, "invalid_field",
          "the index is \"\(exchange.captures[2].prefix(64))\", a whole number 0...\(Int32.max) is allowed")
      }
      return Answer(
        try await exchange.bridge.attempt(workflow: exchange.captures[0], array: exchange.captures[1], index: index))
    }
    router.on(.get, "/v1/lookup") { exchange throws(Problem) in
      var reader = ParameterReader(try exchange.parameters())
      let dedupKey = reader.text("dedup_key")
      let name = reader.text("task", bytesMax: 130)
      let task = name.flatMap { TaskKey($0) }
      if task == nil, reader.faults.isEmpty {
        reader.refuse("?task", "task is \(name.map { "\"\($0)\"" } ?? "missing"): \(TaskKey.grammar)")
      }
      if dedupKey == nil, reader.faults.isEmpty { reader.refuse("?dedup_key", "dedup_key is missing") }
      try reader.finish(known: ["task", "dedup_key"])
      guard let task, let dedupKey else { throw Problem(422, "invalid_field", "task and dedup_key are wanted") }
      return Answer(try await exchange.bridge.lookup(task: task, dedupKey: dedupKey))
    }
  }

  /// Longest token that is looked at, in bytes.
  private static let tokenBytesMax = 200
}
