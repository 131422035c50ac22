import NIOCore
import TaskBridgeCore
import Testing

@Suite struct BadRequestTests {
  @Test(arguments: [
    ("GET", "/v1/nothing", 404, "not_found"), ("GET", "/v1/runs/", 404, "not_found"), ("GET", "//", 404, "not_found"),
    ("GET", "/..%2f..%2fetc/passwd", 404, "not_found"), ("GET", "/v1/runs/%00", 400, "invalid_target"),
    ("GET", "/v1/runs/%zz", 400, "invalid_target"), ("PUT", "/v1/runs", 405, "method_not_allowed"),
    ("TRACE", "/v1/runs", 405, "method_not_allowed"), ("OPTIONS", "/v1/runs", 405, "method_not_allowed"),
    ("DELETE", "/livez", 405, "method_not_allowed"), ("GET", "/v1/runs?limit=0", 422, "invalid_field"),
    ("GET", "/v1/runs?limit=1000000000", 422, "invalid_field"),
    ("GET", "/v1/runs?limit=1&limit=2", 422, "invalid_field"),
    ("GET", "/v1/runs?sort=payload;--", 422, "invalid_field"), ("GET", "/v1/runs?cursor=00", 400, "invalid_cursor"),
    ("GET", "/v1/runs?nonsense=1", 422, "unknown_field"), ("GET", "/v1/runs?state=asleep", 422, "invalid_field"),
    ("GET", "/v1/runs?task=NOT%20A", 422, "invalid_task"), ("GET", "/v1/runs?domain=a.b", 422, "invalid_field"),
    ("GET", "/v1/runs?created_after=2026-01-01T00:00:00", 422, "time_without_zone"),
    ("GET", "/v1/runs?name=%ff", 400, "invalid_target"), ("GET", "/v1/runs?name=%00", 422, "invalid_field"),
    ("GET", "/v1/runs?has_children=maybe", 422, "invalid_field"), ("GET", "/livez?x=1", 200, nil),
    ("GET", "/v1/snapshot?x=1", 422, "unknown_field"), ("GET", "/v1/quarantine?kind=odd", 422, "invalid_field"),
    ("GET", "/v1/dead-letters?reason=odd", 422, "invalid_field"),
  ])
  func aBadTargetIsAProblem(method: String, target: String, status: Int, code: String?) async throws {
    try await withServer { client, _ in
      let reply = try await client.request(method, target)

      #expect(reply.status == status, "\(reply.text)")
      guard let code else { return }
      #expect(try reply.code == code)
      #expect(reply.headers["content-type"] == "application/problem+json")
      #expect(try reply.json["status"] == .number(JSONNumber(status)))
      #expect((reply.headers["allow"] != nil) == (status == 405))
      #expect(reply.headers.keys.allSatisfy { !$0.hasPrefix("access-control") })
    }
  }

  @Test func anUnknownParameterNamesTheNearest() async throws {
    try await withServer { client, _ in
      let reply = try await client.get("/v1/runs?worklow_id=1")

      #expect(try reply.json["detail"]?.stringValue?.contains("workflow_id") == true)
    }
  }

  @Test func aWrongStateListsWhatIsAllowed() async throws {
    try await withServer { client, _ in
      let reply = try await client.get("/v1/runs?state=asleep")

      #expect(try reply.json["allowed"]?.arrayValue?.contains(.string("ready")) == true)
    }
  }

  @Test(arguments: [
    ("/v1/runs", "{bad", 400, "invalid_json"), ("/v1/runs", "", 400, "invalid_json"),
    ("/v1/runs", #"{"payload":1}"#, 422, nil),
    ("/v1/runs", #"{"task":"a","payload":1,"prio":1}"#, 422, "unknown_field"),
    ("/v1/runs/count", "[]", 422, nil), ("/v1/runs/count", #"{"stat":"ready"}"#, 422, "unknown_field"),
    ("/v1/runs/count", #"{"state":"asleep"}"#, 422, nil), ("/v1/runs/count", #"{"state":7}"#, 422, nil),
    ("/v1/runs/01936a3e-0000-7000-8000-000000000000/cancel", #"{"resaon":"x"}"#, 422, "unknown_field"),
    ("/v1/runs/01936a3e-0000-7000-8000-000000000000/cancel", "{}", 404, "run_not_found"),
    ("/v1/runs/01936a3e-0000-7000-8000-000000000000/retry", #"{"priority":256}"#, 422, nil),
    ("/v1/attempts/heartbeat", #"{"tokens":[]}"#, 422, nil), ("/v1/attempts/heartbeat", "{}", 422, nil),
    ("/v1/attempts/heartbeat", #"{"tokens":[7]}"#, 422, nil), ("/v1/attempts/report", "{bad", 400, "malformed"),
    ("/v1/dead-letters/replay", "{}", 422, "empty_filter"), ("/v1/dead-letters/replay", #"{"ids":[]}"#, 422, nil),
    ("/v1/dead-letters/replay", #"{"filter":{}}"#, 422, "empty_filter"),
    ("/v1/dead-letters/replay", #"{"filter":{"payload":{"a..b":1}}}"#, 422, "invalid_field"),
    ("/v1/dead-letters/replay", #"{"filter":{"odd":"1"}}"#, 422, "unknown_field"),
    ("/v1/dead-letters/replay", #"{"all":true,"canary":"3"}"#, 422, "invalid_field"),
  ])
  func aBadBodyIsAProblem(path: String, body: String, status: Int, code: String?) async throws {
    try await withServer { client, _ in
      let reply = try await client.post(path, body)

      #expect(reply.status == status, "\(reply.text)")
      if let code { #expect(try reply.code == code) }
      #expect(reply.headers["content-type"] == "application/problem+json")
    }
  }

  @Test func aReportThatCanBeReadIsAnsweredWithAVerdict() async throws {
    try await withServer { client, _ in
      let malformed = try await client.post("/v1/attempts/report", #"{"token":"x","state":"lost"}"#)
      let unknown = try await client.post("/v1/attempts/report", #"{"token":"x","state":"running","more":1}"#)
      let beats = try await client.post("/v1/attempts/heartbeat", #"{"tokens":["x","y"],"next_report_seconds":0}"#)

      #expect((malformed.status, unknown.status, beats.status) == (200, 200, 200))
      #expect(try malformed.json["code"] == .string("malformed"))
      #expect(try malformed.json["verdict"] == .string("reject"))
      #expect(try unknown.json["code"] == .string("unknown_token"))
      #expect(try unknown.json["action"] == .string("stop"))
      #expect(try beats.items.map { $0["action"] } == [.string("stop"), .string("stop")])
      let quarantined = try await client.get("/v1/quarantine?source=events&body=true").items
      #expect(quarantined.contains { $0["code"] == .string("malformed") && $0["body_base64"] != nil })
    }
  }

  @Test(arguments: [nil, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
  func anotherContentTypeIs415WithWhatIsAllowed(contentType: String?) async throws {
    try await withServer { client, _ in
      let reply = try await client.request(
        "POST", "/v1/runs", headers: contentType.map { ["Content-Type: \($0)"] } ?? [],
        body: Array(#"{"task":"a","payload":1}"#.utf8))

      #expect(reply.status == 415)
      #expect(try reply.json["allowed"] == .array([.string("application/json")]))
      #expect(try await client.post("/v1/runs/count", "{}").json["count"] == .number(JSONNumber(0)))
    }
  }

  @Test func aPageOfAnotherSiteChangesNothing() async throws {
    try await withServer { client, _ in
      let id = try await client.submit(#"{"task":"a","payload":1}"#)

      let form = try await client.request(
        "POST", "/v1/runs/\(id)/cancel", headers: ["Content-Type: application/x-www-form-urlencoded"], body: [])
      let script = try await client.request(
        "POST", "/v1/runs/\(id)/cancel", headers: ["Sec-Fetch-Site: cross-site"], body: [])

      #expect((form.status, script.status) == (415, 403))
      #expect(try await client.get("/v1/runs/\(id)").json["state"] == .string("ready"))
    }
  }

  @Test func aBodyOverTheLimitIs413WhetherDeclaredOrNot() async throws {
    try await withServer { client, _ in
      let head = "POST /v1/runs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
      let declared = try await client.send("\(head)Content-Length: 1073741824\r\n\r\n")
      let chunk = "10000\r\n" + String(repeating: " ", count: 65_536) + "\r\n"
      let chunked = try await client.send(
        "\(head)Transfer-Encoding: chunked\r\n\r\n" + String(repeating: chunk, count: 64) + "0\r\n\r\n")

      #expect((declared.status, chunked.status) == (413, 413))
      #expect(declared.headers["connection"] == "close")
      #expect(try chunked.code == "payload_too_large")
    }
  }

  @Test func theConnectionEndsAfterARefusedBody() async throws {
    try await withServer { client, _ in
      let isAtEnd = try await client.connected { inbound, outbound in
        var reader = ReplyReader(inbound)
        try await outbound.write(
          ByteBuffer(
            string:
              "POST /v1/runs HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\n123456789"))
        _ = try await reader.next()
        return try await reader.isAtEnd()
      }

      #expect(isAtEnd)
    }
  }

  @Test func aBodyWithoutALengthIs411() async throws {
    try await withServer { client, _ in
      let reply = try await client.send("POST /v1/runs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\r\n")

      #expect(reply.status == 411)
    }
  }

  @Test(arguments: [
    ("GET /livez HTTP/9.9\r\n\r\n", 400), ("nonsense\r\n\r\n", 400), ("GET /livez\r\n\r\n", 400),
    ("GET /livez HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n", 400),
    ("POST /v1/runs HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("POST /v1/runs HTTP/1.1\r\nHost: x\r\nContent-Length: -2\r\n\r\n", 400),
    ("GET /" + String(repeating: "a", count: 65_536) + " HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    ("GET /livez HTTP/1.1\r\nX: " + String(repeating: "a", count: 20_480) + "\r\n\r\n", 431),
    ("GET /livez HTTP/1.1\r\n" + (0..<200).map { "X\($0): 1\r\n" }.joined() + "\r\n", 431),
    ("GET /livez HTTP/1.1\r\nX: " + String(repeating: "a", count: 200_000) + "\r\n\r\n", 431),
    ("CONNECT evil:443 HTTP/1.1\r\nHost: evil\r\n\r\n", 405),
    ("GET http://evil.example/livez HTTP/1.1\r\nHost: evil\r\n\r\n", 200),
  ])
  func bytesThatAreNoGoodHTTPAreAnswered(bytes: String, status: Int) async throws {
    try await withServer { client, _ in
      let reply = try await client.send(bytes)

      #expect(reply.status == status, "\(reply.text)")
      if status != 200 { #expect(reply.headers["content-type"] == "application/problem+json") }
      #expect(try await client.get("/livez").status == 200)
    }
  }

  @Test func aBrokenChunkIsAnsweredAndEndsTheConnection() async throws {
    try await withServer { client, _ in
      let reply = try await client.send(
        "POST /v1/runs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
      )

      #expect(reply.status == 400)
    }
  }
}
