/// What a row measured: figures in a fixed order, the ratio that counts and what it is to reach.
struct RowResult: Sendable {
  var name: String
  var figures: [(name: String, value: Double, unit: String)]
  var ratios: [Ratio]
  /// One sentence for whoever reads the table.
  var note: String?

  init(
    name: String, figures: [(name: String, value: Double, unit: String)] = [], ratios: [Ratio] = [], note: String? = nil
  ) {
    self.name = name
    self.figures = figures
    self.ratios = ratios
    self.note = note
  }
}

/// A figure set against another of the same run, or against a bound.
struct Ratio: Sendable {
  /// What of what, such as "of limit".
  var name: String
  var value: Double
  var target: Double
  /// `true`: the value must be at most the target; `false`: at least.
  var isUpperBound: Bool

  var isMet: Bool { isUpperBound ? value <= target : value >= target }
}

/// One measurement.
protocol BenchRow: SendableMetatype {
  /// What the subcommand is called, as in the table of docs/performance.md.
  static var name: String { get }
  /// One line: what is measured.
  static var about: String { get }
  /// - Throws: `BenchError` when something that should have happened did not: a figure is only given for work that was
  ///   checked.
  static func run(_ bench: Bench) async throws -> RowResult
}

/// Why a row gives no figure.
struct BenchError: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}
