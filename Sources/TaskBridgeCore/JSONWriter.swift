/// Writes JSON into bytes; commas come of themselves.
///
///     var json = JSONWriter()
///     json.object { json in
///       json.member("run_id", run.id)
///       json.member("priority", run.priority)
///     }
public struct JSONWriter: Sendable {
  public private(set) var bytes: [UInt8] = []
  private var needsComma = false

  public init(reserving capacity: Int = 512) {
    bytes.reserveCapacity(capacity)
  }

  public mutating func object(_ body: (inout JSONWriter) -> Void) {
    open(UInt8(ascii: "{"))
    body(&self)
    close(UInt8(ascii: "}"))
  }

  public mutating func array(_ body: (inout JSONWriter) -> Void) {
    open(UInt8(ascii: "["))
    body(&self)
    close(UInt8(ascii: "]"))
  }

  /// The key of the value that is written next.
  public mutating func key(_ name: String) {
    separate()
    append(quoted: name)
    bytes.append(UInt8(ascii: ":"))
    needsComma = false
  }

  public mutating func value(_ value: String?) {
    guard let value else { return null() }
    separate()
    append(quoted: value)
  }

  public mutating func value(_ value: Int?) { self.value(value.map(Int64.init)) }

  public mutating func value(_ value: Int64?) {
    guard let value else { return null() }
    separate()
    append(decimal: value)
  }

  /// A value that is not finite is written as `null`, a whole number without `.0`.
  public mutating func value(_ value: Double?) {
    guard let value, value.isFinite else { return null() }
    separate()
    if let whole = Int64(exactly: value), whole.magnitude < 1_000_000_000_000_000 {
      append(decimal: whole)
    } else {
      bytes.append(contentsOf: value.jsonText.utf8)
    }
  }

  public mutating func value(_ value: Bool?) {
    guard let value else { return null() }
    raw((value ? "true" : "false").utf8)
  }

  public mutating func value(_ value: Timestamp?) { self.value(value?.description) }

  public mutating func value(_ value: RunID?) { self.value(value?.description) }

  public mutating func value(_ value: JSONValue) {
    switch value {
    case .null: null()
    case .bool(let value): self.value(value)
    case .number(let value): raw(value.text.utf8)
    case .string(let value): self.value(value)
    case .array(let values):
      array { json in
        for value in values { json.value(value) }
      }
    case .object(let object):
      self.object { json in
        for member in object.members { json.member(member.key, member.value) }
      }
    }
  }

  public mutating func null() { raw("null".utf8) }

  /// Bytes that are a JSON value already.
  public mutating func raw(_ json: some Sequence<UInt8>) {
    separate()
    bytes.append(contentsOf: json)
  }

  public mutating func member(_ name: String, _ value: String?) {
    key(name)
    self.value(value)
  }

  public mutating func member(_ name: String, _ value: Int?) {
    key(name)
    self.value(value)
  }

  public mutating func member(_ name: String, _ value: Int64?) {
    key(name)
    self.value(value)
  }

  public mutating func member(_ name: String, _ value: Double?) {
    key(name)
    self.value(value)
  }

  public mutating func member(_ name: String, _ value: Bool?) {
    key(name)
    self.value(value)
  }

  public mutating func member(_ name: String, _ value: Timestamp?) {
    key(name)
    self.value(value)
  }

  public mutating func member(_ name: String, _ value: RunID?) {
    key(name)
    self.value(value)
  }

  /// Texts by key, sorted, such as tags.
  public mutating func member(_ name: String, _ values: [String: String]) {
    member(name) { json in
      for (key, value) in values.sorted(by: { $0.key < $1.key }) { json.member(key, value) }
    }
  }

  /// Numbers by key, sorted, such as resources.
  public mutating func member(_ name: String, _ values: [String: Double]) {
    member(name) { json in
      for (key, value) in values.sorted(by: { $0.key < $1.key }) { json.member(key, value) }
    }
  }

  public mutating func member(_ name: String, _ value: (some JSONWritable)?) {
    key(name)
    if let value { value.write(to: &self) } else { null() }
  }

  public mutating func member(_ name: String, array values: some Sequence<some JSONWritable>) {
    key(name)
    array { json in
      for value in values { value.write(to: &json) }
    }
  }

  /// A member that is an object of its own.
  public mutating func member(_ name: String, object body: (inout JSONWriter) -> Void) {
    key(name)
    object(body)
  }

  /// A member whose value is JSON already; `null` for `nil`.
  public mutating func member(_ name: String, raw json: (some Sequence<UInt8>)?) {
    key(name)
    if let json { raw(json) } else { null() }
  }
}

// MARK: Helpers

extension JSONWriter {
  private mutating func open(_ bracket: UInt8) {
    separate()
    bytes.append(bracket)
    needsComma = false
  }

  private mutating func close(_ bracket: UInt8) {
    bytes.append(bracket)
    needsComma = true
  }

  private mutating func separate() {
    if needsComma { bytes.append(UInt8(ascii: ",")) }
    needsComma = true
  }

  private mutating func append(decimal value: Int64) {
    if value >= 0, value < 10 {
      bytes.append(48 + UInt8(value))
    } else {
      bytes.append(contentsOf: String(value).utf8)
    }
  }

  private mutating func append(quoted text: String) {
    var text = text
    bytes.append(UInt8(ascii: "\""))
    text.withUTF8 { utf8 in
      var start = 0
      for (position, byte) in utf8.enumerated() where byte < 0x20 || byte == 0x22 || byte == 0x5C {
        bytes.append(contentsOf: utf8[start..<position])
        start = position + 1
        append(escaped: byte)
      }
      bytes.append(contentsOf: utf8[start...])
    }
    bytes.append(UInt8(ascii: "\""))
  }

  private mutating func append(escaped byte: UInt8) {
    bytes.append(UInt8(ascii: "\\"))
    switch byte {
    case 0x22, 0x5C: bytes.append(byte)
    case 8: bytes.append(UInt8(ascii: "b"))
    case 9: bytes.append(UInt8(ascii: "t"))
    case 10: bytes.append(UInt8(ascii: "n"))
    case 12: bytes.append(UInt8(ascii: "f"))
    case 13: bytes.append(UInt8(ascii: "r"))
    default:
      bytes.append(contentsOf: [UInt8(ascii: "u"), 48, 48, hexCharacter(byte >> 4), hexCharacter(byte & 0xF)])
    }
  }
}

/// What can be written as one JSON value.
public protocol JSONWritable {
  /// Writes exactly one value.
  func write(to json: inout JSONWriter)
}

extension JSONWritable {
  /// The value as bytes.
  public var json: [UInt8] {
    var json = JSONWriter()
    write(to: &json)
    return json.bytes
  }
}

extension JSONValue: JSONWritable {
  public func write(to json: inout JSONWriter) { json.value(self) }
}

extension String: JSONWritable {
  public func write(to json: inout JSONWriter) { json.value(self) }
}

extension Int: JSONWritable {
  public func write(to json: inout JSONWriter) { json.value(self) }
}

extension Double: JSONWritable {
  public func write(to json: inout JSONWriter) { json.value(self) }
}

extension RunID: JSONWritable {
  public func write(to json: inout JSONWriter) { json.value(self) }
}

extension Timestamp: JSONWritable {
  public func write(to json: inout JSONWriter) { json.value(self) }
}

extension TaskKey: JSONWritable {
  public func write(to json: inout JSONWriter) { json.value(rawValue) }
}

extension Double {
  /// A finite number as ECMAScript writes it (RFC 8785): shortest digits that read back the same.
  var jsonText: String {
    if self == 0 { return "0" }
    let (digits, point) = magnitude.shortestDigits
    let sign = self < 0 ? "-" : ""
    let count = digits.utf8.count
    if point > 0, point <= 21 {
      if count <= point { return sign + digits + String(repeating: "0", count: point - count) }
      return sign + digits.prefix(point) + "." + digits.dropFirst(point)
    }
    if point <= 0, point > -6 { return sign + "0." + String(repeating: "0", count: -point) + digits }
    let exponent = point - 1
    let mantissa = count == 1 ? digits : digits.prefix(1) + "." + digits.dropFirst()
    return sign + mantissa + "e" + (exponent < 0 ? "-" : "+") + String(exponent.magnitude)
  }

  /// The digits without zeros at either end, and where the decimal point stands relative to their front.
  private var shortestDigits: (digits: String, point: Int) {
    let parts = description.split(separator: "e")
    let exponent = parts.count > 1 ? Int(parts[1]) ?? 0 : 0
    let sides = parts[0].split(separator: ".", omittingEmptySubsequences: false)
    let fraction = sides.count > 1 ? sides[1] : ""
    let all = sides[0] + fraction
    let leading = all.prefix { $0 == "0" }.count
    var digits = all.dropFirst(leading)
    while digits.last == "0" { digits.removeLast() }
    return (String(digits), sides[0].count + exponent - leading)
  }
}
