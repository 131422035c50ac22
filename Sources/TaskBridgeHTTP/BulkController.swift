import HTTPTypes
import TaskBridgeCore
import TaskBridgeEngine

/// Calls on many runs or dead letters.
enum BulkController {
  static func addRoutes(to router: inout Router) {
    for verb in BulkVerb.allCases {
      router.on(.post, path(verb), body: .json) { exchange throws(Problem) in try await bulk(verb, exchange) }
    }
    router.on(.get, "/v1/runs/{id}/payloads") { exchange throws(Problem) in
      let id = try exchange.runID()
      try exchange.refuseParameters()
      return Answer(try await exchange.bridge.payloadHistory(of: id))
    }
  }

  private static func path(_ verb: BulkVerb) -> String {
    switch verb {
    case .cancel, .retry, .pause, .resume: "/v1/runs/\(verb.rawValue)"
    case .replay, .discard: "/v1/dead-letters/\(verb.rawValue)"
    }
  }

  private static func bulk(_ verb: BulkVerb, _ exchange: Exchange) async throws(Problem) -> Answer {
    try exchange.refuseParameters()
    var fields = try BodyFields(exchange.body)
    let selection = BulkSelection(&fields, verb)
    let dryRun = fields.flag("dry_run") ?? false
    let options = options(verb, &fields)
    try fields.finish()
    var request = try selection.request(verb)
    request.options = options
    let answer = try await exchange.bridge.bulk(
      request, asOf: selection.asOf, dryRun: dryRun, actor: exchange.actor)
    guard let job = answer.jobID else { return Answer(answer) }
    var accepted = Answer(status: .accepted, answer)
    accepted.fields[.location] = "/v1/jobs/\(job)"
    return accepted
  }

  private static func options(_ verb: BulkVerb, _ fields: inout BodyFields) -> BulkOptions {
    var options = BulkOptions()
    switch verb {
    case .cancel, .pause, .resume, .discard:
      options.reason = fields.text("reason", bytesMax: RunsController.reasonBytesMax)
    case .retry: options.retry = RunsController.retryOptions(&fields)
    case .replay:
      options.reason = fields.text("reason", bytesMax: RunsController.reasonBytesMax)
      options.patch = fields.object("patch").map { .object($0) }
      options.ratePerSecond = fields.number("rate_per_second", in: BulkOptions.rateRange)
      options.canary = fields.integer("canary", in: BulkOptions.canaryRange)
      if let wait = fields.number("canary_wait_seconds", in: BulkOptions.canaryWaitRange) {
        options.canaryWaitSeconds = wait
        if options.canary == nil {
          fields.refuse("canary_wait_seconds", "canary_wait_seconds is given without canary; say how many go first")
        }
      }
    }
    return options
  }
}

/// Which rows a call is for: `filter`, `ids` (of dead letters), `all`, `as_of`.
struct BulkSelection {
  private let filter: JSONObject?
  private let ids: [RunID]?
  private let isAll: Bool
  let asOf: Timestamp?

  init(_ fields: inout BodyFields, _ verb: BulkVerb) {
    filter = fields.object("filter")
    switch verb {
    case .cancel, .retry, .pause, .resume: ids = nil
    case .replay, .discard: ids = fields.list("ids", count: 1...RunFilter.idsMax, of: "run ids") { RunID($0) }
    }
    isAll = fields.flag("all") ?? false
    asOf = fields.time("as_of")
  }

  /// - Throws: 422 for a filter that is wrong; `empty_filter` when nothing is chosen and not `all` said.
  func request(_ verb: BulkVerb) throws(Problem) -> BulkRequest {
    if let ids {
      guard filter == nil, !isAll else {
        throw Problem(422, "invalid_field", "ids and filter exclude each other: give one of them")
      }
      return BulkRequest(verb, ids: ids)
    }
    let request = try BulkRequest(verb, filter: filter ?? JSONObject())
    guard request.isEverything, !isAll else { return request }
    let names = RunFilter.names.map { $0 == "tag.<key>" ? "tags" : $0 }
    throw Problem(
      422, "empty_filter",
      verb == .replay || verb == .discard
        ? "say which dead letters: ids, or a filter by \(DeadLetterFilter.names.dropLast().joined(separator: ", ")), or \"all\": true"
        : "say which runs: a filter by \(names.joined(separator: ", ")), or \"all\": true")
  }
}

extension BodyFields {
  fileprivate mutating func number(_ name: String, in range: ClosedRange<Double>) -> Double? {
    guard let number = number(name) else { return nil }
    if range.contains(number) { return number }
    refuse(name, "\(name) is \(number), a number \(range.lowerBound)...\(range.upperBound) is allowed")
    return nil
  }
}
