/// A query string that is built up; values are percent-encoded.
struct Query: Sendable, Equatable {
  private(set) var items: [(name: String, value: String)] = []

  mutating func add(_ name: String, _ value: String?) {
    if let value { items.append((name, value)) }
  }

  mutating func add(_ name: String, _ values: [String]) {
    for value in values { items.append((name, value)) }
  }

  /// `?a=b&c=d`, or nothing.
  var text: String {
    guard !items.isEmpty else { return "" }
    return "?" + items.map { "\(Self.encoded($0.name))=\(Self.encoded($0.value))" }.joined(separator: "&")
  }

  static func == (left: Query, right: Query) -> Bool { left.text == right.text }

  /// Everything but unreserved characters as `%XX`; safe in paths and queries.
  static func encoded(_ text: String) -> String {
    var result = ""
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
        UInt8(ascii: "~"):
        result.unicodeScalars.append(Unicode.Scalar(byte))
      default:
        let digits = String(byte, radix: 16, uppercase: true)
        result += "%" + (digits.count == 1 ? "0" : "") + digits
      }
    }
    return result
  }
}
