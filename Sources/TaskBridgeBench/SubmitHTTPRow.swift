import Foundation
import TaskBridgeCore

/// Submissions accepted over HTTP, one at a time and in batches, beside a bare insert loop of the same rows.
enum SubmitHTTPRow: BenchRow {
  static let name = "submit-http"
  static let about = "Runs accepted per second over HTTP, singly over 32 connections and in batches of 1,000."

  static let connections = 32
  static let batchRuns = 1_000
  /// Batches at work at the same time: while one is committed the next is read.
  static let batchConnections = 2
  static let payloadBytes = 256

  static func run(_ bench: Bench) async throws -> RowResult {
    let singles = bench.options.runs(30_000)
    let batches = max(batchConnections, bench.options.runs(100_000) / batchRuns)
    let bareBefore = try await bare(batches * batchRuns, bench)

    // A bound of 1 keeps the runs in the store: what is measured is accepting them.
    let bridge = try await bench.bridge(settings: ["queue_bound": "1"])
    let item = try submission()
    let single = HTTPLoadConnection.request("POST", "/v1/runs", body: item)
    _ = try await HTTPLoad(port: bridge.httpPort, connections: connections).run(single, times: 500, wanted: 201)

    let cpu = bridge.cpu()
    let one = try await HTTPLoad(port: bridge.httpPort, connections: connections).run(
      single, times: singles, wanted: 201)
    let between = bridge.cpu()
    let many = try await HTTPLoad(port: bridge.httpPort, connections: batchConnections).run(
      HTTPLoadConnection.request("POST", "/v1/runs/batch", body: batch(of: item)), times: batches, wanted: 200)
    let end = bridge.cpu()

    let runs = batches * batchRuns
    let stored = try await bridge.snapshot()["store"]?.objectValue?["runs"]?.int64Value
    guard stored ?? Int64(500 + singles + runs) == 500 + singles + runs else {
      throw BenchError("the store holds \(stored ?? 0) runs, \(500 + singles + runs) were accepted")
    }
    let inBatches = Double(runs) / many.seconds
    let bare = (bareBefore + (try await self.bare(runs, bench))) / 2
    return RowResult(
      name: name,
      figures: [
        ("singly", one.perSecond, "runs/s"), ("in batches of 1,000", inBatches, "runs/s"),
        ("bare insert loop", bare, "runs/s"),
        ("bridge CPU singly", microseconds(from: cpu, to: between, runs: singles), "µs/run"),
        ("bridge CPU in batches", microseconds(from: between, to: end, runs: runs), "µs/run"),
        ("load generator CPU singly", one.cpuSeconds / Double(singles) * 1e6, "µs/run"),
      ],
      ratios: [
        // 5,000/s and 20,000/s where the bare loop does 40,000.
        Ratio(name: "singly, of bare inserts", value: one.perSecond / bare, target: 0.125, isUpperBound: false),
        Ratio(name: "in batches, of bare inserts", value: inBatches / bare, target: 0.5, isUpperBound: false),
      ], note: "Payload 256 B. The bare loop commits 1,000 rows at a time and has the machine for itself.")
  }

  private static func bare(_ rows: Int, _ bench: Bench) async throws -> Double {
    try await BareStore.insertLoop(
      rows: rows, batch: batchRuns, payloadBytes: payloadBytes, folder: try bench.scratch("bare"))
  }

  static func microseconds(
    from start: (user: Double, system: Double), to end: (user: Double, system: Double), runs: Int
  ) -> Double {
    (end.user + end.system - start.user - start.system) / Double(runs) * 1e6
  }

  private static func submission() throws -> [UInt8] {
    let payload = String(decoding: StoreSample.payload(bytes: payloadBytes).bytes, as: UTF8.self)
    return Array(#"{"task":"bench.http","payload":\#(payload)}"#.utf8)
  }

  private static func batch(of item: [UInt8]) -> [UInt8] {
    let items = Array(repeating: item, count: batchRuns).joined(separator: [UInt8(ascii: ",")])
    return Array(#"{"runs":["#.utf8) + items + Array("]}".utf8)
  }
}
