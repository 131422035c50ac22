import TaskBridgeCore

/// Reads the members of a JSON body one by one and collects what is wrong with them.
struct BodyFields {
  private var rest: [JSONObject.Member]
  private var known: [String] = []
  private var faults: [Fault] = []

  /// - Parameter body: a JSON object; an empty body is one without members.
  /// - Throws: 400 for bytes that are no JSON, 422 for another kind of value.
  init(_ body: [UInt8]) throws(Problem) {
    if body.isEmpty {
      rest = []
      return
    }
    let value: JSONValue
    do throws(JSONError) { value = try JSONValue.parse(body) } catch { throw Problem(error) }
    guard case .object(let object) = value else {
      throw Problem(422, "invalid_field", "the body is \(value.kind), a JSON object is wanted")
    }
    rest = object.members
  }

  mutating func refuse(_ name: String, _ detail: String, code: String = "invalid_field") {
    faults.append(Fault(pointer: "/\(name)", detail: detail, code: code))
  }

  /// Refuses the body without one of `names`.
  mutating func require(_ names: String...) {
    for name in names where !rest.contains(where: { $0.key == name && !$0.value.isNull }) {
      refuse(name, "\(name) is missing")
    }
  }

  /// The member's value; nil when it is absent or null.
  mutating func value(_ name: String) -> JSONValue? {
    known.append(name)
    guard let index = rest.firstIndex(where: { $0.key == name }) else { return nil }
    let value = rest.remove(at: index).value
    return value.isNull ? nil : value
  }

  /// Every member that is left, for a body whose members somebody else judges.
  mutating func takeAll() -> JSONObject {
    defer { rest = [] }
    return JSONObject(members: rest)
  }

  mutating func text(_ name: String, bytesMax: Int) -> String? {
    guard let value = value(name) else { return nil }
    guard let text = value.stringValue, text.utf8.count <= bytesMax, !text.utf8.contains(0) else {
      refuse(name, "\(name) is \(value.kind), a string of at most \(bytesMax) bytes without NUL is allowed")
      return nil
    }
    return text
  }

  mutating func integer(_ name: String, in range: ClosedRange<Int>) -> Int? {
    guard let value = value(name) else { return nil }
    guard let integer = value.int64Value.flatMap(Int.init(exactly:)), range.contains(integer) else {
      refuse(name, "\(name) is \(value.kind), a whole number \(range.lowerBound)...\(range.upperBound) is allowed")
      return nil
    }
    return integer
  }

  mutating func number(_ name: String) -> Double? {
    guard let value = value(name) else { return nil }
    guard let number = value.doubleValue else {
      refuse(name, "\(name) is \(value.kind), a number is allowed")
      return nil
    }
    return number
  }

  mutating func flag(_ name: String) -> Bool? {
    guard let value = value(name) else { return nil }
    guard let flag = value.boolValue else {
      refuse(name, "\(name) is \(value.kind), true or false is allowed")
      return nil
    }
    return flag
  }

  mutating func time(_ name: String) -> Timestamp? {
    guard let value = value(name) else { return nil }
    do throws(TimestampError) {
      guard let text = value.stringValue else { throw TimestampError.unreadable }
      return try Timestamp(rfc3339: text)
    } catch {
      switch error {
      case .withoutZone:
        refuse(name, "\(name) is \(value.kind), which has no zone; add Z or an offset", code: "time_without_zone")
      case .unreadable: refuse(name, "\(name) is \(value.kind), not a time such as 2026-11-20T23:39:00.123Z")
      }
      return nil
    }
  }

  mutating func object(_ name: String) -> JSONObject? {
    guard let value = value(name) else { return nil }
    guard let object = value.objectValue else {
      refuse(name, "\(name) is \(value.kind), a JSON object is allowed")
      return nil
    }
    return object
  }

  /// A list of strings, each read by `read`.
  mutating func list<T>(
    _ name: String, count: ClosedRange<Int>, of what: String, _ read: (String) -> T?
  ) -> [T]? {
    guard let value = value(name) else { return nil }
    guard let items = value.arrayValue, count.contains(items.count) else {
      let found = value.arrayValue.map { "a list of \($0.count)" } ?? value.kind
      refuse(name, "\(name) is \(found), a list of \(count.lowerBound)...\(count.upperBound) \(what) is allowed")
      return nil
    }
    var list: [T] = []
    for (index, item) in items.enumerated() {
      guard let element = item.stringValue.flatMap(read) else {
        refuse("\(name)/\(index)", "\(item.kind) is allowed nowhere in a list of \(what)")
        continue
      }
      list.append(element)
    }
    return list
  }

  /// - Throws: 422 with everything found wrong; `unknown_field` for members nobody asked for.
  mutating func finish() throws(Problem) {
    for member in rest {
      let hint = nearestName(to: member.key, among: known).map { "; did you mean \($0)?" } ?? ""
      refuse(member.key, "there is no field \(member.key.prefix(128))\(hint)", code: "unknown_field")
    }
    guard let first = faults.first else { return }
    let codes = Set(faults.map(\.code))
    throw Problem(
      422, codes.count == 1 ? first.code : "invalid_field", first.detail,
      errors: Array(faults.prefix(Problem.faultsMax)),
      allowed: first.code == "unknown_field" ? known : [])
  }
}
