/// Settings of one group of runs (`PATCH /v1/groups/{name}`).
public struct GroupSettings: Sendable, Equatable {
  /// Most runs of the group that are queued, launched, running or cancelling; 0 holds all, nil is unlimited.
  public var concurrencyLimit: Int?
  public var ratePerSecond: Double?
  public var rateBurst: Int?

  public init() {}

  public static let names = ["concurrency_limit", "rate_per_second", "rate_burst"]
  static let unsupported = ["weight", "minimum_slots"]

  public var rate: RateLimit? { RateLimit(perSecond: ratePerSecond, burst: rateBurst) }

  /// Takes over the members of `object`; null removes a setting, what is absent stays.
  /// - Returns: what is wrong; the value is then not to be used.
  public mutating func change(by object: JSONObject) -> [Fault] {
    var faults: [Fault] = []
    for member in object.members {
      var field = FieldReader(value: member.value, place: .member(of: "", key: member.key))
      switch member.key {
      case "concurrency_limit": concurrencyLimit = field.integer(TaskOverrides.concurrencyRange)
      case "rate_per_second": ratePerSecond = field.number(TaskOverrides.rateRange)
      case "rate_burst": rateBurst = field.integer(TaskOverrides.burstRange)
      case let name where Self.unsupported.contains(name):
        field.fault("\(name) is not supported by this version; leave it out", code: "not_supported")
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
      json.member("rate_per_second", ratePerSecond)
      json.member("rate_burst", rateBurst)
    }
  }
}
