import TaskBridgeCore
import Testing

/// Schedules over HTTP, on a bridge whose clock fires nothing: it never had a broker.
@Suite struct ScheduleRoutesTests {
  private static let nightly = #"""
    {"name":"nightly","task":"report.build","payload":{"a" : 1.50},"cron":"30 2 * * 1-5","timezone":"Europe/Berlin",
     "max_runs":3,"tags":{"team":"x"},"retry":{"strategy":"constant","initial_seconds":5}}
    """#

  @Test("T80: a schedule is stored, listed and shown with its fields, their defaults and how it stands")
  func aScheduleIsListed() async throws {
    try await withServer { client, _ in
      let made = try await client.post("/v1/schedules", Self.nightly)
      _ = try await client.post(
        "/v1/schedules", #"{"name":"a.every","task":"t","every_seconds":90,"mode":"fixed_delay"}"#)
      let list = try await client.get("/v1/schedules")
      let first = try await client.get("/v1/schedules?limit=1").json
      let second = try await client.get("/v1/schedules?cursor=\(first["next_cursor"]?.stringValue ?? "")").items
      let shown = try await client.get("/v1/schedules/nightly")
      let snapshot = try await client.get("/v1/snapshot").json

      #expect((made.status, made.headers["location"]) == (201, "/v1/schedules/nightly"))
      #expect(try list.items.map { $0["name"] } == [.string("a.every"), .string("nightly")])
      #expect(second.map { $0["name"] } == [.string("nightly")])
      let item = try #require(try list.items.last)
      #expect(item["cron"] == .string("30 2 * * 1-5"))
      #expect(item["timezone"] == .string("Europe/Berlin"))
      #expect(item["catch_up"] == .string("skip"))
      #expect(item["dst_gap"] == .string("run_after"))
      #expect(item["every_seconds"] == .null)
      #expect(item["paused"] == .bool(false))
      #expect(item["runs_left"] == .number(JSONNumber(3)))
      #expect(item["last_run"] == .null)
      #expect(item["tags"] == .object(["team": .string("x")]))
      #expect(item["payload"] == nil, "only where one is shown")
      #expect(shown.text.contains(#""payload":{"a" : 1.50}"#), "byte for byte")
      #expect(snapshot["schedules"]?.arrayValue?.count == 2)
      #expect(snapshot["schedules"]?.arrayValue?.first?["name"] == .string("a.every"), "due first")
      #expect(snapshot["next_run_at"] == snapshot["schedules"]?.arrayValue?.first?["next_at"])
      let metrics = try await client.get("/metrics").text
      #expect(metrics.contains(#"taskbridge_schedules{state="active"} 2"#))
    }
  }

  @Test(
    "N33: what is wrong with a schedule is said with pointer and code",
    arguments: [
      (#"{"name":"a b","task":"t","cron":"@daily"}"#, "invalid_schedule_name", "/name"),
      (#"{"task":"t","cron":"@daily"}"#, "invalid_schedule_name", "/name"),
      (#"{"name":"s","task":"T","cron":"@daily"}"#, "invalid_task", "/task"),
      (#"{"name":"s","cron":"@daily"}"#, "invalid_task", "/task"),
      (#"{"name":"s","task":"t"}"#, "invalid_field", "/cron"),
      (#"{"name":"s","task":"t","cron":"61 * * * *"}"#, "invalid_cron", "/cron"),
      (#"{"name":"s","task":"t","cron":"@daily","every_seconds":5}"#, "invalid_field", "/every_seconds"),
      (#"{"name":"s","task":"t","cron":"@daily","timezone":"Europe/Berln"}"#, "unknown_timezone", "/timezone"),
      (#"{"name":"s","task":"t","cron":"@daily","timezon":"UTC"}"#, "unknown_field", "/timezon"),
      (#"{"name":"s","task":"t","cron":"@daily","run_at":"2027-01-01T00:00:00Z"}"#, "invalid_field", "/run_at"),
      (#"{"name":"s","task":"t","cron":"@daily","idempotency_key":"k"}"#, "invalid_field", "/idempotency_key"),
      (#"{"name":"s","task":"t","cron":"@daily","priority":256}"#, "invalid_field", "/priority"),
      (
        #"{"name":"s","task":"t","cron":"@daily","starts_at":"2027-01-01T00:00:00"}"#, "time_without_zone", "/starts_at"
      ),
      (#"{"name":"s","task":"t","every_seconds":0}"#, "invalid_field", "/every_seconds"),
    ] as [(String, String, String)])
  func whatIsWrongIsSaid(body: String, code: String, pointer: String) async throws {
    try await withServer { client, _ in
      let reply = try await client.post("/v1/schedules", body)

      #expect(reply.status == 422)
      #expect(try reply.code == code)
      #expect(try reply.json["errors"]?.arrayValue?.first?["pointer"] == .string(pointer))
      #expect(try await client.get("/v1/schedules").items.isEmpty)
    }
  }

  @Test("N33: an unknown zone names the nearest one, an unknown schedule too, a taken name is a conflict")
  func namesAreHelpedWith() async throws {
    try await withServer { client, _ in
      _ = try await client.post("/v1/schedules", Self.nightly)
      let zone = try await client.post("/v1/schedules", #"{"name":"s","task":"t","cron":"@daily","timezone":"berlin"}"#)
      let taken = try await client.post("/v1/schedules", Self.nightly)

      #expect(zone.text.contains("did you mean Europe/Berlin?"))
      #expect((taken.status, try taken.code) == (409, "schedule_exists"))
      for (method, path) in [
        ("GET", ""), ("GET", "/next"), ("DELETE", ""), ("POST", "/pause"), ("POST", "/resume"), ("POST", "/run-now"),
      ] {
        let reply = try await client.request(method, "/v1/schedules/nightlyy" + path)
        #expect((reply.status, try reply.code) == (404, "schedule_not_found"), "\(method) \(path)")
        #expect(reply.text.contains("did you mean nightly?"))
      }
      #expect(try await client.patch("/v1/schedules/other", "{}").status == 404)
    }
  }

  @Test("T81: a change keeps what it does not name; what is wrong changes nothing")
  func aChangeKeepsTheRest() async throws {
    try await withServer { client, _ in
      _ = try await client.post("/v1/schedules", Self.nightly)
      let changed = try await client.patch(
        "/v1/schedules/nightly", #"{"cron":"0 4 * * *","tags":{"team":"y"},"max_runs":null,"priority":9}"#)
      let name = try await client.patch("/v1/schedules/nightly", #"{"name":"other"}"#)
      let unknown = try await client.patch("/v1/schedules/nightly", #"{"crn":null}"#)
      let both = try await client.patch("/v1/schedules/nightly", #"{"every_seconds":5}"#)
      let payload = try await client.patch(
        "/v1/schedules/nightly", #"{"payload_base64":"AAE=","content_type":"image/png"}"#)
      let shown = try await client.get("/v1/schedules/nightly").json

      #expect(changed.status == 200)
      #expect((name.status, unknown.status, both.status) == (422, 422, 422))
      #expect(try unknown.code == "unknown_field")
      #expect(payload.status == 200)
      #expect(shown["cron"] == .string("0 4 * * *"))
      #expect(shown["timezone"] == .string("Europe/Berlin"))
      #expect(shown["tags"] == .object(["team": .string("y")]))
      #expect(shown["runs_left"] == .null)
      #expect(shown["retry"]?["strategy"] == .string("constant"))
      #expect(shown["payload_base64"] == .string("AAE="))
      #expect(shown["content_type"] == .string("image/png"))
    }
  }

  @Test("T81: pause, resume, run-now and delete over HTTP")
  func aScheduleIsPausedRunAndDeleted() async throws {
    try await withServer { client, _ in
      _ = try await client.post("/v1/schedules", Self.nightly)
      let before = try await client.get("/v1/schedules/nightly").json
      let paused = try await client.post("/v1/schedules/nightly/pause", #"{"reason":"holiday"}"#).json
      let run = try await client.post("/v1/schedules/nightly/run-now", "")
      let resumed = try await client.post("/v1/schedules/nightly/resume", "").json
      let made = try run.json["run"]
      let id = made?["id"]?.stringValue ?? ""
      let deleted = try await client.request("DELETE", "/v1/schedules/nightly")
      let left = try await client.get("/v1/runs/\(id)")

      #expect(paused["paused"] == .bool(true))
      #expect(paused["pause_reason"] == .string("holiday"))
      #expect(paused["next_at"] == .null)
      #expect((run.status, run.headers["location"]) == (201, "/v1/runs/\(id)"))
      #expect(made?["schedule"] == .string("nightly"))
      #expect(made?["nominal_at"] == .null)
      #expect(made?["state"] == .string("ready"))
      #expect(resumed["paused"] == .bool(false))
      #expect(resumed["next_at"] == before["next_at"], "the plan has not moved")
      #expect(resumed["last_run"]?["id"] == .string(id))
      #expect(resumed["runs_left"] == .number(JSONNumber(3)))
      #expect((deleted.status, deleted.body) == (204, []))
      #expect(try left.json["schedule"] == .string("nightly"))
      #expect(try await client.get("/v1/schedules/nightly").status == 404)
    }
  }

  @Test("N34: the coming times in UTC and local, with what daylight saving does")
  func theComingTimesAreTold() async throws {
    try await withServer { client, _ in
      _ = try await client.post(
        "/v1/schedules", #"{"name":"s","task":"t","cron":"30 2 * * *","timezone":"Europe/Berlin","max_runs":2}"#)
      let items = try await client.get("/v1/schedules/s/next?count=20&after=2027-03-27T12:00:00Z").items
      let wrong = try await client.get("/v1/schedules/s/next?count=1001")

      #expect(items.map { $0["at"] } == [.string("2027-03-28T01:00:00.000Z"), .string("2027-03-29T00:30:00.000Z")])
      #expect(items.first?["local"] == .string("2027-03-28T03:00:00+02:00"))
      #expect(items.map { $0["note"] } == [.string("gap: 02:30 does not exist, runs after"), .null])
      #expect((wrong.status, try wrong.code) == (422, "invalid_field"))
    }
  }
}
