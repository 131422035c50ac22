public import TaskBridgeCore
import TaskBridgeStore

/// What became of a kept message that was taken after all.
public enum ReleasedMessage: Sendable {
  case submission(SubmissionAnswer)
  case report(ReportAnswer)
}

/// Messages that could not be understood or were not allowed: once the cause is gone they are taken, or given up.
extension TaskBridge {
  /// Takes a kept message as if it came now; it leaves the quarantine in the same transaction.
  ///
  /// - Throws: 404 `quarantine_not_found`, 409 `quarantine_truncated`; what is still wrong with it, and it stays.
  public func releaseQuarantined(_ id: Int64, actor: String) async throws(Problem) -> ReleasedMessage {
    let kept = try await answering { transaction throws(StoreError) in
      try transaction.quarantined(id).map { .success($0) } ?? .failure(.quarantineNotFound(id))
    }
    guard kept.headers != "" else {
      throw Problem(
        409, "quarantine_truncated", "not all headers of message \(id) could be kept; send it again, or discard it")
    }
    guard kept.body.count == kept.bodyBytes else {
      throw Problem(
        409, "quarantine_truncated",
        "message \(id) had \(kept.bodyBytes) bytes, the first \(kept.body.count) were kept; send it again, or discard it"
      )
    }
    switch kept.source {
    case .submit: return .submission(try await submit(kept, id: id, actor: actor))
    case .events, .returned: return .report(try await report(kept, id: id))
    }
  }

  /// Gives a kept message up.
  /// - Throws: 404 `quarantine_not_found`.
  public func discardQuarantined(_ id: Int64) async throws(Problem) {
    try await answering { transaction throws(StoreError) in
      try transaction.endQuarantine(id) ? .success(()) : .failure(.quarantineNotFound(id))
    }
  }

  private func submit(_ kept: QuarantinedMessage, id: Int64, actor: String) async throws(Problem) -> SubmissionAnswer {
    try checkBacklog()
    let (now, context, routingKey) = (now(), context, kept.routingKey ?? "")
    let properties = try kept.fields(kept.properties)
    let message = SubmissionMessage(
      routingKey: routingKey, body: kept.body, contentType: properties["content_type"]?.stringValue,
      contentEncoding: properties["content_encoding"]?.stringValue, messageID: properties["message_id"]?.stringValue,
      headers: try kept.headerValues())
    let wish = try context.wish(of: message, now: now)
    return try await answering { transaction throws(StoreError) in
      guard try transaction.quarantined(id) != nil else { return .failure(.quarantineNotFound(id)) }
      switch try context.fulfil(wish, routingKey: routingKey, in: transaction, now: now, actor: actor) {
      case .success(let result):
        let answer = try context.answer(result, in: transaction)
        if let problem = answer.problem { return .failure(problem) }
        _ = try transaction.endQuarantine(id)
        return .success(answer)
      case .failure(let problem): return .failure(problem)
      }
    }
  }

  private func report(_ kept: QuarantinedMessage, id: Int64) async throws(Problem) -> ReportAnswer {
    guard kept.code != VerdictCode.malformed.rawValue else {
      throw Problem(422, "malformed", "\(kept.detail); that does not change, discard message \(id)")
    }
    let properties = try kept.fields(kept.properties)
    let report = try WorkerReport.parse(
      ReportMessage(
        body: kept.body, correlationID: kept.correlationID, type: properties["type"]?.stringValue,
        headers: try kept.headerValues()))
    let unknown = Problem(422, "unknown_token", "the token of message \(id) belongs to no run of this store")
    guard let dispatch = context.signer.verify(report.token) else { throw unknown }
    let verified = VerifiedReport(
      report, dispatch: dispatch, via: .http, receivedAt: now(), jitter: context.jitter())
    let policies = context.policyLookup
    return try await answering { transaction throws(StoreError) in
      guard try transaction.quarantined(id) != nil else { return .failure(.quarantineNotFound(id)) }
      let answer = try transaction.report(verified, policies: policies)
      guard answer.code != .unknownToken else { return .failure(unknown) }
      _ = try transaction.endQuarantine(id)
      return .success(answer)
    }
  }
}

extension QuarantinedMessage {
  /// The members of a stored JSON object; none when there is none.
  fileprivate func fields(_ text: String?) throws(Problem) -> JSONObject {
    guard let text else { return JSONObject(members: []) }
    let value: JSONValue
    do { value = try JSONValue.parse(Array(text.utf8)) } catch { throw Problem(500, "store_damaged", "\(error)") }
    return value.objectValue ?? JSONObject(members: [])
  }

  fileprivate func headerValues() throws(Problem) -> [String: HeaderValue] {
    var values: [String: HeaderValue] = [:]
    for member in try fields(headers).members { values[member.key] = HeaderValue(member.value) }
    return values
  }
}

extension HeaderValue {
  /// The value that was written as `json`.
  init(_ json: JSONValue) {
    switch json {
    case .null: self = .null
    case .bool(let value): self = .bool(value)
    case .number(let number): self = number.int64.map { .int($0) } ?? .double(Double(number.text) ?? 0)
    case .string(let text): self = .string(text)
    case .array(let elements): self = .array(elements.map(HeaderValue.init))
    case .object(let object):
      self = .table(
        Dictionary(object.members.map { ($0.key, HeaderValue($0.value)) }, uniquingKeysWith: { $1 }))
    }
  }
}

extension Problem {
  fileprivate static func quarantineNotFound(_ id: Int64) -> Problem {
    Problem(
      404, "quarantine_not_found",
      "the quarantine has no message \(id); GET /v1/quarantine lists those that it has")
  }
}
