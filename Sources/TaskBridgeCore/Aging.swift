/// How waiting makes the runs of a task key more urgent, so that a stream of urgent ones never keeps the others for good.
public struct Aging: Sendable, Equatable {
  /// Seconds before a waiting run grows more urgent.
  public var graceSeconds = 300
  /// Seconds for each step of priority after that.
  public var intervalSeconds = 60
  /// The most urgent priority waiting alone can reach; a run that is more urgent by itself stays as it is.
  public var ceiling = 64

  public init() {}

  public static let graceRange = 0...31_536_000
  public static let intervalRange = 1...31_536_000
  public static let ceilingRange = 0...255
  public static let names = ["grace_seconds", "interval_seconds", "ceiling"]

  /// The priority of a run of `priority` after `age` milliseconds of waiting.
  public func effective(_ priority: Int, age: Int64) -> Int {
    let steps = max(0, age - Int64(graceSeconds) * 1_000) / (Int64(intervalSeconds) * 1_000)
    return min(priority, max(priority - Int(min(steps, 256)), ceiling))
  }

  /// The latest time since which a run of `priority` can have waited and be, at `now`, as urgent as one that has waited
  /// since `since`.
  public func lastEqual(_ since: Timestamp, priority: Int, paused: PausedTime, at now: Timestamp) -> Timestamp {
    let wanted = effective(priority, age: paused.waited(since: since, until: now))
    if wanted == effective(priority, age: 0) { return .latest }
    var (low, high) = (since.milliseconds, now.milliseconds)
    // Waiting less long never makes more urgent: `low` is as urgent, `high` is not.
    while high - low > 1 {
      let middle = low + (high - low) / 2
      let age = paused.waited(since: Timestamp(milliseconds: middle), until: now)
      if effective(priority, age: age) == wanted { low = middle } else { high = middle }
    }
    return Timestamp(milliseconds: low)
  }
}

extension Aging: JSONWritable {
  /// Reads the `aging` object of task settings; members that are missing have their defaults.
  ///
  /// What is wrong is added to `faults`, and the default stands in its place.
  public init(json: JSONValue, pointer: String, faults: inout [Fault]) {
    self.init()
    guard case .object(let object) = json else {
      faults.append(
        Fault(
          pointer: pointer,
          detail: "\(json.kind) is not allowed; allowed: an object with \(Self.names.joined(separator: ", ")), or null")
      )
      return
    }
    for member in object.members {
      var field = FieldReader(value: member.value, pointer: pointer + "/" + member.key.jsonPointerEscaped)
      switch member.key {
      case "grace_seconds": field.integer(Self.graceRange).map { graceSeconds = $0 }
      case "interval_seconds": field.integer(Self.intervalRange).map { intervalSeconds = $0 }
      case "ceiling": field.integer(Self.ceilingRange).map { ceiling = $0 }
      default: field.unknown(among: Self.names)
      }
      faults.append(contentsOf: field.faults)
    }
  }

  public func write(to json: inout JSONWriter) {
    json.object { json in
      json.member("grace_seconds", graceSeconds)
      json.member("interval_seconds", intervalSeconds)
      json.member("ceiling", ceiling)
    }
  }
}

extension Run {
  /// Since when its waiting counts: submission, or its own time if that is later. A retry keeps it; the time the run
  /// itself was paused has been taken out.
  public var waitsSince: Timestamp { agesFrom ?? max(createdAt, runAt ?? createdAt) }

  /// Milliseconds of waiting at `now`, pauses left out.
  ///
  /// - Parameter paused: when its task key, domain or group or the bridge was paused.
  public func age(at now: Timestamp, paused: PausedTime) -> Int64 {
    paused.waited(since: waitsSince, until: now)
  }

  /// The priority that counts for the order of release. A dispatched run keeps the one it left with, a paused one what it
  /// had before.
  public func effectivePriority(_ aging: Aging?, paused: PausedTime, at now: Timestamp) -> Int {
    guard let aging, priority > aging.ceiling else { return priority }
    let at = queuedAt ?? finishedAt ?? pausedAt ?? now
    return aging.effective(priority, age: age(at: at, paused: paused))
  }
}
