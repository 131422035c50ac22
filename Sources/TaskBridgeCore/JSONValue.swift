/// A JSON document in memory; numbers keep their text, objects keep the order and the place of their members.
public enum JSONValue: Equatable, Sendable {
  case null
  case bool(Bool)
  case number(JSONNumber)
  case string(String)
  case array([JSONValue])
  case object(JSONObject)
}

/// A number as it was written, so that nothing is lost before somebody asks for a type.
public struct JSONNumber: Hashable, Sendable {
  /// Its JSON text.
  public let text: String

  /// - Parameter text: a number by the grammar of JSON; the parser has checked it.
  init(checked text: String) { self.text = text }

  public init(_ value: Int64) { text = String(value) }
  public init(_ value: Int) { text = String(value) }

  /// A value that is not finite becomes 0: JSON has no word for it.
  public init(_ value: Double) { text = value.isFinite ? value.jsonText : "0" }

  /// `nil` unless it is written as an integer (no point, no exponent) and fits.
  public var int64: Int64? { Int64(text) }

  /// The nearest double; `nil` when that is not finite, as for `1e400`.
  public var double: Double? {
    guard let value = Double(text), value.isFinite else { return nil }
    return value
  }
}

/// The members of a JSON object in the order of the text; no key stands twice.
public struct JSONObject: Equatable, Sendable {
  public struct Member: Equatable, Sendable {
    public var key: String
    public var value: JSONValue
    /// Where the value stands in the bytes that were parsed; empty for a member that was made in memory.
    public var range: Range<Int>

    public init(key: String, value: JSONValue, range: Range<Int> = 0..<0) {
      self.key = key
      self.value = value
      self.range = range
    }
  }

  public var members: [Member]

  public init(members: [Member] = []) {
    self.members = members
  }

  public func member(_ key: String) -> Member? { members.first { $0.key == key } }

  public subscript(key: String) -> JSONValue? { member(key)?.value }

  /// Equal when the same keys have equal values, in whatever order and place.
  public static func == (left: JSONObject, right: JSONObject) -> Bool {
    guard left.members.count == right.members.count else { return false }
    if zip(left.members, right.members).allSatisfy({ $0.key == $1.key && $0.value == $1.value }) { return true }
    var values: [String: JSONValue] = [:]
    for member in right.members { values[member.key] = member.value }
    return left.members.allSatisfy { values[$0.key] == $0.value }
  }
}

extension JSONObject: ExpressibleByDictionaryLiteral {
  public init(dictionaryLiteral pairs: (String, JSONValue)...) {
    members = pairs.map { Member(key: $0.0, value: $0.1) }
  }
}

extension JSONValue {
  /// Reads one document: RFC 8259, UTF-8 without a byte order mark, no key twice, no lone surrogate, nothing after it.
  /// - Parameter depthMax: how many arrays and objects may stand in each other.
  /// - Throws: ``JSONError`` with line and column.
  public static func parse(_ bytes: [UInt8], depthMax: Int = 64) throws(JSONError) -> JSONValue {
    try JSONParser.parse(bytes, depthMax: depthMax, raw: .none)
  }

  /// The same for memory that belongs to somebody else; nothing of it is kept.
  public static func parse(_ bytes: UnsafeRawBufferPointer, depthMax: Int = 64) throws(JSONError) -> JSONValue {
    try JSONParser.parse(bytes.bindMemory(to: UInt8.self), depthMax: depthMax, raw: .none)
  }

  /// The same for a text.
  public static func parse(_ text: String, depthMax: Int = 64) throws(JSONError) -> JSONValue {
    try parse(Array(text.utf8), depthMax: depthMax)
  }

  public var isNull: Bool { self == .null }

  public var boolValue: Bool? {
    if case .bool(let value) = self { value } else { nil }
  }

  public var stringValue: String? {
    if case .string(let value) = self { value } else { nil }
  }

  /// `nil` unless it is a number written as an integer that fits.
  public var int64Value: Int64? {
    if case .number(let value) = self { value.int64 } else { nil }
  }

  public var doubleValue: Double? {
    if case .number(let value) = self { value.double } else { nil }
  }

  public var arrayValue: [JSONValue]? {
    if case .array(let value) = self { value } else { nil }
  }

  public var objectValue: JSONObject? {
    if case .object(let value) = self { value } else { nil }
  }

  /// The member of an object; `nil` for every other kind of value.
  public subscript(key: String) -> JSONValue? { objectValue?[key] }

  /// The value as error texts show it: `"abc"`, `5`, `an object`; long texts are cut.
  public var kind: String {
    switch self {
    case .null: "null"
    case .bool(let value): value ? "true" : "false"
    case .number(let value): value.text.count > 40 ? value.text.prefix(40) + "…" : value.text
    case .string(let value): value.quotedForError
    case .array: "an array"
    case .object: "an object"
    }
  }
}

extension JSONValue {
  /// The canonical bytes in the manner of RFC 8785: sorted keys, no white space, shortest numbers.
  ///
  /// Unlike there, an integer that a double can't hold keeps its digits: two of them must not become equal.
  public func canonical() -> [UInt8] {
    var json = JSONWriter()
    writeCanonical(to: &json)
    return json.bytes
  }

  private func writeCanonical(to json: inout JSONWriter) {
    switch self {
    case .null: json.null()
    case .bool(let value): json.value(value)
    case .number(let value): json.raw(value.canonicalText.utf8)
    case .string(let value): json.value(value)
    case .array(let values):
      json.array { json in
        for value in values { value.writeCanonical(to: &json) }
      }
    case .object(let object):
      let sorted = object.members.sorted { $0.key.utf16.lexicographicallyPrecedes($1.key.utf16) }
      json.object { json in
        for member in sorted {
          json.key(member.key)
          member.value.writeCanonical(to: &json)
        }
      }
    }
  }
}

extension JSONNumber {
  var canonicalText: String {
    if !text.utf8.contains(where: { $0 == 46 || $0 == 69 || $0 == 101 }) { return text == "-0" ? "0" : text }
    return double?.jsonText ?? text
  }
}

/// The canonical bytes of a payload that is JSON, else the payload itself: what `dedup_key: "$payload"` is the hash of.
public func canonicalPayload(_ payload: [UInt8]) -> [UInt8] {
  do {
    return try JSONValue.parse(payload).canonical()
  } catch {
    return payload
  }
}

extension String {
  /// In quotes, on one line, at most 60 characters.
  var quotedForError: String {
    var shown = "\""
    for scalar in unicodeScalars.prefix(60) {
      if scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value) {
        shown += "\\u{\(String(scalar.value, radix: 16))}"
      } else {
        shown.unicodeScalars.append(scalar)
      }
    }
    return shown + (unicodeScalars.count > 60 ? "…\"" : "\"")
  }

  /// As one step of a JSON pointer (RFC 6901), cut to 100 characters.
  var jsonPointerEscaped: String {
    var escaped = ""
    for scalar in unicodeScalars.prefix(100) {
      switch scalar {
      case "~": escaped += "~0"
      case "/": escaped += "~1"
      default: escaped.unicodeScalars.append(scalar)
      }
    }
    return escaped
  }
}
