import Foundation
import TaskBridgeCore

/// How much memory a bridge takes for runs that wait in the store: none, if it is right.
enum MemoryRow: BenchRow {
  static let name = "memory"
  static let about = "Resident size with 1,000,000 ready runs in 100 task keys, beside a tenth of them."

  static let residentBytesMax = 150e6
  static let tasks = 100
  /// Dispatched runs of a task key; the rest is ready.
  static let queueBound = 100
  /// Times the size is looked at once all is calm, one second apart.
  static let looks = 10

  private struct Sizes {
    var calm = 0.0
    var largest = 0.0
    var last = 0.0
    var peak = 0.0
  }

  static func run(_ bench: Bench) async throws -> RowResult {
    let runs = bench.options.runs(1_000_000)
    let few = try await sizes(runs: max(tasks, runs / 10), bench)
    let many = try await sizes(runs: max(tasks, runs), bench)
    return RowResult(
      name: name,
      figures: [
        ("resident, largest", many.largest / 1e6, "MB"), ("resident, last", many.last / 1e6, "MB"),
        ("peak since the start", many.peak / 1e6, "MB"), ("with a tenth of the runs", few.largest / 1e6, "MB"),
        ("ready runs", Double(runs), "runs"), ("task keys", Double(tasks), "keys"),
      ],
      ratios: [
        Ratio(name: "largest of 150 MB", value: many.largest / residentBytesMax, target: 1, isUpperBound: true),
        Ratio(name: "of a tenth of the runs", value: many.largest / few.largest, target: 1.15, isUpperBound: true),
        Ratio(name: "last of first look", value: many.last / many.calm, target: 1.05, isUpperBound: true),
      ], note: "Resident as of /proc, shared libraries included.")
  }

  private static func sizes(runs: Int, _ bench: Bench) async throws -> Sizes {
    let store = try bench.scratch("store")
    try await StoreFiller.fill(runs, as: .ready, tasks: tasks, folder: store)
    let bridge = try await bench.bridge(store: store, settings: ["queue_bound": String(queueBound)])
    // The sample has a task key of its own.
    let perTask = (runs - 1) / tasks
    let short =
      min(queueBound, perTask + 1) * ((runs - 1) % tasks) + min(queueBound, perTask) * (tasks - (runs - 1) % tasks)
    try await bridge.waitForCount(.launched, short + 1, seconds: 300)
    var sizes = Sizes()
    for look in 0..<looks {
      // Lists and snapshots are part of a bridge's day.
      _ = try await bridge.get("/v1/runs?limit=100")
      sizes.last = Double(bridge.residentBytes())
      if look == 0 { sizes.calm = sizes.last }
      sizes.largest = max(sizes.largest, sizes.last)
      try await Task.sleep(for: .seconds(1))
    }
    sizes.peak = Double(bridge.peakResidentBytes())
    let left = try await bridge.count(.ready)
    guard left == runs - short - 1 else { throw BenchError("\(left) runs are ready, not \(runs - short - 1)") }
    await bridge.stop()
    return sizes
  }
}
