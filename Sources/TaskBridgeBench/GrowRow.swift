/// Whether what everybody does all day stays as fast when the store has grown.
///
/// Two bridges run side by side, one with a large store and one that began empty, and are asked in turn: what the
/// machine does meanwhile happens to both.
enum GrowRow: BenchRow {
  static let name = "grow"
  static let about = "Submit, report, list page, snapshot, explain at 0, 1 and 10 million stored runs (11 GB of disk)."

  /// Stored runs at scale 1.
  static let sizes = [1_000_000, 10_000_000]

  static func run(_ bench: Bench) async throws -> RowResult {
    let small = try await bench.bridge()
    let store = try bench.scratch("store")
    var result = RowResult(
      name: name,
      note: "Medians of \(GrowProbe.requests) requests, one at a time, in turn to an empty and a full store.")
    var stored = 0
    for size in sizes.map({ bench.options.runs($0) }) {
      let filling = ContinuousClock.now
      try await StoreFiller.fill(size - stored, as: .finished, folder: store)
      result.figures.append(("filled to \(size) in", (ContinuousClock.now - filling).seconds, "s"))
      stored = max(stored, size)
      let large = try await bench.bridge(store: store)
      for figure in try await GrowProbe(small: small, large: large, bench: bench).figures() {
        result.figures.append(("\(figure.kind) at 0", figure.small, "ms"))
        result.figures.append(("\(figure.kind) at \(size)", figure.large, "ms"))
        result.ratios.append(
          Ratio(name: "\(figure.kind) at \(size)", value: figure.large / figure.small, target: 1.5, isUpperBound: true))
      }
      await large.stop()
      result.figures.append(("store at \(size)", Double(StoreSample.bytes(in: store)) / 1e6, "MB"))
    }
    return result
  }
}
