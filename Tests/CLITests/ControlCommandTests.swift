import Foundation
import Testing

/// `pause`, `resume`, `tasks`, `groups` and `explain` against a server that says what it was asked (features T5, T21, T22, T71
/// to T75, S7, S22, N11).
@Suite(.timeLimit(.minutes(2))) struct ControlCommandTests {
  private static let id = "01985c2e-7d2a-7c3b-9a51-0123456789ab"

  private static func echo() throws -> FakeBridge {
    try FakeBridge { request in
      let line = request.prefix { $0 != "\r" && $0 != "\r\n" }
      let body = request.range(of: "\r\n\r\n").map { String(request[$0.upperBound...]) } ?? ""
      return (200, #"{"asked":"\#(line)","body":\#(body.isEmpty ? "null" : body),"items":[],"next_cursor":null}"#)
    }
  }

  private static let requests: [([String], String, String)] = [
    (["pause", id, "--reason", "r"], "POST /v1/runs/\(id)/pause", #"{"reason":"r"}"#),
    (["resume", id], "POST /v1/runs/\(id)/resume", "{}"),
    (["pause", "--task", "a.b"], "POST /v1/tasks/a.b/pause", "{}"),
    (["pause", "--domain", "a"], "POST /v1/domains/a/pause", "{}"),
    (
      ["pause", "--group", "g/1", "--until", "2099-01-01T00:00:00Z"], "POST /v1/groups/g%2F1/pause",
      #"{"until":"2099-01-01T00:00:00Z"}"#
    ),
    (["pause", "--all"], "POST /v1/pause", "{}"), (["resume", "--all"], "POST /v1/resume", "{}"),
    (["cancel", id, "--reason", "r"], "POST /v1/runs/\(id)/cancel", #"{"reason":"r"}"#),
    (
      ["cancel", "--domain", "a", "--state", "ready", "--state", "blocked", "--dry-run", "--reason", "r"],
      "POST /v1/runs/cancel",
      #"{"filter":{"state":["ready","blocked"],"domain":"a"},"dry_run":true,"reason":"r"}"#
    ),
    (
      ["cancel", "--tag", "k=v", "--tag-prefix", "p", "--workflow", "w", "--as-of", "2099-01-01T00:00:00Z"],
      "POST /v1/runs/cancel",
      #"{"filter":{"tags":{"k":"v"},"tag_prefix":"p","workflow_id":"w"},"as_of":"2099-01-01T00:00:00Z"}"#
    ),
    (["cancel", "--all"], "POST /v1/runs/cancel", #"{"filter":{},"all":true}"#),
    (
      ["retry", "--task", "a", "--task", "b", "--priority", "0", "--with-dependents", "--force"],
      "POST /v1/runs/retry", #"{"filter":{"task":["a","b"]},"force":true,"with_dependents":true,"priority":0}"#
    ),
    (["pause", "--parent", id], "POST /v1/runs/pause", #"{"filter":{"parent_id":"\#(id)"}}"#),
    (
      ["pause", "--task", "a", "--state", "ready", "--dry-run"], "POST /v1/runs/pause",
      #"{"filter":{"state":["ready"],"task":["a"]},"dry_run":true}"#
    ),
    (["pause", "--runs", "--task", "a"], "POST /v1/runs/pause", #"{"filter":{"task":["a"]}}"#),
    (["resume", "--runs", "--all"], "POST /v1/runs/resume", #"{"filter":{},"all":true}"#),
    (
      ["dead-letters", "discard", "--payload", "user.id=42", "--payload", "a=b", "--note", "r"],
      "POST /v1/dead-letters/discard", #"{"filter":{"payload":{"user.id":42,"a":"b"}},"reason":"r"}"#
    ),
    (
      ["dead-letters", "replay", "--filter", #"{"payload":{"a":null}}"#, "--patch", #"{"b":1}"#, "--dry-run"],
      "POST /v1/dead-letters/replay", #"{"filter":{"payload":{"a":null}},"dry_run":true,"patch":{"b":1}}"#
    ),
    (
      ["dead-letters", "--payload", "user.id=42"], "GET /v1/dead-letters?payload.user.id=42&limit=50", "null"
    ),
    (["jobs", "--state", "running"], "GET /v1/jobs?state=running&limit=50", "null"),
    (["jobs", "show", id], "GET /v1/jobs/\(id)", "null"), (["jobs", "cancel", id], "POST /v1/jobs/\(id)/cancel", "{}"),
    (
      ["dead-letters", "replay", "--task", "a", "--rate", "50", "--canary", "5", "--canary-wait", "2m"],
      "POST /v1/dead-letters/replay",
      #"{"filter":{"task":"a"},"rate_per_second":50,"canary":5,"canary_wait_seconds":120}"#
    ),
    (["tasks"], "GET /v1/tasks?limit=50", "null"), (["groups"], "GET /v1/groups?limit=50", "null"),
    (["tasks", "show", "a"], "GET /v1/tasks/a", "null"),
    (
      ["tasks", "set", "a", "concurrency_limit=5", "order=lifo", "rate_per_second=null"], "PATCH /v1/tasks/a",
      #"{"concurrency_limit":5,"order":"lifo","rate_per_second":null}"#
    ),
    (["groups", "set", "g 1", "concurrency_limit=0"], "PATCH /v1/groups/g%201", #"{"concurrency_limit":0}"#),
    (["explain", id], "GET /v1/runs/\(id)/explain", "null"),
  ]

  @Test(arguments: requests)
  func eachVerbAsksForItsRoute(arguments: [String], request: String, body: String) throws {
    let server = try Self.echo()

    let end = try Program.run(arguments + ["--output", "json", "--url", server.url])

    #expect(end.status == 0, "\(end.errors)")
    #expect(end.output.hasPrefix(#"{"asked":"\#(request) HTTP"#), "\(end.output)")
    #expect(end.output.contains(#""body":\#(body),"#), "\(end.output)")
  }

  @Test(arguments: [
    ["pause"], ["pause", id, "--all"], ["pause", "--task", "a", "--group", "g"], ["pause", "--task", "Bad"],
    ["pause", id, "--until", "2099-01-01T00:00:00Z"], ["pause", "--group", "g", "--until", "tomorrow"],
    ["tasks", "set", "a", "limit"], ["explain"], ["explain", "nope"], ["cancel"], ["cancel", id, "--all"],
    ["cancel", id, "--dry-run"], ["cancel", "--task", "a", "--all"], ["retry", "--as-of", "2099-01-01T00:00:00Z"],
    ["pause", id, "--runs"], ["pause", "--task", "a", "--dry-run"],
    ["pause", "--workflow", "w", "--until", "2099-01-01T00:00:00Z"],
    ["dead-letters", "discard", "--filter", "{}", "--task", "a"], ["dead-letters", "discard", "--filter", "nonsense"],
  ])
  func whatIsNotUnderstoodIsUsage(arguments: [String]) throws {
    #expect(try Program.run(arguments).status == 64)
  }

  @Test func anExplanationIsReadAsATable() throws {
    let server = try FakeBridge { _ in
      (
        200,
        #"{"run_id":"\#(Self.id)","task":"a","state":"ready","held_by":["task_limit","broker_down"],"reasons":[{"code":"task_limit","detail":"2 runs","unblocked_by":"the end of one","at":null,"limit":2,"used":2}]}"#
      )
    }

    let end = try Program.run(["explain", Self.id, "--url", server.url])

    #expect(end.output.contains("task_limit, broker_down"))
    #expect(end.output.contains("the end of one"))
  }
}
