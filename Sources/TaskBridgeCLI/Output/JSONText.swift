/// Small pieces of JSON made by hand, so that payloads and answers keep their bytes.
enum JSONText {
  /// A JSON string literal.
  static func quoted(_ text: some StringProtocol) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\n": result += "\\n"
      case "\r": result += "\\r"
      case "\t": result += "\\t"
      default:
        if scalar.value < 0x20 || scalar.value == 0x7F {
          let digits = String(scalar.value, radix: 16)
          result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
        } else {
          result.unicodeScalars.append(scalar)
        }
      }
    }
    return result + "\""
  }

  /// A number without a needless `.0`.
  static func number(_ value: Double) -> String {
    if value.rounded() == value, abs(value) < 1e15 { return String(Int64(value)) }
    return String(value)
  }

  static func array(_ elements: some Sequence<String>) -> String { "[" + elements.joined(separator: ",") + "]" }
}

/// An object that is written member by member; a nil value adds nothing.
struct JSONObjectText: Sendable {
  private(set) var members: [(name: String, value: [UInt8])] = []

  var isEmpty: Bool { members.isEmpty }

  mutating func add(_ name: String, raw: some Sequence<UInt8>) { members.append((name, Array(raw))) }
  mutating func add(_ name: String, _ value: String?) { if let value { add(name, raw: JSONText.quoted(value).utf8) } }
  mutating func add(_ name: String, _ value: Int?) { if let value { add(name, raw: String(value).utf8) } }
  mutating func add(_ name: String, _ value: Double?) { if let value { add(name, raw: JSONText.number(value).utf8) } }
  mutating func add(_ name: String, _ value: Bool?) { if let value { add(name, raw: String(value).utf8) } }

  mutating func add(_ name: String, strings: [String]) {
    guard !strings.isEmpty else { return }
    add(name, raw: JSONText.array(strings.map { JSONText.quoted($0) }).utf8)
  }

  mutating func add(_ name: String, object: JSONObjectText) { add(name, raw: object.bytes) }

  var bytes: [UInt8] {
    var result = Array("{".utf8)
    for (index, member) in members.enumerated() {
      if index > 0 { result.append(UInt8(ascii: ",")) }
      result += Array(JSONText.quoted(member.name).utf8)
      result.append(UInt8(ascii: ":"))
      result += member.value
    }
    result.append(UInt8(ascii: "}"))
    return result
  }
}
