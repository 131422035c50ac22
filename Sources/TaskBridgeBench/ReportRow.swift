import TaskBridgeCore

/// Reports alone: every run is claimed before the clock starts.
enum ReportRow: BenchRow {
  static let name = "report"
  static let about = "Reports `completed` applied on claimed runs; beside a bare SQLite update loop."

  static let standardRuns = 50_000
  static let secondsMax = 300.0
  private static let task = "bench.report"

  static func run(_ bench: Bench) async throws -> RowResult {
    let runs = bench.options.runs(standardRuns)
    let broker = try await bench.broker()
    let bareBefore = try await BareStore.updateLoop(rows: runs, batch: BareBatch.rows, folder: bench.scratch("bare"))

    let bridge = try await bench.bridge(settings: ["backlog_limit": "100000000", "lease_seconds": "3600"])
    try await TaskQueues.warmUp([task], of: bridge, on: broker)
    let answers = try await AnswerQueue(broker)
    let submitter = try await LoadSubmitter(broker, exchange: bridge.names.submit)
    let worker = try await LoadWorker(broker, bridge.names, tasks: [task], manner: .claims)
    async let submitted: Void = submitter.submit(runs) { _ in task }
    async let claimed: Void = worker.work(runs, answerTo: answers.name)
    _ = try await answers.next(seconds: secondsMax)
    try await submitted
    try await claimed
    try await bridge.waitForCount(.running, runs, seconds: 30)
    let tokens = worker.tokens

    let meter = CPUMeter(bridge: bridge, broker: broker)
    let begun = ContinuousClock.now
    async let completed: Void = worker.complete(tokens, address: bridge.names.events, answerTo: answers.name)
    let rate = Double(runs) / (try await answers.next(seconds: secondsMax).at - begun).seconds
    let used = meter.figures(runs: runs)
    try await completed
    await worker.close()
    await submitter.close()
    await answers.close()
    try await bridge.waitForCount(.completed, runs + 1, seconds: 30)
    try await TaskQueues.remove([task], of: bridge, from: broker)

    let bareAfter = try await BareStore.updateLoop(rows: runs, batch: BareBatch.rows, folder: bench.scratch("bare"))
    let bare = (bareBefore + bareAfter) / 2
    return RowResult(
      name: name,
      figures: [("reports", Double(runs), ""), ("rate", rate, "reports/s")] + used
        + [("bare update loop", bare, "rows/s")],
      ratios: [Ratio(name: "of bare updates", value: rate / bare, target: 0.6, isUpperBound: false)],
      note: BareBatch.note)
  }
}
