/// A JSON value as the server sent it, byte for byte, looked into without decoding the rest.
///
/// Reading is tolerant: where the bytes are no JSON the answer is nil or empty, never a trap. Whether they are valid is
/// the server's promise.
struct JSONSlice: Sendable {
  let bytes: ArraySlice<UInt8>

  init(_ bytes: [UInt8]) { self.bytes = Scanner.trimmed(bytes[...]) }
  private init(_ bytes: ArraySlice<UInt8>) { self.bytes = bytes }

  /// The value of a member; nil when it is absent or this is no object.
  subscript(_ key: String) -> JSONSlice? {
    members.first { $0.key == key }?.value
  }

  /// The members of an object in order; empty for anything else.
  var members: [(key: String, value: JSONSlice)] {
    guard bytes.first == UInt8(ascii: "{") else { return [] }
    var scanner = Scanner(bytes)
    var result: [(key: String, value: JSONSlice)] = []
    while let key = scanner.next(), let value = scanner.next(), let name = JSONSlice(key).string {
      result.append((name, JSONSlice(value)))
    }
    return result
  }

  /// The elements of an array in order; empty for anything else.
  var elements: [JSONSlice] {
    guard bytes.first == UInt8(ascii: "[") else { return [] }
    var scanner = Scanner(bytes)
    var result: [JSONSlice] = []
    while let element = scanner.next() { result.append(JSONSlice(element)) }
    return result
  }

  /// The text of a JSON string; nil for anything else.
  var string: String? {
    guard bytes.count >= 2, bytes.first == UInt8(ascii: "\""), bytes.last == UInt8(ascii: "\"") else { return nil }
    return Self.unescaped(bytes.dropFirst().dropLast())
  }

  var isNull: Bool { bytes.elementsEqual("null".utf8) }
  var bool: Bool? { bytes.elementsEqual("true".utf8) ? true : bytes.elementsEqual("false".utf8) ? false : nil }
  var double: Double? { Double(String(decoding: bytes, as: UTF8.self)) }
  var int: Int? { Int(String(decoding: bytes, as: UTF8.self)) }

  /// How a table shows it: strings without quotes, null as nothing, anything else as it stands.
  var text: String? {
    if isNull || bytes.isEmpty { return nil }
    return string ?? String(decoding: bytes, as: UTF8.self)
  }

  /// The bytes in one line. Line ends in valid JSON stand only between tokens, where a space means the same.
  var line: [UInt8] {
    bytes.map { $0 == UInt8(ascii: "\n") || $0 == UInt8(ascii: "\r") ? UInt8(ascii: " ") : $0 }
  }

  private static func unescaped(_ content: ArraySlice<UInt8>) -> String {
    guard content.contains(UInt8(ascii: "\\")) else { return String(decoding: content, as: UTF8.self) }
    var units: [UInt16] = []
    var plain: [UInt8] = []
    var rest = content
    func flush() {
      units += Array(String(decoding: plain, as: UTF8.self).utf16)
      plain = []
    }
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "\\"), let escape = rest.popFirst() else {
        plain.append(byte)
        continue
      }
      switch escape {
      case UInt8(ascii: "n"): plain.append(10)
      case UInt8(ascii: "r"): plain.append(13)
      case UInt8(ascii: "t"): plain.append(9)
      case UInt8(ascii: "b"): plain.append(8)
      case UInt8(ascii: "f"): plain.append(12)
      case UInt8(ascii: "u"):
        flush()
        units.append(UInt16(String(decoding: rest.prefix(4), as: UTF8.self), radix: 16) ?? 0xFFFD)
        rest = rest.dropFirst(4)
      default: plain.append(escape)
      }
    }
    flush()
    return String(decoding: units, as: UTF16.self)
  }
}

/// Cuts the values out of one object or array; keys and values of an object come in turn.
private struct Scanner {
  private let whole: ArraySlice<UInt8>
  private var rest: ArraySlice<UInt8>

  init(_ container: ArraySlice<UInt8>) {
    whole = container
    rest = container.dropFirst()
  }

  static func trimmed(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
    var result = bytes.drop(while: isSpace)
    while let last = result.last, isSpace(last) { result.removeLast() }
    return result
  }

  private static func isSpace(_ byte: UInt8) -> Bool { byte == 32 || byte == 9 || byte == 10 || byte == 13 }

  mutating func next() -> ArraySlice<UInt8>? {
    rest = rest.drop { Self.isSpace($0) || $0 == UInt8(ascii: ",") || $0 == UInt8(ascii: ":") }
    guard let first = rest.first, first != UInt8(ascii: "]"), first != UInt8(ascii: "}") else { return nil }
    let start = rest.startIndex
    var depth = 0
    while let byte = rest.first {
      switch byte {
      case UInt8(ascii: "\""):
        skipString()
        if depth == 0 { return slice(from: start) }
        continue
      case UInt8(ascii: "{"), UInt8(ascii: "["):
        depth += 1
      case UInt8(ascii: "}"), UInt8(ascii: "]"):
        if depth == 0 { return Self.trimmed(slice(from: start)) }
        depth -= 1
        if depth == 0 {
          rest.removeFirst()
          return slice(from: start)
        }
      case UInt8(ascii: ","), UInt8(ascii: ":"):
        if depth == 0 { return Self.trimmed(slice(from: start)) }
      default: break
      }
      rest.removeFirst()
    }
    return nil
  }

  private func slice(from start: Int) -> ArraySlice<UInt8> { whole[start..<rest.startIndex] }

  private mutating func skipString() {
    rest.removeFirst()
    while let byte = rest.popFirst() {
      if byte == UInt8(ascii: "\\") {
        _ = rest.popFirst()
      } else if byte == UInt8(ascii: "\"") {
        return
      }
    }
  }
}
