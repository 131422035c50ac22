package import TaskBridgeCore

/// One schedule as the store keeps it, its payload apart.
package struct ScheduleRecord: Sendable {
  package let name: String
  package var task: TaskKey
  /// The fields as they were given (``ScheduleDefinition/text``).
  package var text: String
  package let createdAt: Timestamp
  package var updatedAt: Timestamp
  /// Every nominal time up to this one is decided; never goes back.
  package var decidedThrough: Timestamp
  /// Times up to here passed while nothing could run them.
  package var missedThrough: Timestamp
  package var runsMade: Int
  /// How many rows of decided times were ever written.
  package var times: Int
  package var hasEnded: Bool
  package var dueAt: Timestamp?
  package var pausedSince: Timestamp?
  package var pausedBy: String?
  package var pauseReason: String?
  package var lastAt: Timestamp?
  package var lastRun: RunID?
  /// When the last run ended that was made by the clock.
  package let lastEnd: Timestamp?

  /// The columns ``init(row:)`` reads, in its order, of table `schedules` under the alias `s`.
  static let columns = """
    s.name, s.task, s.body, s.created_at, s.updated_at, s.decided_through, s.missed_through, s.runs_made, s.times, \
    s.ended, s.due_at, s.paused_since, s.paused_by, s.pause_reason, s.last_at, s.last_run, s.last_end
    """
  static let columnCount: Int32 = 17

  init(row: Row) throws(StoreError) {
    name = row.text(0)
    task = try row.task(1)
    text = row.text(2)
    createdAt = row.time(3)
    updatedAt = row.time(4)
    decidedThrough = row.time(5)
    missedThrough = row.time(6)
    runsMade = row.int(7)
    times = row.int(8)
    hasEnded = row.bool(9)
    dueAt = row.optionalTime(10)
    pausedSince = row.optionalTime(11)
    pausedBy = row.optionalText(12)
    pauseReason = row.optionalText(13)
    lastAt = row.optionalTime(14)
    lastRun = try row.optionalRunID(15)
    lastEnd = row.optionalTime(16)
  }

  /// A new one, whose first nominal time comes after `decidedThrough`.
  init(_ definition: ScheduleDefinition, decidedThrough: Timestamp, now: Timestamp) {
    name = definition.name
    task = definition.submission.task
    text = definition.text
    createdAt = definition.rule.createdAt
    updatedAt = now
    self.decidedThrough = decidedThrough
    missedThrough = now
    runsMade = 0
    times = 0
    hasEnded = false
    lastEnd = nil
  }

  var isPaused: Bool { pausedSince != nil }
}

/// What the store cannot know by itself about the schedules it keeps.
package struct ScheduleSupport: Sendable {
  /// Reads what is stored; it needs the time zones of the machine.
  package let definition:
    @Sendable (_ text: String, Payload, _ createdAt: Timestamp) -> Result<
      ScheduleDefinition, Problem
    >
  /// Does for a run of a schedule what is done for every submission.
  package let prepare: @Sendable (Submission, _ now: Timestamp) -> Result<PreparedSubmission, Problem>
  /// Whether schedules are fired yet.
  package let isOn: Bool

  package init(
    isOn: Bool,
    definition:
      @escaping @Sendable (_ text: String, Payload, _ createdAt: Timestamp) -> Result<
        ScheduleDefinition, Problem
      >,
    prepare: @escaping @Sendable (Submission, _ now: Timestamp) -> Result<PreparedSubmission, Problem>
  ) {
    self.isOn = isOn
    self.definition = definition
    self.prepare = prepare
  }
}

/// What one round of firing did.
package struct FiredSchedules: Sendable {
  /// Runs made, and times that were refused.
  package var count = 0
  /// Times that passed over, as counted.
  var passedOver = 0
  /// More schedules are due.
  package var isFull = false
  /// What an operator should know, with the schedule's name.
  package var problems: [(schedule: String, problem: Problem)] = []

  package init() {}
}

extension Problem {
  /// - Parameter names: of all schedules.
  static func scheduleNotFound(_ name: String, among names: [String]) -> Problem {
    let near = nearestName(to: name, among: names).map { "did you mean \($0)?" } ?? "GET /v1/schedules lists them"
    return Problem(404, "schedule_not_found", "there is no schedule \"\(name.prefix(120))\"; \(near)")
  }
}
