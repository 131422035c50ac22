import Synchronization
import TaskBridgeCore

@testable import TaskBridgeStore

/// Schedules, and the clock that somebody sets.
extension Player {
  /// Ids of the runs that schedules make, in the order in which they are tried.
  final class RunIDs: Sendable {
    private let last: Mutex<UInt64>

    init(after last: UInt64) { self.last = Mutex(last) }

    var count: UInt64 { last.withLock { $0 } }

    func next() -> RunID {
      Player.id(
        last.withLock {
          $0 += 1
          return $0
        })
    }
  }

  static func id(_ number: UInt64) -> RunID {
    RunID(high: 0x0000_0001_0000_7000, low: 0x8000_0000_0000_0000 + number)
  }

  /// Ids for the store, and the same for the model.
  func runIDs() -> (ofStore: RunIDs, ofModel: RunIDs) { (RunIDs(after: submissions), RunIDs(after: submissions)) }

  func support(_ ids: RunIDs) -> ScheduleSupport {
    ScheduleSupport(
      isOn: firesSchedules,
      definition: { text, payload, createdAt in
        Result { () throws(Problem) in
          try ScheduleDefinition(text: text, payload: payload, createdAt: createdAt, zone: Self.utc)
        }
      },
      prepare: { submission, _ in
        .success(PreparedSubmission(submission, id: ids.next(), dedupKey: submission.dedupKey))
      })
  }

  static let utc: ScheduleDefinition.ZoneLookup = { _ in .success(.utc) }

  func play(_ pick: SchedulePick) async throws {
    let (name, now, ids) = (pick.name, now, runIDs())
    let support = support(ids.ofStore)
    let isOn = firesSchedules
    note("schedule \(pick)")
    if model.schedules[name] != nil { reached.count("schedule changed") }
    let refusal: String?
    let result: Result<String, Problem>?
    switch pick.wish {
    case .add(let wish):
      let plan = wish.plan(at: model.now)
      let definition = try ScheduleDefinition(body: plan.json(name), createdAt: now, zone: Self.utc)
      result = try await write { tx throws(StoreError) in try tx.add(definition, now: now) }
      if result == nil { return }
      refusal = model.add(name, plan)
    case .change(let change):
      result = try await write { tx throws(StoreError) in
        try tx.change(schedule: name, now: now, support: support) { old in
          Result { () throws(Problem) in try old.changed(by: change.json, zone: Self.utc) }
        }
      }
      if result == nil { return }
      refusal = model.change(name, isOn: isOn, id: ids.ofModel.next) { change.apply(to: &$0) }
    case .pause:
      result = try await write { tx throws(StoreError) in
        try tx.pause(schedule: name, reason: nil, now: now, actor: "test")
      }
      if result == nil { return }
      refusal = model.pauseSchedule(name)
    case .resume:
      result = try await write { tx throws(StoreError) in try tx.resume(schedule: name, now: now, support: support) }
      if result == nil { return }
      refusal = model.resumeSchedule(name, isOn: isOn, id: ids.ofModel.next)
    case .remove: return try await removeSchedule(name)
    case .runNow: return try await runNow(name)
    }
    try expect(ids.ofStore.count, ids.ofModel.count, "runs tried for schedules")
    submissions = ids.ofStore.count
    switch result {
    case .failure(let problem): try expect(problem.code, refusal, "schedule \(name)")
    case .success, nil: try expect(nil, refusal, "schedule \(name)")
    }
  }

  func removeSchedule(_ name: String) async throws {
    guard let result = try await write({ tx throws(StoreError) in try tx.remove(schedule: name) }) else { return }
    let refusal = model.removeSchedule(name)
    if case .failure(let problem) = result {
      try expect(problem.code, refusal, "remove of schedule \(name)")
    } else {
      try expect(nil, refusal, "remove of schedule \(name)")
    }
  }

  private func runNow(_ name: String) async throws {
    let (now, ids) = (now, runIDs())
    let support = support(ids.ofStore)
    let result = try await write { tx throws(StoreError) in
      try tx.runNow(schedule: name, now: now, actor: "test", support: support)
    }
    guard let result else { return }
    submissions += 1
    let expected = model.runNow(name, id: Self.id(submissions))
    switch result {
    case .success(let stored): try expect(answer(stored), expected, "run now of \(name)")
    case .failure(let problem): try expect(.refused(problem.code), expected, "run now of \(name)")
    }
  }

  /// As the bridge does when the wall clock has moved against the one that nobody sets.
  func setClock(by milliseconds: Int64) async throws {
    reached.count("clock set")
    note("the clock is set by \(milliseconds) ms")
    model.now += milliseconds
    if milliseconds < 0 { auditor.clockWentBack = true }
    guard abs(milliseconds) > 2_000 else { return }
    if milliseconds > 60_000 { firesSchedules = false }
    let (now, policies) = (now, policies)
    let open = try await store.read { tx throws(StoreError) in try tx.openLeases() }
    guard
      try await write({ tx throws(StoreError) in
        try tx.extendLeases(of: open, now: now, policies: policies, clockMoved: milliseconds)
      }) != nil
    else { return }
    model.extendLeases(clockMoved: milliseconds)
  }

  func compareSchedules() throws {
    let rows = try image.rows(
      """
      SELECT name, lower(hex(last_run)), decided_through, missed_through, runs_made, ended, due_at, paused_since, last_at,
        last_end FROM schedules ORDER BY name
      """
    ) { row in "\(row.text(0) ?? "") \(row.text(1) ?? "") \((2...9).map { row.int($0).map { "\($0)" } ?? "-" })" }
    if rows.isEmpty && model.schedules.isEmpty { return }
    let expected = model.schedules.sorted { $0.key < $1.key }.map { name, schedule in
      let numbers: [Int64?] = [
        schedule.decidedThrough, schedule.missedThrough, Int64(schedule.runsMade), schedule.hasEnded ? 1 : 0,
        schedule.dueAt, schedule.pausedSince, schedule.lastAt, schedule.lastEnd,
      ]
      return "\(name) \(hex(schedule.lastRun)) \(numbers.map { $0.map { "\($0)" } ?? "-" })"
    }
    try expect(rows, expected, "schedules")
    let times = try image.rows(
      """
      SELECT schedule, nominal_at, last_nominal_at, count, lower(hex(run)), reason FROM schedule_times
        ORDER BY schedule, nominal_at
      """
    ) { row in
      "\(row.text(0) ?? "") \((1...3).map { row.int($0) ?? 0 }) \(row.text(4) ?? "") \(row.text(5) ?? "")"
    }
    let expectedTimes = model.times.sorted { ($0.schedule, $0.first) < ($1.schedule, $1.first) }.map { time in
      "\(time.schedule) \([time.first, time.last, Int64(time.count)]) \(hex(time.run)) \(time.reason ?? "")"
    }
    try expect(times, expectedTimes, "nominal times")
    for time in model.times.dropFirst(seen.times) { reached.count("time \(time.reason ?? "fired")") }
    seen.times = model.times.count
  }

  private func hex(_ run: Model.Place?) -> String { run.map { model.runs[$0].id.hex } ?? "" }
}
