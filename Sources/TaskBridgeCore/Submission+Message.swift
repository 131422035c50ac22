extension Submission {
  /// The content type of a body that is a submission.
  public static let describedContentType = "application/vnd.taskbridge.submission+json"

  /// Headers that only the bridge writes: on a submission they would be believed by somebody.
  static let reservedHeaders: Set<String> = [
    "tb-run-id", "tb-token", "tb-state", "tb-attempt", "tb-dispatch", "tb-deadline", "tb-reason", "tb-error-type",
    "tb-error-message", "tb-fingerprint", "tb-dead-at",
  ]

  /// Reads a message from `taskbridge.submit`: plain, described or a CloudEvent (contract §2.1).
  ///
  /// A moved dead letter (``SubmissionMessage/replayRunID``) is not for this function.
  /// - Throws: a `Problem`: 400 for what can't be read, 415 for a coding that is not undone, else 422 or 413.
  public static func parse(
    message: SubmissionMessage, limits: SubmissionLimits = SubmissionLimits()
  ) throws(Problem) -> Submission {
    if let fault = headerFault(message.headers) { throw Problem(400, "malformed", fault) }
    var draft = SubmissionDraft(limits: limits)
    draft.apply(headers: message.headers)
    switch try MessageForm(of: message) {
    case .plain:
      draft.setPayload(
        Payload(bytes: message.body, contentType: message.contentType, contentEncoding: message.contentEncoding))
    case .described: try draft.apply(described: message)
    case .structuredEvent: try draft.apply(event: message)
    case .binaryEvent: draft.apply(eventHeaders: message)
    }
    draft.settleTask(routingKey: message.routingKey)
    if draft.submission.idempotencyKey == nil, let id = message.messageID, !id.isEmpty {
      if let wrong = fieldTextFault(id, bytesMax: SubmissionLimits.keyBytesMax) {
        draft.fault("/properties/message_id", wrong)
      } else {
        draft.setIdempotencyKey(id)
      }
    }
    draft.judge(pointer: "")
    if !draft.faults.isEmpty { throw Problem(faults: draft.faults) }
    return draft.submission
  }
}

/// In which of the ways a message says what to run.
private enum MessageForm {
  case plain
  case described
  case structuredEvent
  case binaryEvent

  init(of message: SubmissionMessage) throws(Problem) {
    switch mediaType(message.contentType ?? "") {
    case Submission.describedContentType: self = .described
    case "application/cloudevents+json": self = .structuredEvent
    case "application/cloudevents-batch+json":
      throw Problem(422, "invalid_field", "a batch of CloudEvents is not taken; send one message per event")
    default: self = message.headers.keys.contains { $0.utf8.starts(with: "ce-".utf8) } ? .binaryEvent : .plain
    }
    guard self == .described || self == .structuredEvent else { return }
    switch (message.contentEncoding ?? "").lowercased() {
    case "", "identity", "utf-8", "utf8": return
    default:
      throw Problem(
        415, "unsupported_media_type",
        "content_encoding \((message.contentEncoding ?? "").quotedForError) is not undone for a body that the bridge "
          + "reads; send it without, or as a plain message", allowed: ["identity", "utf-8"])
    }
  }
}

extension SubmissionDraft {
  /// Takes the `tb-` headers, and the trace.
  fileprivate mutating func apply(headers: [String: HeaderValue]) {
    for (name, value) in headers.sorted(by: { $0.key < $1.key }) {
      if name.utf8.starts(with: "tb-".utf8) { apply(header: name, value) }
    }
    adoptTrace(headers)
    if submission.runAt != nil, submission.delaySeconds != nil {
      fault("/headers/tb-delay-seconds", "tb-delay-seconds and tb-run-at are given together; give one of them")
    }
  }

  private mutating func apply(header name: String, _ value: HeaderValue) {
    let place = FieldReader.Place.header(name)
    if Submission.reservedHeaders.contains(name) {
      return fault(
        place.pointer, "the header \(name) is written by the bridge alone; leave it out of a new submission",
        code: "reserved_header")
    }
    let field = String(name.dropFirst(3).map { $0 == "-" ? "_" : $0 })
    guard let shape = HeaderShape(field: field), !name.utf8.contains(UInt8(ascii: "_")) else {
      var reader = FieldReader(value: .null, place: place)
      reader.unknown(among: HeaderShape.headerNames)
      return adopt(reader.faults)
    }
    guard let json = shape.json(value) else {
      return fault(place.pointer, "the value is neither text nor \(shape.words)")
    }
    set(field, json, place)
  }

  /// A trace that can't be carried is dropped: it is the tracer's, not the submission's.
  private mutating func adoptTrace(_ headers: [String: HeaderValue]) {
    for name in ["traceparent", "tracestate"] {
      guard let text = headers[name]?.text, fieldTextFault(text, bytesMax: SubmissionLimits.traceBytesMax) == nil else {
        continue
      }
      set(name, .string(text), .header(name))
    }
  }

  fileprivate mutating func apply(described message: SubmissionMessage) throws(Problem) {
    let object = try Submission.readObject(message.body, raw: .outermost("payload"), what: "a submission")
    apply(object, source: message.body, pointer: "")
    completePayload()
  }

  /// The routing key names the task; whatever else names it has to agree.
  fileprivate mutating func settleTask(routingKey: String) {
    if hasWrongTask { return }
    if routingKey.isEmpty, task != nil { return }
    guard let key = TaskKey(routingKey) else {
      return fault(
        "/routing_key", "the routing key \(routingKey.quotedForError) is no task key; allowed: \(TaskKey.grammar)",
        code: "invalid_task")
    }
    if let task, task != key {
      return fault(
        "/task", "the task is \(task), the routing key \(key); publish with the task key as the routing key",
        code: "task_mismatch")
    }
    setTask(key)
  }
}

// MARK: CloudEvents

extension SubmissionDraft {
  fileprivate mutating func apply(event message: SubmissionMessage) throws(Problem) {
    let event = try Submission.readObject(message.body, raw: .outermost("data"), what: "a CloudEvent")
    let attribute = { (name: String) in event[name].flatMap { $0.isNull ? nil : $0 } }
    identify(
      source: attribute("source")?.stringValue, id: attribute("id")?.stringValue,
      version: attribute("specversion")?.stringValue ?? (attribute("specversion") == nil ? nil : ""), place: "")
    for name in ["traceparent", "tracestate"] {
      guard let text = attribute(name)?.stringValue,
        fieldTextFault(text, bytesMax: SubmissionLimits.traceBytesMax) == nil
      else { continue }
      set(name, .string(text), .member(of: "", key: name))
    }
    let type = attribute("datacontenttype")?.stringValue
    if let base64 = attribute("data_base64") {
      if event.member("data") != nil {
        fault("/data_base64", "data and data_base64 are given together; give one of them")
      }
      guard let bytes = base64.stringValue.flatMap({ Base64.decode($0) }) else {
        return fault("/data_base64", "\(base64.kind) is not base64")
      }
      setPayload(Payload(bytes: bytes, contentType: type ?? "application/octet-stream"))
    } else if let data = event.member("data") {
      setPayload(
        Payload(bytes: eventData(Array(message.body[data.range]), type), contentType: type ?? "application/json"))
    } else {
      setPayload(Payload(bytes: Array("null".utf8), contentType: "application/json"))
    }
  }

  /// Data of a type that is not JSON stands in the event as a string, and is what the string says.
  private func eventData(_ json: [UInt8], _ type: String?) -> [UInt8] {
    guard let type, json.first == UInt8(ascii: "\"") else { return json }
    let media = mediaType(type)
    if media.hasSuffix("/json") || media.hasSuffix("+json") { return json }
    do {
      guard case .string(let text) = try JSONValue.parse(json) else { return json }
      return Array(text.utf8)
    } catch {
      // The whole event has been parsed: its parts are valid too.
      preconditionFailure("the data of a parsed event is no JSON: \(error)")
    }
  }

  fileprivate mutating func apply(eventHeaders message: SubmissionMessage) {
    let headers = message.headers
    identify(
      source: headers["ce-source"]?.text, id: headers["ce-id"]?.text,
      version: headers["ce-specversion"].map { $0.text ?? "" }, place: "/headers")
    for name in ["traceparent", "tracestate"] where headers[name] == nil {
      guard let text = headers["ce-" + name]?.text,
        fieldTextFault(text, bytesMax: SubmissionLimits.traceBytesMax) == nil
      else { continue }
      set(name, .string(text), .header("ce-" + name))
    }
    setPayload(
      Payload(bytes: message.body, contentType: message.contentType, contentEncoding: message.contentEncoding))
  }

  /// Source and id together name the event, and so the request.
  private mutating func identify(source: String?, id: String?, version: String?, place: String) {
    let prefix = place.isEmpty ? "/" : place + "/ce-"
    if let version, !version.hasPrefix("1.") {
      fault(prefix + "specversion", "\(version.quotedForError) is no version that is read; allowed: 1.0")
    }
    guard let source, !source.isEmpty else {
      return fault(prefix + "source", "a CloudEvent needs a source, a text that is not empty")
    }
    guard let id, !id.isEmpty else {
      return fault(prefix + "id", "a CloudEvent needs an id, a text that is not empty")
    }
    if submission.idempotencyKey != nil { return }
    let key = source + "#" + id
    if let wrong = fieldTextFault(key, bytesMax: SubmissionLimits.keyBytesMax) {
      fault(prefix + "id", "source and id together are the idempotency key: \(wrong)")
    } else {
      setIdempotencyKey(key)
    }
  }
}

// MARK: Headers as fields

/// What a field's header may look like: AMQP clients can't all send every type, so texts are read by the field's rule.
private enum HeaderShape {
  case integer
  case number
  case flag
  case text
  case list
  case tags
  case object

  /// `nil` for a field that no header has.
  init?(field: String) {
    switch field {
    case "priority", "max_attempts", "max_lost", "lease_seconds", "array_index": self = .integer
    case "delay_seconds", "ttl_seconds", "timeout_seconds": self = .number
    case "fail_fast": self = .flag
    case "task", "run_at", "expires_at", "ttl_from", "dedup_key", "on_duplicate", "idempotency_key",
      "on_dependency_failure", "parent_id", "group", "name", "workflow_id", "template", "array", "traceparent",
      "tracestate":
      self = .text
    case "depends_on", "fallback_tasks": self = .list
    case "tags": self = .tags
    case "retry", "resources", "resource_scales": self = .object
    default: return nil
    }
  }

  static let headerNames = Submission.fieldNames
    .filter { HeaderShape(field: $0) != nil }
    .map { "tb-" + $0.map { $0 == "_" ? "-" : String($0) }.joined() }

  var words: String {
    switch self {
    case .integer: "an integer"
    case .number: "a number"
    case .flag: "true or false"
    case .text: "a number"
    case .list: "a list of texts"
    case .tags, .object: "a table"
    }
  }

  /// The value as the body would have it; a text that does not fit stays a text, for the field to refuse.
  func json(_ value: HeaderValue) -> JSONValue? {
    guard let text = value.text else {
      if case .text = self, case .int(let number) = value { return .string(String(number)) }
      if case .tags = self { return value.jsonValue.map(tagTexts) }
      return value.jsonValue
    }
    switch self {
    case .integer, .number: return scalar(text) { $0.doubleValue != nil }
    case .flag: return scalar(text) { $0.boolValue != nil }
    case .text: return .string(text)
    case .list: return list(text)
    case .tags: return tagTexts(parsed(text) ?? .string(text))
    case .object: return parsed(text) ?? .string(text)
    }
  }

  private func scalar(_ text: String, _ fits: (JSONValue) -> Bool) -> JSONValue {
    if let value = parsed(text), fits(value) { return value }
    return .string(text)
  }

  private func list(_ text: String) -> JSONValue {
    let isSpace = { (character: Character) in character == " " || character == "\t" }
    if text.first(where: { !isSpace($0) }) == "[", let value = parsed(text) { return value }
    let parts = text.split(separator: ",").map { part in
      var part = part.drop(while: isSpace)
      while let last = part.last, isSpace(last) { part.removeLast() }
      return String(part)
    }
    return .array(parts.filter { !$0.isEmpty }.map { .string($0) })
  }

  private func parsed(_ text: String) -> JSONValue? {
    do {
      return try JSONValue.parse(text)
    } catch {
      return nil
    }
  }

  /// Clients send numbers in tables as numbers: as tags they are their texts.
  private func tagTexts(_ value: JSONValue) -> JSONValue {
    guard case .object(let object) = value else { return value }
    return .object(
      JSONObject(
        members: object.members.map { member in
          guard case .number(let number) = member.value else { return member }
          return JSONObject.Member(key: member.key, value: .string(number.text))
        }))
  }
}

/// Type and subtype in lower case, without parameters.
private func mediaType(_ contentType: String) -> String {
  // As it nearly always comes.
  if contentType == "application/json" || contentType.isEmpty { return contentType }
  return String(contentType.prefix { $0 != ";" }).lowercased().filter { $0 != " " && $0 != "\t" }
}
