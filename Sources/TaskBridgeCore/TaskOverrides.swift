/// In which order runs of one priority leave a task key.
public enum ReleaseOrder: String, Sendable, CaseIterable {
  /// Oldest first.
  case fifo
  /// Newest first.
  case lifo
}

/// Settings of one task key made while the bridge runs (`PATCH /v1/tasks/{key}`); nil: what the configuration says.
public struct TaskOverrides: Sendable, Equatable {
  public var queueBound: Int?
  public var concurrencyLimit: Int?
  public var ratePerSecond: Double?
  public var rateBurst: Int?
  public var order: ReleaseOrder?
  public var aging: Aging?
  public var leaseSeconds: Int?
  public var maxAttempts: Int?
  public var maxLost: Int?
  public var retry: RetryPolicy?
  public var payloadLimitBytes: Int?
  public var resourceLimits: [String: Double]?
  public var disabled: Bool?

  public init() {}

  public static let names = [
    "queue_bound", "concurrency_limit", "rate_per_second", "rate_burst", "order", "aging", "lease_seconds",
    "max_attempts", "max_lost", "retry", "payload_limit_bytes", "resource_limits", "disabled",
  ]
  /// Settings that this version does not have.
  static let unsupported = ["payload_schema", "redact"]

  public static let concurrencyRange = 0...1_000_000
  /// Releases per second.
  public static let rateRange = 0.001...100_000.0
  public static let burstRange = 1...100_000

  /// Takes over the members of `object`; null removes a setting, what is absent stays.
  /// - Returns: what is wrong; the value is then not to be used.
  public mutating func change(by object: JSONObject) -> [Fault] {
    var faults: [Fault] = []
    for member in object.members {
      var field = FieldReader(value: member.value, place: .member(of: "", key: member.key))
      switch member.key {
      case "queue_bound":
        if member.value.int64Value == 0 {
          field.fault("0 is not allowed; to hold the task key back, pause it: POST /v1/tasks/{key}/pause")
        } else {
          queueBound = field.integer(1...100_000)
        }
      case "concurrency_limit": concurrencyLimit = field.integer(Self.concurrencyRange)
      case "rate_per_second": ratePerSecond = field.number(Self.rateRange)
      case "rate_burst": rateBurst = field.integer(Self.burstRange)
      case "order": order = field.choice(ReleaseOrder.self)
      case "aging":
        var inner: [Fault] = []
        aging = member.value.isNull ? nil : Aging(json: member.value, pointer: "/aging", faults: &inner)
        field.adopt(inner)
      case "lease_seconds": leaseSeconds = field.integer(1...86_400)
      case "max_attempts": maxAttempts = field.integer(1...1_000)
      case "max_lost": maxLost = field.integer(0...1_000)
      case "retry":
        var inner: [Fault] = []
        retry = member.value.isNull ? nil : RetryPolicy(json: member.value, pointer: "/retry", faults: &inner)
        field.adopt(inner)
      case "payload_limit_bytes": payloadLimitBytes = field.integer(1...16_777_216)
      case "resource_limits": resourceLimits = field.amounts(0...1e15)
      case "disabled": disabled = field.flag()
      case "wire":
        field.fault(
          "the wire format is read at the start: set tasks.KEY.wire in the configuration file and start the bridge again",
          code: "configuration_only")
      case "queue_type":
        field.fault(
          "the type of a queue that exists cannot be changed: set tasks.KEY.queue_type in the configuration file, stop the bridge, delete the queue taskbridge.run.KEY, start the bridge; it declares the queue anew and sends what the old one held",
          code: "configuration_only")
      case let name where Self.unsupported.contains(name):
        field.fault("\(name) is not supported by this version; leave it out", code: "not_supported")
      default: field.unknown(among: Self.names)
      }
      faults += field.faults
    }
    return faults
  }
}

extension TaskOverrides: JSONWritable {
  /// What is set, and nothing else.
  public func write(to json: inout JSONWriter) {
    json.object { json in
      if let queueBound { json.member("queue_bound", queueBound) }
      if let concurrencyLimit { json.member("concurrency_limit", concurrencyLimit) }
      if let ratePerSecond { json.member("rate_per_second", ratePerSecond) }
      if let rateBurst { json.member("rate_burst", rateBurst) }
      if let order { json.member("order", order.rawValue) }
      if let aging { json.member("aging", aging) }
      if let leaseSeconds { json.member("lease_seconds", leaseSeconds) }
      if let maxAttempts { json.member("max_attempts", maxAttempts) }
      if let maxLost { json.member("max_lost", maxLost) }
      if let retry { json.member("retry", retry) }
      if let payloadLimitBytes { json.member("payload_limit_bytes", payloadLimitBytes) }
      if let resourceLimits { json.member("resource_limits", resourceLimits) }
      if let disabled { json.member("disabled", disabled) }
    }
  }
}

extension TaskPolicy {
  /// With what was set while the bridge runs.
  public func changed(by overrides: TaskOverrides) -> TaskPolicy {
    var policy = self
    policy.queueBound = overrides.queueBound ?? queueBound
    policy.concurrencyLimit = overrides.concurrencyLimit ?? concurrencyLimit
    policy.ratePerSecond = overrides.ratePerSecond ?? ratePerSecond
    policy.rateBurst = overrides.rateBurst ?? rateBurst
    policy.order = overrides.order ?? order
    policy.aging = overrides.aging ?? aging
    policy.leaseSeconds = overrides.leaseSeconds ?? leaseSeconds
    policy.maxAttempts = overrides.maxAttempts ?? maxAttempts
    policy.maxLost = overrides.maxLost ?? maxLost
    policy.retry = overrides.retry ?? retry
    policy.resourceLimits = overrides.resourceLimits ?? resourceLimits
    return policy
  }

  /// The rate limit; nil without one.
  public var rate: RateLimit? { RateLimit(perSecond: ratePerSecond, burst: rateBurst) }
}

extension TaskPolicy {
  /// The settings in force as members of an object, a limit that is not set as null.
  public func writeMembers(to json: inout JSONWriter) {
    json.member("queue_bound", queueBound)
    json.member("concurrency_limit", concurrencyLimit)
    json.member("rate_per_second", ratePerSecond)
    json.member("rate_burst", rate.map { Int($0.burst) })
    json.member("order", order.rawValue)
    if let aging { json.member("aging", aging) } else { json.member("aging", JSONValue.null) }
    json.member("lease_seconds", leaseSeconds)
    json.member("max_attempts", maxAttempts)
    json.member("max_lost", maxLost)
    json.member("retry", retry)
    json.member("resource_limits", resourceLimits)
  }
}
