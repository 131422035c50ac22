import TaskBridgeCore

/// Submissions over AMQP, committed and acknowledged, with nobody who works.
enum SubmitAMQPRow: BenchRow {
  static let name = "submit-amqp"
  static let about = "Submissions over AMQP, committed and acknowledged, 256 bytes; beside a bare SQLite insert loop."

  static let standardRuns = 50_000
  static let secondsMax = 300.0
  private static let task = "bench.submit"

  static func run(_ bench: Bench) async throws -> RowResult {
    let runs = bench.options.runs(standardRuns)
    let broker = try await bench.broker()
    let bareBefore = try await BareStore.insertLoop(
      rows: runs, batch: BareBatch.rows, payloadBytes: 256, folder: bench.scratch("bare"))

    let bridge = try await bench.bridge(settings: ["backlog_limit": "100000000"])
    try await TaskQueues.warmUp([task], of: bridge, on: broker)
    let answers = try await AnswerQueue(broker)
    let submitter = try await LoadSubmitter(broker, exchange: bridge.names.submit)
    let meter = CPUMeter(bridge: bridge, broker: broker)
    let begun = ContinuousClock.now
    async let submitted: Void = submitter.submit(runs, answerTo: answers.name) { _ in task }
    let rate = Double(runs) / (try await answers.next(seconds: secondsMax).at - begun).seconds
    let used = meter.figures(runs: runs)
    try await submitted
    await submitter.close()
    await answers.close()
    let stored = Int(try await bridge.snapshot()["store"]?.objectValue?["runs"]?.int64Value ?? 0)
    guard stored == runs + 1 else { throw BenchError("\(stored) runs are stored, not \(runs + 1)") }
    try await TaskQueues.remove([task], of: bridge, from: broker)

    let bareAfter = try await BareStore.insertLoop(
      rows: runs, batch: BareBatch.rows, payloadBytes: 256, folder: bench.scratch("bare"))
    let bare = (bareBefore + bareAfter) / 2
    return RowResult(
      name: name,
      figures: [("runs", Double(runs), ""), ("rate", rate, "runs/s")] + used + [("bare insert loop", bare, "runs/s")],
      ratios: [Ratio(name: "of bare inserts", value: rate / bare, target: 0.6, isUpperBound: false)],
      note: BareBatch.note)
  }
}

/// The batch of the bare loops.
enum BareBatch {
  /// What the bridge's own transactions hold under load.
  static let rows = 256
  static let note =
    "The bare loop commits \(rows) rows at a time and has the machine for itself; the bridge shares it"
    + " with the broker."
}
