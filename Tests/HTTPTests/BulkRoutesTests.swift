import TaskBridgeCore
import Testing

/// Calls on many runs over HTTP.
@Suite struct BulkRoutesTests {
  private static func number(_ value: Int) -> JSONValue { .number(JSONNumber(value)) }

  @Test("T21, T23: the answer of a bulk call")
  func theAnswerNamesEverything() async throws {
    try await withServer { client, _ in
      let one = try await client.submit(#"{"task":"a.x","payload":1}"#)
      let two = try await client.submit(#"{"task":"a.y","payload":1}"#)
      _ = try await client.submit(#"{"task":"b","payload":1}"#)
      _ = try await client.post("/v1/runs/\(one)/cancel", "")

      let answer = try await client.post("/v1/runs/cancel", #"{"filter":{"domain":"a"},"reason":"r"}"#)
      let audit = try await client.get("/v1/runs/\(two)/audit").items

      let json = try answer.json
      #expect(answer.status == 200)
      #expect(json["matched"] == Self.number(2))
      #expect(json["changed"] == Self.number(1))
      #expect(json["ids"] == .array([.string(two)]))
      #expect(json["skipped"] == .array([.object(["id": .string(one), "reason": .string("terminal_run")])]))
      #expect(json["as_of"]?.stringValue != nil)
      #expect(audit.first?["reason"] == .string("r"))
    }
  }

  @Test("T22, T23: a dry run's as_of keeps newer runs out of the call")
  func theDryRunsTimeIsKept() async throws {
    try await withServer { client, _ in
      let old = try await client.submit(#"{"task":"a","payload":1,"tags":{"env":"test"}}"#)

      let dry = try await client.post("/v1/runs/cancel", #"{"filter":{"tags":{"env":"test"}},"dry_run":true}"#).json
      let asOf = try #require(dry["as_of"]?.stringValue)
      var new = try await client.submit(#"{"task":"a","payload":1,"tags":{"env":"test"}}"#)
      // Not in the same millisecond.
      while try await client.get("/v1/runs/\(new)").json["created_at"]?.stringValue == asOf {
        new = try await client.submit(#"{"task":"a","payload":1,"tags":{"env":"test"}}"#)
      }
      let real = try await client.post(
        "/v1/runs/cancel", #"{"filter":{"tags":{"env":"test"}},"as_of":"\#(asOf)"}"#
      ).json

      #expect(dry["changed"] == Self.number(1))
      #expect(dry["ids"] == .array([.string(old)]))
      #expect(real["as_of"] == .string(asOf))
      #expect(try await client.get("/v1/runs/\(old)").json["state"] == .string("cancelled"))
      #expect(try await client.get("/v1/runs/\(new)").json["state"] == .string("ready"))
    }
  }

  @Test("T22: nothing chosen is refused", arguments: ["cancel", "retry", "pause", "resume"])
  func nothingChosenIsRefused(verb: String) async throws {
    try await withServer { client, _ in
      let id = try await client.submit(#"{"task":"a","payload":1}"#)
      for (body, code) in [
        ("{}", "empty_filter"), (#"{"filter":{}}"#, "empty_filter"), (#"{"filter":{"stat":"ready"}}"#, "unknown_field"),
        (#"{"filter":{"task":"a"},"ids":["\#(id)"]}"#, "unknown_field"), (#"{"filter":[]}"#, "invalid_field"),
        (#"{"filter":{"task":"a"},"patch":{}}"#, "unknown_field"), (#"{"filter":{"task":"A!"}}"#, "invalid_task"),
      ] {
        let answer = try await client.post("/v1/runs/\(verb)", body)
        #expect((answer.status, try answer.code) == (422, code), "\(body)")
      }

      let all = try await client.post("/v1/runs/\(verb)", #"{"all":true}"#).json
      #expect(all["matched"] == Self.number(1))
    }
  }

  @Test("S22: a batch is counted, paused, resumed, cancelled and retried as a unit")
  func aBatchIsAUnit() async throws {
    try await withServer { client, _ in
      let items = (0..<300).map { #"{"task":"t\#($0 % 3)","payload":\#($0)}"# }.joined(separator: ",")
      let batch = #"{"defaults":{"workflow_id":"w","tags":{"batch":"b1"}},"runs":[\#(items)]}"#
      #expect(try await client.post("/v1/runs/batch", batch).status == 200)
      _ = try await client.submit(#"{"task":"t0","payload":1}"#)
      func states() async throws -> JSONValue? {
        try await client.post("/v1/runs/count", #"{"workflow_id":"w"}"#).json["by_state"]
      }

      for (verb, filter, state) in [
        ("pause", #"{"workflow_id":"w"}"#, "paused"), ("resume", #"{"tags":{"batch":"b1"}}"#, "ready"),
        ("cancel", #"{"workflow_id":"w"}"#, "cancelled"), ("retry", #"{"tags":{"batch":"b1"}}"#, "ready"),
      ] {
        let answer = try await client.post("/v1/runs/\(verb)", #"{"filter":\#(filter)}"#).json
        #expect(answer["changed"] == Self.number(300), "\(verb)")
        #expect(answer["ids"]?.arrayValue?.count == 300)
        #expect(try await states()?[state] == Self.number(300), "\(verb)")
      }
      #expect(try await client.post("/v1/runs/count", #"{"state":"ready"}"#).json["count"] == Self.number(301))
    }
  }

  @Test("S8, S11, T69: a retry takes its options one by one and in bulk, and names the dependents it leaves")
  func aRetryTakesItsOptions() async throws {
    try await withServer { client, _ in
      let first = try await client.submit(
        #"{"task":"a","payload":{"n": 1},"tags":{"k":"v"},"priority":7,"ttl_seconds":3600}"#)
      let second = try await client.submit(#"{"task":"b","payload":1,"depends_on":["\#(first)"]}"#)
      _ = try await client.post("/v1/runs/\(first)/cancel", "")

      let plain = try await client.post("/v1/runs/\(first)/retry", "").json
      _ = try await client.post("/v1/runs/\(first)/cancel", "")
      let options = #""with_dependents":true,"priority":0,"max_attempts":2,"run_at":"2099-01-01T00:00:00Z""#
      let bulk = try await client.post("/v1/runs/retry", #"{"filter":{"task":"a"},\#(options)}"#).json

      let run = try await client.get("/v1/runs/\(first)").json
      #expect(plain["failed_dependents"] == .array([.string(second)]))
      #expect(plain["priority"] == Self.number(7))
      #expect(plain["expires_at"]?.stringValue != nil)
      #expect(bulk["ids"] == .array([.string(first), .string(second)]))
      #expect(bulk["failed_dependents"] == .array([]))
      #expect(run["state"] == .string("scheduled"))
      #expect(run["run_at"] == .string("2099-01-01T00:00:00.000Z"))
      #expect(run["priority"] == Self.number(0))
      #expect(run["max_attempts"] == Self.number(2))
      #expect(run["tags"] == .object(["k": .string("v")]))
      #expect(run["payload"] == .object(["n": Self.number(1)]))
      #expect(try await client.get("/v1/runs/\(second)").json["state"] == .string("blocked"))
    }
  }
}
