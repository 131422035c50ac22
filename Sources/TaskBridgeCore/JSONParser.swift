/// One pass over the bytes of a document. What is not wanted as a value is checked by the same rules but not built.
///
/// Recursive, with the depth checked before each step down: the stack needs `depthMax` frames at most.
struct JSONParser {
  /// Which members are checked and located (`range`) but stand as `null` in the result: payloads are never built.
  enum RawMembers {
    case none
    /// The given key of the outermost object.
    case outermost(String)
    /// `payload` in each element of the outermost `runs`.
    case payloadsOfRuns
  }

  private let bytes: UnsafeBufferPointer<UInt8>
  private(set) var at = 0
  private var depth = 0
  private let depthMax: Int
  private let raw: RawMembers
  private var isInRuns = false
  /// The keys of all open objects, one object's after its parent's.
  private var keys: [KeyMark] = []

  private struct KeyMark {
    var range: Range<Int>
    var hasEscape: Bool
    var hash: Int
  }

  static func parse(_ bytes: [UInt8], depthMax: Int = 64, raw: RawMembers) throws(JSONError) -> JSONValue {
    try bytes.withUnsafeBufferPointer { (buffer) throws(JSONError) in
      try parse(buffer, depthMax: depthMax, raw: raw)
    }
  }

  static func parse(
    _ bytes: UnsafeBufferPointer<UInt8>, depthMax: Int = 64, raw: RawMembers
  ) throws(JSONError) -> JSONValue {
    var parser = try JSONParser(bytes, depthMax: depthMax, raw: raw)
    let value = try parser.value()
    try parser.end()
    return value
  }

  /// - Throws: when the bytes are not UTF-8, so that no later step has to look.
  init(_ bytes: UnsafeBufferPointer<UInt8>, depthMax: Int = 64, raw: RawMembers = .none) throws(JSONError) {
    self.bytes = bytes
    self.depthMax = depthMax
    self.raw = raw
    if bytes.count >= 3, bytes[0] == 0xEF, bytes[1] == 0xBB, bytes[2] == 0xBF {
      throw failure(.invalid("it begins with a byte order mark; send UTF-8 without one"), 0)
    }
    if let broken = firstInvalidUTF8(in: bytes) { throw failure(.notUTF8, broken) }
    skipWhiteSpace()
  }

  /// Nothing but white space may be left.
  func end() throws(JSONError) {
    if at < bytes.count { throw failure(.trailing, at) }
  }

  /// The next value, as a tree; white space after it is skipped.
  mutating func value() throws(JSONError) -> JSONValue {
    switch next {
    case UInt8(ascii: "{"): return .object(try object())
    case UInt8(ascii: "["):
      var values: [JSONValue] = []
      try eachElement { (parser) throws(JSONError) in values.append(try parser.value()) }
      return .array(values)
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "-"), 48...57: return .number(JSONNumber(checked: try number()))
    default: return try literal()
    }
  }

  /// The next value, checked but not built: where it stands.
  @discardableResult
  mutating func skipValue() throws(JSONError) -> Range<Int> {
    let start = at
    switch next {
    case UInt8(ascii: "{"): try eachMember { (parser, _) throws(JSONError) in try parser.skipValue() }
    case UInt8(ascii: "["): try eachElement { (parser) throws(JSONError) in try parser.skipValue() }
    case UInt8(ascii: "\""): _ = try scanString()
    case UInt8(ascii: "-"), 48...57: _ = try scanNumber()
    default: _ = try literal()
    }
    skipWhiteSpace()
    return start..<endOfValue
  }

  /// What the next value begins with; 0 at the end.
  var next: UInt8 { at < bytes.count ? bytes[at] : 0 }

  func slice(_ range: Range<Int>) -> [UInt8] { Array(bytes[range]) }
}

// MARK: Objects and arrays

extension JSONParser {
  mutating func object() throws(JSONError) -> JSONObject {
    var members: [JSONObject.Member] = []
    try eachMember { (parser, mark) throws(JSONError) in
      let key = try parser.text(mark.range, hasEscape: mark.hasEscape)
      if parser.depth == 1 { parser.isInRuns = key == "runs" }
      if parser.isRaw(key) {
        members.append(JSONObject.Member(key: key, value: .null, range: try parser.skipValue()))
      } else {
        let start = parser.at
        let value = try parser.value()
        members.append(JSONObject.Member(key: key, value: value, range: start..<parser.endOfValue))
      }
    }
    return JSONObject(members: members)
  }

  /// Calls `body` with each key of the object that begins here; `body` has to read the value.
  mutating func members(_ body: (inout JSONParser, String) throws(JSONError) -> Void) throws(JSONError) {
    try eachMember { (parser, mark) throws(JSONError) in
      let key = try parser.text(mark.range, hasEscape: mark.hasEscape)
      try body(&parser, key)
    }
  }

  private func isRaw(_ key: String) -> Bool {
    switch raw {
    case .none: false
    case .outermost(let name): depth == 1 && key == name
    case .payloadsOfRuns: depth == 3 && isInRuns && key == "payload"
    }
  }

  /// The end of the value that was read last: before the white space that was skipped after it.
  private var endOfValue: Int {
    var end = at
    while end > 0, isWhiteSpace(bytes[end - 1]) { end -= 1 }
    return end
  }

  private mutating func eachMember(
    _ body: (inout JSONParser, KeyMark) throws(JSONError) -> Void
  ) throws(JSONError) {
    try open()
    let base = keys.count
    var hashes: Set<Int> = []
    if next == UInt8(ascii: "}") { return close(base) }
    while true {
      guard next == UInt8(ascii: "\"") else { throw unexpected("a key in double quotes") }
      let (range, hasEscape) = try scanString()
      let mark = KeyMark(range: range, hasEscape: hasEscape, hash: try hash(range, hasEscape: hasEscape))
      try refuseSecond(mark, since: base, &hashes)
      keys.append(mark)
      skipWhiteSpace()
      guard next == UInt8(ascii: ":") else { throw unexpected("a colon after the key") }
      at += 1
      skipWhiteSpace()
      try body(&self, mark)
      switch next {
      case UInt8(ascii: ","):
        at += 1
        skipWhiteSpace()
      case UInt8(ascii: "}"): return close(base)
      default: throw unexpected("a comma or } after a member")
      }
    }
  }

  mutating func eachElement(_ body: (inout JSONParser) throws(JSONError) -> Void) throws(JSONError) {
    try open()
    if next == UInt8(ascii: "]") { return close(keys.count) }
    while true {
      try body(&self)
      switch next {
      case UInt8(ascii: ","):
        at += 1
        skipWhiteSpace()
      case UInt8(ascii: "]"): return close(keys.count)
      default: throw unexpected("a comma or ] after an element")
      }
    }
  }

  private mutating func open() throws(JSONError) {
    guard depth < depthMax else { throw failure(.tooDeep, at) }
    depth += 1
    at += 1
    skipWhiteSpace()
  }

  private mutating func close(_ base: Int) {
    depth -= 1
    keys.removeSubrange(base...)
    at += 1
    skipWhiteSpace()
  }

  /// Looks at hashes alone for the few keys of a usual object, and in a set when there are many.
  private func refuseSecond(_ mark: KeyMark, since base: Int, _ hashes: inout Set<Int>) throws(JSONError) {
    let count = keys.count - base
    if count >= 16 {
      if count == 16 { for earlier in keys[base...] { hashes.insert(earlier.hash) } }
      if hashes.insert(mark.hash).inserted { return }
    }
    for earlier in keys[base...] where earlier.hash == mark.hash {
      let key = try text(mark.range, hasEscape: mark.hasEscape)
      // By bytes: two keys that differ in their normal form alone are different keys.
      if try text(earlier.range, hasEscape: earlier.hasEscape).utf8.elementsEqual(key.utf8) {
        throw failure(.duplicateKey(key), mark.range.lowerBound - 1)
      }
    }
  }

  /// Seeded by the process, so that nobody can prepare an object whose keys all collide.
  private func hash(_ range: Range<Int>, hasEscape: Bool) throws(JSONError) -> Int {
    var hasher = Hasher()
    if hasEscape {
      var key = try text(range, hasEscape: true)
      key.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    } else {
      hasher.combine(bytes: UnsafeRawBufferPointer(UnsafeBufferPointer(rebasing: bytes[range])))
    }
    return hasher.finalize()
  }
}

// MARK: Scalars

extension JSONParser {
  mutating func string() throws(JSONError) -> String {
    let (range, hasEscape) = try scanString()
    skipWhiteSpace()
    return try text(range, hasEscape: hasEscape)
  }

  mutating func number() throws(JSONError) -> String {
    let range = try scanNumber()
    skipWhiteSpace()
    return String(decoding: bytes[range], as: UTF8.self)
  }

  private mutating func literal() throws(JSONError) -> JSONValue {
    for (word, value) in [("true", JSONValue.bool(true)), ("false", .bool(false)), ("null", .null)] {
      if bytes[at...].starts(with: word.utf8) {
        at += word.utf8.count
        skipWhiteSpace()
        return value
      }
    }
    throw unexpected("a value")
  }

  /// - Returns: the bytes between the quotes, checked: no control character, escapes that mean something.
  private mutating func scanString() throws(JSONError) -> (range: Range<Int>, hasEscape: Bool) {
    let start = at + 1
    var hasEscape = false
    var position = start
    while position < bytes.count {
      let byte = bytes[position]
      if byte == UInt8(ascii: "\"") {
        at = position + 1
        return (start..<position, hasEscape)
      }
      if byte < 0x20 {
        throw failure(.invalid("a control character in a string must be written as an escape"), position)
      }
      if byte == UInt8(ascii: "\\") {
        hasEscape = true
        position = try endOfEscape(position)
      } else {
        position += 1
      }
    }
    throw failure(.invalid("a string has no end"), start - 1)
  }

  private func endOfEscape(_ start: Int) throws(JSONError) -> Int {
    guard start + 1 < bytes.count else { throw failure(.invalid("a string has no end"), start) }
    switch bytes[start + 1] {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
      UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
      return start + 2
    case UInt8(ascii: "u"):
      guard let unit = codeUnit(start) else { throw failure(.invalid("\\u needs four hexadecimal digits"), start) }
      if unit < 0xD800 || unit > 0xDFFF { return start + 6 }
      guard unit < 0xDC00, let second = codeUnit(start + 6), second >= 0xDC00, second <= 0xDFFF else {
        throw failure(.invalid("a surrogate stands alone: \\ud800 to \\udfff come in pairs"), start)
      }
      return start + 12
    default: throw failure(.invalid("a backslash is followed by no known escape"), start)
    }
  }

  /// The code unit of the `\uXXXX` at `start`; `nil` when there is none.
  private func codeUnit(_ start: Int) -> UInt32? {
    guard start + 6 <= bytes.count, bytes[start] == UInt8(ascii: "\\"), bytes[start + 1] == UInt8(ascii: "u") else {
      return nil
    }
    var unit: UInt32 = 0
    for position in start + 2..<start + 6 {
      guard let digit = hexDigit(bytes[position]) else { return nil }
      unit = unit << 4 | UInt32(digit)
    }
    return unit
  }

  /// The text of a string that has been scanned.
  private func text(_ range: Range<Int>, hasEscape: Bool) throws(JSONError) -> String {
    guard hasEscape else { return String(decoding: bytes[range], as: UTF8.self) }
    var decoded: [UInt8] = []
    decoded.reserveCapacity(range.count)
    var position = range.lowerBound
    while position < range.upperBound {
      guard bytes[position] == UInt8(ascii: "\\") else {
        decoded.append(bytes[position])
        position += 1
        continue
      }
      switch bytes[position + 1] {
      case UInt8(ascii: "b"): decoded.append(8)
      case UInt8(ascii: "f"): decoded.append(12)
      case UInt8(ascii: "n"): decoded.append(10)
      case UInt8(ascii: "r"): decoded.append(13)
      case UInt8(ascii: "t"): decoded.append(9)
      case UInt8(ascii: "u"):
        let end = try endOfEscape(position)
        decoded.append(contentsOf: String(scalar(position, end: end)).utf8)
        position = end
        continue
      default: decoded.append(bytes[position + 1])
      }
      position += 2
    }
    return String(decoding: decoded, as: UTF8.self)
  }

  private func scalar(_ start: Int, end: Int) -> Character {
    var value = codeUnit(start) ?? 0
    if end - start == 12, let second = codeUnit(start + 6) {
      value = 0x10000 + (value - 0xD800) << 10 + (second - 0xDC00)
    }
    return Character(Unicode.Scalar(value) ?? "\u{FFFD}")
  }

  private mutating func scanNumber() throws(JSONError) -> Range<Int> {
    let start = at
    if next == UInt8(ascii: "-") { at += 1 }
    if next == UInt8(ascii: "0") {
      at += 1
      if isDigit(next) { throw failure(.invalid("a number has no leading zeros"), start) }
    } else if skipDigits() == 0 {
      throw failure(.invalid("a digit must follow the minus sign"), start)
    }
    if next == UInt8(ascii: ".") {
      at += 1
      if skipDigits() == 0 { throw failure(.invalid("a digit must follow the decimal point"), start) }
    }
    if next == UInt8(ascii: "e") || next == UInt8(ascii: "E") {
      at += 1
      if next == UInt8(ascii: "+") || next == UInt8(ascii: "-") { at += 1 }
      if skipDigits() == 0 { throw failure(.invalid("an exponent needs a digit"), start) }
    }
    return start..<at
  }

  private mutating func skipDigits() -> Int {
    let start = at
    while isDigit(next) { at += 1 }
    return at - start
  }

  private func isDigit(_ byte: UInt8) -> Bool { byte >= 48 && byte <= 57 }
  private func isWhiteSpace(_ byte: UInt8) -> Bool { byte == 32 || byte == 10 || byte == 13 || byte == 9 }

  private mutating func skipWhiteSpace() {
    while at < bytes.count, isWhiteSpace(bytes[at]) { at += 1 }
  }
}

// MARK: Errors

extension JSONParser {
  private func unexpected(_ wanted: String) -> JSONError {
    guard at < bytes.count else {
      return failure(.invalid(bytes.isEmpty ? "it is empty" : "it ends where \(wanted) was expected"), at)
    }
    return failure(.invalid("\(wanted) was expected"), at)
  }

  private func failure(_ reason: JSONError.Reason, _ offset: Int) -> JSONError {
    var line = 1
    var column = 1
    for byte in bytes[..<min(offset, bytes.count)] {
      if byte == 10 {
        line += 1
        column = 1
      } else if byte & 0xC0 != 0x80 {
        column += 1
      }
    }
    return JSONError(line: line, column: column, reason: reason)
  }
}
