import TaskBridgeCore
import Testing

@testable import TaskBridgeStore

@Suite struct DeadLetterBulkTests {
  private func found(_ test: TestStore, _ payload: String) async throws -> [RunID] {
    let request = try BulkRequest(.replay, json: #"{"payload":\#(payload)}"#)
    let ids = try await test.candidates(request, asOf: TestStore.start).map(\.id)
    guard case .deadLetters(let filter) = request.target else { return [] }
    let page = try await test.store.read { tx throws(StoreError) in try tx.deadLetters(DeadLetterQuery(filter: filter))
    }
    #expect(page.items.map(\.run.run.id) == ids.reversed(), "\(payload)")
    return ids
  }

  @Test("N13: by what stands in the payload; what is no JSON never matches")
  func byPayload() async throws {
    try await withTemporaryStore { test in
      let number = try await test.die(payload: #"{"user":{"id":42},"ok":true,"n":null,"f":1.5}"#)
      let real = try await test.die(payload: #"{"user":{"id":42.0},"ok":false}"#)
      let text = try await test.die(payload: #"{"user":{"id":"42"},"ok":1,"items":[{"sku":"a\u0062"}]}"#)
      try await test.die(payload: #"{"user.id":42}"#)
      try await test.die(payload: #"{"user":{"id":42}"#)
      try await test.die(payload: #"{"user":{"id":42}}"#) { $0.payload.contentType = "text/plain" }
      try await test.die(payload: #"{"user":{"id":42}}"#) { $0.payload.contentEncoding = "gzip" }
      let patch = try await test.die(payload: #"{"user":{"id":7}}"#) { $0.payload.contentType = "application/x+json" }

      #expect(try await found(test, #"{"user.id":42}"#) == [number, real])
      #expect(try await found(test, #"{"user.id":"42"}"#) == [text])
      #expect(try await found(test, #"{"user.id":42,"ok":true}"#) == [number])
      #expect(try await found(test, #"{"ok":1}"#) == [text])
      #expect(try await found(test, #"{"ok":false}"#) == [real])
      #expect(try await found(test, #"{"n":null}"#) == [number])
      #expect(try await found(test, #"{"f":1.5}"#) == [number])
      #expect(try await found(test, #"{"items[0].sku":"ab"}"#) == [text])
      #expect(try await found(test, #"{"user.id":7}"#) == [patch])
      #expect(try await found(test, #"{"user.name":"x"}"#) == [])
    }
  }

  @Test("N15: a dry run tells eligible, conflicts and the rest apart, and the real call takes exactly those")
  func aReplayIsForecast() async throws {
    try await withTemporaryStore { test in
      let good = try await test.die(payload: #"{"a":1,"b":{"c":2}}"#)
      let text = try await test.die(payload: "no json") { $0.payload.contentType = "text/plain" }
      let large = try await test.die(payload: #"{"x":"\#(String(repeating: "x", count: 990))"}"#)
      let held = try await test.die { $0.dedupKey = "k" }
      try await test.add {
        $0.dedupKey = "k"; $0.delaySeconds = 60
      }
      let asOf = TestStore.start.adding(seconds: 1)
      let later = try await test.die(at: 2)
      var request = try BulkRequest(.replay)
      request.options.patch = try JSONValue.parse(#"{"b":{"c":null,"d":"new value"},"a":12345678901234567890}"#)

      let forecast = try await test.forecast(request, asOf: asOf)
      let outcome = try await test.bulk(request, asOf: asOf, now: TestStore.start.adding(seconds: 3))

      let details = try #require(forecast.forecast)
      #expect((details.eligible, details.conflicts, details.notEligible) == (1, 1, 2))
      let sample = try #require(details.sample)
      #expect(sample.id == good)
      #expect(String(decoding: sample.before, as: UTF8.self) == #"{"a":1,"b":{"c":2}}"#)
      let after = #"{"a":12345678901234567890,"b":{"d":"new value"}}"#
      #expect(String(decoding: sample.after, as: UTF8.self) == after)
      #expect(outcome.changed == [good])
      #expect(outcome.reasons == [text: "payload_not_json", large: "payload_too_large", held: "dedup_busy"])
      #expect(forecast.skipped.count == 3)
      #expect(try await test.state(later) == .failed)
      #expect(try await test.payload(good) == after)
      #expect(try await test.payload(large).count == 998, "refused: the payload stays")
    }
  }

  @Test("N16: a patched run keeps its first payload in its history, and its idempotency key")
  func theFirstPayloadStays() async throws {
    try await withTemporaryStore { test in
      let submission = TestStore.submission {
        $0.idempotencyKey = "i"; $0.payload.bytes = Array(#"{"a":1}"#.utf8)
      }
      let id = try await test.submit(submission).get().runID
      for round in 1...2 {
        try await test.fail(id, at: Double(round * 10))
        var request = BulkRequest(.replay, ids: [id])
        request.options.patch = .object(["a": .number(JSONNumber(round + 1))])
        let now = TestStore.start.adding(seconds: Double(round * 10 + 1))
        #expect(try await test.bulk(request, asOf: now, now: now).changed == [id])
      }

      let history = try await test.store.read { tx throws(StoreError) in try tx.payloadHistory(of: id) }

      #expect(history?.map { String(decoding: $0.payload.bytes, as: UTF8.self) } == [#"{"a":1}"#, #"{"a":2}"#])
      #expect(history?.map(\.actor) == ["ann", "ann"])
      #expect(try await test.payload(id) == #"{"a":3}"#)
      #expect(try await test.submit(submission).get().outcome == .duplicate)
      var changed = submission
      changed.payload.bytes = Array(#"{"a":3}"#.utf8)
      let other = try await test.submit(changed)
      #expect(throws: Problem.self) { try other.get() }
    }
  }

  @Test func idsThatAreNoDeadLettersAreNamed() async throws {
    try await withTemporaryStore { test in
      let dead = try await test.die()
      let alive = try await test.add { $0.delaySeconds = 5 }
      let later = try await test.die(at: 9)
      let unknown = TestStore.newID()
      let request = BulkRequest(.replay, ids: [alive, dead, unknown, later, dead])

      let forecast = try await test.forecast(request)
      let outcome = try await test.bulk(request)

      #expect(outcome.changed == [dead])
      let reasons = [alive: "not_a_dead_letter", unknown: "run_not_found", later: "newer_than_as_of"]
      #expect(outcome.reasons == reasons)
      #expect(Dictionary(uniqueKeysWithValues: forecast.skipped.map { ($0.id, $0.reason) }) == reasons)
    }
  }
}
