/// The fields of a schedule that say when it runs, as JSON has them (`contract.md` §3.5).
public struct ScheduleFields: Sendable {
  public static let names = [
    "cron", "every_seconds", "mode", "timezone", "starts_at", "ends_at", "max_runs", "dst_gap", "dst_overlap",
    "catch_up", "catch_up_limit", "overlap",
  ]

  /// The shortest interval, in seconds.
  public static let everySecondsMin = 0.001
  public static let maxRunsRange = 1...1_000_000_000

  public private(set) var faults: [Fault] = []
  /// The name of the zone, not looked up yet.
  public private(set) var timezone = "UTC"

  private var cron: CronExpression?
  private var everyMilliseconds: Int?
  private var mode = ScheduleRule.IntervalMode.fixedRate
  private var startsAt: Timestamp?
  private var endsAt: Timestamp?
  private var maxRuns: Int?
  private var dstGap = DSTGap.runAfter
  private var dstOverlap = DSTOverlap.first
  private var catchUp = ScheduleRule.CatchUp.skip
  private var catchUpLimit = ScheduleRule.catchUpLimitDefault
  private var overlap = ScheduleRule.Overlap.allow

  /// Reads the members named in ``names``; the others are somebody else's.
  /// - Parameter pointer: where the object stands, for faults.
  public init(_ object: JSONObject, pointer: String = "") {
    for member in object.members { read(member, pointer: pointer) }
    check(object, pointer: pointer)
  }

  /// - Returns: `nil` when there are ``faults``.
  public func rule(in zone: TimeZoneRules, createdAt: Timestamp) -> ScheduleRule? {
    guard faults.isEmpty else { return nil }
    let timing: ScheduleRule.Timing
    if let cron {
      timing = .cron(cron)
    } else if let everyMilliseconds {
      timing = .every(milliseconds: everyMilliseconds, mode)
    } else {
      return nil
    }
    return ScheduleRule(
      timing, zone: zone, startsAt: startsAt, endsAt: endsAt, maxRuns: maxRuns, dstGap: dstGap, dstOverlap: dstOverlap,
      catchUp: catchUp, catchUpLimit: catchUpLimit, overlap: overlap, createdAt: createdAt)
  }

  private mutating func read(_ member: JSONObject.Member, pointer: String) {
    var field = FieldReader(value: member.value, place: .member(of: pointer, key: member.key))
    switch member.key {
    case "cron": cron = field.cron()
    case "every_seconds":
      everyMilliseconds = field.number(Self.everySecondsMin...secondsMax).map { Int(($0 * 1000).rounded()) }
    case "mode": field.choice(ScheduleRule.IntervalMode.self).map { mode = $0 }
    case "timezone": field.text(bytesMax: 100).map { timezone = $0 }
    case "starts_at": startsAt = field.time()
    case "ends_at": endsAt = field.time()
    case "max_runs": maxRuns = field.integer(Self.maxRunsRange)
    case "dst_gap": field.choice(DSTGap.self).map { dstGap = $0 }
    case "dst_overlap": field.choice(DSTOverlap.self).map { dstOverlap = $0 }
    case "catch_up": field.choice(ScheduleRule.CatchUp.self).map { catchUp = $0 }
    case "catch_up_limit": field.integer(ScheduleRule.catchUpLimitRange).map { catchUpLimit = $0 }
    case "overlap": field.choice(ScheduleRule.Overlap.self).map { overlap = $0 }
    default: break
    }
    faults.append(contentsOf: field.faults)
  }

  /// What the fields say together.
  private mutating func check(_ object: JSONObject, pointer: String) {
    let hasCron = object["cron"].map { !$0.isNull } ?? false
    let hasInterval = object["every_seconds"].map { !$0.isNull } ?? false
    if hasCron && hasInterval {
      faults.append(Fault(pointer: pointer + "/every_seconds", detail: "cron is given too; give one of them"))
    } else if !hasCron && !hasInterval {
      faults.append(
        Fault(pointer: pointer + "/cron", detail: "a schedule needs cron or every_seconds; neither is given"))
    }
    if hasCron, mode == .fixedDelay {
      faults.append(Fault(pointer: pointer + "/mode", detail: "fixed_delay needs every_seconds, not cron"))
    }
    if let startsAt, let endsAt, endsAt < startsAt {
      faults.append(
        Fault(pointer: pointer + "/ends_at", detail: "\(endsAt) is before starts_at, \(startsAt)"))
    }
  }
}

extension FieldReader {
  fileprivate mutating func cron() -> CronExpression? {
    if value.isNull { return nil }
    guard let text = value.stringValue else {
      fault("\(value.kind) is no cron expression; allowed: a string such as \"30 2 * * 1-5\"", code: "invalid_cron")
      return nil
    }
    do {
      return try CronExpression(text)
    } catch {
      fault(error.reason, code: "invalid_cron")
      return nil
    }
  }
}
