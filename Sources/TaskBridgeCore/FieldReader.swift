/// Reads the value of one field by the rule for it, and keeps what is wrong.
///
/// Every reading function answers `nil` for `null` (the field has its default then) and for a value that is not
/// allowed, which is a fault.
struct FieldReader {
  /// Where the field stands; made into a pointer only when there is a fault.
  enum Place {
    case pointer(String)
    case member(of: String, key: String)
    case header(String)

    var pointer: String {
      switch self {
      case .pointer(let pointer): pointer
      case .member(let parent, let key): parent + "/" + key.jsonPointerEscaped
      case .header(let name): "/headers/" + name.jsonPointerEscaped
      }
    }
  }

  let value: JSONValue
  let place: Place
  private(set) var faults: [Fault] = []

  init(value: JSONValue, place: Place) {
    self.value = value
    self.place = place
  }

  init(value: JSONValue, pointer: String) {
    self.init(value: value, place: .pointer(pointer))
  }

  mutating func fault(_ detail: String, code: String = "invalid_field", at suffix: String = "") {
    faults.append(Fault(pointer: place.pointer + suffix, detail: detail, code: code))
  }

  mutating func adopt(_ inner: [Fault]) { faults.append(contentsOf: inner) }

  mutating func integer(_ range: ClosedRange<Int>) -> Int? {
    if value.isNull { return nil }
    guard let integer = value.int64Value.flatMap(Int.init(exactly:)), range.contains(integer) else {
      let allowed =
        range.upperBound == .max
        ? "an integer of at least \(range.lowerBound)" : "an integer from \(range.lowerBound) to \(range.upperBound)"
      fault("\(value.kind) is not allowed; allowed: \(allowed)")
      return nil
    }
    return integer
  }

  mutating func number(_ range: ClosedRange<Double>, above: Bool = false) -> Double? {
    if value.isNull { return nil }
    guard let number = checked(value, range, above: above) else {
      fault("\(value.kind) is not allowed; allowed: \(words(range, above: above))")
      return nil
    }
    return number
  }

  mutating func numbers(_ range: ClosedRange<Double>, countMax: Int) -> [Double]? {
    if value.isNull { return nil }
    guard case .array(let values) = value, !values.isEmpty else {
      fault("\(value.kind) is not allowed; allowed: a list of numbers that is not empty")
      return nil
    }
    guard values.count <= countMax else {
      fault("\(values.count) entries are too many; at most \(countMax) are allowed", code: "too_many")
      return nil
    }
    var numbers: [Double] = []
    for (index, value) in values.enumerated() {
      guard let number = checked(value, range, above: false) else {
        fault("\(value.kind) is not allowed; allowed: \(words(range, above: false))", at: "/\(index)")
        return nil
      }
      numbers.append(number)
    }
    return numbers
  }

  /// An object of numbers by name.
  mutating func amounts(_ range: ClosedRange<Double>) -> [String: Double]? {
    if value.isNull { return nil }
    guard case .object(let object) = value else {
      fault("\(value.kind) is not allowed; allowed: an object of numbers, or null")
      return nil
    }
    var amounts: [String: Double] = [:]
    for member in object.members {
      guard let amount = checked(member.value, range, above: false) else {
        fault(
          "\(member.value.kind) is not allowed; allowed: \(words(range, above: false))",
          at: "/" + member.key.jsonPointerEscaped)
        return nil
      }
      amounts[member.key] = amount
    }
    return amounts
  }

  mutating func flag() -> Bool? {
    if value.isNull { return nil }
    guard let flag = value.boolValue else {
      fault("\(value.kind) is not allowed; allowed: true or false")
      return nil
    }
    return flag
  }

  mutating func choice<Choice: RawRepresentable & CaseIterable>(_ type: Choice.Type) -> Choice?
  where Choice.RawValue == String {
    if value.isNull { return nil }
    guard let choice = value.stringValue.flatMap(Choice.init(rawValue:)) else {
      let allowed = Choice.allCases.map(\.rawValue).joined(separator: ", ")
      fault("\(value.kind) is not allowed; allowed: \(allowed)")
      return nil
    }
    return choice
  }

  /// A text of 1 to `bytesMax` bytes of UTF-8 without NUL.
  mutating func text(bytesMax: Int) -> String? {
    if value.isNull { return nil }
    guard let text = value.stringValue else {
      fault("\(value.kind) is not allowed; allowed: a string of 1 to \(bytesMax) bytes, or null")
      return nil
    }
    if let wrong = fieldTextFault(text, bytesMax: bytesMax) {
      fault(wrong)
      return nil
    }
    return text
  }

  mutating func time() -> Timestamp? {
    if value.isNull { return nil }
    guard let text = value.stringValue else {
      fault("\(value.kind) is no time; allowed: RFC 3339 such as 2026-11-20T23:39:00.123Z")
      return nil
    }
    do {
      return try Timestamp(rfc3339: text)
    } catch {
      switch error {
      case .withoutZone:
        fault(
          "\(value.kind) has no time zone; add Z or an offset such as +01:00, as in 2026-11-20T23:39:00.123Z",
          code: "time_without_zone")
      case .unreadable:
        fault("\(value.kind) is no time; allowed: RFC 3339 such as 2026-11-20T23:39:00.123Z, years 0001 to 9999")
      }
      return nil
    }
  }

  mutating func runID() -> RunID? {
    if value.isNull { return nil }
    guard let id = value.stringValue.flatMap({ RunID($0) }) else {
      fault("\(value.kind) is no run id; allowed: a UUID such as 019a0b1c-2d3e-7f40-8a5b-6c7d8e9f0a1b")
      return nil
    }
    return id
  }

  mutating func taskKey() -> TaskKey? {
    guard let key = value.stringValue.flatMap({ TaskKey($0) }) else {
      fault("\(value.kind) is no task key; allowed: \(TaskKey.grammar)", code: "invalid_task")
      return nil
    }
    return key
  }

  mutating func unknown(_ name: String? = nil, among allowed: [String]) {
    let own: String =
      switch place {
      case .member(_, let key): key
      case .header(let name): name
      case .pointer(let pointer): pointer.split(separator: "/").last.map(String.init) ?? pointer
      }
    let typed = name ?? own
    let advice = nearestName(to: typed, among: allowed).map { "did you mean \($0)?" }
    let known = "known are: " + allowed.joined(separator: ", ")
    fault("\(typed.quotedForError) is not known; \(advice ?? known)", code: "unknown_field")
  }

  private func checked(_ value: JSONValue, _ range: ClosedRange<Double>, above: Bool) -> Double? {
    guard let number = value.doubleValue, range.contains(number), !above || number > range.lowerBound else {
      return nil
    }
    // -0 is 0.
    return number == 0 ? 0 : number
  }

  private func words(_ range: ClosedRange<Double>, above: Bool) -> String {
    let low = range.lowerBound.jsonText
    return "a number \(above ? "above" : "from") \(low) \(above ? "up " : "")to \(range.upperBound.jsonText)"
  }
}

/// What is wrong with the text of a name, tag or key; `nil` when nothing is.
func fieldTextFault(_ text: String, bytesMax: Int, bytesMin: Int = 1) -> String? {
  let count = text.utf8.count
  if count > bytesMax { return "\(text.quotedForError) is \(count) bytes long, at most \(bytesMax) are allowed" }
  if count < bytesMin { return "an empty text is not allowed; leave the field out or give 1 to \(bytesMax) bytes" }
  // Other control characters are somebody's data: stored as they are, escaped wherever people look at them.
  if text.utf8.contains(0) { return "\(text.quotedForError) contains the control character U+0000; remove it" }
  return nil
}
