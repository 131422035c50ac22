extension Submission {
  /// Every field of a submission, as JSON has it.
  public static let fieldNames = [
    "task", "payload", "payload_base64", "content_type", "content_encoding", "priority", "run_at", "delay_seconds",
    "expires_at",
    "ttl_seconds", "ttl_from", "dedup_key", "on_duplicate", "idempotency_key", "depends_on", "on_dependency_failure",
    "parent_id", "fail_fast", "max_attempts", "max_lost", "timeout_seconds", "retry", "lease_seconds", "group", "tags",
    "name", "workflow_id", "template", "array", "array_index", "resources", "resource_scales", "fallback_tasks",
    "traceparent", "tracestate", "dead_letter",
  ]

  /// Reads one JSON object: a described message, an item of a batch, the task part of a schedule.
  /// - Parameters:
  ///   - object: parsed from `source`; the payload is cut from there, white space included.
  ///   - pointer: where the object stands, for faults.
  ///   - defaults: fields for what the object does not name, parsed from the same `source`; tags are merged.
  ///   - allowsIndexReferences: whether `depends_on` may say `"#<index>"`.
  /// - Throws: a `Problem` with every fault, 422 (413 when only the size is wrong).
  public static func parse(
    _ object: JSONObject, source: [UInt8], pointer: String = "", defaults: JSONObject? = nil,
    allowsIndexReferences: Bool = false, limits: SubmissionLimits = SubmissionLimits()
  ) throws(Problem) -> Submission {
    var draft = SubmissionDraft(limits: limits, allowsIndexReferences: allowsIndexReferences)
    if let defaults { draft.apply(defaults, source: source, pointer: "/defaults") }
    draft.apply(object, source: source, pointer: pointer)
    draft.complete(pointer: pointer)
    if !draft.faults.isEmpty { throw Problem(faults: draft.faults) }
    return draft.submission
  }

  /// Reads a whole body with one submission.
  /// - Parameter idempotencyKeyHeader: the value of `Idempotency-Key`, the same as the field `idempotency_key`.
  public static func parse(
    body: [UInt8], idempotencyKeyHeader: String? = nil, limits: SubmissionLimits = SubmissionLimits()
  ) throws(Problem) -> Submission {
    let object = try readObject(body, raw: .outermost("payload"), what: "a submission")
    var draft = SubmissionDraft(limits: limits)
    draft.apply(object, source: body, pointer: "")
    draft.complete(pointer: "")
    if let header = idempotencyKeyHeader { draft.adopt(idempotencyKeyHeader: header) }
    if !draft.faults.isEmpty { throw Problem(faults: draft.faults) }
    return draft.submission
  }

  /// Reads `{"runs":[…],"defaults":{…},"supersedes_workflow_id":…}`.
  /// - Throws: a `Problem` with the faults of all runs, each with its pointer (`/runs/3/priority`).
  public static func parseBatch(
    body: [UInt8], limits: SubmissionLimits = SubmissionLimits()
  ) throws(Problem) -> SubmissionBatch {
    let object = try readObject(body, raw: .payloadsOfRuns, what: "a batch")
    var reader = BatchReader(limits: limits)
    var supersedes: String?
    for member in object.members where member.key != "runs" {
      var field = FieldReader(value: member.value, place: .member(of: "", key: member.key))
      switch member.key {
      case "defaults":
        if let defaults = member.value.objectValue {
          reader.base.apply(defaults, source: body, pointer: "/defaults")
        } else if !member.value.isNull {
          field.fault("\(member.value.kind) is not allowed; allowed: an object of submission fields")
        }
      case "supersedes_workflow_id": supersedes = field.key()
      default: field.unknown(among: ["runs", "defaults", "supersedes_workflow_id"])
      }
      reader.faults.append(contentsOf: field.faults)
    }
    guard let runs = object["runs"]?.arrayValue else {
      throw Problem(
        422, "invalid_field", "a batch needs runs, a list of submissions",
        errors: [Fault(pointer: "/runs", detail: "a list of 1 to \(limits.batchMax) submissions is needed")])
    }
    try reader.checkCount(runs.count)
    for run in runs { reader.read(run, source: body) }
    return try reader.finish(supersedesWorkflowID: supersedes)
  }

  /// Reads one submission per line; empty lines are skipped.
  /// - Throws: a `Problem` that names the line: 400 for the first one that is no JSON, else 422 with pointers
  ///   (`/runs/6/priority` for the seventh submission).
  public static func parseNDJSON(
    body: [UInt8], limits: SubmissionLimits = SubmissionLimits()
  ) throws(Problem) -> SubmissionBatch {
    var reader = BatchReader(limits: limits)
    var lineNumber = 0
    var start = 0
    while start < body.count {
      lineNumber += 1
      let end = body[start...].firstIndex(of: 10) ?? body.count
      let line = Array(body[start..<end])
      start = end + 1
      if line.allSatisfy({ $0 == 32 || $0 == 9 || $0 == 13 }) { continue }
      let value: JSONValue
      do {
        value = try JSONParser.parse(line, raw: .outermost("payload"))
      } catch {
        throw Problem(JSONError(line: lineNumber, column: error.column, reason: error.reason))
      }
      try reader.checkCount(reader.count + 1)
      reader.read(value, source: line, line: lineNumber)
    }
    try reader.checkCount(reader.count)
    return try reader.finish(supersedesWorkflowID: nil)
  }

  /// The outermost object of a body.
  static func readObject(
    _ body: [UInt8], raw: JSONParser.RawMembers, what: String
  ) throws(Problem) -> JSONObject {
    let value: JSONValue
    do {
      value = try JSONParser.parse(body, raw: raw)
    } catch {
      throw Problem(error)
    }
    guard case .object(let object) = value else {
      throw Problem(
        422, "invalid_field", "the body is \(value.kind); \(what) is a JSON object",
        errors: [Fault(pointer: "", detail: "\(value.kind) is not allowed; allowed: an object")])
    }
    return object
  }
}

extension SubmissionDraft {
  mutating func adopt(idempotencyKeyHeader header: String) {
    let pointer = "/headers/Idempotency-Key"
    if let wrong = fieldTextFault(header, bytesMax: SubmissionLimits.keyBytesMax) {
      fault(pointer, wrong)
    } else if let key = submission.idempotencyKey, key != header {
      fault(
        pointer,
        "Idempotency-Key is \(header.quotedForError), idempotency_key is \(key.quotedForError); give one"
      )
    } else {
      setIdempotencyKey(header)
    }
  }
}

/// Collects the submissions of a batch, and all that is wrong with them.
private struct BatchReader {
  /// What each run begins with: the defaults.
  var base: SubmissionDraft
  var faults: [Fault] = []
  private var submissions: [Submission] = []
  private(set) var count = 0
  private let limits: SubmissionLimits

  init(limits: SubmissionLimits) {
    self.limits = limits
    base = SubmissionDraft(limits: limits, allowsIndexReferences: true)
  }

  func checkCount(_ count: Int) throws(Problem) {
    if count > limits.batchMax {
      throw Problem(
        422, "too_many", "\(count) runs are too many for one batch; at most \(limits.batchMax), send several batches",
        errors: [Fault(pointer: "/runs", detail: "at most \(limits.batchMax)", code: "too_many")])
    }
    if count == 0 {
      throw Problem(
        422, "invalid_field", "a batch holds at least one run",
        errors: [Fault(pointer: "/runs", detail: "the list is empty; allowed: 1 to \(limits.batchMax) submissions")])
    }
  }

  mutating func read(_ value: JSONValue, source: [UInt8], line: Int? = nil) {
    let pointer = "/runs/\(count)"
    count += 1
    guard let object = value.objectValue else {
      return add(Fault(pointer: pointer, detail: "\(value.kind) is not allowed; allowed: an object"), line)
    }
    var draft = base
    let known = draft.faults.count
    draft.apply(object, source: source, pointer: pointer)
    draft.complete(pointer: pointer)
    for fault in draft.faults.dropFirst(known) { add(fault, line) }
    submissions.append(draft.submission)
  }

  private mutating func add(_ fault: Fault, _ line: Int?) {
    var fault = fault
    if let line { fault.detail = "line \(line): \(fault.detail)" }
    faults.append(fault)
  }

  mutating func finish(supersedesWorkflowID: String?) throws(Problem) -> SubmissionBatch {
    faults = base.faults + faults
    if faults.isEmpty { checkReferences() }
    if !faults.isEmpty { throw Problem(faults: faults) }
    return SubmissionBatch(submissions: submissions, supersedesWorkflowID: supersedesWorkflowID)
  }

  /// References by index must exist and must not go in circles.
  private mutating func checkReferences() {
    var prerequisites: [[Int]] = Array(repeating: [], count: submissions.count)
    for (index, submission) in submissions.enumerated() {
      for (position, reference) in submission.dependsOn.enumerated() {
        guard case .index(let target) = reference else { continue }
        guard submissions.indices.contains(target) else {
          faults.append(
            Fault(
              pointer: "/runs/\(index)/depends_on/\(position)",
              detail: "\"#\(target)\" is not in this batch; allowed: \"#0\" to \"#\(submissions.count - 1)\""))
          continue
        }
        prerequisites[index].append(target)
      }
    }
    guard faults.isEmpty else { return }
    let cycle = dependencyCycle(prerequisites)
    guard let first = cycle.first else { return }
    let path = dependencyCycleText(cycle)
    faults.append(
      Fault(pointer: "/runs/\(first)/depends_on", detail: "the run waits for itself: \(path)", code: "dependency_cycle")
    )
    for index in cycle.dropFirst().dropLast() {
      faults.append(Fault(pointer: "/runs/\(index)/depends_on", detail: "part of the circle", code: "dependency_cycle"))
    }
  }
}
