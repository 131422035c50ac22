import Foundation
import TaskBridgeCore

/// What operators and workflows ask for beside large tables: pages of dead letters, an attempt by its place in an array,
/// a batch stored.
enum LookupsRow: BenchRow {
  static let name = "lookups"
  static let about = "Pages of 100,000 dead letters, look-ups in an array of 100,000, batches of 10,000."

  static let standardRuns = 100_000
  static let smallArray = 10
  static let batchRuns = 10_000
  static let queueBound = 100
  static let requests = 300
  static let warmUp = 30
  private static let task = "bench.array"

  static func run(_ bench: Bench) async throws -> RowResult {
    let runs = max(2 * queueBound, bench.options.runs(standardRuns))
    let folder = try bench.scratch("store")
    try await StoreFiller.fill(runs, as: .dead, folder: folder)
    let bridge = try await bench.bridge(
      store: folder, settings: ["backlog_limit": "100000000", "queue_bound": String(queueBound)])
    var result = RowResult(name: name, figures: [("dead letters and array members", Double(runs), "")])

    for (kind, path) in [
      ("page", "/v1/dead-letters?limit=100"),
      ("page by payload that no other index finds", "/v1/dead-letters?limit=100&payload.d=none"),
      ("groups", "/v1/dead-letters/groups"),
    ] {
      let times = try await RequestTimes.measure(
        Array(repeating: [HTTPLoadConnection.request("GET", path)], count: 20), ports: [bridge.httpPort], wanted: 200
      ).map { $0[0] }.sorted()
      result.figures.append(("\(kind) of dead letters, longest of 20", times[times.count - 1], "ms"))
      result.ratios.append(
        Ratio(name: "\(kind) of 200 ms", value: times[times.count - 1] / 200, target: 1, isUpperBound: true))
    }

    _ = try await store("small", 0..<smallArray, in: bridge)
    var batches: [Double] = []
    for start in stride(from: 0, to: runs, by: batchRuns) {
      batches.append(try await store("large", start..<min(runs, start + batchRuns), in: bridge))
    }
    result.figures.append(("batch of \(min(runs, batchRuns)), longest", batches.max() ?? 0, "s"))
    result.ratios.append(
      Ratio(name: "batch of 2 s", value: (batches.max() ?? 0) / 2, target: 1, isUpperBound: true))

    // Those that were released have an attempt.
    try await bridge.waitForCount(.launched, queueBound, seconds: 60)
    let medians = try await RequestTimes.medians(
      (0..<(requests + warmUp)).map { round in
        [("small", round % smallArray), ("large", round % (queueBound - smallArray))].map {
          HTTPLoadConnection.request("GET", "/v1/arrays/bench/\($0)/\($1)/attempt")
        }
      }, ports: [bridge.httpPort, bridge.httpPort], wanted: 200, warmUp: warmUp)
    result.figures.append(("look-up in an array of \(smallArray)", medians[0], "ms"))
    result.figures.append(("look-up in an array of \(runs)", medians[1], "ms"))
    result.ratios.append(
      Ratio(name: "large array of small", value: medians[1] / medians[0], target: 1.5, isUpperBound: true))
    try await TaskQueues.remove([task], of: bridge, from: try await bench.broker())
    return result
  }

  /// Stores members of an array as one batch.
  ///
  /// - Returns: seconds until it was answered.
  private static func store(_ array: String, _ members: Range<Int>, in bridge: BridgeProcess) async throws -> Double {
    let runs = members.map {
      #"{"task":"\#(task)","payload":\#($0),"workflow_id":"bench","array":"\#(array)","array_index":\#($0)}"#
    }
    let body = Array(#"{"runs":[\#(runs.joined(separator: ","))]}"#.utf8)
    let begun = ContinuousClock.now
    let answer = try await HTTPProbe.call("POST", port: bridge.httpPort, "/v1/runs/batch", body: body)
    guard answer.status == 200 else {
      throw BenchError(
        "a batch was answered \(answer.status): \(String(decoding: answer.body.prefix(400), as: UTF8.self))")
    }
    return (ContinuousClock.now - begun).seconds
  }
}
