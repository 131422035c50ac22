import Foundation

/// CPU time from its making on, of the bridge, the broker and this process.
struct CPUMeter: Sendable {
  private let bridgePID: pid_t
  private let broker: BenchBroker
  private let bridgeBefore: CPUTime
  private let brokerBefore: CPUTime?
  private let ownBefore: CPUTime

  init(bridge: BridgeProcess, broker: BenchBroker) {
    bridgePID = bridge.pid
    self.broker = broker
    bridgeBefore = ProcessFigures.cpu(bridge.pid)
    brokerBefore = broker.cpu()
    ownBefore = ProcessFigures.ownCPU
  }

  /// Microseconds per run since then.
  func figures(runs: Int) -> [(name: String, value: Double, unit: String)] {
    let bridge = ProcessFigures.cpu(bridgePID) - bridgeBefore
    let perRun = 1e6 / Double(runs)
    var figures = [
      (name: "bridge CPU", value: bridge.total * perRun, unit: "µs/run"),
      (name: "bridge CPU, user", value: bridge.user * perRun, unit: "µs/run"),
      (name: "bridge CPU, system", value: bridge.system * perRun, unit: "µs/run"),
    ]
    if let brokerBefore, let now = broker.cpu() {
      figures.append(("broker CPU", (now - brokerBefore).total * perRun, "µs/run"))
    }
    figures.append(("load client CPU", (ProcessFigures.ownCPU - ownBefore).total * perRun, "µs/run"))
    return figures
  }
}
