import Foundation

/// The broker's own limit for the same work: limit.c, compiled beforehand.
enum LimitRow: BenchRow {
  static let name = "limit"
  static let about = "The broker's own limit: the messages of a run's life, without store and logic (limit.c)."

  static let standardRuns = 50_000
  /// Beside another row: more say nothing more.
  static let runsMax = 50_000
  static let secondsMax = 120.0

  static func run(_ bench: Bench) async throws -> RowResult {
    guard let path = bench.options.limit else { throw BenchError("--limit PATH of the compiled limit.c is missing") }
    let broker = try await bench.broker()
    let runs = bench.options.runs(standardRuns)
    let before = broker.cpu()
    let rate = try await measure(path, runs: runs, bench)
    var figures = [(name: "runs", value: Double(runs), unit: ""), (name: "rate", value: rate, unit: "runs/s")]
    if let before, let after = broker.cpu() {
      figures.append(("broker CPU", (after - before).total / Double(runs) * 1e6, "µs/run"))
    }
    return RowResult(name: name, figures: figures)
  }

  /// One run of limit.c on quorum queues.
  /// - Returns: runs per second.
  static func measure(_ path: String, runs: Int, _ bench: Bench) async throws -> Double {
    let output = try bench.scratch("limit") + "/output"
    let port = try await bench.broker().port
    let child = try ChildProcess.start(path, ["quorum", String(runs), String(port)], outputPath: output)
    let deadline = ContinuousClock.now + .seconds(secondsMax)
    while true {
      if let status = child.exitStatus() {
        guard status == 0 else { throw BenchError("\(path) ended with \(status):\n\(child.lastWords)") }
        break
      }
      guard ContinuousClock.now < deadline, !Task.isCancelled else {
        await child.kill9()
        throw BenchError("\(path) was not done after \(secondsMax) s")
      }
      try? await Task.sleep(for: .milliseconds(20))
    }
    guard let rate = Double(child.lastWords.trimmingCharacters(in: .whitespacesAndNewlines)), rate > 0 else {
      throw BenchError("\(path) printed no rate:\n\(child.lastWords)")
    }
    return rate
  }
}
