import TaskBridgeCore
import Testing

@testable import TaskBridgeStore

@Suite struct BulkTests {
  @Test("T21: a cancel takes every active state and names what it leaves")
  func aCancelTakesEveryActiveState() async throws {
    try await withTemporaryStore { test in
      let running = try await test.add("a.x")
      let dispatch = try #require(try await test.launch().first)
      try await test.report(.running, dispatch.id)
      let launched = try await test.add("a.y")
      try await test.launch()
      let ready = try await test.add("a")
      let scheduled = try await test.add("a.x") { $0.delaySeconds = 60 }
      let blocked = try await test.add("a.x") { $0.dependsOn = [.run(ready)] }
      let paused = try await test.add("a.x")
      _ = try await test.store.write { tx throws(StoreError) in
        try tx.pause(paused, reason: nil, now: TestStore.start, actor: "test")
      }
      let other = try await test.add("ab.x")
      let ended = try await test.add("a.x")
      _ = try await test.store.write { tx throws(StoreError) in
        try tx.cancel(ended, reason: nil, now: TestStore.start, actor: "test")
      }
      let request = try BulkRequest(.cancel, json: #"{"domain":"a"}"#) { $0.reason = "clean up" }

      let forecast = try await test.forecast(request)
      let outcome = try await test.bulk(request)

      let all = [running, launched, ready, scheduled, blocked, paused]
      #expect(Set(outcome.changed) == Set(all))
      #expect(outcome.reasons == [ended: "terminal_run"])
      #expect((forecast.matched, forecast.changed) == (7, 6))
      #expect(forecast.skipped.map(\.id) == [ended])
      #expect(try await test.state(running) == .cancelling)
      // A dependent is cancelled itself: it does not fail by its prerequisite.
      for id in all.dropFirst() { #expect(try await test.state(id) == .cancelled) }
      #expect(try await test.state(other) == .ready)
    }
  }

  @Test("T22: a tag's prefix and a condition touch nothing else; a dry run changes nothing and says the same")
  func aDryRunSaysWhatWouldHappen() async throws {
    try await withTemporaryStore { test in
      let one = try await test.add { $0.tags = ["team_a": "1"] }
      let two = try await test.add("b") { $0.tags = ["team_b": "1"] }
      let other = try await test.add { $0.tags = ["teams": "1", "x": "team_"] }
      let request = try BulkRequest(.cancel, json: #"{"tag_prefix":"team_"}"#)

      let forecast = try await test.forecast(request)
      #expect(try await test.state(one) == .ready)
      let outcome = try await test.bulk(request)

      #expect((forecast.matched, forecast.changed, Set(forecast.ids)) == (2, 2, [one, two]))
      #expect(Set(outcome.changed) == [one, two])
      #expect(try await test.state(other) == .ready)
    }
  }

  @Test("T23: after the clock was set back, what was there counts as old, and what comes during the call as new")
  func aClockSetBackHidesNothing() async throws {
    try await withTemporaryStore { test in
      func at(_ seconds: Double) -> Timestamp { TestStore.start.adding(seconds: seconds) }
      let died = try await test.die("b", at: 3_700)
      let ahead = try await test.add(now: at(3_600))
      let old = try await test.add(now: at(1))
      let during = try await test.add(now: at(3))
      func meant(_ request: BulkRequest, now: Timestamp) async throws -> [RunID] {
        try await test.candidates(request, asOf: at(2), now: now).map(\.id)
      }
      let ready = try BulkRequest(.pause, json: #"{"state":"ready"}"#)

      #expect(try await Set(meant(ready, now: at(4))) == [ahead, old])
      #expect(try await meant(BulkRequest(.retry, json: #"{"state":"failed"}"#), now: at(4)) == [died])
      #expect(try await meant(BulkRequest(.replay), now: at(4)) == [died])
      let now = at(4)
      let candidates = try await test.candidates(ready, asOf: at(2), now: now)
      let slice = BulkSlice(ready, Cutoff(asOf: at(2), now: now), candidates: candidates) { _ in 1_000 }
      let outcome = try await test.store.write { tx throws(StoreError) in try tx.bulk(slice, now: now, actor: "ann") }
      #expect(Set(outcome.changed) == [ahead, old])
      #expect(try await test.state(during) == .ready)
      // Once the clock is there again nobody can tell them from new ones.
      #expect(try await meant(BulkRequest(.replay), now: at(3_700)) == [])
    }
  }

  @Test("T23: nothing newer than as_of is touched, neither a new run nor a new series")
  func nothingNewerIsTouched() async throws {
    try await withTemporaryStore { test in
      let asOf = TestStore.start.adding(seconds: 10)
      let old = try await test.add()
      let dead = try await test.die("b", at: 5)
      try await test.replay(dead, now: TestStore.start.adding(seconds: 20))
      let new = try await test.add(now: TestStore.start.adding(seconds: 10.001))
      let later = TestStore.start.adding(seconds: 30)

      let cancelled = try await test.bulk(BulkRequest(.cancel), asOf: asOf, now: later)
      try await test.fail(dead, at: 40)
      let replayed = try await test.bulk(
        BulkRequest(.retry, json: #"{"state":"failed"}"#), asOf: later, now: TestStore.start.adding(seconds: 50))

      #expect(cancelled.changed == [old])
      #expect(try await test.state(new) == .launched)
      #expect(replayed == BulkOutcome())
    }
  }

  @Test("S7, J55: a retry lists what it leaves alone, each with its reason")
  func aRetryNamesEveryReason() async throws {
    try await withTemporaryStore { test in
      let done = try await test.add { $0.workflowID = "w" }
      try await test.report(.completed, try #require(try await test.launch().first).id)
      let dead = try await test.die { $0.workflowID = "w" }
      let first = try await test.die {
        $0.workflowID = "w"; $0.dedupKey = "k"
      }
      let second = try await test.die {
        $0.workflowID = "w"; $0.dedupKey = "k"
      }
      let superseded = try await test.add("c", now: TestStore.start) {
        $0.workflowID = "w"; $0.dedupKey = "s"
      }
      try await test.add("c") {
        $0.dedupKey = "s"; $0.onDuplicate = .supersede
      }
      let active = try await test.add {
        $0.workflowID = "w"; $0.delaySeconds = 100
      }
      let request = try BulkRequest(.retry, json: #"{"workflow_id":"w"}"#)
      let reasons = [
        done: "completed_needs_force", second: "dedup_busy", superseded: "superseded", active: "active",
      ]

      let forecast = try await test.forecast(request)
      let outcome = try await test.bulk(request)
      let forced = try await test.bulk(BulkRequest(.retry, json: #"{"workflow_id":"w"}"#) { $0.retry.force = true })

      #expect(outcome.changed == [dead, first])
      #expect(outcome.reasons == reasons)
      #expect(Dictionary(uniqueKeysWithValues: forecast.skipped.map { ($0.id, $0.reason) }) == reasons)
      #expect((forecast.matched, forecast.changed) == (6, 2))
      #expect(forced.changed == [done])
      #expect(try await test.run(dead).replays == 1)
      #expect(try await test.attempts(dead).map(\.attempt.number) == [1], "earlier attempts stay readable")
    }
  }

  @Test("S8: a priority of 0 is obeyed, none keeps each run's own")
  func thePriorityOfARetry() async throws {
    try await withTemporaryStore { test in
      let one = try await test.die { $0.priority = 7 }
      let two = try await test.die("b") { $0.priority = 9 }

      try await test.bulk(BulkRequest(.retry, json: #"{"task":"b"}"#) { $0.retry.priority = 0 })
      try await test.bulk(BulkRequest(.retry, json: #"{"task":"media.thumbnail"}"#))

      #expect(try await test.run(one).priority == 7)
      #expect(try await test.run(two).priority == 0)
    }
  }

  @Test("S11: dependents wait again with with_dependents, else they are named")
  func dependentsOfAReplay() async throws {
    try await withTemporaryStore { test in
      var chain = [try await test.add("a")]
      for _ in 0..<2_000 {
        let last = chain[chain.count - 1]
        chain.append(try await test.add("b") { $0.dependsOn = [.run(last)] })
      }
      try await test.fail(chain[0])
      #expect(try await test.state(chain[2_000]) == .dependencyFailed)
      let only = #"{"id":"\#(chain[0])"}"#

      let alone = try await test.forecast(BulkRequest(.retry, json: only))
      let all = try await test.forecast(BulkRequest(.retry, json: only) { $0.retry.withDependents = true })
      let outcome = try await test.bulk(BulkRequest(.retry, json: only))
      #expect(outcome.changed == [chain[0]])
      #expect(outcome.failedDependents == [chain[1]])
      #expect(try await test.state(chain[1]) == .dependencyFailed)
      try await test.fail(chain[0])
      let with = try await test.bulk(BulkRequest(.retry, json: only) { $0.retry.withDependents = true })

      #expect((alone.changed, all.changed, with.changed.count) == (1, 2_001, 2_001))
      #expect(with.failedDependents == [])
      #expect(try await test.state(chain[0]) == .ready)
      for id in chain.dropFirst() { #expect(try await test.state(id) == .blocked) }
    }
  }

  @Test("S11: the dry run counts a dependent when all that it waits for comes back, and once")
  func theForecastOfDependents() async throws {
    try await withTemporaryStore { test in
      let a = try await test.add("a") { $0.maxAttempts = 1 }
      let b = try await test.add("b") { $0.maxAttempts = 1 }
      let both = try await test.add { $0.dependsOn = [.run(a), .run(b)] }
      let after = try await test.add { $0.dependsOn = [.run(both)] }
      let keyed = try await test.add("k") {
        $0.dependsOn = [.run(a)]
        $0.dedupKey = "k"
      }
      for dispatch in try await test.launch() { try await test.report(.failed, dispatch.id) }
      try await test.add("k") {
        $0.dedupKey = "k"
        $0.delaySeconds = 100
      }
      func retry(_ filter: String) throws -> BulkRequest {
        try BulkRequest(.retry, json: filter) { $0.retry.withDependents = true }
      }

      let whole = try await test.forecast(retry(#"{"state":"dead_lettered"}"#))
      let named = try await test.forecast(retry(#"{"state":["dead_lettered","dependency_failed"]}"#))
      let first = try await test.forecast(retry(#"{"task":"a"}"#))
      let one = try await test.bulk(retry(#"{"task":"a"}"#))
      let second = try await test.forecast(retry(#"{"task":"b"}"#))
      let two = try await test.bulk(retry(#"{"task":"b"}"#))

      #expect((whole.matched, whole.changed) == (2, 4))
      #expect((named.matched, named.changed) == (5, 4))
      #expect(named.skipped.map(\.id) == [keyed])
      #expect((first.changed, one.changed) == (1, [a]))
      #expect((second.changed, two.changed) == (3, [b, both, after]))
    }
  }

  @Test("J55: a workflow that is replayed as a whole runs in its order")
  func aReplayedWorkflowKeepsItsOrder() async throws {
    try await withTemporaryStore { test in
      let first = try await test.add { $0.workflowID = "w" }
      let second = try await test.add {
        $0.workflowID = "w"; $0.dependsOn = [.run(first)]
      }
      try await test.fail(first)

      let request = try BulkRequest(.retry, json: #"{"workflow_id":"w"}"#) { $0.retry.withDependents = true }
      let outcome = try await test.bulk(request)

      #expect(outcome.changed == [first, second])
      #expect(outcome.skipped == [])
      #expect(try await test.state(first) == .ready)
      #expect(try await test.state(second) == .blocked)
    }
  }

  @Test("S22, P40: pause and resume of many, and what is left alone")
  func pauseAndResume() async throws {
    try await withTemporaryStore { test in
      let parent = try await test.add("p")
      try await test.launch()
      let children = [
        try await test.add("c") { $0.parentID = parent },
        try await test.add("c") {
          $0.parentID = parent; $0.delaySeconds = 60
        },
        try await test.add("d") { $0.parentID = parent },
      ]
      let family = #"{"parent_id":"\#(parent)"}"#

      let paused = try await test.bulk(BulkRequest(.pause, json: family))
      let again = try await test.bulk(BulkRequest(.pause, json: family))
      let all = try await test.bulk(BulkRequest(.pause))
      let resumed = try await test.bulk(BulkRequest(.resume, json: family))

      #expect(paused.changed == children)
      #expect(Set(again.reasons.values) == ["already_paused"])
      #expect(all.reasons[parent] == "dispatched")
      #expect(resumed.changed == children)
      #expect(try await test.state(children[1]) == .scheduled)
    }
  }

  @Test func aRunThatMovedOnIsLeftAlone() async throws {
    try await withTemporaryStore { test in
      let id = try await test.add()
      let request = try BulkRequest(.cancel, json: #"{"state":"ready"}"#)
      let found = try await test.candidates(request, asOf: TestStore.start)
      try await test.launch()

      let slice = BulkSlice(request, Cutoff(asOf: TestStore.start, now: .latest), candidates: found) { _ in 0 }
      let outcome = try await test.store.write { tx throws(StoreError) in
        try tx.bulk(slice, now: TestStore.start, actor: "ann")
      }

      #expect(outcome.reasons == [id: "no_longer_matches"])
      #expect(try await test.state(id) == .launched)
    }
  }

  @Test("T21: what somebody else cancels before a job gets to it is left alone, and not counted as changed")
  func aJobCountsItsOwnCancels() async throws {
    try await withTemporaryStore { test in
      let id = try await test.add()
      let request = try BulkRequest(.cancel, filter: JSONObject())
      let found = try await test.candidates(request, asOf: TestStore.start)
      let slice = BulkSlice(
        request, Cutoff(asOf: TestStore.start, now: TestStore.start), candidates: found, begun: TestStore.start
      ) { _ in 1_000 }

      let outcome = try await test.store.write { tx throws(StoreError) in
        _ = try tx.cancel(id, reason: nil, now: TestStore.start, actor: "bob")
        return try tx.bulk(slice, now: TestStore.start, actor: "ann")
      }

      #expect(outcome.changed == [])
      #expect(outcome.skipped == [BulkAnswer.Skipped(id: id, reason: "terminal_run")])
    }
  }

  @Test func aFamilyThatWaitsIsCancelledAsAWhole() async throws {
    // Were the children first, their parent would fail by them.
    try await withTemporaryStore { test in
      let parent = try await test.add("p")
      let dispatch = try #require(try await test.launch().first)
      try await test.report(.running, dispatch.id)
      let children = [
        try await test.add("c") { $0.parentID = parent }, try await test.add("c") { $0.parentID = parent },
      ]
      try await test.report(.completed, dispatch.id)
      #expect(try await test.state(parent) == .waiting)

      let outcome = try await test.bulk(BulkRequest(.cancel) { $0.reason = "all of it" })

      #expect(Set(outcome.changed) == Set(children + [parent]))
      #expect(try await test.state(parent) == .cancelled)
      for child in children { #expect(try await test.state(child) == .cancelled) }
    }
  }

  @Test("J17: each run has its own row with the caller and the reason")
  func everyRunIsAudited() async throws {
    try await withTemporaryStore { test in
      var ids: [RunID] = []
      for _ in 0..<300 { ids.append(try await test.add { $0.delaySeconds = 1 }) }

      let outcome = try await test.bulk(BulkRequest(.cancel) { $0.reason = "not needed" })

      #expect(outcome.changed.count == 300)
      let rows = try await test.store.read { tx throws(StoreError) in
        try tx.audit(run: nil, workflowID: nil, limit: 1_000, before: nil)
      }
      let closing = rows.filter { $0.newState == .cancelled }
      #expect(Set(closing.map(\.runID)) == Set(ids))
      #expect(closing.allSatisfy { $0.previousState == .scheduled && $0.actor == "ann" && $0.reason == "not needed" })
      #expect(rows.filter { $0.newState == .scheduled }.allSatisfy { $0.exitedAt == TestStore.start })
    }
  }
}
