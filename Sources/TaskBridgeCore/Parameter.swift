/// One value a caller gave by name: a query parameter, or a member of a JSON object turned into one.
public struct Parameter: Sendable, Equatable {
  public var name: String
  public var value: String
  /// Where the value stands, for faults: `?limit`, `/filter/state`.
  public var pointer: String

  public init(name: String, value: String, pointer: String) {
    self.name = name
    self.value = value
    self.pointer = pointer
  }

  /// A query parameter.
  public init(query name: String, _ value: String) {
    self.init(name: name, value: value, pointer: "?\(name)")
  }
}

/// Reads parameters one by one and collects what is wrong with them, so that a caller sees all of it at once.
public struct ParameterReader {
  private var rest: [Parameter]
  public private(set) var faults: [Fault] = []
  private var allowed: [String] = []

  public init(_ parameters: [Parameter]) { rest = parameters }

  /// Notes a fault; the problem shows what the first one allows.
  public mutating func refuse(
    _ pointer: String, _ detail: String, code: String = "invalid_field", allowed: [String] = []
  ) {
    if faults.isEmpty { self.allowed = allowed }
    faults.append(Fault(pointer: pointer, detail: detail, code: code))
  }

  /// Every value of `name`, in order; they are then done with.
  public mutating func all(_ name: String) -> [Parameter] {
    let found = rest.filter { $0.name == name }
    if !found.isEmpty { rest.removeAll { $0.name == name } }
    return found
  }

  /// The parameters whose names begin with `prefix`; they are then done with.
  public mutating func all(prefix: String) -> [Parameter] {
    let found = rest.filter { $0.name.hasPrefix(prefix) }
    if !found.isEmpty { rest.removeAll { $0.name.hasPrefix(prefix) } }
    return found
  }

  /// The one value of `name`; given twice it is a fault.
  public mutating func one(_ name: String) -> Parameter? {
    let found = all(name)
    if found.count > 1 { refuse(found[1].pointer, "\(name) is given \(found.count) times, at most once") }
    return found.first
  }

  /// A text of 1 to `bytesMax` bytes without NUL.
  public mutating func text(_ name: String, bytesMax: Int = 512) -> String? {
    guard let parameter = one(name) else { return nil }
    return checked(parameter, bytesMax: bytesMax)
  }

  public mutating func checked(_ parameter: Parameter, bytesMax: Int = 512) -> String? {
    let count = parameter.value.utf8.count
    guard (1...bytesMax).contains(count) else {
      refuse(parameter.pointer, "\(parameter.name) has \(count) bytes, 1...\(bytesMax) are allowed")
      return nil
    }
    guard !parameter.value.utf8.contains(0) else {
      refuse(parameter.pointer, "\(parameter.name) holds a NUL character, which no name can have")
      return nil
    }
    return parameter.value
  }

  public mutating func integer(_ name: String, in range: ClosedRange<Int>) -> Int? {
    guard let parameter = one(name) else { return nil }
    guard let value = Int(parameter.value), range.contains(value) else {
      refuse(
        parameter.pointer,
        "\(name) is \"\(parameter.value.prefix(64))\", a whole number \(range.lowerBound)...\(range.upperBound) is allowed"
      )
      return nil
    }
    return value
  }

  public mutating func bool(_ name: String) -> Bool? {
    guard let parameter = one(name) else { return nil }
    switch parameter.value {
    case "true": return true
    case "false": return false
    default:
      refuse(
        parameter.pointer, "\(name) is \"\(parameter.value.prefix(64))\", true or false is allowed",
        allowed: ["true", "false"])
      return nil
    }
  }

  public mutating func time(_ name: String) -> Timestamp? {
    guard let parameter = one(name) else { return nil }
    do throws(TimestampError) {
      return try Timestamp(rfc3339: parameter.value)
    } catch {
      switch error {
      case .withoutZone:
        refuse(
          parameter.pointer, "\(name) is \"\(parameter.value.prefix(64))\", which has no zone; add Z or an offset",
          code: "time_without_zone")
      case .unreadable:
        refuse(
          parameter.pointer,
          "\(name) is \"\(parameter.value.prefix(64))\", not a time such as 2026-11-20T23:39:00.123Z; a + in a URL is %2B"
        )
      }
      return nil
    }
  }

  public mutating func runID(_ name: String) -> RunID? {
    guard let parameter = one(name) else { return nil }
    return runID(parameter)
  }

  public mutating func runID(_ parameter: Parameter) -> RunID? {
    if let id = RunID(parameter.value) { return id }
    refuse(parameter.pointer, "\(parameter.name) is \"\(parameter.value.prefix(64))\", not the id of a run (a UUID)")
    return nil
  }

  public mutating func task(_ parameter: Parameter) -> TaskKey? {
    if let key = TaskKey(parameter.value) { return key }
    refuse(
      parameter.pointer,
      "\(parameter.name) is \"\(parameter.value.prefix(130))\", not a task key: \(TaskKey.grammar)",
      code: "invalid_task")
    return nil
  }

  /// The first part of a task key: it follows the grammar of one, without a dot.
  public mutating func domain(_ name: String) -> String? {
    guard let parameter = one(name) else { return nil }
    guard let key = TaskKey(parameter.value), key.domain == parameter.value else {
      refuse(
        parameter.pointer,
        "\(name) is \"\(parameter.value.prefix(130))\", not the part of a task key before its first dot (a-z, 0-9, _ and -)"
      )
      return nil
    }
    return parameter.value
  }

  /// A word out of the cases of `type`.
  public mutating func word<T: RawRepresentable<String> & CaseIterable>(_ name: String, as type: T.Type) -> T? {
    guard let parameter = one(name) else { return nil }
    return word(parameter, as: type)
  }

  public mutating func word<T: RawRepresentable<String> & CaseIterable>(
    _ parameter: Parameter, as type: T.Type
  ) -> T? {
    if let value = T(rawValue: parameter.value) { return value }
    let words = T.allCases.map(\.rawValue)
    refuse(
      parameter.pointer,
      "\(parameter.name) is \"\(parameter.value.prefix(64))\", allowed are \(words.joined(separator: ", "))",
      allowed: words)
    return nil
  }

  /// Refuses what nobody asked for.
  /// - Parameter known: the names there are, for the hint.
  /// - Throws: 422 with everything found wrong so far; `unknown_field` for a name that is not known.
  public mutating func finish(known: [String]) throws(Problem) {
    for parameter in rest {
      let nearest = nearestName(to: parameter.name, among: known).map { "; did you mean \($0)?" } ?? ""
      refuse(
        parameter.pointer,
        "there is no \(parameter.pointer.hasPrefix("?") ? "parameter" : "field") \(parameter.name.prefix(128))\(nearest)",
        code: "unknown_field", allowed: known)
    }
    rest = []
    try finish()
  }

  /// - Throws: 422 when anything was wrong.
  public func finish() throws(Problem) {
    guard !faults.isEmpty else { return }
    var problem = Problem(faults: faults)
    problem.allowed = allowed
    throw problem
  }
}
