import Logging
import NIOCore
import ServiceLifecycle
import TaskBridgeCore
import TaskBridgeEngine
import Testing

@testable import TaskBridgeHTTP

@Suite struct ServerTests {
  @Test func withoutABrokerReadsAndSubmissionsWorkAndReadinessSaysWhy() async throws {
    try await withServer { client, _ in
      let ready = try await client.get("/readyz")
      let live = try await client.get("/livez")
      let submitted = try await client.post("/v1/runs", #"{"task":"a","payload":1}"#)

      #expect((ready.status, live.status, submitted.status) == (503, 200, 201))
      #expect(try ready.json["reasons"]?.arrayValue?.isEmpty == false)
    }
  }

  @Test func theSnapshotCountsWhatIsThere() async throws {
    try await withServer { client, _ in
      _ = try await client.post(
        "/v1/runs/batch",
        #"{"runs":[{"task":"a.x","payload":1},{"task":"a.y","payload":1,"delay_seconds":60},{"task":"b","payload":1}]}"#
      )

      let all = try await client.get("/v1/snapshot").json
      let domain = try await client.get("/v1/snapshot?domain=a").json
      let none = try await client.get("/v1/snapshot?domain=zzz").json

      #expect(all["counts"]?["ready"] == .number(JSONNumber(2)))
      #expect(all["counts"]?["scheduled"] == .number(JSONNumber(1)))
      #expect(all["store"]?["runs"] == .number(JSONNumber(3)))
      #expect(all["tasks"]?.arrayValue?.map { $0["key"] } == [.string("a.x"), .string("a.y"), .string("b")])
      #expect(all["next_run_at"]?.stringValue != nil)
      #expect(all["broker"]?["connected"] == .bool(false))
      #expect((all["rates"]?["submitted_per_second"]?.doubleValue ?? 0) > 0)
      #expect(domain["counts"]?["ready"] == .number(JSONNumber(1)))
      #expect(none["counts"]?["ready"] == .number(JSONNumber(0)))
      for field in [
        "at", "version", "groups", "running", "schedules", "outbox", "dead_letters", "quarantined", "resources",
      ] {
        #expect(all[field] != nil, "\(field) is missing")
      }
    }
  }

  @Test func metricsAreLinesOfPrometheus() async throws {
    try await withServer { client, _ in
      _ = try await client.submit(#"{"task":"a","payload":1}"#)

      let reply = try await client.get("/metrics")

      #expect(reply.headers["content-type"]?.hasPrefix("text/plain; version=0.0.4") == true)
      #expect(reply.text.contains("taskbridge_runs{task=\"a\",state=\"ready\"} 1.0\n"))
    }
  }

  @Test func oneConnectionServesRequestAfterRequest() async throws {
    try await withServer { client, _ in
      let statuses = try await client.connected { inbound, outbound in
        var reader = ReplyReader(inbound)
        let body = #"{"task":"a","payload":1}"#
        let post =
          "POST /v1/runs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
        // Pipelined: all at once, answered in order.
        try await outbound.write(
          ByteBuffer(
            string: post + "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" + "PUT /v1/runs HTTP/1.1\r\nHost: x\r\n\r\n" + post)
        )
        var statuses: [Int] = []
        for _ in 0..<4 { statuses.append(try await reader.next().status) }
        return statuses
      }

      #expect(statuses == [201, 200, 405, 201])
    }
  }

  @Test func aClientThatWaitsToBeAskedForItsBodyIsAsked() async throws {
    try await withServer { client, _ in
      let statuses = try await client.connected { inbound, outbound in
        var reader = ReplyReader(inbound)
        let body = #"{"task":"a","payload":1}"#
        try await outbound.write(
          ByteBuffer(
            string:
              "POST /v1/runs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: \(body.utf8.count)\r\n\r\n"
          ))
        let first = try await reader.next().status
        try await outbound.write(ByteBuffer(string: body))
        return [first, try await reader.next().status]
      }

      #expect(statuses == [100, 201])
    }
  }

  @Test func headIsGetWithoutItsBody() async throws {
    try await withServer { client, _ in
      let reply = try await client.request("HEAD", "/livez")

      #expect(reply.status == 200)
      #expect(Int(reply.headers["content-length"] ?? "0") ?? 0 > 0)
    }
  }

  @Test func anAddressInUseIsNamed() async throws {
    try await withServer { client, bridge in
      let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
      let second = HTTPServer(bridge: bridge, host: "127.0.0.1", port: client.port, logger: logger)

      let error = await #expect(throws: StartError.self) { try await second.run() }

      #expect(error?.exitCode == 1)
      #expect(error?.message.contains("127.0.0.1:\(client.port)") == true)
      #expect(error?.message.contains("in use") == true)
    }
  }

  @Test func aCrowdOfIdleConnectionsKeepsNobodyOut() async throws {
    try await withServer { _, bridge in
      let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
      let (ports, port) = AsyncStream.makeStream(of: Int.self)
      var server = HTTPServer(bridge: bridge, host: "127.0.0.1", port: 0, logger: logger) { port.yield($0) }
      server.connectionsMax = 4
      let running = server
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await running.run() }
        var iterator = ports.makeAsyncIterator()
        let other = HTTPClient(port: try #require(await iterator.next()))

        // Each idle connection lasts until the server closes it: of 100, all but the newest few are.
        let (ends, end) = AsyncStream.makeStream(of: Void.self)
        for _ in 0..<100 {
          group.addTask {
            try await other.connected { inbound, _ in
              for try await _ in inbound {}
              end.yield()
            }
          }
        }
        var closed = ends.makeAsyncIterator()
        for _ in 0..<90 { await closed.next() }
        let statuses = [try await other.get("/livez").status, try await other.get("/livez").status]

        #expect(statuses == [200, 200])
        group.cancelAll()
      }
    }
  }

  @Test func aStopEndsIdleConnections() async throws {
    try await withServer { client, bridge in
      let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
      let (ports, port) = AsyncStream.makeStream(of: Int.self)
      let server = HTTPServer(bridge: bridge, host: "127.0.0.1", port: 0, logger: logger) { port.yield($0) }
      let group = ServiceGroup(services: [server], logger: logger)
      async let running: Void = group.run()
      var iterator = ports.makeAsyncIterator()
      let other = HTTPClient(port: try #require(await iterator.next()))

      let isAtEnd = try await other.connected { inbound, outbound in
        var reader = ReplyReader(inbound)
        try await outbound.write(ByteBuffer(string: "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"))
        _ = try await reader.next()
        await group.triggerGracefulShutdown()
        return try await reader.isAtEnd()
      }
      try await running

      #expect(isAtEnd)
    }
  }
}
