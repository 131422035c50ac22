import Foundation
import TaskBridgeCore

/// A bridge that was killed with many runs scheduled and some in the broker, started again.
enum RestoreRow: BenchRow {
  static let name = "restore"
  static let about =
    "seconds to ready and resident size after kill -9 with 1,000,000 scheduled and 10,000 launched runs"

  static let residentBytesMax = 150e6

  static func run(_ bench: Bench) async throws -> RowResult {
    let scheduled = bench.options.runs(1_000_000)
    let launched = max(1, scheduled / 100)
    let store = try bench.scratch("store")
    let filling = ContinuousClock.now
    try await StoreFiller.fill(scheduled, as: .scheduled, folder: store)
    try await StoreFiller.fill(launched, as: .ready, folder: store)
    let fillSeconds = (ContinuousClock.now - filling).seconds

    // The bridge itself hands them to the broker: what it finds there later is what it left.
    let settings = ["queue_bound": String(min(100_000, launched))]
    let first = try await bench.bridge(store: store, settings: settings)
    try await first.waitForCount(.launched, launched, seconds: 300)
    await first.kill9()

    let second = try await bench.bridge(store: store, settings: settings)
    let ready = second.readySeconds
    let resident = Double(second.peakResidentBytes())
    let cpu = second.cpu()
    let counts = (try await second.count(.scheduled), try await second.count(.launched))
    guard counts == (scheduled, launched) else {
      throw BenchError("\(counts.0) runs are scheduled and \(counts.1) launched after the restart")
    }
    return RowResult(
      name: name,
      figures: [
        ("ready after", ready, "s"), ("CPU until then", cpu.user + cpu.system, "s"),
        ("resident, peak", resident / 1e6, "MB"),
        ("scheduled", Double(scheduled), "runs"), ("launched", Double(launched), "runs"),
        ("store", Double(StoreSample.bytes(in: store)) / 1e6, "MB"),
        ("ready after, before the kill", first.readySeconds, "s"), ("filled in", fillSeconds, "s"),
      ],
      ratios: [
        Ratio(name: "seconds to ready", value: ready, target: 5, isUpperBound: true),
        Ratio(name: "resident of 150 MB", value: resident / residentBytesMax, target: 1, isUpperBound: true),
      ])
  }
}
