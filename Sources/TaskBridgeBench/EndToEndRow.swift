import Synchronization
import TaskBridgeCore

/// The whole life of runs: AMQP submission, release, publish, worker, completed row.
enum EndToEndRow: BenchRow {
  static let name = "e2e"
  static let about = "AMQP submission to completed row, with a worker that claims and completes; beside limit.c."

  static let standardRuns = 50_000
  static let secondsMax = 600.0
  private static let task = "bench.e2e"

  static func run(_ bench: Bench) async throws -> RowResult {
    let runs = bench.options.runs(standardRuns)
    let broker = try await bench.broker()
    let limitRuns = min(runs, LimitRow.runsMax)
    let limitBefore = try await bench.options.limit.asyncMap { try await LimitRow.measure($0, runs: limitRuns, bench) }

    let bridge = try await bench.bridge(settings: ["backlog_limit": "100000000"])
    try await TaskQueues.warmUp([task], of: bridge, on: broker)
    let measured = try await measure(runs, tasks: [task], bridge: bridge, broker: broker, bench)
    try await TaskQueues.remove([task], of: bridge, from: broker)

    let limitAfter = try await bench.options.limit.asyncMap { try await LimitRow.measure($0, runs: limitRuns, bench) }
    var result = RowResult(name: name, figures: measured.figures)
    if let limitBefore, let limitAfter {
      let limit = (limitBefore + limitAfter) / 2
      result.figures.append(("limit", limit, "runs/s"))
      result.figures.append(("limit before", limitBefore, "runs/s"))
      result.figures.append(("limit after", limitAfter, "runs/s"))
      result.ratios = [
        Ratio(name: "of limit", value: measured.rate / limit, target: 0.6, isUpperBound: false),
        Ratio(name: "of limit, second goal", value: measured.rate / limit, target: 0.75, isUpperBound: false),
      ]
    } else {
      result.note = "Without --limit there is nothing to set it against."
    }
    return result
  }

  /// What a pass gave.
  struct Measured: Sendable {
    /// Runs per second from the first submission to the commit of the last report.
    var rate: Double
    var figures: [(name: String, value: Double, unit: String)]
  }

  /// Sends runs through a bridge that has declared their queues, round robin over `tasks`.
  /// - Throws: `BenchError` unless exactly these runs were completed.
  static func measure(
    _ runs: Int, tasks: [String], bridge: BridgeProcess, broker: BenchBroker, _ bench: Bench
  ) async throws -> Measured {
    let completedBefore = try await bridge.count(.completed)
    let answers = try await AnswerQueue(broker)
    let submitter = try await LoadSubmitter(broker, exchange: bridge.names.submit)
    let worker = try await LoadWorker(broker, bridge.names, tasks: tasks)
    let meter = CPUMeter(bridge: bridge, broker: broker)
    let begun = ContinuousClock.now
    async let submitted = timed { try await submitter.submit(runs) { tasks[$0 % tasks.count] } }
    async let worked: Void = worker.work(runs, answerTo: answers.name)
    let end = try await answers.next(seconds: secondsMax).at
    let seconds = (end - begun).seconds
    var figures = [
      (name: "runs", value: Double(runs), unit: ""), (name: "rate", value: Double(runs) / seconds, unit: "runs/s"),
    ]
    figures += meter.figures(runs: runs)
    figures.append(("submissions confirmed by the broker", Double(runs) / (try await submitted).seconds, "runs/s"))
    figures.append(("bridge's largest memory", Double(bridge.peakResidentBytes()) / 1_048_576, "MiB"))
    try await worked
    await worker.close()
    await submitter.close()
    await answers.close()
    try await bridge.waitForCount(.completed, completedBefore + runs, seconds: 30)
    guard worker.sawOnlyPersistent else { throw BenchError("a run message was not persistent") }
    let isQuorum = try await TaskQueues.isQuorum(tasks[0], of: bridge, on: broker)
    bench.durability.withLock { durability in
      durability["run messages"] = "persistent"
      durability["run queue"] = isQuorum ? "quorum" : "not quorum"
    }
    return Measured(rate: Double(runs) / seconds, figures: figures)
  }
}

/// How long `body` took.
func timed(_ body: () async throws -> Void) async rethrows -> Duration {
  let begun = ContinuousClock.now
  try await body()
  return .now - begun
}

extension Optional {
  /// `map` for a step that waits.
  func asyncMap<Value>(_ body: (Wrapped) async throws -> Value) async rethrows -> Value? {
    guard let self else { return nil }
    return try await body(self)
  }
}
