import TaskBridgeCore
import Testing

@Suite struct RunsRoutesTests {
  static let later = #""delay_seconds":3600"#

  @Test func aSubmissionIsAnsweredWithTheWholeRun() async throws {
    try await withServer { client, _ in
      let reply = try await client.post("/v1/runs", #"{"task":"a.b","payload":{"n":1},"tags":{"env":"test"}}"#)

      #expect(reply.status == 201)
      let run = try #require(try reply.json["run"])
      #expect(try reply.json["outcome"] == .string("inserted"))
      let fields = [
        "id", "task", "state", "attempt", "max_attempts", "priority", "effective_priority", "created_at", "run_at",
        "queued_at", "launched_at", "started_at", "finished_at", "expires_at", "dedup_key", "idempotency_key", "group",
        "tags", "name", "workflow_id", "template", "parent_id", "depends_on", "held_by", "progress", "result",
        "last_error", "replays", "superseded_by",
      ]
      for field in fields { #expect(run[field] != nil, "\(field) is missing") }
      #expect(run["tags"]?["env"] == .string("test"))
      #expect(run["max_attempts"] == .number(JSONNumber(4)))
      #expect(reply.headers["location"] == "/v1/runs/\(run["id"]?.stringValue ?? "")")
      #expect(reply.headers["content-type"] == "application/json")
      #expect(reply.headers["server"] == nil)
    }
  }

  @Test func thePayloadIsShownAsItWasSubmitted() async throws {
    try await withServer { client, _ in
      let payload = #"{ "b" : 1.50,  "a":"\u00e9" }"#
      let id = try await client.submit(#"{"task":"a","payload":\#(payload),\#(Self.later)}"#)

      let shown = try await client.get("/v1/runs/\(id)")
      let list = try await client.get("/v1/runs")
      let listed = try await client.get("/v1/runs?payload=true")

      #expect(shown.text.contains(#""payload":\#(payload)"#))
      #expect(!list.text.contains("payload"))
      #expect(listed.text.contains(#""payload":\#(payload)"#))
    }
  }

  @Test func aPayloadThatIsNoJSONIsShownAsBase64() async throws {
    try await withServer { client, _ in
      let id = try await client.submit(
        #"{"task":"a","payload_base64":"/wA=","content_type":"application/octet-stream",\#(Self.later)}"#)

      let run = try await client.get("/v1/runs/\(id)").json

      #expect(run["payload_base64"] == .string("/wA="))
      #expect(run["content_type"] == .string("application/octet-stream"))
      #expect(run["payload"] == nil)
    }
  }

  @Test func pagesShowEveryRunOnceWhileRunsAreAdded() async throws {
    try await withServer { client, _ in
      var ids: [String] = []
      for _ in 0..<7 { ids.append(try await client.submit(#"{"task":"a","payload":1,\#(Self.later)}"#)) }

      var seen: [String] = []
      var cursor: String?
      repeat {
        let page = try await client.get("/v1/runs?limit=3" + (cursor.map { "&cursor=\($0)" } ?? ""))
        seen += try page.items.compactMap { $0["id"]?.stringValue }
        cursor = try page.json["next_cursor"]?.stringValue
        _ = try await client.submit(#"{"task":"a","payload":1,\#(Self.later)}"#)
      } while cursor != nil

      #expect(seen == ids.reversed())
    }
  }

  @Test func aCursorOfAnotherOrderIsRefused() async throws {
    try await withServer { client, _ in
      for _ in 0..<2 { _ = try await client.submit(#"{"task":"a","payload":1,\#(Self.later)}"#) }
      let cursor = try await client.get("/v1/runs?limit=1").json["next_cursor"]?.stringValue ?? ""

      let other = try await client.get("/v1/runs?limit=1&sort=name&cursor=\(cursor)")

      #expect(other.status == 400)
      #expect(try other.code == "invalid_cursor")
    }
  }

  @Test func countsAgreeWithListsByAnyFilter() async throws {
    try await withServer { client, _ in
      _ = try await client.post(
        "/v1/runs/batch",
        """
        {"runs":[{"task":"media.cut","payload":1,"tags":{"tenant":"1"}},{"task":"media.cut","payload":2,\(Self.later)},
          {"task":"mediator","payload":3},{"task":"media.cut","payload":4,"depends_on":["#0"],"name":"100% Sure"}]}
        """)

      for (query, body, count) in [
        ("", "{}", 4), ("domain=media", #"{"domain":"media"}"#, 3), ("state=ready", #"{"state":"ready"}"#, 2),
        ("state=ready&state=blocked", #"{"state":["ready","blocked"]}"#, 3),
        ("tag.tenant=1", #"{"tags":{"tenant":"1"}}"#, 1), ("tag_prefix=ten", #"{"tag_prefix":"ten"}"#, 1),
        ("exclude_task=mediator", #"{"exclude_task":"mediator"}"#, 3),
        ("name_like=0%25%20s", #"{"name_like":"0% s"}"#, 1),
        ("held_by=broker_down", #"{"held_by":"broker_down"}"#, 2),
        ("held_by=task_limit", #"{"held_by":"task_limit"}"#, 0),
        ("run_at_is_null=true", #"{"run_at_is_null":true}"#, 3),
      ] {
        let list = try await client.get("/v1/runs?\(query)")
        let counted = try await client.post("/v1/runs/count", body)

        #expect(try list.items.count == count, "\(query): \(list.text)")
        #expect(try counted.json["count"] == .number(JSONNumber(count)), "\(body): \(counted.text)")
      }
    }
  }

  @Test func aReadyRunSaysWhatHoldsIt() async throws {
    try await withServer { client, _ in
      let id = try await client.submit(#"{"task":"a","payload":1}"#)

      #expect(try await client.get("/v1/runs/\(id)").json["held_by"] == .array([.string("broker_down")]))
    }
  }

  @Test func cancelIsAnsweredTheSameTwiceAndRetryRunsAgain() async throws {
    try await withServer { client, _ in
      let id = try await client.submit(#"{"task":"a","payload":1,\#(Self.later)}"#)

      let once = try await client.post("/v1/runs/\(id)/cancel", #"{"reason":"no need"}"#)
      let twice = try await client.post("/v1/runs/\(id)/cancel", "")
      let audit = try await client.get("/v1/runs/\(id)/audit").items
      let again = try await client.post("/v1/runs/\(id)/retry", #"{"priority":3,"reason":"after all"}"#)

      #expect((once.status, twice.status) == (200, 200))
      #expect(try once.json["state"] == .string("cancelled"))
      #expect(audit.first?["reason"] == .string("no need"))
      #expect(audit.first?["actor"] == .string("local"))
      #expect(audit.first?["exited_at"] == .null)
      #expect(audit.last?["previous_state"] == .null)
      #expect(audit.last?["exited_at"] == audit.first?["entered_at"])
      #expect(again.status == 200)
      #expect(try again.json["priority"] == .number(JSONNumber(3)))
      #expect(try again.json["replays"] == .number(JSONNumber(1)))
    }
  }

  @Test func dependenciesAreSeenFromBothSides() async throws {
    try await withServer { client, _ in
      let first = try await client.submit(#"{"task":"a","payload":1,\#(Self.later)}"#)
      let second = try await client.submit(#"{"task":"b","payload":1,"depends_on":["\#(first)"]}"#)
      let child = try await client.submit(#"{"task":"c","payload":1,"parent_id":"\#(first)"}"#)

      let dependencies = try await client.get("/v1/runs/\(second)/dependencies").items
      let dependents = try await client.get("/v1/runs/\(first)/dependents").items
      let children = try await client.get("/v1/runs/\(first)/children").items

      #expect(dependencies.map { $0["id"] } == [.string(first)])
      #expect(dependencies.map { $0["satisfied"] } == [.bool(false)])
      #expect(dependents.map { $0["id"] } == [.string(second)])
      #expect(dependents.map { $0["state"] } == [.string("blocked")])
      #expect(children.map { $0["id"] } == [.string(child)])
      #expect(try await client.get("/v1/runs?has_children=true").items.map { $0["id"] } == [.string(first)])
    }
  }

  @Test(arguments: ["attempts", "audit", "errors", "reports", "dependencies", "dependents", "children"])
  func theHistoryOfAnUnknownRunIs404AndOfANewOneAList(part: String) async throws {
    try await withServer { client, _ in
      let id = try await client.submit(#"{"task":"a","payload":1}"#)

      let known = try await client.get("/v1/runs/\(id)/\(part)")
      let unknown = try await client.get("/v1/runs/01936a3e-0000-7000-8000-000000000000/\(part)")
      let malformed = try await client.get("/v1/runs/nope/\(part)")

      #expect(known.status == 200)
      #expect(try known.json["items"]?.arrayValue != nil)
      #expect(try known.json["next_cursor"] == .null)
      #expect((unknown.status, malformed.status) == (404, 422))
      #expect(try unknown.code == "run_not_found")
    }
  }

  @Test func theIdempotencyKeyHeaderIsTheField() async throws {
    try await withServer { client, _ in
      let body = #"{"task":"a","payload":1}"#
      let first = try await client.post("/v1/runs", body, headers: ["Idempotency-Key: k"])
      let again = try await client.post("/v1/runs", body, headers: ["idempotency-key: k"])
      let differs = try await client.post(
        "/v1/runs", #"{"task":"a","payload":1,"idempotency_key":"x"}"#, headers: ["Idempotency-Key: k"])

      #expect((first.status, again.status, differs.status) == (201, 200, 422))
      #expect(try first.json["run"]?["id"] == again.json["run"]?["id"])
    }
  }

  @Test func aRejectedDuplicateIs409AndAProblem() async throws {
    try await withServer { client, _ in
      let body = #"{"task":"a","payload":1,"dedup_key":"k","on_duplicate":"reject"}"#
      _ = try await client.post("/v1/runs", body)

      let reply = try await client.post("/v1/runs", body)

      #expect(reply.status == 409)
      #expect(reply.headers["content-type"] == "application/problem+json")
      #expect(try reply.json["outcome"] == .string("rejected"))
    }
  }

  @Test func linesAreABatchToo() async throws {
    try await withServer { client, _ in
      let lines = (0..<5).map { #"{"task":"a","payload":\#($0)}"# }.joined(separator: "\n")

      let reply = try await client.request(
        "POST", "/v1/runs/batch", headers: ["Content-Type: application/x-ndjson"], body: Array(lines.utf8))

      #expect(reply.status == 200)
      #expect(try reply.items.count == 5)
    }
  }
}

extension HTTPClient {
  /// Submits one run that must be taken; returns its id.
  func submit(_ body: String) async throws -> String {
    let reply = try await post("/v1/runs", body)
    return try #require(try reply.json["run"]?["id"]?.stringValue, "\(reply.text)")
  }
}
