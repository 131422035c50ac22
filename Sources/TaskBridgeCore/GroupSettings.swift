/// Settings of one group of runs (`PATCH /v1/groups/{name}`).
public struct GroupSettings: Sendable, Equatable {
  /// Most runs of the group that are queued, launched, running or cancelling; 0 holds all, nil is unlimited.
  public var concurrencyLimit: Int?
  /// Its part of what a task key may release while groups wait for it, against the weights of the others; nil counts 1.
  public var weight: Int?
  /// Runs at work in a task key up to which the group goes before those that have their minimum; nil counts 0.
  public var minimumSlots: Int?
  public var ratePerSecond: Double?
  public var rateBurst: Int?

  public init() {}

  public static let names = ["concurrency_limit", "weight", "minimum_slots", "rate_per_second", "rate_burst"]
  public static let weightRange = 1...1_000
  public static let minimumRange = 0...1_000_000

  /// Whether the group asks for a share of its own.
  public var shares: Bool { weight != nil || minimumSlots != nil }

  public var rate: RateLimit? { RateLimit(perSecond: ratePerSecond, burst: rateBurst) }

  /// Takes over the members of `object`; null removes a setting, what is absent stays.
  /// - Returns: what is wrong; the value is then not to be used.
  public mutating func change(by object: JSONObject) -> [Fault] {
    var faults: [Fault] = []
    for member in object.members {
      var field = FieldReader(value: member.value, place: .member(of: "", key: member.key))
      switch member.key {
      case "concurrency_limit": concurrencyLimit = field.integer(TaskOverrides.concurrencyRange)
      case "weight": weight = field.integer(Self.weightRange)
      case "minimum_slots": minimumSlots = field.integer(Self.minimumRange)
      case "rate_per_second": ratePerSecond = field.number(TaskOverrides.rateRange)
      case "rate_burst": rateBurst = field.integer(TaskOverrides.burstRange)
      default: field.unknown(among: Self.names)
      }
      faults += field.faults
    }
    return faults
  }
}

extension GroupSettings: JSONWritable {
  /// As they were set, one that was not as null: this is what the store keeps, too.
  public func write(to json: inout JSONWriter) {
    json.object { json in
      json.member("concurrency_limit", concurrencyLimit)
      json.member("weight", weight)
      json.member("minimum_slots", minimumSlots)
      json.member("rate_per_second", ratePerSecond)
      json.member("rate_burst", rateBurst)
    }
  }
}
