/// Which dead letters a list or an action means; every field that is set must match (`contract.md` §3.4).
public struct DeadLetterFilter: Sendable, Equatable {
  /// Which rows, by what became of them.
  public enum Resolution: String, Sendable, CaseIterable {
    /// Those that wait for a person: what lists show unless asked otherwise.
    case unresolved
    case replayed
    case discarded
    case any
  }

  public static let names = ["task", "domain", "fingerprint", "reason", "since", "until", "payload", "resolution"]

  public var task: TaskKey?
  public var domain: String?
  public var fingerprint: String?
  public var reason: DeadLetterReason?
  /// Dead at this time or later.
  public var since: Timestamp?
  /// Dead before this time.
  public var until: Timestamp?
  /// All of these hold of the payload.
  public var payload: [PayloadCondition] = []
  public var resolution = Resolution.unresolved

  public init() {}

  /// Whether nothing narrows the filter.
  public var isEmpty: Bool { self == DeadLetterFilter() }

  /// Takes every filter out of `reader`; what is wrong is noted there.
  public init(_ reader: inout ParameterReader) {
    task = reader.one("task").flatMap { reader.task($0) }
    domain = reader.domain("domain")
    fingerprint = reader.text("fingerprint", bytesMax: 2_048)
    reason = reader.word("reason", as: DeadLetterReason.self)
    since = reader.time("since")
    until = reader.time("until")
    payload = reader.payloadConditions()
    resolution = reader.word("resolution", as: Resolution.self) ?? .unresolved
  }

  /// The filter of an action; `resolution` has no place in it, actions touch unresolved rows only.
  /// - Throws: 422 naming each wrong field.
  public init(json object: JSONObject, pointer: String) throws(Problem) {
    var parameters: [Parameter] = []
    var conditions: JSONObject?
    for member in object.members {
      let place = "\(pointer)/\(member.key)"
      switch member.value {
      case .null: continue
      case .string(let text): parameters.append(Parameter(name: member.key, value: text, pointer: place))
      case .object(let paths) where member.key == "payload": conditions = paths
      case .bool, .number, .array, .object:
        let detail = "\(member.key) must be \(member.key == "payload" ? "an object of paths and values" : "a string")"
        throw Problem(422, "invalid_field", detail, errors: [Fault(pointer: place, detail: detail)])
      }
    }
    var reader = ParameterReader(parameters.filter { $0.name != "resolution" })
    if let resolution = parameters.first(where: { $0.name == "resolution" }), resolution.value != "unresolved" {
      reader.refuse(
        resolution.pointer, "only unresolved dead letters can be replayed or discarded", allowed: ["unresolved"])
    }
    self.init(&reader)
    if let conditions { payload += reader.payloadConditions(conditions, pointer: "\(pointer)/payload") }
    try reader.finish(known: Self.names)
  }
}

/// Which page of which dead letters.
public struct DeadLetterQuery: Sendable, Equatable {
  public var filter: DeadLetterFilter
  public var limit: Int
  public var cursor: PageCursor?

  public init(filter: DeadLetterFilter = DeadLetterFilter(), limit: Int = 50, cursor: PageCursor? = nil) {
    self.filter = filter
    self.limit = limit
    self.cursor = cursor
  }

  /// - Parameter scope: ``listScope`` or ``groupsScope``.
  /// - Throws: 422 for unknown names and wrong values, 400 `invalid_cursor`.
  public init(parameters: [Parameter], scope: String) throws(Problem) {
    var reader = ParameterReader(parameters)
    let page = PageRequest(&reader)
    let filter = DeadLetterFilter(&reader)
    try reader.finish(known: DeadLetterFilter.names + PageRequest.names)
    self.init(filter: filter, limit: page.limit, cursor: try page.cursor(of: scope))
  }

  public static let listScope = "dead-letters"
  public static let groupsScope = "dead-letters/groups"
}
