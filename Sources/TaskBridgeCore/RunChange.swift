/// What is changed of a run that has not been dispatched (`PATCH /v1/runs/{id}`); what is absent stays.
public struct RunChange: Sendable, Equatable {
  /// A new value, or none for a field that was set to null.
  public enum Field<Value: Sendable & Equatable>: Sendable, Equatable {
    case absent
    case set(Value?)
  }

  /// 0..255, 0 first.
  public var priority: Int?
  /// Null: due now.
  public var runAt: Field<Timestamp> = .absent
  /// All tags of the run afterwards.
  public var tags: [String: String]?
  public var name: Field<String> = .absent
  /// Null: it never expires.
  public var expiresAt: Field<Timestamp> = .absent
  /// 1..1,000, more than are used up; null: what the settings of its task key say.
  public var maxAttempts: Field<Int> = .absent

  public static let maxAttemptsRange = 1...1_000

  public static let names = ["priority", "run_at", "tags", "name", "expires_at", "max_attempts"]

  public init() {}

  /// - Throws: 422 with everything found wrong.
  public init(_ object: JSONObject) throws(Problem) {
    var faults: [Fault] = []
    for member in object.members {
      var field = FieldReader(value: member.value, place: .member(of: "", key: member.key))
      switch member.key {
      case "priority":
        priority = field.integer(0...255)
        if member.value.isNull { field.fault("null is not allowed; allowed: an integer from 0 to 255") }
      case "run_at": runAt = .set(field.time())
      case "tags": tags = field.tags()
      case "name": name = .set(field.key())
      case "expires_at": expiresAt = .set(field.time())
      case "max_attempts": maxAttempts = .set(field.integer(Self.maxAttemptsRange))
      default: field.unknown(among: Self.names)
      }
      faults += field.faults
    }
    if !faults.isEmpty { throw Problem(faults: faults) }
  }
}
