import Foundation
import GRDB
import TaskBridgeCore
import TaskBridgeStore
import Testing

/// What a round of schedules makes, and what is kept of it.
@Suite struct ScheduleRoundTests {
  @Test("a run that an active one stands for, and one that is refused, are recorded and use up no max_runs")
  func duplicatesAndRefusalsAreRecorded() async throws {
    try await withTemporaryStore { test in
      try await test.schedule(#""every_seconds":10,"dedup_key":"k","max_runs":2,"mode":"fixed_delay""#)
      try await test.add("t") { $0.dedupKey = "k" }
      try await test.fire(at: 10)
      try await test.fire(at: 20)
      #expect(try await test.passedOver().map(\.reason) == [.duplicate, .duplicate])
      #expect(try await test.next() == 30)

      try await test.change(#"{"task":"refused"}"#, at: 21)
      let fired = try await test.fire(at: 30)

      #expect(try await test.passedOver().map(\.reason) == [.duplicate, .duplicate, .refused])
      #expect(try await test.scheduleView().recent?.first?.note?.contains("task_disabled") == true)
      #expect(fired.problems.map(\.schedule) == ["s"])
      #expect(try await test.scheduleView().runsMade == 0)
    }
  }

  @Test("T81: a missed time whose run is refused leaves its place in max_runs to the next one")
  func aRefusalDropsNoOtherTime() async throws {
    try await withTemporaryStore { test in
      try await test.schedule(#""every_seconds":10,"catch_up":"all","max_runs":1"#, task: "refused")
      try await test.comeBack(at: 35)
      for _ in 0..<3 { try await test.fire(at: 36) }
      #expect(try await test.passedOver().map(\.first) == [10, 20, 30])

      try await test.change(#"{"task":"t"}"#, at: 37)
      try await test.fire(at: 45)

      #expect(try await test.nominal() == [40])
      #expect(try await test.scheduleView().hasEnded)
    }
  }

  @Test("a round does not count the missed times of all schedules at once")
  func aRoundIsBounded() async throws {
    try await withTemporaryStore { test in
      for name in ["one", "two"] {
        let definition = try ScheduleDefinition(
          body: Array(#"{"name":"\#(name)","task":"t","every_seconds":0.001}"#.utf8), createdAt: TestStore.start,
          zone: TestStore.utc)
        _ = try await test.store.write { tx throws(StoreError) in try tx.add(definition, now: TestStore.start) }.get()
      }
      @Sendable func round() async throws -> Bool {
        try await test.store.write { tx throws(StoreError) in
          try tx.missSchedules(through: TestStore.at(60))
          return try tx.fireSchedules(now: TestStore.at(60), runsMax: 200, support: TestStore.schedules).isFull
        }
      }

      var rounds = [try await round()]
      rounds.append(try await round())

      #expect(rounds == [true, false])
      #expect(try await test.runs().isEmpty)
    }
  }

  @Test("what is kept of decided times is bounded")
  func decidedTimesAreBounded() async throws {
    try await withTemporaryStore { test in
      try await test.schedule(#""every_seconds":0.001,"overlap":"skip""#)
      for round in 1...3 { try await test.fire(at: Double(round)) }
      try await test.change(#"{"overlap":"allow","every_seconds":1}"#, at: 3)
      for round in 1...12 { try await test.fire(at: 3 + Double(round) * 100) }

      let kept = try await DatabaseQueue(path: test.store.path).read { db in
        try Int.fetchOne(db, sql: "SELECT count(*) FROM schedule_times")
      }
      #expect(kept.map { (1_000...1_100).contains($0) } == true, "\(kept ?? 0)")
    }
  }

  @Test("T46: the next due time is the smaller one of runs and schedules")
  func theNextDueTimeKnowsSchedules() async throws {
    try await withTemporaryStore { test in
      func next() async throws -> Timestamp? {
        try await test.store.read { tx throws(StoreError) in
          try tx.snapshot(domain: nil, now: TestStore.start).nextRunAt
        }
      }
      #expect(try await next() == nil)
      try await test.schedule(#""every_seconds":60"#)
      #expect(try await next() == TestStore.at(60))
      try await test.add { $0.runAt = TestStore.at(30) }
      #expect(try await next() == TestStore.at(30))
      try await test.pauseSchedule(at: 1)
      #expect(try await next() == TestStore.at(30))
    }
  }
}
