import TaskBridgeCore
import TaskBridgeStore
import Testing

/// Schedules as their tests speak of them. Times are seconds after ``TestStore/start``, which is a full minute.
extension TestStore {
  /// Without time zone data there is UTC alone; submissions of the task key `refused` are refused.
  static let schedules = ScheduleSupport(
    isOn: true,
    definition: { text, payload, createdAt in
      Result { () throws(Problem) in
        try ScheduleDefinition(text: text, payload: payload, createdAt: createdAt, zone: utc)
      }
    },
    prepare: { submission, _ in
      submission.task.rawValue == "refused"
        ? .failure(Problem(422, "task_disabled", "task refused is disabled")) : .success(prepared(submission))
    })

  static let utc: ScheduleDefinition.ZoneLookup = { name in
    name == "UTC"
      ? .success(.utc) : .failure(Fault(pointer: "/timezone", detail: "\(name) is unknown", code: "unknown_timezone"))
  }

  static func at(_ seconds: Double) -> Timestamp { start.adding(seconds: seconds) }

  /// Adds the schedule `s` of task key `t`; `fields` are members of its JSON object.
  @discardableResult
  func schedule(_ fields: String, task: String = "t", at seconds: Double = 0) async throws -> String {
    let now = Self.at(seconds)
    let definition = try ScheduleDefinition(
      body: Array(#"{"name":"s","task":"\#(task)","payload":1,\#(fields)}"#.utf8), createdAt: now, zone: Self.utc)
    return try await store.write { tx throws(StoreError) in try tx.add(definition, now: now) }.get()
  }

  @discardableResult
  func fire(at seconds: Double) async throws -> FiredSchedules {
    try await store.write { tx throws(StoreError) in
      try tx.fireSchedules(now: Self.at(seconds), runsMax: 10_000, support: Self.schedules)
    }
  }

  /// The bridge was down until now.
  func comeBack(at seconds: Double) async throws {
    try await store.write { tx throws(StoreError) in
      try tx.missSchedules(through: Self.at(seconds))
      _ = try tx.fireSchedules(now: Self.at(seconds), runsMax: 10_000, support: Self.schedules)
    }
  }

  func change(_ body: String, at seconds: Double) async throws {
    _ = try await store.write { tx throws(StoreError) in
      try tx.change(schedule: "s", now: Self.at(seconds), support: Self.schedules) { old in
        Result { () throws(Problem) in try old.changed(by: Array(body.utf8), zone: Self.utc) }
      }
    }.get()
  }

  func pauseSchedule(at seconds: Double) async throws {
    _ = try await store.write { tx throws(StoreError) in
      try tx.pause(schedule: "s", reason: "r", now: Self.at(seconds), actor: "test")
    }.get()
  }

  func resumeSchedule(at seconds: Double) async throws {
    _ = try await store.write { tx throws(StoreError) in
      try tx.resume(schedule: "s", now: Self.at(seconds), support: Self.schedules)
    }.get()
  }

  func runNow(at seconds: Double) async throws -> RunID {
    try await store.write { tx throws(StoreError) in
      try tx.runNow(schedule: "s", now: Self.at(seconds), actor: "test", support: Self.schedules)
    }.get().runID
  }

  func removeSchedule() async throws {
    try await store.write { tx throws(StoreError) in try tx.remove(schedule: "s") }.get()
  }

  func scheduleView() async throws -> ScheduleView {
    try await store.read { tx throws(StoreError) in try tx.schedule("s") }.get()
  }

  /// The runs of `task`, oldest first.
  func runs(of task: String = "t") async throws -> [Run] {
    var query = RunQuery(sort: .idAscending, limit: 1_000)
    query.filter.tasks = [TaskKey(task)!]
    let wanted = query
    return try await store.read { tx throws(StoreError) in try tx.runs(wanted) }.items.map(\.run)
      .sorted { $0.sequence < $1.sequence }
  }

  /// The nominal times of the runs made so far, in seconds; nil for those made by hand.
  func nominal() async throws -> [Double?] {
    try await runs().map { $0.nominalAt?.seconds(since: Self.start) }
  }

  /// Next nominal time in seconds.
  func next() async throws -> Double? { try await scheduleView().nextAt?.seconds(since: Self.start) }

  /// What became of the times that did not run, oldest first.
  func passedOver() async throws -> [PassedOver] {
    try await (scheduleView().recent ?? []).reversed().compactMap { time in
      time.reason.map {
        PassedOver(
          reason: $0, first: time.nominalAt.seconds(since: Self.start),
          last: time.lastNominalAt.seconds(since: Self.start),
          count: time.count)
      }
    }
  }

  struct PassedOver: Equatable {
    var reason: ScheduleView.Time.Reason
    var first: Double
    var last: Double
    var count: Int
  }

  /// Dispatches what is ready and reports the end of all of it.
  func work(_ state: ReportedState = .completed, at seconds: Double) async throws {
    for dispatch in try await launch(now: Self.at(seconds)) {
      #expect(
        try await report(state, dispatch.id, now: Self.at(seconds)) { report in
          if state == .failed { report.error = WorkerError(type: "x", message: "no", retryable: false) }
        }.code == .applied)
    }
  }
}
