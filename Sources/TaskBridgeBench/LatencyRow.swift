import AMQPClient
import Histogram
import Synchronization
import TaskBridgeCore

/// From submission to a worker's hands at a steady 200 runs per second, beside one queue without a bridge.
enum LatencyRow: BenchRow {
  static let name = "latency"
  static let about = "From submission to a worker's hands at 200 runs/s, open loop; beside one queue alone."

  static let perSecond = 200.0
  static let standardRuns = 2_000
  /// Sent beforehand and not counted.
  static let warmUpRuns = 200
  private static let task = "bench.latency"

  static func run(_ bench: Bench) async throws -> RowResult {
    // A shorter series would say little of the 99th percentile, so `--scale` does not shrink it.
    let runs = bench.options.runs ?? standardRuns
    let broker = try await bench.broker()
    let raw = LatencyRecord(skip: warmUpRuns)
    let bridged = LatencyRecord(skip: warmUpRuns)
    // Before and after, so that both see the same noise of the machine.
    try await measureQueue(runs * 2 / 5, broker, raw)
    try await measureBridge(runs, bench, broker, bridged)
    try await measureQueue(runs * 2 / 5, broker, raw)
    var result = RowResult(name: name, figures: [("runs", Double(runs), "")])
    result.figures += bridged.figures("submit to worker")
    result.figures += raw.figures("one queue alone")
    result.ratios = [
      Ratio(name: "p50 in ms", value: bridged.milliseconds(50), target: 5, isUpperBound: true),
      Ratio(name: "p99 in ms", value: bridged.milliseconds(99), target: 25, isUpperBound: true),
    ]
    result.note = "Counted from the moment a run was due to be sent, so that a stall counts for all that waited."
    return result
  }

  private static func measureBridge(
    _ runs: Int, _ bench: Bench, _ broker: BenchBroker, _ record: LatencyRecord
  ) async throws {
    let bridge = try await bench.bridge()
    try await TaskQueues.warmUp([task], of: bridge, on: broker)
    let submitter = try await LoadSubmitter(broker, exchange: bridge.names.submit)
    let worker = try await LoadWorker(broker, bridge.names, tasks: [task]) { batch, now in
      for run in batch { record.arrived(run.body, now) }
    }
    let count = runs + warmUpRuns
    async let submitted: Void = submitter.submit(count, perSecond: perSecond, task: task) { record.body($0, due: $1) }
    try await worker.work(count)
    try await submitted
    await worker.close()
    await submitter.close()
    try await bridge.waitForCount(.completed, count + 1, seconds: 30)
    try await TaskQueues.remove([task], of: bridge, from: broker)
  }

  /// The same messages through one quorum queue, persistent and confirmed, acknowledged one by one.
  private static func measureQueue(_ runs: Int, _ broker: BenchBroker, _ record: LatencyRecord) async throws {
    let queue = "bench-latency"
    let connection = try await broker.connect("bench-latency")
    _ = try await connection.declareQueue(queue, arguments: ["x-queue-type": "quorum"])
    let consumer = try await connection.consume(queue, prefetch: LoadWorker.prefetch)
    let submitter = try await LoadSubmitter(broker, exchange: "")
    let count = runs + warmUpRuns
    async let taken: Void = {
      var seen = 0
      for try await batch in consumer {
        let now = ContinuousClock.now
        for message in batch { record.arrived(message.body, now) }
        connection.settle(acknowledged: batch.map(\.deliveryTag))
        seen += batch.count
        if seen >= count { return }
      }
      throw BenchError("the consumer of \(queue) ended")
    }()
    try await submitter.submit(count, perSecond: perSecond, task: queue) { record.body($0, due: $1) }
    try await taken
    try await connection.deleteQueue(queue)
    await submitter.close()
    await connection.close()
  }
}

/// Times on the way, in microseconds, in an HDR histogram. The moment of sending travels in the body.
final class LatencyRecord: Sendable {
  private static let digits = 20
  private let epoch = ContinuousClock.now
  private let skip: Int
  private let histogram = Mutex(
    Histogram<UInt64>(highestTrackableValue: 600_000_000, numberOfSignificantValueDigits: .three))

  /// - Parameter skip: so many at the start of a series are not counted.
  init(skip: Int) { self.skip = skip }

  /// A payload that tells when its run was due, or nothing for those to skip.
  func body(_ index: Int, due: ContinuousClock.Instant) -> [UInt8] {
    let nanoseconds = index < skip ? 0 : Int64((due - epoch).seconds * 1e9)
    let text = String(nanoseconds)
    return LoadSubmitter.payload(marked: String(repeating: "0", count: Self.digits - text.count) + text)
  }

  func arrived(_ body: [UInt8], _ now: ContinuousClock.Instant) {
    // A quotation mark, then the digits.
    guard body.count > Self.digits else { return }
    var nanoseconds: Int64 = 0
    for digit in body[1...Self.digits] { nanoseconds = nanoseconds * 10 + Int64(digit &- 48) }
    guard nanoseconds > 0 else { return }
    record((now - epoch).seconds - Double(nanoseconds) / 1e9)
  }

  /// - Parameter seconds: below 0 counts as 0.
  func record(_ seconds: Double) {
    histogram.withLock { _ = $0.record(UInt64(max(0, seconds * 1e6))) }
  }

  func milliseconds(_ percentile: Double) -> Double {
    histogram.withLock { Double($0.valueAtPercentile(percentile)) / 1e3 }
  }

  func figures(_ name: String) -> [(name: String, value: Double, unit: String)] {
    [
      ("\(name), p50", milliseconds(50), "ms"), ("\(name), p99", milliseconds(99), "ms"),
      ("\(name), longest", milliseconds(100), "ms"),
    ]
  }
}
