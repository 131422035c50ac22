import TaskBridgeCore
import TaskBridgeStore
import Testing

/// The second submission with an idempotency key is answered with the first one's run, whatever became of the first.
@Suite struct IdempotencyTests {
  private static func keyed(_ key: String, _ payload: String = "{}", _ change: (inout Submission) -> Void = { _ in })
    -> Submission
  {
    TestStore.submission {
      $0.dedupKey = "d"
      $0.idempotencyKey = key
      $0.payload = Payload(bytes: Array(payload.utf8))
      change(&$0)
    }
  }

  @Test("P16, T52: the key of a duplicate gives the same run again, also after that run has ended")
  func theKeyOfADuplicateIsKept() async throws {
    try await withTemporaryStore { test in
      let first = try await test.add { $0.dedupKey = "d" }

      let duplicate = try await test.submit(Self.keyed("k", "[1]")).get()
      let upgraded = try await test.submit(Self.keyed("urgent") { $0.priority = 1 }).get()
      let dispatch = try #require(try await test.launch().first)
      try await test.report(.completed, dispatch.id)
      let again = try await test.submit(Self.keyed("k", " [ 1 ] ")).get()
      let urgentAgain = try await test.submit(Self.keyed("urgent") { $0.dedupKey = nil }).get()
      let other = try await test.submit(Self.keyed("k", "[2]"))

      #expect(duplicate == SubmissionResult(.duplicate, runID: first))
      #expect(upgraded == SubmissionResult(.upgraded, runID: first))
      #expect(again == SubmissionResult(.duplicate, runID: first))
      #expect(urgentAgain == SubmissionResult(.duplicate, runID: first))
      guard case .failure(let problem) = other else { throw Unexpected() }
      #expect(problem.code == "idempotency_mismatch" && problem.runID == first)
    }
  }

  @Test("P16, T53: every key of a requeued submission gives the same run and follow-up, each with its own payload")
  func theKeysOfAFollowUpAreKept() async throws {
    try await withTemporaryStore { test in
      let first = try await test.add { $0.dedupKey = "d" }
      let dispatch = try #require(try await test.launch().first)
      try await test.report(.running, dispatch.id)
      let one = try await test.submit(Self.keyed("one", "1")).get()
      let two = try await test.submit(Self.keyed("two", "2")).get()
      let followUp = try #require(one.followUpID)

      let oneAgain = try await test.submit(Self.keyed("one", "1")).get()
      try await test.report(.completed, dispatch.id)
      let work = try #require(try await test.launch().first)
      try await test.report(.completed, work.id)
      let later = try await test.submit(Self.keyed("one", "1")).get()
      let twoLater = try await test.submit(Self.keyed("two", "2")).get()

      #expect(one.outcome == .requeued && two == one && work.payload.bytes == Array("2".utf8))
      for answer in [oneAgain, later, twoLater] {
        #expect(answer == SubmissionResult(.duplicate, runID: first, followUpID: followUp))
      }
    }
  }

  @Test("P16: the key of an item that a later one of its batch replaces is kept")
  func theKeyOfAReplacedItemIsKept() async throws {
    try await withTemporaryStore { test in
      let batch = [Self.keyed("one", "1"), Self.keyed("two", "2")].map(TestStore.prepared)
      let results = try await test.store.write { tx throws(StoreError) in
        try tx.submit(batch: batch, now: TestStore.start, actor: "test")
      }.get()
      let dispatch = try #require(try await test.launch().first)
      try await test.report(.completed, dispatch.id)

      let again = try await test.submit(Self.keyed("one", "1")).get()

      #expect(results.map(\.outcome) == [.duplicate, .inserted])
      #expect(again == SubmissionResult(.duplicate, runID: results[1].runID))
    }
  }

  @Test("T55, P16: a rejected submission leaves no key behind")
  func aRejectedSubmissionKeepsNoKey() async throws {
    try await withTemporaryStore { test in
      let first = try await test.add { $0.dedupKey = "d" }
      let rejected = try await test.submit(Self.keyed("k") { $0.onDuplicate = .reject }).get()
      let dispatch = try #require(try await test.launch().first)
      try await test.report(.completed, dispatch.id)

      let again = try await test.submit(Self.keyed("k")).get()

      #expect(rejected == SubmissionResult(.rejected, runID: first))
      #expect(again.outcome == .inserted)
    }
  }

  @Test("P16: deleting the run frees its keys")
  func deletingTheRunFreesItsKeys() async throws {
    try await withTemporaryStore { test in
      let first = try await test.add {
        $0.dedupKey = "d"
        $0.idempotencyKey = "own"
      }
      _ = try await test.submit(Self.keyed("k"))
      let dispatch = try #require(try await test.launch().first)
      try await test.report(.completed, dispatch.id)

      _ = try await test.store.write { tx throws(StoreError) in try tx.delete(first) }.get()

      for key in ["own", "k"] {
        let again = try await test.submit(Self.keyed(key) { $0.dedupKey = nil }).get()
        #expect(again.outcome == .inserted)
      }
    }
  }
}
