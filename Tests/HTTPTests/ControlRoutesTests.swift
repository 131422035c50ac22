import TaskBridgeCore
import Testing

/// Pauses, settings, tasks, groups, queue status and explain over HTTP (features T5, T18, T71 to T75, S26, N11, N12).
@Suite struct ControlRoutesTests {
  private static func number(_ value: Int) -> JSONValue { .number(JSONNumber(value)) }

  /// T5.
  @Test func oneRunIsPausedAndResumed() async throws {
    try await withServer { client, _ in
      let id = try await client.submit(#"{"task":"a","payload":1}"#)

      let paused = try await client.post("/v1/runs/\(id)/pause", #"{"reason":"look first"}"#)
      let listed = try await client.get("/v1/runs?state=paused").items
      let explained = try await client.get("/v1/runs/\(id)/explain").json
      let resumed = try await client.post("/v1/runs/\(id)/resume", "")
      let audit = try await client.get("/v1/runs/\(id)/audit").items

      #expect(paused.status == 200)
      #expect(try paused.json["state"] == .string("paused"))
      #expect(listed.map { $0["id"] } == [.string(id)])
      #expect(explained["reasons"]?.arrayValue?.map { $0["code"] } == [.string("run_paused")])
      #expect(try resumed.json["state"] == .string("ready"))
      #expect(audit.map { $0["reason"] }.dropLast() == [.string("resumed"), .string("look first")])
    }
  }

  @Test func whatCannotBePausedSaysWhy() async throws {
    try await withServer { client, _ in
      let unknown = try await client.post("/v1/runs/01936a3e-0000-7000-8000-000000000000/pause", "")
      let field = try await client.post("/v1/pause", #"{"untill":"2099-01-01T00:00:00Z"}"#)
      let past = try await client.post("/v1/groups/g/pause", #"{"until":"2001-01-01T00:00:00Z"}"#)
      let zone = try await client.post("/v1/groups/g/pause", #"{"until":"2099-01-01T00:00:00"}"#)
      let task = try await client.post("/v1/tasks/Bad/pause", "")
      let domain = try await client.post("/v1/domains/a.b/pause", "")

      #expect((unknown.status, try unknown.code) == (404, "run_not_found"))
      #expect((field.status, try field.code) == (422, "unknown_field"))
      #expect((past.status, try past.code) == (422, "invalid_field"))
      #expect((zone.status, try zone.code) == (422, "time_without_zone"))
      #expect((task.status, try task.code) == (422, "invalid_task"))
      #expect((domain.status, try domain.code) == (422, "invalid_domain"))
    }
  }

  /// T73, T75, N11: each pause is in `held_by`, in the filter, in the explanation and where it is listed.
  @Test(arguments: [
    ("/v1", "paused"), ("/v1/tasks/a.x", "task_paused"), ("/v1/domains/a", "task_paused"),
    ("/v1/groups/g%20h", "group_paused"),
  ])
  func aPauseIsSeenEverywhere(path: String, hold: String) async throws {
    try await withServer { client, _ in
      let id = try await client.submit(#"{"task":"a.x","payload":1,"group":"g h"}"#)
      _ = try await client.submit(#"{"task":"b","payload":1}"#)

      let paused = try await client.post("\(path)/pause", #"{"until":"2099-01-01T00:00:00Z","reason":"r"}"#)
      let run = try await client.get("/v1/runs/\(id)").json
      let held = try await client.get("/v1/runs?held_by=\(hold)").items
      let counted = try await client.post("/v1/runs/count", #"{"held_by":"\#(hold)"}"#).json
      let explained = try await client.get("/v1/runs/\(id)/explain").json
      let snapshot = try await client.get("/v1/snapshot").json
      let resumed = try await client.post("\(path)/resume", "")
      let after = try await client.get("/v1/runs/\(id)").json

      #expect((paused.status, resumed.status) == (200, 200))
      #expect(try paused.json["paused"] == .bool(true))
      #expect(try paused.json["paused_until"] == .string("2099-01-01T00:00:00.000Z"))
      #expect(run["held_by"] == .array([.string(hold), .string("broker_down")]))
      let all = hold == "paused"
      #expect(held.count == (all ? 2 : 1))
      #expect(counted["count"] == Self.number(all ? 2 : 1))
      #expect(explained["held_by"] == run["held_by"])
      let reason = explained["reasons"]?.arrayValue?.first
      #expect(reason?["code"] == .string(hold))
      #expect(reason?["at"] == .string("2099-01-01T00:00:00.000Z"))
      #expect(reason?["detail"]?.stringValue?.contains(": r") == true)
      #expect(snapshot["paused"] == .bool(all))
      #expect(snapshot["tasks"]?.arrayValue?.map { $0["paused"] } == [.bool(hold == "task_paused"), .bool(false)])
      #expect(snapshot["groups"]?.arrayValue?.map { $0["paused"] } == [.bool(hold == "group_paused")])
      #expect(try resumed.json["paused"] == .bool(false))
      #expect(after["held_by"] == .array([.string("broker_down")]))
    }
  }

  /// T18, P2, S24: settings in force, also of a key not seen before; null goes back.
  @Test func settingsAreChangedShownAndTakenBack() async throws {
    try await withServer { client, _ in
      let unknown = try await client.get("/v1/tasks/new.key")
      let changed = try await client.patch(
        "/v1/tasks/new.key",
        #"{"concurrency_limit":5,"queue_bound":7,"order":"lifo","rate_per_second":2.5,"max_attempts":9,"resource_limits":{"memory_mb":64}}"#
      )
      let shown = try await client.get("/v1/tasks/new.key").json
      let id = try await client.submit(#"{"task":"new.key","payload":1}"#)
      let run = try await client.get("/v1/runs/\(id)").json
      let back = try await client.patch("/v1/tasks/new.key", #"{"queue_bound":null,"order":null}"#).json

      #expect((unknown.status, try unknown.code) == (404, "task_not_found"))
      #expect(changed.status == 200)
      #expect(try changed.json["settings"] == shown["settings"])
      #expect(shown["settings"]?["concurrency_limit"] == Self.number(5))
      #expect(shown["settings"]?["rate_burst"] == Self.number(3))
      #expect(shown["settings"]?["lease_seconds"] == Self.number(60))
      #expect(shown["settings"]?["resource_limits"]?["memory_mb"] == Self.number(64))
      #expect(run["max_attempts"] == Self.number(9))
      #expect(back["settings"]?["queue_bound"] == Self.number(1_000))
      #expect(back["settings"]?["order"] == .string("fifo"))
      #expect(back["settings"]?["concurrency_limit"] == Self.number(5))
    }
  }

  @Test(arguments: [
    (#"{"queue_bound":0}"#, "invalid_field", "pause"), (#"{"order":"random"}"#, "invalid_field", "fifo, lifo"),
    (#"{"concurrency_limit":-1}"#, "invalid_field", "0"), (#"{"rate_per_second":0}"#, "invalid_field", "0.001"),
    (#"{"rate_burst":0}"#, "invalid_field", "1"), (#"{"aging":{"ceiling":256}}"#, "invalid_field", "/aging/ceiling"),
    (#"{"aging":{"grace":1}}"#, "unknown_field", "grace_seconds"),
    (#"{"aging":5}"#, "invalid_field", "interval_seconds"),
    (#"{"resource_limits":{"a/b":-1}}"#, "invalid_field", "/resource_limits/a~1b"),
    (#"{"wire":"envelope"}"#, "configuration_only", "configuration file"),
    (#"{"queue_type":"classic"}"#, "configuration_only", "delete the queue"),
    (#"{"redact":["$.a"]}"#, "not_supported", "redact"),
    (#"{"concurency_limit":1}"#, "unknown_field", "concurrency_limit"),
  ])
  func wrongSettingsAreRefusedAndNothingIsChanged(body: String, code: String, word: String) async throws {
    try await withServer { client, _ in
      let good = try await client.patch("/v1/tasks/a", #"{"queue_bound":5}"#).json["settings"]

      let reply = try await client.patch("/v1/tasks/a", #"{"lease_seconds":6,"# + body.dropFirst())

      #expect((reply.status, try reply.code) == (422, code))
      #expect(reply.text.contains(word), "\(reply.text)")
      #expect(try await client.get("/v1/tasks/a").json["settings"] == good)
    }
  }

  /// T60: aging is set, shown in the settings and as the effective priority, and taken back; off by default.
  @Test func agingIsSetAndShown() async throws {
    try await withServer { client, _ in
      let id = try await client.submit(#"{"task":"a","payload":1,"priority":192}"#)
      let off = try await client.get("/v1/tasks/a").json["settings"]
      let set = try await client.patch("/v1/tasks/a", #"{"aging":{"grace_seconds":0,"ceiling":10}}"#).json["settings"]
      let fresh = try await client.get("/v1/runs/\(id)").json
      _ = try await client.patch("/v1/tasks/a", #"{"aging":null}"#)

      #expect(off?["aging"] == .null)
      #expect(set?["aging"]?["grace_seconds"] == Self.number(0))
      #expect(set?["aging"]?["interval_seconds"] == Self.number(60))
      #expect(set?["aging"]?["ceiling"] == Self.number(10))
      #expect((fresh["priority"], fresh["effective_priority"]) == (Self.number(192), Self.number(192)))
      #expect(try await client.get("/v1/tasks/a").json["settings"]?["aging"] == .null)
    }
  }

  /// T71, T72, T73, T18.
  @Test func groupsAreListedWithWhatTheyHold() async throws {
    try await withServer { client, _ in
      _ = try await client.submit(#"{"task":"a","payload":1,"group":"with runs"}"#)
      _ = try await client.patch("/v1/groups/limited", #"{"concurrency_limit":0}"#)
      _ = try await client.post("/v1/groups/paused/pause", "")
      let held = try await client.submit(#"{"task":"a","payload":1,"group":"limited"}"#)

      let first = try await client.get("/v1/groups?limit=2").json
      let rest = try await client.get("/v1/groups?limit=2&cursor=\(first["next_cursor"]?.stringValue ?? "")").json
      let run = try await client.get("/v1/runs/\(held)").json
      let changed = try await client.patch("/v1/groups/limited", #"{"weight":2,"minimum_slots":1}"#).json
      let refused = try await client.patch("/v1/groups/limited", #"{"weight":0,"minimum_slots":-1}"#)

      let groups = (first["items"]?.arrayValue ?? []) + (rest["items"]?.arrayValue ?? [])
      #expect(groups.map { $0["name"]?.stringValue } == ["limited", "paused", "with runs"])
      #expect(rest["next_cursor"] == .null)
      #expect(groups.map { $0["ready"] } == [Self.number(1), Self.number(0), Self.number(1)])
      #expect(groups.map { $0["paused"] } == [.bool(false), .bool(true), .bool(false)])
      #expect(groups[0]["settings"]?["concurrency_limit"] == Self.number(0))
      #expect(run["held_by"] == .array([.string("group_limit"), .string("broker_down")]))
      #expect(changed["settings"]?["weight"] == Self.number(2))
      #expect(changed["settings"]?["minimum_slots"] == Self.number(1))
      #expect((refused.status, try refused.code) == (422, "invalid_field"))
      #expect(refused.text.contains("/weight") && refused.text.contains("/minimum_slots"))
    }
  }

  /// S26.
  @Test func theQueueStatusPutsTheUrgentFirstAndThePausedLast() async throws {
    try await withServer { client, _ in
      for (task, priority) in [("a", 128), ("b", 5), ("b", 200), ("c", 0)] {
        _ = try await client.submit(#"{"task":"\#(task)","payload":1,"priority":\#(priority)}"#)
      }
      _ = try await client.post("/v1/tasks/c/pause", "")
      _ = try await client.submit(#"{"task":"d","payload":1,"delay_seconds":60}"#)

      let first = try await client.get("/v1/queue/status?limit=3").json
      let rest = try await client.get("/v1/queue/status?cursor=\(first["next_cursor"]?.stringValue ?? "")").json

      let items = (first["items"]?.arrayValue ?? []) + (rest["items"]?.arrayValue ?? [])
      #expect(items.map { $0["task"]?.stringValue } == ["b", "a", "d", "c"])
      #expect(items.map { $0["count"] } == [2, 1, 0, 1].map(Self.number))
      #expect(items.map { $0["highest_priority"] } == [Self.number(5), Self.number(128), .null, Self.number(0)])
      #expect(items[2]["longest_queued"] == .null)
      #expect(items[3]["paused"] == .bool(true))
    }
  }

  /// S3: the list in the order of release follows the task key's own order, page by page.
  @Test func theListByReleaseIsTheTrueOrder() async throws {
    try await withServer { client, _ in
      _ = try await client.patch("/v1/tasks/a", #"{"order":"lifo"}"#)
      var ids: [String] = []
      for priority in [128, 0, 128, 128, 0] {
        ids.append(
          try await client.submit(#"{"task":"a","payload":1,"group":"g\#(ids.count)","priority":\#(priority)}"#))
      }

      var seen: [String?] = []
      var cursor: String?
      repeat {
        let page = try await client.get(
          "/v1/runs?state=ready&sort=release&limit=2" + (cursor.map { "&cursor=\($0)" } ?? ""))
        seen += try page.items.map { $0["id"]?.stringValue }
        cursor = try page.json["next_cursor"]?.stringValue
      } while cursor != nil

      #expect(seen == [4, 1, 3, 2, 0].map { ids[$0] })
    }
  }

  /// N12: never an empty answer.
  @Test func everyWaitingStateIsExplained() async throws {
    try await withServer { client, _ in
      let scheduled = try await client.submit(#"{"task":"a","payload":1,"run_at":"2099-01-01T00:00:00Z"}"#)
      let blocked = try await client.submit(#"{"task":"b","payload":1,"depends_on":["\#(scheduled)"]}"#)
      let ready = try await client.submit(#"{"task":"c","payload":1}"#)
      let ended = try await client.submit(#"{"task":"d","payload":1}"#)
      _ = try await client.post("/v1/runs/\(ended)/cancel", #"{"reason":"not needed"}"#)

      func reason(_ id: String) async throws -> JSONValue {
        let reasons = try await client.get("/v1/runs/\(id)/explain").json["reasons"]?.arrayValue ?? []
        return try #require(reasons.first)
      }
      let unknown = try await client.get("/v1/runs/01936a3e-0000-7000-8000-000000000000/explain")

      #expect(try await reason(scheduled)["code"] == .string("run_at"))
      #expect(try await reason(scheduled)["at"] == .string("2099-01-01T00:00:00.000Z"))
      #expect(try await reason(blocked)["code"] == .string("dependencies"))
      #expect(try await reason(blocked)["runs"]?.arrayValue?.map { $0["id"] } == [.string(scheduled)])
      #expect(try await reason(ready)["code"] == .string("broker_down"))
      #expect(try await reason(ended)["code"] == .string("ended"))
      #expect(try await reason(ended)["detail"]?.stringValue?.contains("not needed") == true)
      #expect((unknown.status, try unknown.code) == (404, "run_not_found"))
    }
  }

  /// `disabled` and `payload_limit_bytes` hold for submissions at once.
  @Test func settingsOfSubmissionsHoldAtOnce() async throws {
    try await withServer { client, _ in
      _ = try await client.patch("/v1/tasks/a", #"{"payload_limit_bytes":5}"#)
      _ = try await client.patch("/v1/tasks/b", #"{"disabled":true}"#)

      let large = try await client.post("/v1/runs", #"{"task":"a","payload":"123456"}"#)
      let disabled = try await client.post("/v1/runs", #"{"task":"b","payload":1}"#)
      _ = try await client.patch("/v1/tasks/b", #"{"disabled":null}"#)

      #expect((large.status, try large.code) == (413, "payload_too_large"))
      #expect((disabled.status, try disabled.code) == (422, "task_disabled"))
      #expect(try await client.post("/v1/runs", #"{"task":"b","payload":1}"#).status == 201)
    }
  }
}

extension HTTPClient {
  func patch(_ path: String, _ body: String) async throws -> Reply {
    try await request("PATCH", path, headers: ["Content-Type: application/json"], body: Array(body.utf8))
  }
}
