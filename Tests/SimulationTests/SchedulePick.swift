import TaskBridgeCore

/// What a history does with a schedule.
struct SchedulePick: Sendable {
  enum Wish: Sendable {
    case add(SchedulePlanPick)
    case change(SchedulePatch)
    case pause, resume, remove, runNow
  }

  var name: String
  var wish: Wish
}

/// A schedule whose times count from when it is added.
struct SchedulePlanPick: Sendable {
  var plan: Model.SchedulePlan
  var startsAfterSeconds: Int?
  var endsAfterSeconds: Int?

  func plan(at now: Int64) -> Model.SchedulePlan {
    var plan = plan
    plan.startsAt = startsAfterSeconds.map { now + Int64($0) * 1_000 }
    plan.endsAt = endsAfterSeconds.map { (plan.startsAt ?? now) + Int64($0) * 1_000 }
    return plan
  }
}

/// Fields of a schedule that change; what is not named stays.
struct SchedulePatch: Sendable {
  var timing: Model.Timing?
  /// 0 takes the bound away.
  var maxRuns: Int?
  var priority: Int?
  var skipsOverlap: Bool?

  func apply(to plan: inout Model.SchedulePlan) {
    plan.timing = timing ?? plan.timing
    if let maxRuns { plan.maxRuns = maxRuns == 0 ? nil : maxRuns }
    plan.request.priority = priority ?? plan.request.priority
    plan.skipsOverlap = skipsOverlap ?? plan.skipsOverlap
  }

  var json: [UInt8] {
    var json = JSONWriter()
    json.object { json in
      if let timing { timing.write(to: &json, replaces: true) }
      if let maxRuns { json.member("max_runs", maxRuns == 0 ? nil : maxRuns) }
      if let priority { json.member("priority", priority) }
      if let skipsOverlap { json.member("overlap", skipsOverlap ? "skip" : "allow") }
    }
    return json.bytes
  }
}

extension Model.Timing {
  /// - Parameter replaces: takes back what the other kinds need.
  func write(to json: inout JSONWriter, replaces: Bool) {
    if kind == .cron {
      json.member("cron", "*/\(seconds / 60) * * * *")
    } else {
      json.member("every_seconds", seconds)
    }
    if kind == .delay { json.member("mode", "fixed_delay") }
    guard replaces else { return }
    if kind == .cron { json.key("every_seconds") } else { json.key("cron") }
    json.value(String?.none)
    if kind != .delay {
      json.key("mode")
      json.value(String?.none)
    }
  }
}

extension Model.SchedulePlan {
  func json(_ name: String) -> [UInt8] {
    var json = JSONWriter()
    json.object { json in
      json.member("name", name)
      timing.write(to: &json, replaces: false)
      json.member("starts_at", startsAt.map { Timestamp(milliseconds: $0) })
      json.member("ends_at", endsAt.map { Timestamp(milliseconds: $0) })
      json.member("max_runs", maxRuns)
      json.member("catch_up", catchUp.rawValue)
      json.member("catch_up_limit", catchUpLimit)
      json.member("overlap", skipsOverlap ? "skip" : "allow")
      json.member("task", request.task)
      json.member("payload", raw: "{\"n\":\(request.payload)}".utf8)
      json.member("group", request.group)
      json.member("priority", request.priority)
      json.member("ttl_seconds", request.ttlSeconds)
      json.member("dedup_key", request.dedupKey)
      json.member("on_duplicate", request.onDuplicate.rawValue)
      json.member("max_attempts", request.maxAttempts)
    }
    return json.bytes
  }
}
