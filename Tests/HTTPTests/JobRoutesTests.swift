import TaskBridgeCore
import Testing

/// Jobs over HTTP; nothing works them off here.
@Suite struct JobRoutesTests {
  private static func number(_ value: Int) -> JSONValue { .number(JSONNumber(value)) }

  @Test("N17, N18, S10: a paced replay is answered with its job, which is listed, shown and cancelled")
  func aPacedReplayIsAJob() async throws {
    try await withServer { client, _ in
      let body = #"{"all":true,"rate_per_second":5,"canary":2,"canary_wait_seconds":1,"patch":{"a":1},"reason":"r"}"#
      let started = try await client.post("/v1/dead-letters/replay", body)
      let id = try #require(try started.json["job_id"]?.stringValue)
      let shown = try await client.get("/v1/jobs/\(id)").json
      let listed = try await client.get("/v1/jobs?state=pending&kind=replay").items
      let cancelled = try await client.post("/v1/jobs/\(id)/cancel", "")
      let again = try await client.post("/v1/jobs/\(id)/cancel", "{}")

      #expect(started.status == 202)
      #expect(started.headers["location"] == "/v1/jobs/\(id)")
      #expect(shown["kind"] == .string("replay"))
      #expect(shown["state"] == .string("pending"))
      #expect(shown["request"]?["rate_per_second"] == Self.number(5))
      #expect(shown["request"]?["patch"] == .object(["a": Self.number(1)]))
      #expect(shown["progress"] == Self.number(0))
      #expect(listed.map { $0["id"] } == [.string(id)])
      #expect(try cancelled.json["state"] == .string("cancelled"))
      #expect((again.status, try again.code) == (409, "job_ended"))
      #expect(try await client.get("/v1/jobs?state=pending").items.isEmpty)
    }
  }

  @Test("S10, J17: a large call on runs is a job")
  func aLargeCallIsAJob() async throws {
    try await withServer { client, _ in
      let items = (0..<1_001).map { #"{"task":"a","payload":\#($0),"delay_seconds":60}"# }.joined(separator: ",")
      _ = try await client.post("/v1/runs/batch", #"{"runs":[\#(items)]}"#)

      let dry = try await client.post("/v1/runs/cancel", #"{"filter":{"task":"a"},"dry_run":true}"#)
      let real = try await client.post("/v1/runs/cancel", #"{"filter":{"task":"a"}}"#)

      #expect((dry.status, try dry.json["changed"]) == (200, Self.number(1_001)))
      #expect(try dry.json["ids"]?.arrayValue?.count == 1_000)
      #expect(real.status == 202)
      #expect(try real.json["matched"] == Self.number(1_001))
      #expect(try real.json["changed"] == Self.number(0))
    }
  }

  @Test(arguments: [
    ("/v1/dead-letters/replay", #"{"all":true,"rate_per_second":0}"#, "invalid_field"),
    ("/v1/dead-letters/replay", #"{"all":true,"canary":0}"#, "invalid_field"),
    ("/v1/dead-letters/replay", #"{"all":true,"canary_wait_seconds":5}"#, "invalid_field"),
    ("/v1/dead-letters/replay", #"{"all":true,"patch":[1]}"#, "invalid_field"),
    ("/v1/dead-letters/discard", #"{"all":true,"patch":{}}"#, "unknown_field"),
    ("/v1/runs/retry", #"{"all":true,"rate_per_second":5}"#, "unknown_field"),
    ("/v1/jobs/nope/cancel", "{}", "invalid_job_id"),
  ])
  func whatIsNotAllowedIsRefused(path: String, body: String, code: String) async throws {
    try await withServer { client, _ in
      let answer = try await client.post(path, body)
      #expect((answer.status, try answer.code) == (422, code))
    }
  }

  @Test func anUnknownJobIsNotFound() async throws {
    try await withServer { client, _ in
      let id = "01936a3e-0000-7000-8000-000000000000"
      for answer in [try await client.get("/v1/jobs/\(id)"), try await client.post("/v1/jobs/\(id)/cancel", "")] {
        #expect((answer.status, try answer.code) == (404, "job_not_found"))
      }
    }
  }
}
