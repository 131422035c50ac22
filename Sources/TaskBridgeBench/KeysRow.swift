/// Many task keys beside one.
enum KeysRow: BenchRow {
  static let name = "keys"
  static let about = "1,000 task keys, round robin, beside one task key through the same bridge."

  static let standardRuns = 20_000
  static let keys = 1_000

  static func run(_ bench: Bench) async throws -> RowResult {
    let runs = bench.options.runs(standardRuns)
    let broker = try await bench.broker()
    let bridge = try await bench.bridge(settings: ["backlog_limit": "100000000"])
    let one = ["bench.one"]
    let count = min(keys, runs)
    let many = (0..<count).map { "bench.key\($0)" }
    try await TaskQueues.warmUp(one, of: bridge, on: broker)
    let before = try await EndToEndRow.measure(runs, tasks: one, bridge: bridge, broker: broker, bench)
    try await TaskQueues.warmUp(many, of: bridge, on: broker, seconds: 180)
    let spread = try await EndToEndRow.measure(runs, tasks: many, bridge: bridge, broker: broker, bench)
    let after = try await EndToEndRow.measure(runs, tasks: one, bridge: bridge, broker: broker, bench)
    try await TaskQueues.remove(one + many, of: bridge, from: broker)

    let single = (before.rate + after.rate) / 2
    return RowResult(
      name: name,
      figures: spread.figures + [
        ("task keys", Double(count), ""), ("rate of one key before", before.rate, "runs/s"),
        ("rate of one key after", after.rate, "runs/s"),
      ],
      ratios: [Ratio(name: "of one key", value: spread.rate / single, target: 0.7, isUpperBound: false)])
  }
}
