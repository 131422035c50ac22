/// A schedule as it was asked for: its name, what it runs and when.
public struct ScheduleDefinition: Equatable, Sendable {
  public static let nameGrammar =
    "1 to 120 characters: A-Z a-z 0-9 . _ and -, the first and the last a letter or digit"

  /// Fields of a submission that belong to one run or one moment, and what to use instead.
  static let refused = [
    "run_at": "the nominal time is the run's run_at", "delay_seconds": "the nominal time is the run's run_at",
    "expires_at": "it would be past for every later run; use ttl_seconds",
    "idempotency_key": "every run after the first would be a duplicate; use dedup_key",
    "depends_on": "a schedule waits for no run", "parent_id": "a schedule has no parent",
    "array_index": "it can be taken once only",
  ]

  /// Every field of a schedule.
  public static let fieldNames =
    ["name", "task", "payload"] + ScheduleFields.names
    + Submission.fieldNames.filter { refused[$0] == nil && !["name", "task", "payload"].contains($0) }

  /// Those whose value is kept beside ``text``.
  private static let payloadNames: Set<String> = ["payload", "payload_base64", "content_type"]

  /// Finds a time zone, or says what is wrong with its name.
  public typealias ZoneLookup = @Sendable (String) -> Result<TimeZoneRules, Fault>

  public let name: String
  /// What each run is submitted with; its `run_at` is the nominal time. The run has the schedule's name.
  public let submission: Submission
  public let rule: ScheduleRule
  /// JSON object with the fields as they were given, `payload`, `payload_base64` and `content_type` apart.
  public let text: String

  /// Reads the body of a request for a new schedule.
  /// - Throws: 400 for bytes that are no JSON; 422 (413) with every fault, `unknown_timezone` with the nearest names.
  public init(
    body: [UInt8], createdAt: Timestamp, limits: SubmissionLimits = SubmissionLimits(), zone: ZoneLookup
  ) throws(Problem) {
    let object = try Submission.readObject(body, raw: .outermost("payload"), what: "a schedule")
    try self.init(
      object, source: body, payload: nil, payloadFields: object, payloadSource: body, createdAt: createdAt,
      limits: limits, zone: zone)
  }

  /// Reads what a store has kept.
  /// - Throws: when a newer program or an older time zone database does not know what was allowed once.
  public init(text: String, payload: Payload, createdAt: Timestamp, zone: ZoneLookup) throws(Problem) {
    let source = Array(text.utf8)
    let object = try Submission.readObject(source, raw: .none, what: "a schedule")
    try self.init(
      object, source: source, payload: payload, payloadFields: JSONObject(), payloadSource: [], createdAt: createdAt,
      limits: SubmissionLimits(payloadBytesMax: .max), zone: zone)
  }

  /// The schedule with the fields that the body of a request names; `null` takes a field back to its default.
  /// - Throws: 400, 422 (413) with every fault.
  public func changed(
    by body: [UInt8], limits: SubmissionLimits = SubmissionLimits(), zone: ZoneLookup
  ) throws(Problem) -> ScheduleDefinition {
    let patch = try Submission.readObject(body, raw: .outermost("payload"), what: "a change of a schedule")
    let unknown = Self.unknownFields(patch)
    if !unknown.isEmpty { throw Problem(faults: unknown) }
    if let other = patch["name"], other.stringValue != name {
      let detail = "a schedule keeps its name; remove it and add another one"
      throw Problem(faults: [Fault(pointer: "/name", detail: detail)])
    }
    let before = Array(text.utf8)
    let old = try Submission.readObject(before, raw: .none, what: "a schedule")
    var json = JSONWriter()
    json.object { json in
      for member in old.members where patch.member(member.key) == nil || member.key == "name" {
        json.member(member.key, raw: before[member.range])
      }
      for member in patch.members where !Self.payloadNames.contains(member.key) && member.key != "name" {
        if !member.value.isNull { json.member(member.key, raw: body[member.range]) }
      }
    }
    let merged = try Submission.readObject(json.bytes, raw: .none, what: "a schedule")
    return try ScheduleDefinition(
      merged, source: json.bytes, payload: submission.payload, payloadFields: patch, payloadSource: body,
      createdAt: rule.createdAt, limits: limits, zone: zone)
  }

  private init(
    _ object: JSONObject, source: [UInt8], payload: Payload?, payloadFields: JSONObject, payloadSource: [UInt8],
    createdAt: Timestamp, limits: SubmissionLimits, zone: ZoneLookup
  ) throws(Problem) {
    var draft = SubmissionDraft(limits: limits)
    if let payload { draft.setPayload(payload) }
    draft.apply(
      JSONObject(members: payloadFields.members.filter { Self.payloadNames.contains($0.key) }), source: payloadSource,
      pointer: "")
    draft.apply(
      JSONObject(
        members: object.members.filter {
          Submission.fieldNames.contains($0.key) && Self.refused[$0.key] == nil && !Self.payloadNames.contains($0.key)
        }), source: source, pointer: "")
    draft.complete(pointer: "")
    let fields = ScheduleFields(object)
    var faults = Self.unknownFields(object) + draft.faults + fields.faults
    if let fault = Self.nameFault(object["name"]) { faults.append(fault) }
    var found = TimeZoneRules.utc
    switch zone(fields.timezone) {
    case .success(let rules): found = rules
    case .failure(let fault): faults.append(fault)
    }
    guard faults.isEmpty, let rule = fields.rule(in: found, createdAt: createdAt) else {
      throw Problem(faults: faults.isEmpty ? [Fault(pointer: "/cron", detail: "nothing says when it runs")] : faults)
    }
    self.rule = rule
    name = draft.submission.name ?? ""
    submission = draft.submission
    var json = JSONWriter()
    json.object { json in
      for member in object.members where !Self.payloadNames.contains(member.key) && !member.value.isNull {
        json.member(member.key, raw: source[member.range])
      }
    }
    text = String(decoding: json.bytes, as: UTF8.self)
  }

  private static func unknownFields(_ object: JSONObject) -> [Fault] {
    var faults: [Fault] = []
    for member in object.members where !fieldNames.contains(member.key) {
      var field = FieldReader(value: member.value, place: .member(of: "", key: member.key))
      if let instead = refused[member.key] {
        if !member.value.isNull { field.fault("\(member.key) is not for schedules: \(instead)") }
      } else {
        field.unknown(among: fieldNames)
      }
      faults += field.faults
    }
    return faults
  }

  private static func nameFault(_ value: JSONValue?) -> Fault? {
    guard let value, !value.isNull else {
      return Fault(
        pointer: "/name", detail: "a schedule needs a name: \(nameGrammar)", code: "invalid_schedule_name")
    }
    if let name = value.stringValue, isName(name) { return nil }
    return Fault(
      pointer: "/name", detail: "\(value.kind) is no name of a schedule; allowed: \(nameGrammar)",
      code: "invalid_schedule_name")
  }

  /// Whether ``nameGrammar`` allows it.
  public static func isName(_ text: String) -> Bool {
    func isLetterOrDigit(_ byte: UInt8) -> Bool {
      switch byte {
      case 48...57, 65...90, 97...122: true
      default: false
      }
    }
    let bytes = text.utf8
    guard (1...120).contains(bytes.count), let first = bytes.first, let last = bytes.last,
      isLetterOrDigit(first), isLetterOrDigit(last)
    else { return false }
    return bytes.allSatisfy { isLetterOrDigit($0) || $0 == 45 || $0 == 46 || $0 == 95 }
  }

  /// Whether `other` has the same nominal times, bounds and counts apart.
  public func hasTimes(of other: ScheduleDefinition) -> Bool {
    rule.timing == other.rule.timing && rule.zone == other.rule.zone && rule.startsAt == other.rule.startsAt
      && rule.dstGap == other.rule.dstGap && rule.dstOverlap == other.rule.dstOverlap
  }
}

extension Fault: Error {}
