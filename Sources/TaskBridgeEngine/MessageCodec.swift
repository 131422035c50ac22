package import AMQPClient
package import TaskBridgeCore
package import TaskBridgeStore

/// Messages out: what a worker, a dead-letter queue or a control listener receives (`contract.md` §2.2, §2.4).
package struct MessageCodec: Sendable {
  let names: ObjectNames
  let signer: TokenSigner

  package init(names: ObjectNames, signer: TokenSigner) {
    self.names = names
    self.signer = signer
  }

  /// The message of a dispatch; the same dispatch gives the same message id and token again.
  package func message(for dispatch: Dispatch, wire: Wire, now: Timestamp) -> AMQPMessage {
    let run = dispatch.run
    let token = signer.token(for: dispatch.id)
    var headers: [String: AMQPValue] = [
      "tb-run-id": .string(run.id.description),
      "tb-task": .string(run.task.rawValue),
      "tb-attempt": .int(Int64(run.attempt)),
      "tb-max-attempts": .int(Int64(dispatch.maxAttempts)),
      "tb-lease-seconds": .int(Int64(dispatch.leaseSeconds)),
    ]
    if let expiry = run.expiresAt { headers["tb-deadline"] = .string(expiry.description) }
    if let timeout = run.timeoutSeconds { headers["tb-timeout-seconds"] = Self.number(timeout) }
    if let workflow = run.workflowID { headers["tb-workflow-id"] = .string(workflow) }
    if let parent = run.parentID { headers["tb-parent-id"] = .string(parent.description) }
    if !run.resources.isEmpty { headers["tb-resources"] = .table(run.resources.mapValues(Self.number)) }
    if let traceparent = run.traceparent { headers["traceparent"] = .string(traceparent) }
    if let tracestate = run.tracestate { headers["tracestate"] = .string(tracestate) }
    let isEnvelope = wire == .envelope
    return AMQPMessage(
      exchange: names.runs, routingKey: run.task.rawValue, mandatory: true,
      properties: AMQPProperties(
        contentType: isEnvelope ? "application/json" : dispatch.payload.contentType,
        contentEncoding: isEnvelope ? nil : dispatch.payload.contentEncoding, headers: headers, deliveryMode: 2,
        priority: UInt8(9 - dispatch.effectivePriority * 10 / 256), correlationID: token, replyTo: names.events,
        messageID: dispatch.id.description, timestamp: UInt64(max(0, now.milliseconds / 1_000)),
        type: "taskbridge.run", appID: "taskbridge"),
      body: isEnvelope ? envelope(of: dispatch, token: token) : dispatch.payload.bytes)
  }

  private func envelope(of dispatch: Dispatch, token: String) -> [UInt8] {
    var json = JSONWriter(reserving: dispatch.payload.bytes.count + 512)
    json.object { json in
      json.member("run_id", dispatch.run.id)
      json.member("task", dispatch.run.task.rawValue)
      json.member("attempt", dispatch.run.attempt)
      json.member("max_attempts", dispatch.maxAttempts)
      json.member("token", token)
      json.member("reply_to", names.events)
      json.member("lease_seconds", dispatch.leaseSeconds)
      if dispatch.payload.isJSON {
        json.key("payload")
        json.raw(dispatch.payload.bytes)
      } else {
        json.member("payload_base64", Base64.text(dispatch.payload.bytes))
      }
    }
    return json.bytes
  }

  /// The id of the mirror message of one death.
  static func deadLetterID(_ run: RunID, replays: Int) -> String { "\(run).dead.\(replays)" }

  func message(for notice: Transaction.Notice, now: Timestamp) -> AMQPMessage {
    let run = notice.run
    if let letter = notice.deadLetter {
      var headers: [String: AMQPValue] = [
        "tb-run-id": .string(run.id.description),
        "tb-task": .string(run.task.rawValue),
        "tb-reason": .string(letter.reason),
        "tb-attempt": .int(Int64(notice.attempt)),
        "tb-fingerprint": .string(letter.fingerprint),
        "tb-dead-at": .string(letter.deadAt.description),
      ]
      if let type = letter.errorType { headers["tb-error-type"] = .string(type) }
      if let message = letter.errorMessage { headers["tb-error-message"] = .string(String(message.prefix(2_000))) }
      if let traceparent = run.traceparent { headers["traceparent"] = .string(traceparent) }
      return AMQPMessage(
        exchange: names.dead, routingKey: run.task.rawValue, mandatory: true,
        properties: AMQPProperties(
          contentType: letter.payload.contentType, contentEncoding: letter.payload.contentEncoding, headers: headers,
          deliveryMode: 2, messageID: Self.deadLetterID(run.id, replays: run.replays),
          timestamp: UInt64(max(0, letter.deadAt.milliseconds / 1_000)), type: "taskbridge.dead", appID: "taskbridge"),
        body: letter.payload.bytes)
    }
    var json = JSONWriter()
    json.object { json in
      json.member("run_id", run.id)
      json.member("task", run.task.rawValue)
      json.member("attempt", notice.attempt)
      json.member("action", "stop")
      json.member("reason", notice.reason)
    }
    return AMQPMessage(
      exchange: names.control, routingKey: "cancel.\(run.task.rawValue)", mandatory: false,
      properties: AMQPProperties(
        contentType: "application/json",
        headers: ["tb-run-id": .string(run.id.description), "tb-attempt": .int(Int64(notice.attempt))],
        deliveryMode: 1, timestamp: UInt64(max(0, now.milliseconds / 1_000)), type: "taskbridge.cancel",
        appID: "taskbridge"),
      body: json.bytes)
  }

  /// An answer to a submission or a report.
  func answer(_ body: [UInt8], to replyTo: String, correlationID: String?) -> AMQPMessage {
    AMQPMessage(
      exchange: "", routingKey: replyTo, mandatory: false,
      properties: AMQPProperties(
        contentType: "application/json", correlationID: correlationID, type: "taskbridge.reply", appID: "taskbridge"),
      body: body)
  }

  private static func number(_ value: Double) -> AMQPValue {
    Int64(exactly: value).map { .int($0) } ?? .double(value)
  }
}

/// Messages in, in the neutral form the core parses.
extension HeaderValue {
  init(_ value: AMQPValue) {
    switch value {
    case .null: self = .null
    case .bool(let value): self = .bool(value)
    case .int(let value): self = .int(value)
    case .uint(let value): self = Int64(exactly: value).map { .int($0) } ?? .double(Double(value))
    case .double(let value): self = .double(value)
    case .string(let value): self = .string(value)
    case .bytes(let value): self = .bytes(value)
    case .timestamp(let seconds):
      self = .timestamp(
        Timestamp(milliseconds: Int64(clamping: seconds).multipliedReportingOverflow(by: 1_000).partialValue))
    case .array(let values): self = .array(values.map(HeaderValue.init))
    case .table(let values): self = .table(values.mapValues(HeaderValue.init))
    }
  }
}

extension AMQPDelivery {
  package var submissionMessage: SubmissionMessage {
    SubmissionMessage(
      routingKey: routingKey, body: body, contentType: properties.contentType,
      contentEncoding: properties.contentEncoding, messageID: properties.messageID,
      headers: properties.headers.mapValues(HeaderValue.init))
  }

  package var reportMessage: ReportMessage {
    ReportMessage(
      body: body, correlationID: properties.correlationID, type: properties.type,
      headers: properties.headers.mapValues(HeaderValue.init))
  }

  /// Properties and headers as JSON text, for people who look at the quarantine.
  var propertiesText: String {
    var json = JSONWriter()
    json.object { json in
      json.member("exchange", exchange)
      json.member("content_type", properties.contentType)
      json.member("content_encoding", properties.contentEncoding)
      json.member("message_id", properties.messageID)
      json.member("type", properties.type)
      json.member("reply_to", properties.replyTo)
      json.member("app_id", properties.appID)
      json.member("user_id", properties.userID)
      json.key("headers")
      json.object { json in
        // The token is a secret, also in a message that was refused.
        for key in properties.headers.keys.sorted() where key != "tb-token" {
          json.member(key, String(describing: properties.headers[key] ?? .null).prefix(500).description)
        }
      }
    }
    return String(decoding: json.bytes, as: UTF8.self)
  }

  /// The headers' values as a JSON object, to read the message again; nil when there are none, empty when they have no
  /// such form or are too large.
  var headersText: String? {
    if properties.headers.isEmpty { return nil }
    let table = HeaderValue.table(properties.headers.mapValues(HeaderValue.init))
    guard let json = table.jsonValue?.json, json.count <= QuarantinedMessage.bodyBytesMax else { return "" }
    return String(decoding: json, as: UTF8.self)
  }
}
