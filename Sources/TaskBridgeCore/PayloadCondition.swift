/// A place in a JSON payload: `user.id`, `items[0].sku`, `"a.b".c`; a leading `$.` is allowed.
///
/// Steps are separated by dots. A key with a dot, a bracket or a space at its end stands in double quotes; one with a
/// quote, a backslash or a control character cannot be named. `[n]` is an item of an array, from 0. Keys are compared
/// with the bytes of the payload: one that is written there with `\u` escapes is another key.
public struct PayloadPath: Sendable, Equatable {
  public enum Step: Sendable, Equatable {
    case key(String)
    case index(Int)
  }

  public static let bytesMax = 512
  public static let grammar = "keys separated by dots, [n] for an item of an array: user.id, items[0].sku, \"a.b\".c"

  public let steps: [Step]

  /// Nil for a text that is no path.
  public init?(_ text: String) {
    guard text.utf8.count <= Self.bytesMax else { return nil }
    var rest = text[...]
    if rest.hasPrefix("$."), rest.count > 2 {
      rest = rest.dropFirst(2)
    } else if rest.hasPrefix("$[") {
      rest = rest.dropFirst()
    }
    var steps: [Step] = []
    var wantsKey = !rest.hasPrefix("[")
    while !rest.isEmpty {
      if rest.first == "[" {
        guard !wantsKey, let end = rest.firstIndex(of: "]") else { return nil }
        let digits = rest[rest.index(after: rest.startIndex)..<end]
        guard (1...9).contains(digits.utf8.count), digits.utf8.allSatisfy({ (48...57).contains($0) }),
          let index = Int(digits)
        else { return nil }
        steps.append(.index(index))
        rest = rest[rest.index(after: end)...]
      } else {
        guard wantsKey, let key = Self.key(&rest) else { return nil }
        steps.append(.key(key))
      }
      wantsKey = rest.first == "."
      if wantsKey { rest = rest.dropFirst() } else if !rest.isEmpty, rest.first != "[" { return nil }
    }
    if wantsKey || steps.isEmpty { return nil }
    self.steps = steps
  }

  private static func key(_ rest: inout Substring) -> String? {
    let key: Substring
    if rest.first == "\"" {
      let inner = rest.dropFirst()
      guard let end = inner.firstIndex(of: "\"") else { return nil }
      key = inner[..<end]
      rest = inner[inner.index(after: end)...]
    } else {
      key = rest.prefix { $0 != "." && $0 != "[" && $0 != "]" && $0 != "\"" }
      rest = rest[key.endIndex...]
    }
    guard !key.isEmpty, !key.utf8.contains(where: { $0 < 0x20 || $0 == UInt8(ascii: "\\") }) else { return nil }
    return String(key)
  }
}

/// What stands at a place of a JSON payload: a string, a number, true, false or null. Numbers are compared by value, a
/// place that does not exist is not null, and a payload that is no JSON fulfils nothing.
public struct PayloadCondition: Sendable, Equatable {
  /// Most of one filter.
  public static let countMax = 16

  public var path: PayloadPath
  public var value: JSONValue

  /// Nil for a list or an object.
  public init?(_ path: PayloadPath, _ value: JSONValue) {
    switch value {
    case .null, .bool, .number, .string: break
    case .array, .object: return nil
    }
    self.path = path
    self.value = value
  }
}

extension ParameterReader {
  /// `payload.<path>=<value>`, where a value that reads as JSON is that value and any other is a string, and
  /// `payload={"<path>":<value>}`.
  mutating func payloadConditions() -> [PayloadCondition] {
    var conditions: [PayloadCondition] = []
    for parameter in all("payload") {
      guard case .object(let object)? = Self.json(parameter.value) else {
        refuse(parameter.pointer, "payload must be an object of paths and values, such as {\"user.id\":42}")
        continue
      }
      conditions += payloadConditions(object, pointer: parameter.pointer)
    }
    for parameter in all(prefix: "payload.") {
      let value = Self.json(parameter.value) ?? .string(parameter.value)
      let path = String(parameter.name.dropFirst("payload.".count))
      if let condition = condition(path, value, pointer: parameter.pointer) { conditions.append(condition) }
    }
    return conditions
  }

  mutating func payloadConditions(_ object: JSONObject, pointer: String) -> [PayloadCondition] {
    if object.members.count > PayloadCondition.countMax {
      refuse(
        pointer, "payload names \(object.members.count) paths, at most \(PayloadCondition.countMax)", code: "too_many")
      return []
    }
    var conditions: [PayloadCondition] = []
    for member in object.members {
      if let condition = condition(member.key, member.value, pointer: pointer) { conditions.append(condition) }
    }
    return conditions
  }

  private mutating func condition(_ path: String, _ value: JSONValue, pointer: String) -> PayloadCondition? {
    guard let place = PayloadPath(path) else {
      refuse(pointer, "\(path.quotedForError) is no path into a payload: \(PayloadPath.grammar)")
      return nil
    }
    guard let condition = PayloadCondition(place, value) else {
      refuse(
        pointer,
        "\(path.quotedForError) is compared with \(value.kind): a string, number, true, false or null is allowed")
      return nil
    }
    return condition
  }

  private static func json(_ text: String) -> JSONValue? {
    do { return try JSONValue.parse(text) } catch { return nil }
  }
}
