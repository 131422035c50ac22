import TaskBridgeCore
import Testing

@testable import TaskBridgeStore

@Suite struct ExportTests {
  private func lines(_ test: TestStore, chunk: Int, bytesMax: Int = 1 << 20) async throws -> [UInt8] {
    let request = try BulkRequest(.replay)
    var bytes: [UInt8] = []
    var cursor: Int64?
    let cutoff = Cutoff(asOf: TestStore.start.adding(seconds: 10), now: .latest)
    while true {
      let after = cursor
      let found = try await test.store.read { tx throws(StoreError) in
        try tx.deadLetterLines(
          request, cutoff, after: after, limit: chunk, bytesMax: bytesMax)
      }
      guard let found else { return bytes }
      bytes += found.lines
      cursor = found.last
    }
  }

  @Test("N19: what is exported is read back as the same submissions, with the error beside them")
  func anExportIsReadBack() async throws {
    try await withTemporaryStore { test in
      try await test.die(payload: #"{ "a" : 12345678901234567890 }"#) {
        $0.priority = 0
        $0.tags = ["k": "v"]
        $0.retry = RetryPolicy()
        $0.resources = ["gb": 1.5]
        $0.maxAttempts = 3
        $0.name = "näme"
      }
      try await test.die(payload: "{\n}")
      try await test.die("b", payload: "\u{0}no json") {
        $0.payload.contentType = "text/x-own"
        $0.payload.contentEncoding = "x-own"
        $0.idempotencyKey = "i"
        $0.timeoutSeconds = 1.5
        $0.ttlSeconds = 60
      }
      try await test.die("b") { $0.payload.contentType = nil }
      try await test.die(at: 20)

      let bytes = try await lines(test, chunk: 2)
      let batch = try Submission.parseNDJSON(body: bytes)
      let first = try JSONValue.parse(Array(bytes.prefix { $0 != 10 }))

      let back = batch.submissions
      #expect(
        back.map { String(decoding: $0.payload.bytes, as: UTF8.self) } == [
          #"{ "a" : 12345678901234567890 }"#, "{\n}", "\u{0}no json", "{}",
        ])
      #expect(
        back.map(\.payload.contentType) == [
          "application/json", "application/json", "text/x-own", "application/json",
        ])
      #expect(back.map(\.payload.contentEncoding) == [nil, nil, "x-own", nil])
      #expect((back[0].priority, back[0].tags, back[0].resources) == (0, ["k": "v"], ["gb": 1.5]))
      #expect((back[0].maxAttempts, back[0].name, back[0].retry) == (3, "näme", RetryPolicy()))
      #expect((back[2].idempotencyKey, back[2].timeoutSeconds, back[2].ttlSeconds) == (nil, 1.5, 60))
      #expect(back.map(\.task.rawValue) == ["media.thumbnail", "media.thumbnail", "b", "b"])
      #expect(first["dead_letter"]?["error"]?["type"] == .string("Boom"))
      #expect(first["dead_letter"]?["reason"] == .string("permanent"))
      #expect(try await lines(test, chunk: 100, bytesMax: 1) == bytes, "one line at a time")
    }
  }
}
