import HTTPTypes
import TaskBridgeCore
import TaskBridgeEngine

/// Deleting runs that have ended.
enum PruneController {
  static func addRoutes(to router: inout Router) {
    router.on(.post, "/v1/prune", body: .json) { exchange throws(Problem) in
      try exchange.refuseParameters()
      var fields = try BodyFields(exchange.body)
      let dryRun = fields.flag("dry_run") ?? false
      return Answer(try await exchange.bridge.prune(request(&fields), dryRun: dryRun))
    }
    router.on(.delete, "/v1/runs/{id}") { exchange throws(Problem) in
      let id = try exchange.runID()
      try exchange.refuseParameters()
      try await exchange.bridge.delete(id)
      return Answer(status: .noContent, fields: Answer.emptyFields, body: [])
    }
  }

  /// - Throws: 422 for negative numbers, both or neither criterion, and states that are no ends.
  private static func request(_ fields: inout BodyFields) throws(Problem) -> PruneRequest {
    let keepLast = fields.integer("keep_last", in: PruneRequest.keepLastRange)
    let days = fields.number("older_than_days")
    if let days, !PruneRequest.daysRange.contains(days) {
      fields.refuse("older_than_days", "older_than_days is \(days), 0...36500 days are allowed")
    }
    let ends = RunState.allCases.filter(\.isTerminal)
    let names = ends.map(\.rawValue).joined(separator: ", ")
    let states = fields.list("states", count: 1...ends.count, of: "ended states (\(names))") { name in
      RunState(rawValue: name).flatMap { $0.isTerminal ? $0 : nil }
    }
    let task = fields.text("task", bytesMax: 120).flatMap { text -> TaskKey? in
      let key = TaskKey(text)
      if key == nil { fields.refuse("task", "\"\(text)\" is no task key: \(TaskKey.grammar)") }
      return key
    }
    try fields.finish()
    switch (keepLast, days) {
    case (let count?, nil): return PruneRequest(.keepLast(count), states: states ?? [], task: task)
    case (nil, let days?): return PruneRequest(.olderThanDays(days), states: states ?? [], task: task)
    case (nil, nil), (.some, .some):
      throw Problem(
        422, "invalid_field", "give one of keep_last and older_than_days",
        errors: ["keep_last", "older_than_days"].map { Fault(pointer: "/\($0)", detail: "one of the two is wanted") })
    }
  }
}
