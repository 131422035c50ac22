import HTTPTypes
import TaskBridgeCore
import TaskBridgeEngine

/// Submitting, listing, showing, cancelling and replaying runs.
enum RunsController {
  static func addRoutes(to router: inout Router, payloadBytesMax: Int) {
    let limits = SubmissionLimits(payloadBytesMax: payloadBytesMax)
    let submission = BodyRule.submission(payloadBytesMax: payloadBytesMax)
    let batch = BodyRule(
      bytesMax: HTTPLimits.batchBytesMax, contentTypes: ["application/json", "application/x-ndjson"], isRequired: true)
    router.on(.post, "/v1/runs", body: submission) { exchange throws(Problem) in
      try await submit(exchange, limits: limits)
    }
    router.on(.post, "/v1/runs/batch", body: batch) { exchange throws(Problem) in
      try await submitBatch(exchange, limits: limits)
    }
    router.on(.get, "/v1/runs") { exchange throws(Problem) in
      Answer(try await exchange.bridge.runs(RunQuery(parameters: exchange.parameters())))
    }
    router.on(.post, "/v1/runs/count", body: .optionalJSON) { exchange throws(Problem) in try await count(exchange) }
    router.on(.post, "/v1/runs/history", body: .json) { exchange throws(Problem) in try await history(exchange) }
    router.on(.get, "/v1/runs/{id}") { exchange throws(Problem) in try await show(exchange) }
    router.on(.post, "/v1/runs/{id}/cancel", body: .optionalJSON) { exchange throws(Problem) in
      try await cancel(exchange)
    }
    router.on(.post, "/v1/runs/{id}/retry", body: .optionalJSON) { exchange throws(Problem) in
      try await retry(exchange)
    }
  }

  private static func submit(_ exchange: Exchange, limits: SubmissionLimits) async throws(Problem) -> Answer {
    try exchange.refuseParameters()
    let submission = try Submission.parse(
      body: exchange.body, idempotencyKeyHeader: exchange.head.headerFields[.idempotencyKey], limits: limits)
    return answer(to: try await exchange.bridge.submit(submission, actor: exchange.actor))
  }

  /// What a submission is answered with.
  static func answer(to answer: SubmissionAnswer) -> Answer {
    var response = Answer(status: HTTPResponse.Status(code: answer.httpStatus), answer)
    if answer.problem != nil { response.fields = Answer.problemFields }
    response.fields[.location] = "/v1/runs/\(answer.run.run.id)"
    return response
  }

  private static func submitBatch(_ exchange: Exchange, limits: SubmissionLimits) async throws(Problem) -> Answer {
    try exchange.refuseParameters()
    if exchange.head.headerFields[.idempotencyKey] != nil {
      throw Problem(
        422, "invalid_field", "a batch has no idempotency key of its own: give each of its runs an idempotency_key",
        errors: [Fault(pointer: "/headers/idempotency-key", detail: "not allowed on a batch")])
    }
    let isLines = exchange.head.headerFields[.contentType].map { ContentType.essence($0) } == "application/x-ndjson"
    let batch =
      isLines
      ? try Submission.parseNDJSON(body: exchange.body, limits: limits)
      : try Submission.parseBatch(body: exchange.body, limits: limits)
    let answers = try await exchange.bridge.submit(
      batch: batch.submissions, superseding: batch.supersedesWorkflowID, actor: exchange.actor)
    return Answer { json in json.member("items", array: answers) }
  }

  private static func count(_ exchange: Exchange) async throws(Problem) -> Answer {
    try exchange.refuseParameters()
    guard !exchange.body.isEmpty else { return Answer(try await exchange.bridge.count(RunFilter())) }
    let value: JSONValue
    do throws(JSONError) { value = try JSONValue.parse(exchange.body) } catch { throw Problem(error) }
    guard case .object(let object) = value else {
      throw Problem(422, "invalid_field", "the body is \(value.kind), an object of filters is wanted")
    }
    return Answer(try await exchange.bridge.count(RunFilter(json: object)))
  }

  private static func history(_ exchange: Exchange) async throws(Problem) -> Answer {
    try exchange.refuseParameters()
    var fields = try BodyFields(exchange.body)
    fields.require("start", "end", "interval_seconds")
    let (start, end) = (fields.time("start"), fields.time("end"))
    let intervalSeconds = fields.number("interval_seconds")
    let filter = fields.object("filter") ?? JSONObject()
    try fields.finish()
    let query = try RunHistoryQuery(
      start: start ?? .earliest, end: end ?? .latest, intervalSeconds: intervalSeconds ?? 0,
      filter: RunFilter(json: filter, pointer: "/filter"))
    return Answer(try await exchange.bridge.history(query))
  }

  private static func show(_ exchange: Exchange) async throws(Problem) -> Answer {
    let id = try exchange.runID()
    var reader = ParameterReader(try exchange.parameters())
    let includesPayload = reader.bool("payload") ?? true
    try reader.finish(known: ["payload"])
    return Answer(try await exchange.bridge.run(id, includesPayload: includesPayload))
  }

  private static func cancel(_ exchange: Exchange) async throws(Problem) -> Answer {
    let id = try exchange.runID()
    return Answer(try await exchange.bridge.cancel(id, reason: exchange.reason(), actor: exchange.actor))
  }

  private static func retry(_ exchange: Exchange) async throws(Problem) -> Answer {
    let id = try exchange.runID()
    try exchange.refuseParameters()
    var fields = try BodyFields(exchange.body)
    let options = retryOptions(&fields)
    try fields.finish()
    return Answer(try await exchange.bridge.retry(id, options: options, actor: exchange.actor))
  }

  /// What one replay may say, and a bulk one.
  static func retryOptions(_ fields: inout BodyFields) -> RetryOptions {
    var options = RetryOptions()
    options.reason = fields.text("reason", bytesMax: reasonBytesMax)
    options.force = fields.flag("force") ?? false
    options.priority = fields.integer("priority", in: 0...255)
    options.runAt = fields.time("run_at")
    options.maxAttempts = fields.integer("max_attempts", in: 1...1_000)
    options.withDependents = fields.flag("with_dependents") ?? false
    return options
  }

  /// Longest reason people can give, in bytes.
  static let reasonBytesMax = 1_024
}

extension HTTPField.Name {
  static let idempotencyKey = Self("Idempotency-Key")!
}
