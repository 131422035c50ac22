/// A submission while its fields come in, from defaults, headers and bodies in turn: what comes later wins.
struct SubmissionDraft {
  private(set) var submission = Submission(task: TaskKey(unread: ()), payload: Payload(bytes: []))
  private(set) var faults: [Fault] = []
  let limits: SubmissionLimits
  let allowsIndexReferences: Bool
  private var hasTask = false
  /// A task was named that is no task key: said once, and not that it is missing.
  private(set) var hasWrongTask = false
  private var hasPayload = false
  private var contentType: String?
  private var contentEncoding: String?

  init(limits: SubmissionLimits, allowsIndexReferences: Bool = false) {
    self.limits = limits
    self.allowsIndexReferences = allowsIndexReferences
  }

  mutating func fault(_ pointer: String, _ detail: String, code: String = "invalid_field") {
    faults.append(Fault(pointer: pointer, detail: detail, code: code))
  }

  mutating func adopt(_ inner: [Fault]) { faults.append(contentsOf: inner) }

  mutating func setTask(_ task: TaskKey) {
    submission.task = task
    hasTask = true
  }

  var task: TaskKey? { hasTask ? submission.task : nil }

  mutating func setPayload(_ payload: Payload) {
    submission.payload = payload
    hasPayload = true
  }

  mutating func setIdempotencyKey(_ key: String) { submission.idempotencyKey = key }

  /// Takes the members of one object. Time and payload given here replace the other way of giving them from before.
  mutating func apply(_ object: JSONObject, source: [UInt8], pointer: String) {
    let before = (runAt: submission.runAt, delaySeconds: submission.delaySeconds)
    submission.runAt = nil
    submission.delaySeconds = nil
    var namesTime = false
    var payload: JSONObject.Member?
    var base64: JSONObject.Member?
    for member in object.members {
      switch member.key {
      case "payload": payload = member
      case "payload_base64": base64 = member.value.isNull ? nil : member
      default:
        if member.key == "run_at" || member.key == "delay_seconds" { namesTime = true }
        set(member.key, member.value, .member(of: pointer, key: member.key))
      }
    }
    if let payload { setPayload(Payload(bytes: Array(source[payload.range]))) }
    if let base64 {
      if let payload, !source[payload.range].elementsEqual("null".utf8) {
        fault(pointer + "/payload_base64", "payload and payload_base64 are given together; give one of them")
      }
      setBase64(base64.value, pointer + "/payload_base64")
    }
    if !namesTime { (submission.runAt, submission.delaySeconds) = before }
    if submission.runAt != nil, submission.delaySeconds != nil {
      fault(pointer + "/delay_seconds", "delay_seconds and run_at are given together; give one of them")
    }
  }

  private mutating func setBase64(_ value: JSONValue, _ pointer: String) {
    guard let bytes = value.stringValue.flatMap({ Base64.decode($0) }) else {
      return fault(pointer, "\(value.kind) is not base64; allowed: a string of A-Z a-z 0-9 + / with = at its end")
    }
    setPayload(Payload(bytes: bytes, contentType: "application/octet-stream"))
  }

  /// Takes one field, whatever it came in.
  mutating func set(_ name: String, _ value: JSONValue, _ place: FieldReader.Place) {
    var field = FieldReader(value: value, place: place)
    switch name {
    case "task":
      let task = field.taskKey()
      hasWrongTask = task == nil
      if let task { setTask(task) }
    case "content_type": contentType = field.text(bytesMax: SubmissionLimits.contentTypeBytesMax)
    case "content_encoding": contentEncoding = field.text(bytesMax: SubmissionLimits.contentTypeBytesMax)
    // What an export says of the dead letter the submission was made from: for people.
    case "dead_letter": break
    case "priority": submission.priority = field.integer(0...255)
    case "run_at": submission.runAt = field.time()
    case "delay_seconds": submission.delaySeconds = field.number(0...secondsMax)
    case "expires_at": submission.expiresAt = field.time()
    case "ttl_seconds": submission.ttlSeconds = field.number(0...secondsMax)
    case "ttl_from": submission.ttlFrom = field.choice(TTLFrom.self)
    case "dedup_key": submission.dedupKey = field.key()
    case "on_duplicate": submission.onDuplicate = field.choice(OnDuplicate.self)
    case "idempotency_key": submission.idempotencyKey = field.key()
    case "depends_on": submission.dependsOn = field.dependencies(allowsIndexReferences: allowsIndexReferences)
    case "on_dependency_failure": submission.onDependencyFailure = field.choice(OnDependencyFailure.self)
    case "parent_id": submission.parentID = field.runID()
    case "fail_fast": submission.failFast = field.flag()
    case "max_attempts": submission.maxAttempts = field.integer(1...1000)
    case "max_lost": submission.maxLost = field.integer(0...1000)
    case "timeout_seconds": submission.timeoutSeconds = field.number(0...secondsMax, above: true)
    case "retry": submission.retry = field.retryPolicy()
    case "lease_seconds": submission.leaseSeconds = field.integer(1...86_400)
    case "group": submission.group = field.key()
    case "tags": submission.tags.merge(field.tags()) { _, own in own }
    case "name": submission.name = field.key()
    case "workflow_id": submission.workflowID = field.key()
    case "template": submission.template = field.key()
    case "array": submission.array = field.key()
    case "array_index": submission.arrayIndex = field.integer(0...Int(Int32.max))
    case "resources": submission.resources = field.resources()
    case "resource_scales": submission.resourceScales = field.resourceScales()
    case "fallback_tasks": submission.fallbackTasks = field.fallbackTasks()
    case "traceparent": submission.traceparent = field.text(bytesMax: SubmissionLimits.traceBytesMax)
    case "tracestate": submission.tracestate = field.text(bytesMax: SubmissionLimits.traceBytesMax)
    default: field.unknown(among: Submission.fieldNames)
    }
    faults.append(contentsOf: field.faults)
  }

  /// Judges what only the whole shows, and fills in what goes without saying.
  /// - Parameter pointer: of the submission, for faults.
  mutating func complete(pointer: String) {
    if !hasTask, !hasWrongTask {
      fault(pointer + "/task", "task is missing; give a task key, \(TaskKey.grammar)", code: "invalid_task")
    }
    completePayload()
    judge(pointer: pointer)
  }

  /// A payload that is missing is `null`; one that came as JSON is called so.
  mutating func completePayload() {
    if !hasPayload { submission.payload = Payload(bytes: Array("null".utf8)) }
    if let contentType {
      submission.payload.contentType = contentType
    } else if submission.payload.contentType == nil {
      submission.payload.contentType = "application/json"
    }
    if let contentEncoding { submission.payload.contentEncoding = contentEncoding }
  }

  /// The rules that concern more than one field.
  mutating func judge(pointer: String) {
    let size = submission.payload.bytes.count
    if size > limits.payloadBytesMax {
      fault(
        pointer + "/payload",
        "the payload is \(size) bytes, at most \(limits.payloadBytesMax) are allowed; pass a reference to large data",
        code: "payload_too_large")
    }
    let tags = submission.tags.count
    if tags > SubmissionLimits.tagsMax {
      fault(pointer + "/tags", "\(tags) tags are too many; at most \(SubmissionLimits.tagsMax)", code: "too_many")
    }
    if submission.arrayIndex != nil, submission.array == nil {
      fault(pointer + "/array_index", "array_index is given without array; name the array too")
    }
  }
}

extension FieldReader {
  mutating func key() -> String? { text(bytesMax: SubmissionLimits.keyBytesMax) }

  mutating func retryPolicy() -> RetryPolicy? {
    if value.isNull { return nil }
    var inner: [Fault] = []
    let policy = RetryPolicy(json: value, pointer: place.pointer, faults: &inner)
    adopt(inner)
    return policy
  }

  mutating func dependencies(allowsIndexReferences: Bool) -> [DependencyReference] {
    guard let values = list(countMax: SubmissionLimits.dependenciesMax, of: "run ids") else { return [] }
    var references: [DependencyReference] = []
    var seen: Set<DependencyReference> = []
    for (position, value) in values.enumerated() {
      if let reference = reference(value, allowsIndexReferences) {
        if seen.insert(reference).inserted { references.append(reference) }
      } else {
        let index = allowsIndexReferences ? ", or \"#\" and an index of this batch" : ""
        fault("\(value.kind) is no run id; allowed: a UUID\(index)", at: "/\(position)")
      }
    }
    return references
  }

  private func reference(_ value: JSONValue, _ allowsIndexReferences: Bool) -> DependencyReference? {
    guard let text = value.stringValue else { return nil }
    if allowsIndexReferences, text.utf8.first == UInt8(ascii: "#") {
      let digits = text.utf8.dropFirst()
      guard digits.allSatisfy({ (48...57).contains($0) }) else { return nil }
      return Int(text.dropFirst()).map { .index($0) }
    }
    return RunID(text).map { .run($0) }
  }

  mutating func fallbackTasks() -> [TaskKey] {
    guard let values = list(countMax: SubmissionLimits.fallbackTasksMax, of: "task keys") else { return [] }
    var tasks: [TaskKey] = []
    for (position, value) in values.enumerated() {
      if let task = value.stringValue.flatMap({ TaskKey($0) }) {
        tasks.append(task)
      } else {
        fault("\(value.kind) is no task key; allowed: \(TaskKey.grammar)", code: "invalid_task", at: "/\(position)")
      }
    }
    return tasks
  }

  mutating func tags() -> [String: String] {
    guard let members = table(countMax: SubmissionLimits.tagsMax, of: "strings") else { return [:] }
    var tags: [String: String] = [:]
    for member in members {
      guard isNameAllowed(member.key, bytesMax: SubmissionLimits.tagKeyBytesMax) else { continue }
      let at = "/" + member.key.jsonPointerEscaped
      guard let text = member.value.stringValue else {
        fault("\(member.value.kind) is no tag value; allowed: a string", at: at)
        continue
      }
      if let wrong = fieldTextFault(text, bytesMax: SubmissionLimits.tagValueBytesMax, bytesMin: 0) {
        fault(wrong, at: at)
      } else if tags.updateValue(text, forKey: member.key) != nil {
        fault("the tag \(member.key.quotedForError) is given twice in different normal forms; give it once", at: at)
      }
    }
    return tags
  }

  mutating func resources() -> [String: Double] {
    guard let members = table(countMax: SubmissionLimits.resourcesMax, of: "numbers") else { return [:] }
    var resources: [String: Double] = [:]
    for member in members {
      guard isNameAllowed(member.key, bytesMax: SubmissionLimits.tagKeyBytesMax) else { continue }
      var inner = FieldReader(value: member.value, place: .member(of: place.pointer, key: member.key))
      if let number = inner.number(0...1e15) {
        resources[member.key] = number
      } else if inner.faults.isEmpty {
        inner.fault("null is not allowed; allowed: a number of at least 0")
      }
      adopt(inner.faults)
    }
    return resources
  }

  mutating func resourceScales() -> [String: ResourceScale] {
    guard let members = table(countMax: SubmissionLimits.resourcesMax, of: "numbers or lists") else { return [:] }
    var scales: [String: ResourceScale] = [:]
    for member in members {
      guard isNameAllowed(member.key, bytesMax: SubmissionLimits.tagKeyBytesMax) else { continue }
      var inner: [Fault] = []
      let at = place.pointer + "/" + member.key.jsonPointerEscaped
      scales[member.key] = ResourceScale(json: member.value, pointer: at, faults: &inner)
      adopt(inner)
    }
    return scales
  }

  private mutating func isNameAllowed(_ name: String, bytesMax: Int) -> Bool {
    guard let wrong = fieldTextFault(name, bytesMax: bytesMax) else { return true }
    fault("the name \(wrong)", at: "/" + name.jsonPointerEscaped)
    return false
  }

  private mutating func list(countMax: Int, of what: String) -> [JSONValue]? {
    if value.isNull { return nil }
    guard let values = value.arrayValue else {
      fault("\(value.kind) is not allowed; allowed: a list of \(what)")
      return nil
    }
    guard values.count <= countMax else {
      fault("\(values.count) \(what) are too many; at most \(countMax) are allowed", code: "too_many")
      return nil
    }
    return values
  }

  private mutating func table(countMax: Int, of what: String) -> [JSONObject.Member]? {
    if value.isNull { return nil }
    guard let object = value.objectValue else {
      fault("\(value.kind) is not allowed; allowed: an object of \(what)")
      return nil
    }
    guard object.members.count <= countMax else {
      fault("\(object.members.count) entries are too many; at most \(countMax) are allowed", code: "too_many")
      return nil
    }
    return object.members
  }
}
