import TaskBridgeCore
import TaskBridgeStore
import Testing

/// What the broker does not take (J44).
@Suite struct UnpublishedTests {
  private func returned(_ test: TestStore, _ dispatch: Dispatch) async throws -> Bool {
    try await test.store.write { tx throws(StoreError) in
      try tx.returned(
        dispatch, text: "NO_ROUTE", returnsMax: 5, policy: TaskPolicy(), now: TestStore.start, jitter: 0)
    }
  }

  @Test("J44, J25: five returns in a row end the attempt, max_lost such attempts the run")
  func fiveReturnsAreALoss() async throws {
    try await withTemporaryStore { test in
      let id = try await test.add { $0.maxLost = 2 }
      for attempt in 1...2 {
        let dispatch = try #require(try await test.release().first)
        #expect(dispatch.run.attempt == attempt)
        var again: [Bool] = []
        for _ in 0..<5 { again.append(try await returned(test, dispatch)) }
        #expect(again == [true, true, true, true, false])
        let late = try await returned(test, dispatch)
        #expect(!late, "the attempt is over")
        try await test.promote(now: TestStore.start.adding(seconds: 1_000))
      }

      let run = try await test.run(id)
      let attempts = try await test.attempts(id)
      let letter = try #require(try await test.store.read { tx throws(StoreError) in try tx.deadLetter(id) })

      #expect(run.state == .deadLettered && run.losses == 2 && run.failures == 0)
      #expect(attempts.map(\.attempt.state) == [.unpublished, .unpublished])
      #expect(attempts.allSatisfy { $0.error?.contains("NO_ROUTE") ?? false })
      #expect(letter.reason == .undeliverable)
    }
  }

  @Test("J44: a return of a run that was deleted meanwhile is nobody's")
  func aReturnOfADeletedRunIsDropped() async throws {
    try await withTemporaryStore { test in
      let id = try await test.add()
      let dispatch = try #require(try await test.release().first)
      _ = try await test.store.write { tx throws(StoreError) in
        _ = try tx.cancel(id, reason: nil, now: TestStore.start, actor: "test")
        return try tx.delete(id)
      }.get()

      #expect(try await !returned(test, dispatch))
      try await test.store.write { tx throws(StoreError) in
        try tx.takeBack([dispatch], reason: "gone", now: TestStore.start)
        try tx.confirm([dispatch], now: TestStore.start)
      }
      #expect(try await test.report(.completed, dispatch.id).code == .unknownToken)
    }
  }
}
