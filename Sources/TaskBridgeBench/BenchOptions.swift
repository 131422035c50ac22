import ArgumentParser

/// What every row understands.
struct BenchOptions: ParsableArguments {
  @Option(help: "Runs to measure with; each row has its own default.") var runs: Int?
  @Option(help: "Factor on a row's sizes, 0.001 to 10.") var scale = 1.0
  @Option(help: ArgumentHelp("Broker to use; without it a private one is started.", valueName: "url")) var amqp: String?
  @Option(help: "Process id of the broker of --amqp, for its CPU time.") var brokerPid: Int32?
  @Option(help: ArgumentHelp("The bridge's binary; default: taskbridge beside this one.", valueName: "path"))
  var taskbridge: String?
  @Option(help: ArgumentHelp("Compiled limit.c, the broker's own limit.", valueName: "path")) var limit: String?
  @Option(
    name: .customLong("set"),
    help: ArgumentHelp("Setting of the bridge, as in its configuration file; repeatable.", valueName: "key=value"))
  var settings: [String] = []
  @Option(help: "Seconds after which a row is given up.") var timeout = 900.0
  @Flag(help: "Keep stores, logs and configurations.") var keepFiles = false
  @Flag(help: "Print a table on stderr, also when that is no terminal.") var table = false

  func validate() throws {
    if let runs, !(1...10_000_000).contains(runs) { throw ValidationError("--runs must be 1 to 10000000") }
    guard (0.001...10).contains(scale) else { throw ValidationError("--scale must be 0.001 to 10") }
    guard (1...7_200).contains(timeout) else { throw ValidationError("--timeout must be 1 to 7200") }
    for setting in settings where !setting.contains("=") {
      throw ValidationError("--set takes key=value, not '\(setting)'")
    }
  }

  /// How many runs a row works with: `--runs`, else its own number times `--scale`.
  func runs(_ standard: Int) -> Int { runs ?? max(1, Int(Double(standard) * scale)) }
}
