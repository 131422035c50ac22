import ArgumentParser
import Foundation
import TaskBridgeEngine

/// `taskbridge doctor`: looks at everything that can be looked at and says what to do.
struct DoctorCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor", abstract: "Check libraries, configuration, store, broker and bridge.",
    discussion: "Exit status 1 when a check failed. Warnings do not count.")

  @OptionGroup var bridge: BridgeOptions

  @Option(
    help: ArgumentHelp("Address of the bridge (TASKBRIDGE_URL); else where the configuration has it.", valueName: "url")
  )
  var url: String?

  @OptionGroup var output: OutputOptions

  func run() async throws {
    let environment = ProcessInfo.processInfo.environment
    let effective = try ConfigurationLoader(flags: bridge.flags).load()
    let own = BridgeAddress(host: effective.configuration.httpHost, port: effective.configuration.httpPort).url
    let client = try BridgeClient(url ?? environment["TASKBRIDGE_URL"] ?? own, token: environment["TASKBRIDGE_TOKEN"])

    let findings = await BridgeChecks.run(client)
    let checks =
      LocalChecks.run(effective) + findings.checks
      + (await BrokerChecks.run(effective.configuration, deadByTask: findings.deadByTask))
    show(checks)
    if checks.contains(where: { $0.status == .failed }) { throw ExitStatus.failed.code }
  }

  private func show(_ checks: [DoctorCheck]) {
    let printer = output.printer
    switch printer.format {
    case .table:
      let width = checks.map(\.name.count).max() ?? 0
      StandardOutput.write(checks.map { $0.line(for: printer.terminal, nameWidth: width) }.joined())
    case .json:
      let isWell = !checks.contains { $0.status == .failed }
      StandardOutput.write(#"{"ok":\#(isWell),"items":\#(JSONText.array(checks.map(\.json)))}"# + "\n")
    case .jsonl:
      for check in checks { StandardOutput.write(check.json + "\n") }
    }
  }
}
