import GRDB
import TaskBridgeCore
import TaskBridgeStore
import Testing

/// An attempt's end and what it does to its run are one write (J29).
@Suite struct BothOrNeitherTests {
  enum End: CaseIterable {
    case completed, failed, permanent, resourceError, snoozed, cancelled, stopped, lost, noHeartbeat, unpublished
    case rejected, givenUp, timedOut

    /// What attempt and run are afterwards.
    var states: (AttemptState, RunState) {
      switch self {
      case .completed: (.done, .completed)
      case .failed, .rejected: (.error, .scheduled)
      case .permanent: (.error, .failed)
      case .resourceError, .timedOut: (.resourceError, .scheduled)
      case .snoozed: (.snoozed, .scheduled)
      case .cancelled, .stopped: (.fatal, .cancelled)
      case .lost, .givenUp: (.lost, .scheduled)
      case .noHeartbeat: (.error, .scheduled)
      case .unpublished: (.unpublished, .scheduled)
      }
    }
  }

  private struct Image: Equatable {
    var run: Run
    var attempts: [AttemptView]
    var audit: [AuditView]
  }

  private static let late = TestStore.start.adding(seconds: 1_000)

  @Test("J29: a write that fails in its middle leaves run, attempt and audit as they were", arguments: End.allCases)
  func bothOrNeither(end: End) async throws {
    try await withTemporaryFolder { folder in
      let test = TestStore(try openStore(folder))
      let file = try DatabaseQueue(path: folder + "/taskbridge.db")
      for write in ["UPDATE ON attempts", "UPDATE ON runs", "INSERT ON audit"] {
        let id = try await test.add {
          $0.timeoutSeconds = 500
          $0.resources = ["memory": 4]
        }
        let dispatch = try await prepare(end, id, test)
        let before = try await image(id, test)
        try await file.write { db in
          try db.execute(sql: "CREATE TRIGGER fault BEFORE \(write) BEGIN SELECT RAISE(ABORT, 'fault'); END")
        }

        await #expect(throws: StoreError.self, "\(write)") { try await strike(end, dispatch, test) }
        #expect(try await image(id, test) == before, "\(write)")

        try await file.write { db in try db.execute(sql: "DROP TRIGGER fault") }
        try await strike(end, dispatch, test)
        let after = try await image(id, test)
        #expect((after.attempts.last?.attempt.state, after.run.state) == end.states)
      }
      try file.close()
      await test.store.close()
    }
  }

  private func image(_ id: RunID, _ test: TestStore) async throws -> Image {
    let run = try await test.run(id)
    let audit = try await test.store.read { tx throws(StoreError) in
      try tx.audit(run: id, workflowID: nil, limit: 100, before: nil)
    }
    return Image(run: run, attempts: try await test.attempts(id), audit: audit)
  }

  /// Brings the run to where the end can strike.
  private func prepare(_ end: End, _ id: RunID, _ test: TestStore) async throws -> Dispatch {
    let dispatches = end == .unpublished ? try await test.release() : try await test.launch()
    let dispatch = try #require(dispatches.first { $0.run.id == id })
    switch end {
    case .completed, .failed, .permanent, .resourceError, .snoozed, .cancelled, .timedOut:
      try await test.report(.running, dispatch.id)
    case .lost:
      try await test.report(.running, dispatch.id)
      try await test.sweep(now: TestStore.start.adding(seconds: 100))
    case .stopped:
      try await test.report(.running, dispatch.id)
      _ = try await test.store.write { tx throws(StoreError) in
        try tx.cancel(id, reason: nil, now: TestStore.start, actor: "test")
      }
    case .unpublished: for _ in 0..<4 { try await comeBack(dispatch, test) }
    case .noHeartbeat, .rejected, .givenUp: break
    }
    return dispatch
  }

  private func strike(_ end: End, _ dispatch: Dispatch, _ test: TestStore) async throws {
    switch end {
    case .completed: try await test.report(.completed, dispatch.id)
    case .failed: try await test.report(.failed, dispatch.id)
    case .permanent: try await test.report(.failed, dispatch.id) { $0.error = WorkerError(retryable: false) }
    case .resourceError: try await test.report(.resourceError, dispatch.id)
    case .snoozed: try await test.report(.snoozed, dispatch.id)
    case .cancelled, .stopped: try await test.report(.cancelled, dispatch.id)
    case .lost: try await test.sweep(now: Self.late)
    case .noHeartbeat:
      _ = try await test.store.write { tx throws(StoreError) in
        try tx.giveUpOrphans(
          dispatch.run.task, confirmedBefore: Self.late, limit: 10, policies: policies, now: Self.late, jitter: 0)
      }
    case .unpublished: try await comeBack(dispatch, test)
    case .rejected: try await giveBack(dispatch, .rejected, test)
    case .givenUp: try await giveBack(dispatch, .givenUp(.deliveryLimit), test)
    case .timedOut:
      _ = try await test.store.write { tx throws(StoreError) in
        try tx.sweepTimeouts(now: Self.late, limit: 10, policies: policies, jitter: 0)
      }
    }
  }

  private func comeBack(_ dispatch: Dispatch, _ test: TestStore) async throws {
    _ = try await test.store.write { tx throws(StoreError) in
      try tx.returned(
        dispatch, text: "NO_ROUTE", returnsMax: 5, policy: TaskPolicy(), now: TestStore.start, jitter: 0)
    }
  }

  private func giveBack(_ dispatch: Dispatch, _ event: SystemEvent, _ test: TestStore) async throws {
    let message = ReturnedMessage(dispatch: dispatch.id, event: event, detail: "given back", jitter: 0)
    _ = try await test.store.write { tx throws(StoreError) in
      try tx.returned(message, policies: policies, now: TestStore.start)
    }
  }
}
