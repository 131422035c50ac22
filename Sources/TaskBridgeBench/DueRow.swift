import AMQPClient
import Foundation
import Synchronization
import TaskBridgeCore

/// Many runs due in the same second: how late they reach a worker.
enum DueRow: BenchRow {
  static let name = "due"
  static let about =
    "100,000 runs, and then 1,000 schedules, due in the same second: how late they reach a worker, and whether any is early."

  static let standardRuns = 100_000
  /// Sent first through the same bridge, for the rate that lateness is judged by.
  static let rateRuns = 10_000
  /// Between the last submission's commit and the due time, at least.
  static let restSeconds = 2.0
  static let secondsMax = 600.0
  static let task = "bench.due"

  static func run(_ bench: Bench) async throws -> RowResult {
    let runs = bench.options.runs(standardRuns)
    let broker = try await bench.broker()
    let bridge = try await bench.bridge(settings: ["backlog_limit": "100000000"])
    try await TaskQueues.warmUp([task], of: bridge, on: broker)
    let rate = try await EndToEndRow.measure(rateRuns, tasks: [task], bridge: bridge, broker: broker, bench).rate

    // Submitting alone is faster than whole lives, so this leaves time.
    let due = Date().addingTimeInterval((Double(runs) / rate + restSeconds + 1).rounded(.up))
    let dueAt = ContinuousClock.now + .seconds(due.timeIntervalSinceNow)
    let milliseconds = Int64((due.timeIntervalSince1970 * 1_000).rounded())
    let answers = try await AnswerQueue(broker)
    let lateness = Lateness(dueAt: dueAt, rate: rate)
    let worker = try await LoadWorker(broker, bridge.names, tasks: [task]) { batch, now in
      lateness.arrived(batch.count, now)
    }
    let submitter = try await LoadSubmitter(
      broker, exchange: bridge.names.submit,
      headers: ["tb-run-at": .string(Timestamp(milliseconds: milliseconds).description)])
    try await submitter.submit(runs, answerTo: answers.name) { _ in task }
    let stored = try await answers.next(seconds: secondsMax).at
    guard stored + .seconds(restSeconds / 2) < dueAt else {
      throw BenchError("submitting \(runs) runs took longer than their delay")
    }
    let scheduled = try await bridge.count(.scheduled)
    guard scheduled == runs else { throw BenchError("\(scheduled) runs are scheduled, not \(runs)") }

    let meter = CPUMeter(bridge: bridge, broker: broker)
    async let worked: Void = worker.work(runs, answerTo: answers.name)
    let end = try await answers.next(seconds: secondsMax).at
    let used = meter.figures(runs: runs)
    try await worked
    await worker.close()
    await submitter.close()
    await answers.close()
    let schedules = max(1, standardSchedules * runs / standardRuns)
    let fired = try await measureSchedules(schedules, rate: rate, bridge: bridge, broker: broker)
    try await bridge.waitForCount(.completed, runs + schedules + rateRuns + 1, seconds: 30)
    try await TaskQueues.remove([task], of: bridge, from: broker)

    let drain = Double(runs) / (end - dueAt).seconds
    return RowResult(
      name: name,
      figures: [
        ("runs", Double(runs), ""), ("first after", lateness.firstSeconds * 1e3, "ms"),
        ("lateness, p50", lateness.all.milliseconds(50) / 1e3, "s"),
        ("lateness, p99", lateness.all.milliseconds(99) / 1e3, "s"), ("rate while they drain", drain, "runs/s"),
        ("e2e rate of this bridge", rate, "runs/s"), ("schedules", Double(schedules), ""),
        ("schedules' lateness, p99", fired.all.milliseconds(99) / 1e3, "s"),
      ] + used,
      ratios: [
        Ratio(
          name: "lateness p99 in s, beyond e2e's rate", value: lateness.beyondRate.milliseconds(99) / 1e3, target: 1,
          isUpperBound: true),
        Ratio(
          name: "schedules' lateness p99 in s, beyond e2e's rate", value: fired.beyondRate.milliseconds(99) / 1e3,
          target: 1, isUpperBound: true),
        Ratio(
          name: "runs that came early", value: Double(lateness.early + fired.early), target: 0, isUpperBound: true),
      ],
      note: "The n-th run may come n / rate after the due time; what it comes later than that counts.")
  }
}

/// How much later than due runs arrive.
final class Lateness: Sendable {
  let all = LatencyRecord(skip: 0)
  /// What is left when the n-th run is given n / rate.
  let beyondRate = LatencyRecord(skip: 0)
  private let dueAt: ContinuousClock.Instant
  private let rate: Double

  private struct State {
    var arrived = 0
    var early = 0
    var firstSeconds: Double?
  }

  private let state = Mutex(State())

  init(dueAt: ContinuousClock.Instant, rate: Double) {
    self.dueAt = dueAt
    self.rate = rate
  }

  var early: Int { state.withLock { $0.early } }
  var firstSeconds: Double { state.withLock { $0.firstSeconds ?? 0 } }

  func arrived(_ count: Int, _ now: ContinuousClock.Instant) {
    let late = (now - dueAt).seconds
    let before = state.withLock { state in
      if late < 0 { state.early += count }
      if state.firstSeconds == nil { state.firstSeconds = late }
      state.arrived += count
      return state.arrived - count
    }
    for index in 1...max(1, count) {
      all.record(late)
      beyondRate.record(late - Double(before + index) / rate)
    }
  }
}
