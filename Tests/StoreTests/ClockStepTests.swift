import TaskBridgeCore
import TaskBridgeStore
import Testing

/// A wall clock that somebody sets while leases are open.
@Suite struct ClockStepTests {
  private func set(_ test: TestStore, by milliseconds: Int64) async throws -> Timestamp {
    let now = Timestamp(milliseconds: TestStore.start.milliseconds + milliseconds)
    let open = try await test.store.read { tx throws(StoreError) in try tx.openLeases() }
    try await test.store.write { tx throws(StoreError) in
      try tx.extendLeases(of: open, now: now, policies: policies, clockMoved: milliseconds)
    }
    return now
  }

  private func reportBy(_ test: TestStore, _ id: RunID) async throws -> Timestamp {
    try #require(try await test.attempts(id).last).attempt.reportBy
  }

  @Test("J35: open leases go back with a clock that is set back, and never end before a full lease")
  func leasesGoBackWithTheClock() async throws {
    try await withTemporaryStore { test in
      let short = try await test.add()
      let long = try await test.add()
      for dispatch in try await test.launch() {
        try await test.report(.running, dispatch.id) {
          if dispatch.run.id == long { $0.nextReportSeconds = 1_000 }
        }
      }

      let now = try await set(test, by: -3_600_000)

      #expect(try await reportBy(test, short) == now.adding(seconds: 60))
      #expect(try await reportBy(test, long) == now.adding(seconds: 3_100))
      try await test.sweep(now: now.adding(seconds: 61))
      #expect(try await test.attempts(short).map(\.attempt.state) == [.triaging])
    }
  }

  @Test("J35: a clock that is set ahead ends no lease and shortens none")
  func aClockSetAheadEndsNoLease() async throws {
    try await withTemporaryStore { test in
      let id = try await test.add()
      try await test.report(.running, try #require(try await test.launch().first).id)

      let now = try await set(test, by: 3_600_000)
      try await test.sweep(now: now)

      #expect(try await reportBy(test, id) == now.adding(seconds: 60))
      #expect(try await test.attempts(id).map(\.attempt.state) == [.running])
    }
  }
}
