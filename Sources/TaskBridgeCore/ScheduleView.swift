/// One schedule as callers see it: its fields with their defaults, and how it stands.
public struct ScheduleView: Sendable, JSONWritable {
  /// What became of a nominal time, or of neighbouring ones that did not run.
  public struct Time: Sendable, Equatable, JSONWritable {
    /// Why a time did not run.
    public enum Reason: String, Sendable, CaseIterable {
      /// It passed while the bridge was down or the schedule paused, and `catch_up` does not ask for it.
      case missed
      /// `overlap` is `skip`, and a run of the schedule had not ended.
      case overlap
      /// An active run has the dedup key.
      case duplicate
      /// The submission was refused; the detail says why.
      case refused
    }

    public var nominalAt: Timestamp
    /// The last of ``count`` neighbouring times.
    public var lastNominalAt: Timestamp
    public var count: Int
    public var decidedAt: Timestamp
    /// The run that was made; nil when none was.
    public var runID: RunID?
    public var reason: Reason?
    /// What daylight saving did to the time, or why the submission was refused.
    public var note: String?

    public init(
      nominalAt: Timestamp, lastNominalAt: Timestamp, count: Int, decidedAt: Timestamp, runID: RunID?, reason: Reason?,
      note: String?
    ) {
      self.nominalAt = nominalAt
      self.lastNominalAt = lastNominalAt
      self.count = count
      self.decidedAt = decidedAt
      self.runID = runID
      self.reason = reason
      self.note = note
    }

    public func write(to json: inout JSONWriter) {
      json.object { json in
        json.member("nominal_at", nominalAt)
        json.member("last_nominal_at", lastNominalAt)
        json.member("count", count)
        json.member("decided_at", decidedAt)
        json.member("run_id", runID)
        json.member("reason", reason?.rawValue)
        json.member("note", note)
      }
    }
  }

  /// Most of ``recent``.
  public static let recentMax = 100

  public var name: String
  public var task: TaskKey
  /// The fields as they were given, as ``ScheduleDefinition/text`` has them.
  public var text: String
  public var createdAt: Timestamp
  public var updatedAt: Timestamp
  public var pausedSince: Timestamp?
  public var pausedBy: String?
  public var pauseReason: String?
  /// No nominal time will ever follow, unless the schedule is changed.
  public var hasEnded = false
  /// Those that count against `max_runs`.
  public var runsMade = 0
  /// The last nominal time that made a run.
  public var lastAt: Timestamp?
  /// The last run, made by the clock or by hand; nil when there was none or it was deleted.
  public var lastRun: (id: RunID, state: RunState)?
  /// Nil while it is paused, when it has ended, and with `fixed_delay` while a run has not ended.
  public var nextAt: Timestamp?
  /// What became of the last nominal times, newest first; only where one schedule is shown.
  public var recent: [Time]?
  /// Only where one schedule is shown.
  public var payload: Payload?

  public init(name: String, task: TaskKey, text: String, createdAt: Timestamp, updatedAt: Timestamp) {
    self.name = name
    self.task = task
    self.text = text
    self.createdAt = createdAt
    self.updatedAt = updatedAt
  }

  /// What holds for the fields that say when it runs and were not given.
  private static let defaults: [String: String] = [
    "timezone": "\"UTC\"", "dst_gap": "\"run_after\"", "dst_overlap": "\"first\"", "catch_up": "\"skip\"",
    "catch_up_limit": "\(ScheduleRule.catchUpLimitDefault)", "overlap": "\"allow\"",
  ]

  public func write(to json: inout JSONWriter) {
    let source = Array(text.utf8)
    let given = fields(source)
    json.object { json in
      json.member("name", name)
      json.member("task", task.rawValue)
      for field in ScheduleFields.names {
        if let member = given.member(field) {
          json.member(field, raw: source[member.range])
        } else if field == "mode", given.member("every_seconds") != nil {
          json.member(field, "fixed_rate")
        } else {
          json.member(field, raw: (Self.defaults[field] ?? "null").utf8)
        }
      }
      let shown = Set(ScheduleFields.names + ["name", "task"])
      for member in given.members where !shown.contains(member.key) {
        json.member(member.key, raw: source[member.range])
      }
      json.member("paused", pausedSince != nil)
      json.member("paused_since", pausedSince)
      json.member("paused_by", pausedBy)
      json.member("pause_reason", pauseReason)
      json.member("ended", hasEnded)
      json.member("runs_made", runsMade)
      json.member("runs_left", given["max_runs"]?.int64Value.map { max(0, Int($0) - runsMade) })
      json.member("last_at", lastAt)
      json.key("last_run")
      if let lastRun {
        json.object { json in
          json.member("id", lastRun.id)
          json.member("state", lastRun.state.rawValue)
        }
      } else {
        json.null()
      }
      json.member("next_at", nextAt)
      json.member("created_at", createdAt)
      json.member("updated_at", updatedAt)
      if let recent { json.member("recent", array: recent) }
      if let payload { payload.write(into: &json) }
    }
  }

  /// The stored text was checked when it was stored.
  private func fields(_ source: [UInt8]) -> JSONObject {
    do { return try JSONValue.parse(source).objectValue ?? JSONObject() } catch { return JSONObject() }
  }
}

/// How many schedules there are, by how they stand.
public struct ScheduleCounts: Sendable, Equatable {
  public var active = 0
  public var paused = 0
  public var ended = 0

  public init() {}
}
