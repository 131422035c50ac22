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

  public static let names = ["task", "domain", "fingerprint", "reason", "since", "until", "resolution"]

  public var task: TaskKey?
  public var domain: String?
  public var fingerprint: String?
  public var reason: DeadLetterReason?
  /// Dead at this time or later.
  public var since: Timestamp?
  /// Dead before this time.
  public var until: Timestamp?
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
    resolution = reader.word("resolution", as: Resolution.self) ?? .unresolved
  }

  /// The filter of an action; `resolution` has no place in it, actions touch unresolved rows only.
  /// - Throws: 422 naming each wrong field; `not_supported` for `payload`, which this version does not look into.
  public init(json object: JSONObject, pointer: String) throws(Problem) {
    var parameters: [Parameter] = []
    for member in object.members {
      let place = "\(pointer)/\(member.key)"
      switch member.value {
      case .null: continue
      case .string(let text): parameters.append(Parameter(name: member.key, value: text, pointer: place))
      case .bool, .number, .array, .object:
        let detail =
          member.key == "payload"
          ? "this version cannot select dead letters by their payload; select by task, domain, fingerprint, reason, since, until or ids"
          : "\(member.key) must be a string"
        throw Problem(
          422, member.key == "payload" ? "not_supported" : "invalid_field", detail,
          errors: [Fault(pointer: place, detail: detail)])
      }
    }
    var reader = ParameterReader(parameters.filter { $0.name != "resolution" })
    if let resolution = parameters.first(where: { $0.name == "resolution" }), resolution.value != "unresolved" {
      reader.refuse(
        resolution.pointer, "only unresolved dead letters can be replayed or discarded", allowed: ["unresolved"])
    }
    self.init(&reader)
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

/// What is done to dead letters.
public enum DeadLetterAction: Sendable, Equatable {
  /// Runs them again: same id, new attempt series.
  case replay
  /// Resolves them without running them again.
  case discard(reason: String?)
}

/// Which dead letters an action means.
public struct DeadLetterSelection: Sendable, Equatable {
  public enum Target: Sendable, Equatable {
    /// At most ``RunFilter/idsMax``.
    case ids([RunID])
    case filter(DeadLetterFilter)
  }

  public var target: Target
  /// Rows that died later are left alone; nil means now.
  public var asOf: Timestamp?

  public init(_ target: Target, asOf: Timestamp? = nil) {
    self.target = target
    self.asOf = asOf
  }
}

/// The answer of an action on many runs (`contract.md` §3.1).
public struct BulkAnswer: Sendable, Equatable, JSONWritable {
  /// One run that was left alone, and why.
  public struct Skipped: Sendable, Equatable, JSONWritable {
    public var id: RunID
    public var reason: String

    public init(id: RunID, reason: String) {
      self.id = id
      self.reason = reason
    }

    public func write(to json: inout JSONWriter) {
      json.object { json in
        json.member("id", id)
        json.member("reason", reason)
      }
    }
  }

  /// Most ids an answer lists.
  public static let idsMax = 1_000

  public var asOf: Timestamp
  public var matched: Int
  public var changed: Int
  /// The runs changed, in a dry run those matched; the first ``idsMax``.
  public var ids: [RunID]
  public var skipped: [Skipped]

  public init(asOf: Timestamp, matched: Int = 0, changed: Int = 0, ids: [RunID] = [], skipped: [Skipped] = []) {
    self.asOf = asOf
    self.matched = matched
    self.changed = changed
    self.ids = ids
    self.skipped = skipped
  }

  public func write(to json: inout JSONWriter) {
    json.object { json in
      json.member("as_of", asOf)
      json.member("matched", matched)
      json.member("changed", changed)
      json.key("ids")
      json.array { json in for id in ids.prefix(Self.idsMax) { json.value(id) } }
      json.member("skipped", array: skipped.prefix(Self.idsMax))
    }
  }
}
