/// A run as callers see it (`contract.md` §3.2 "Run:").
///
/// What the store keeps as JSON text stays text: it is spliced into answers, never decoded.
public struct RunView: Sendable, Equatable, JSONWritable {
  public var run: Run
  /// JSON object of strings; nil when there are none.
  public var tags: String?
  /// JSON array of run ids; nil when there are none.
  public var dependsOn: String?
  /// JSON object; nil before the first progress report.
  public var progress: String?
  /// JSON, as the worker sent it; nil before completion.
  public var result: [UInt8]?
  /// JSON object; nil while nothing failed.
  public var lastError: String?
  /// Why a ready run is not released.
  public var heldBy: [Hold] = []
  /// Of a blocked run: what it waits for, at most ``blockersMax``. Nil of others, and where nobody has looked it up.
  public var blockedBy: [RunID]?
  /// What holds for the run: its own, else that of its task key or the bridge. Nil where nobody has looked it up: then
  /// the run's own is shown.
  public var maxAttempts: Int?
  /// After aging; 0 first.
  public var effectivePriority: Int
  /// Only where the payload was asked for.
  public var payload: Payload?

  /// Most runs that ``blockedBy`` names.
  public static let blockersMax = 100

  public init(_ run: Run) {
    self.run = run
    effectivePriority = run.priority
  }

  public func write(to json: inout JSONWriter) {
    json.object { json in
      json.member("id", run.id)
      json.member("task", run.task.rawValue)
      json.member("state", run.state.rawValue)
      json.member("attempt", run.attempt)
      json.member("max_attempts", maxAttempts ?? run.maxAttempts)
      json.member("priority", run.priority)
      json.member("effective_priority", effectivePriority)
      json.member("created_at", run.createdAt)
      json.member("run_at", run.runAt)
      json.member("queued_at", run.queuedAt)
      json.member("launched_at", run.launchedAt)
      json.member("started_at", run.startedAt)
      json.member("finished_at", run.finishedAt)
      json.member("expires_at", run.expiresAt)
      json.member("dedup_key", run.dedupKey)
      json.member("idempotency_key", run.idempotencyKey)
      json.member("group", run.group)
      json.member("tags", raw: (tags ?? "{}").utf8)
      json.member("name", run.name)
      json.member("workflow_id", run.workflowID)
      json.member("template", run.template)
      json.member("array", run.array)
      json.member("array_index", run.arrayIndex)
      json.member("parent_id", run.parentID)
      json.member("depends_on", raw: (dependsOn ?? "[]").utf8)
      json.key("held_by")
      json.array { json in for hold in heldBy { json.value(hold.rawValue) } }
      if let blockedBy {
        json.key("blocked_by")
        json.array { json in for id in blockedBy { json.value(id) } }
      }
      json.member("progress", raw: progress?.utf8)
      json.member("result", raw: result)
      json.member("last_error", raw: lastError?.utf8)
      json.member("replays", run.replays)
      json.member("superseded_by", run.supersededBy)
      json.member("follow_up_id", run.followUpID)
      json.member("schedule", run.schedule)
      json.member("nominal_at", run.nominalAt)
      if let payload { payload.write(into: &json) }
    }
  }
}

extension Payload {
  /// As raw JSON where it is JSON, else as base64 with its content type.
  func write(into json: inout JSONWriter) {
    if isJSON {
      json.member("payload", raw: bytes)
    } else {
      json.member("payload_base64", Base64.text(bytes))
    }
    if !isJSON || contentType != nil && contentType != "application/json" { json.member("content_type", contentType) }
    if let contentEncoding { json.member("content_encoding", contentEncoding) }
  }

  /// As members of a submission in one line: JSON on one line as it is, everything else as base64.
  package func writeLine(into json: inout JSONWriter) {
    let isLine = isJSON && !bytes.contains { $0 == UInt8(ascii: "\n") || $0 == UInt8(ascii: "\r") }
    if isLine { json.member("payload", raw: bytes) } else { json.member("payload_base64", Base64.text(bytes)) }
    if let type = contentType ?? (isJSON ? "application/json" : nil) { json.member("content_type", type) }
    if let contentEncoding { json.member("content_encoding", contentEncoding) }
  }

  /// Whether the bytes can stand in an answer as they are: said to be JSON (or said nothing), not encoded, and readable.
  public var isJSON: Bool {
    guard contentEncoding == nil || contentEncoding == "identity", ContentType.isJSON(contentType ?? "application/json")
    else { return false }
    do {
      _ = try JSONValue.parse(bytes)
      return true
    } catch {
      return false
    }
  }
}

/// What a content type says.
public enum ContentType {
  /// Whether it is `application/json` or of the `+json` family, whatever its parameters.
  public static func isJSON(_ text: String) -> Bool {
    let type = essence(text)
    return type == "application/json" || type.hasSuffix("+json")
  }

  /// Type and subtype in lower case, without parameters.
  public static func essence(_ text: String) -> String {
    var bytes: [UInt8] = []
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: ";"): return String(decoding: bytes, as: UTF8.self)
      case UInt8(ascii: " "), UInt8(ascii: "\t"): continue
      case UInt8(ascii: "A")...UInt8(ascii: "Z"): bytes.append(byte | 0x20)
      default: bytes.append(byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
