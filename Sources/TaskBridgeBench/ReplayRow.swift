import AMQPClient
import TaskBridgeCore

/// Many dead letters run again by one call, beside runs of another task key.
enum ReplayRow: BenchRow {
  static let name = "replay"
  static let about = "100,000 dead letters of one fingerprint run again: how fast, and what others feel of it."

  static let standardRuns = 100_000
  /// Sent first through the same bridge, for the rate that the replay is held against.
  static let rateRuns = 20_000
  /// Runs of another task key, alone and during the replay.
  static let othersPerSecond = 100.0
  static let othersRuns = 500
  static let secondsMax = 600.0
  /// From the last completed row to the end of the job.
  static let jobSecondsMax = 10.0
  private static let others = "bench.others"

  static func run(_ bench: Bench) async throws -> RowResult {
    let runs = bench.options.runs(standardRuns)
    let broker = try await bench.broker()
    let folder = try bench.scratch("store")
    try await StoreFiller.fill(runs, as: .dead, folder: folder)
    let bridge = try await bench.bridge(store: folder, settings: ["backlog_limit": "100000000"])
    let mirroring = ContinuousClock.now
    try await waitUntilMirrored(bridge)
    let mirrored = (ContinuousClock.now - mirroring).seconds
    try await TaskQueues.warmUp([StoreSample.task, others], of: bridge, on: broker)
    let rate = try await EndToEndRow.measure(
      rateRuns, tasks: [StoreSample.task], bridge: bridge, broker: broker, bench
    ).rate
    let alone = LatencyRecord(skip: 0)
    try await runOthers(othersRuns, alone, bridge, broker)

    let answers = try await AnswerQueue(broker)
    let worker = try await LoadWorker(broker, bridge.names, tasks: [StoreSample.task])
    let beside = LatencyRecord(skip: 0)
    let completed = try await bridge.count(.completed)
    // So many that they last as long as the replay should.
    let besideRuns = max(20, Int(Double(runs) / rate * othersPerSecond))
    let meter = CPUMeter(bridge: bridge, broker: broker)
    let begun = ContinuousClock.now
    async let worked: Void = worker.work(runs, answerTo: answers.name)
    let job = try await replay(bridge)
    async let othersDone: Void = runOthers(besideRuns, beside, bridge, broker)
    let end = try await answers.next(seconds: secondsMax).at
    let used = meter.figures(runs: runs)
    try await worked
    try await othersDone
    try await bridge.waitForCount(.completed, completed + runs + besideRuns, seconds: 60)
    try await waitUntilCompleted(job, runs: runs, bridge)
    await worker.close()
    await answers.close()
    try await TaskQueues.remove([StoreSample.task, others], of: bridge, from: broker)

    let replayed = Double(runs) / (end - begun).seconds
    return RowResult(
      name: name,
      figures: [
        ("dead letters", Double(runs), ""), ("mirrored in", mirrored, "s"),
        ("rate, call to last completed row", replayed, "runs/s"), ("e2e rate of this bridge", rate, "runs/s"),
      ] + used + alone.figures("others alone") + beside.figures("others beside the replay"),
      ratios: [
        Ratio(name: "of e2e's rate", value: replayed / rate, target: 0.5, isUpperBound: false),
        Ratio(
          name: "delay of others, p50", value: beside.milliseconds(50) / alone.milliseconds(50), target: 2,
          isUpperBound: true),
      ],
      note: "Others: \(Int(othersPerSecond)) runs/s of another task key, from submission to a worker's hands.")
  }

  private static func waitUntilMirrored(_ bridge: BridgeProcess) async throws {
    let deadline = ContinuousClock.now + .seconds(secondsMax)
    while try await bridge.snapshot()["outbox"]?.objectValue?["pending"]?.int64Value != 0 {
      guard ContinuousClock.now < deadline else { throw BenchError("the dead letters were not mirrored") }
      try await Task.sleep(for: .milliseconds(100))
    }
  }

  /// The last run may be completed before its job has looked for more and found none.
  private static func waitUntilCompleted(_ job: String, runs: Int, _ bridge: BridgeProcess) async throws {
    let deadline = ContinuousClock.now + .seconds(jobSecondsMax)
    while true {
      let view = try await bridge.get("/v1/jobs/\(job)")
      let (state, changed) = (view["state"]?.stringValue ?? "", view["changed"]?.int64Value ?? 0)
      if state == "completed", changed == Int64(runs) { return }
      guard state == "running", ContinuousClock.now < deadline else {
        throw BenchError("the job is \(state) and replayed \(changed) of \(runs)")
      }
      try await Task.sleep(for: .milliseconds(50))
    }
  }

  /// - Returns: the id of the job.
  private static func replay(_ bridge: BridgeProcess) async throws -> String {
    let answer = try await HTTPProbe.call(
      "POST", port: bridge.httpPort, "/v1/dead-letters/replay",
      body: Array(#"{"filter":{"task":"\#(StoreSample.task)"}}"#.utf8))
    guard answer.status == 202, let job = try answer.json().objectValue?["job_id"]?.stringValue else {
      throw BenchError("the replay was answered \(answer.status): \(String(decoding: answer.body, as: UTF8.self))")
    }
    return job
  }

  private static func runOthers(
    _ count: Int, _ record: LatencyRecord, _ bridge: BridgeProcess, _ broker: BenchBroker
  ) async throws {
    let submitter = try await LoadSubmitter(broker, exchange: bridge.names.submit)
    let worker = try await LoadWorker(broker, bridge.names, tasks: [others]) { batch, now in
      for run in batch { record.arrived(run.body, now) }
    }
    async let submitted: Void = submitter.submit(count, perSecond: othersPerSecond, task: others) {
      record.body($0, due: $1)
    }
    try await worker.work(count)
    try await submitted
    await worker.close()
    await submitter.close()
  }
}
