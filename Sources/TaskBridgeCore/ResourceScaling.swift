/// How one resource of a run grows after a resource error.
public enum ResourceScale: Equatable, Sendable {
  /// Grows by this share, rounded up: 0.5 turns 10 into 15. At least 0.
  case factor(Double)
  /// Goes through these values, the last one stays. Not empty.
  case values([Double])

  /// The most entries of ``values(_:)``.
  public static let valuesMax = 100

  /// What the next attempt gets instead of `value`.
  public func scaled(_ value: Double) -> Double {
    switch self {
    case .factor(let share):
      // Bounded, so that a thousand attempts stay finite.
      let exact = min(value * (1 + share), max(value, 1e15))
      // 10 × 1.1 is 11.000000000000002 in binary and must not become 12.
      let nearest = exact.rounded()
      return (exact - nearest).magnitude <= nearest.magnitude * 1e-12 ? nearest : exact.rounded(.up)
    case .values(let values):
      return values.first { $0 > value } ?? values.last ?? value
    }
  }
}

extension ResourceScale {
  /// Reads one entry of `resource_scales`: a number of at least 0 or a list of such numbers.
  public init?(json: JSONValue, pointer: String, faults: inout [Fault]) {
    var field = FieldReader(value: json, pointer: pointer)
    defer { faults.append(contentsOf: field.faults) }
    switch json {
    case .array:
      guard let values = field.numbers(0...1e15, countMax: Self.valuesMax) else { return nil }
      self = .values(values)
    case .number:
      guard let share = field.number(0...1_000_000) else { return nil }
      self = .factor(share)
    case .null, .bool, .string, .object:
      field.fault("\(json.kind) is not a scale; allowed: a number of at least 0 or a list of numbers")
      return nil
    }
  }
}

extension ResourceScale: JSONWritable {
  public func write(to json: inout JSONWriter) {
    switch self {
    case .factor(let share): json.value(share)
    case .values(let values):
      json.array { json in
        for value in values { json.value(value) }
      }
    }
  }
}
