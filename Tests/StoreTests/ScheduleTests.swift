import Foundation
import GRDB
import TaskBridgeCore
import TaskBridgeStore
import Testing

/// Schedules fire by the clock that the tests hold.
@Suite struct ScheduleTests {
  @Test("S14: a run of a schedule names it, its nominal time, and it as its actor")
  func aRunNamesItsSchedule() async throws {
    try await withTemporaryStore { test in
      try await test.schedule(#""every_seconds":60,"priority":3,"tags":{"a":"b"},"group":"g""#)

      try await test.fire(at: 59.999)
      #expect(try await test.runs().isEmpty)
      try await test.fire(at: 60.5)

      let run = try #require(try await test.runs().first)
      #expect((run.schedule, run.name, run.priority, run.group) == ("s", "s", 3, "g"))
      #expect((run.nominalAt, run.runAt, run.createdAt) == (TestStore.at(60), TestStore.at(60), TestStore.at(60.5)))
      #expect(run.state == .ready)
      let birth = try await test.store.read { tx throws(StoreError) in
        try tx.audit(run: run.id, workflowID: nil, limit: 1, before: nil)
      }
      #expect(birth.map(\.actor) == ["schedule:s"])
      let view = try await test.scheduleView()
      #expect(view.lastRun?.id == run.id && view.lastRun?.state == .ready)
      #expect((view.lastAt, view.nextAt, view.runsMade) == (TestStore.at(60), TestStore.at(120), 1))
    }
  }

  @Test("T82: a fixed rate keeps its grid over 1,000 fires to the millisecond, however late each one is")
  func aFixedRateDoesNotDrift() async throws {
    try await withTemporaryStore { test in
      try await test.schedule(#""every_seconds":1.7"#)

      var seconds = 0.0
      while try await test.scheduleView().runsMade < 1_000 {
        seconds += 17.3
        try await test.fire(at: min(seconds, 1_700))
      }

      #expect(try await test.nominal() == (1...1_000).map { (Double($0) * 1_700).rounded() / 1_000 })
      #expect(try await test.scheduleView().lastAt == TestStore.at(1_700))
      #expect(try await test.next() == 1_701.7)
    }
  }

  @Test("T82: starts_at, ends_at and max_runs are exact")
  func boundsAreExact() async throws {
    try await withTemporaryStore { test in
      try await test.schedule(
        #""every_seconds":10,"starts_at":"2027-01-15T08:01:00Z","ends_at":"2027-01-15T08:01:30Z""#)
      #expect(try await test.next() == 60)
      for seconds in stride(from: 1.0, through: 200, by: 1) { try await test.fire(at: seconds) }
      #expect(try await test.nominal() == [60, 70, 80, 90])
      #expect(try await test.scheduleView().hasEnded)
      #expect(try await test.next() == nil)

      try await test.change(#"{"ends_at":null,"starts_at":null,"max_runs":6}"#, at: 205)
      #expect(try await test.next() == 210)
      try await test.fire(at: 500)

      #expect(try await test.nominal() == [60, 70, 80, 90, 210, 220])
      #expect(try await test.scheduleView().hasEnded)
    }
  }

  @Test(
    "T82: a run that fails, dies or is cancelled never ends its schedule",
    arguments: [ReportedState.failed, .cancelled, .completed])
  func noEndOfARunEndsTheSchedule(state: ReportedState) async throws {
    for mode in ["fixed_rate", "fixed_delay"] {
      try await withTemporaryStore { test in
        try await test.schedule(#""every_seconds":10,"mode":"\#(mode)""#)
        for round in 1...3 {
          try await test.fire(at: Double(round) * 10)
          try await test.work(state, at: Double(round) * 10)
        }
        try await test.fire(at: 30)

        #expect(try await test.nominal() == [10, 20, 30])
        #expect(try await test.next() == 40)
      }
    }
  }

  @Test("T82: a fixed delay counts from the end of the last run, also after a restart")
  func aFixedDelayCountsFromTheEnd() async throws {
    try await withTemporaryFolder { folder in
      let first = TestStore(try openStore(folder))
      try await first.schedule(#""every_seconds":10,"mode":"fixed_delay""#)
      try await first.fire(at: 10.2)
      try await first.fire(at: 60)
      #expect(try await first.nominal() == [10])
      #expect(try await first.next() == nil, "unknown until the run ends")
      await first.store.close()

      let second = TestStore(try openStore(folder))
      try await second.fire(at: 61)
      try await second.work(at: 65)
      try await second.fire(at: 65)
      #expect(try await second.next() == 75)
      try await second.fire(at: 74.999)
      try await second.fire(at: 75)

      #expect(try await second.nominal() == [10, 75])
      await second.store.close()
    }
  }

  @Test("T82: a run that ends while its schedule is paused is what a fixed delay counts from")
  func aFixedDelayCountsFromAnEndInAPause() async throws {
    try await withTemporaryStore { test in
      try await test.schedule(#""every_seconds":10,"mode":"fixed_delay""#)
      try await test.fire(at: 10)
      try await test.pauseSchedule(at: 11)
      try await test.work(at: 14)
      #expect(try await test.next() == nil)
      try await test.resumeSchedule(at: 16)
      #expect(try await test.next() == 24)

      // The run that ended longest ago is deleted: the time stays.
      try await DatabaseQueue(path: test.store.path).write { db in
        try db.execute(sql: "UPDATE runs SET schedule = NULL, nominal_at = NULL")
      }
      try await test.fire(at: 24)

      #expect(try await test.scheduleView().lastAt == TestStore.at(24))
    }
  }

  @Test("T83: overlap skip passes over a time while the last run is active, and says so; allow makes the run")
  func overlapSkipsOrAllows() async throws {
    try await withTemporaryStore { test in
      try await test.schedule(#""every_seconds":10,"overlap":"skip""#)
      for seconds in [10.0, 20, 30] { try await test.fire(at: seconds) }
      #expect(try await test.nominal() == [10])
      try await test.work(at: 35)
      try await test.fire(at: 40)
      #expect(try await test.nominal() == [10, 40])
      #expect(
        try await test.passedOver() == [
          .init(reason: .overlap, first: 20, last: 20, count: 1),
          .init(reason: .overlap, first: 30, last: 30, count: 1),
        ])
      #expect(try await test.scheduleView().runsMade == 2)

      try await test.change(#"{"overlap":"allow"}"#, at: 41)
      try await test.fire(at: 50)

      #expect(try await test.nominal() == [10, 40, 50])
    }
  }

  @Test("T83: a run made by hand counts as active too")
  func aRunByHandIsNotOverlapped() async throws {
    try await withTemporaryStore { test in
      try await test.schedule(#""every_seconds":10,"overlap":"skip""#)
      try await test.fire(at: 10)
      try await test.work(at: 11)
      _ = try await test.runNow(at: 15)
      try await test.fire(at: 20)
      try await test.work(at: 21)
      try await test.fire(at: 30)

      #expect(try await test.nominal() == [10, nil, 30])
      #expect(try await test.passedOver() == [.init(reason: .overlap, first: 20, last: 20, count: 1)])
    }
  }

  typealias Caught = (catchUp: String, runs: [Double?], over: [TestStore.PassedOver])

  @Test(
    "N35: after six missed times skip makes none, latest one, all six or the newest",
    arguments: [
      (#""catch_up":"skip""#, [], [.init(reason: .missed, first: 10, last: 60, count: 6)]),
      (#""catch_up":"latest""#, [60], [.init(reason: .missed, first: 10, last: 50, count: 5)]),
      (#""catch_up":"all""#, [10, 20, 30, 40, 50, 60], []),
      (
        #""catch_up":"all","catch_up_limit":2"#, [50, 60], [.init(reason: .missed, first: 10, last: 40, count: 4)]
      ),
    ] as [Caught])
  func missedTimesAreCaughtUp(caught: Caught) async throws {
    try await withTemporaryStore { test in
      try await test.schedule(#""every_seconds":10,\#(caught.catchUp)"#)
      try await test.comeBack(at: 65)
      try await test.fire(at: 70)

      #expect(try await test.nominal() == caught.runs + [70])
      #expect(try await test.passedOver() == caught.over)
      #expect(try await test.runs().map(\.runAt) == (caught.runs + [70]).map { $0.map(TestStore.at) })
    }
  }

  @Test("T81, N35: a pause makes no run; a resume catches up and uses up no max_runs meanwhile")
  func aPauseHoldsAndAResumeCatchesUp() async throws {
    try await withTemporaryStore { test in
      try await test.schedule(#""every_seconds":10,"catch_up":"latest","max_runs":3"#)
      try await test.fire(at: 10)
      try await test.pauseSchedule(at: 15)
      for seconds in stride(from: 20.0, through: 60, by: 10) { try await test.fire(at: seconds) }
      #expect(try await test.nominal() == [10])
      #expect(try await test.next() == nil)
      #expect(try await test.scheduleView().pausedSince == TestStore.at(15))

      try await test.resumeSchedule(at: 65)
      #expect(try await test.nominal() == [10, 60])
      #expect(try await test.next() == 70)
      try await test.fire(at: 100)

      #expect(try await test.nominal() == [10, 60, 70])
      #expect(try await test.scheduleView().hasEnded)
      #expect(try await test.passedOver() == [.init(reason: .missed, first: 20, last: 50, count: 4)])
    }
  }

  @Test("T81: a change holds from the next nominal time on; what has come is still by the old rule")
  func aChangeHoldsFromTheNextTimeOn() async throws {
    try await withTemporaryStore { test in
      try await test.schedule(#""every_seconds":10"#)
      try await test.fire(at: 10)

      try await test.change(#"{"every_seconds":null,"cron":"* * * * *","payload":{"n":2},"priority":7}"#, at: 25)
      #expect(try await test.nominal() == [10, 20])
      #expect(try await test.next() == 60)
      try await test.fire(at: 61)

      let runs = try await test.runs()
      #expect(runs.map(\.nominalAt) == [10, 20, 60].map(TestStore.at))
      #expect(runs.map(\.priority) == [128, 128, 7])
      let payload = try await test.store.read { tx throws(StoreError) in
        try tx.run(runs[2].id, includesPayload: true)?.payload
      }
      #expect(payload?.bytes == Array(#"{"n":2}"#.utf8))
    }
  }

  @Test("T81: what was missed before a change that leaves the times alone is still caught up")
  func aChangeOfThePayloadKeepsMissedTimes() async throws {
    try await withTemporaryStore { test in
      try await test.schedule(#""every_seconds":10,"catch_up":"all""#)
      try await test.pauseSchedule(at: 1)
      try await test.change(#"{"priority":1}"#, at: 35)
      try await test.resumeSchedule(at: 45)

      #expect(try await test.nominal() == [10, 20, 30, 40])
    }
  }

  @Test("T81: a run made by hand moves nothing, and a removed schedule leaves its runs")
  func byHandAndRemoved() async throws {
    try await withTemporaryStore { test in
      try await test.schedule(#""every_seconds":10,"mode":"fixed_delay","max_runs":2"#)
      let byHand = try await test.runNow(at: 1)
      #expect(try await test.next() == 10)
      try await test.work(at: 4)
      try await test.fire(at: 4)
      #expect(try await test.next() == 10)
      #expect(try await test.scheduleView().runsMade == 0)
      #expect(try await test.scheduleView().lastRun?.id == byHand)
      try await test.fire(at: 10)

      try await test.removeSchedule()
      try await test.work(at: 12)
      try await test.fire(at: 100)

      #expect(try await test.nominal() == [nil, 10])
      #expect(try await test.runs().map(\.schedule) == ["s", "s"])
      await #expect(throws: Problem.self) { try await test.removeSchedule() }
    }
  }

  @Test("N36: a clock that is set back fires nothing twice, not even after the schedule was made anew")
  func aClockSetBackFiresNothingTwice() async throws {
    try await withTemporaryStore { test in
      try await test.schedule(#""every_seconds":60"#)
      try await test.fire(at: 3_600)
      let before = try await test.nominal()
      for seconds in stride(from: 0.0, through: 3_600, by: 60) { try await test.fire(at: seconds) }
      try await test.pauseSchedule(at: 100)
      try await test.resumeSchedule(at: 200)
      try await test.change(#"{"cron":"* * * * *","every_seconds":null,"catch_up":"all"}"#, at: 300)
      try await test.comeBack(at: 3_600)
      #expect(try await test.nominal() == before)

      try await test.removeSchedule()
      try await test.schedule(#""cron":"* * * * *","catch_up":"all""#, at: 60)
      try await test.fire(at: 3_600)
      #expect(try await test.nominal() == before)
      try await test.fire(at: 3_660)

      #expect(try await test.nominal() == before + [3_660])
    }
  }
}
