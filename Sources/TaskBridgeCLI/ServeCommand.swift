import ArgumentParser
import Foundation
import TaskBridgeEngine

/// `taskbridge serve`: the bridge.
struct ServeCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "serve", abstract: "Run the bridge in front of a RabbitMQ.",
    discussion: """
      Flags win over environment over file over defaults; `taskbridge config show` prints what holds. \
      The store is DIR/taskbridge.db. SIGTERM ends it in order, a second one at once.
      """)

  @OptionGroup var bridge: BridgeOptions

  func run() async throws {
    let effective = try ConfigurationLoader(flags: bridge.flags).load()
    LineLogHandler.bootstrap(level: effective.configuration.logLevel)
    for warning in effective.warnings { StandardError.say("warning: \(warning)") }
    try DescriptorLimit.raise()
    let stop = StopSignals.latch()
    try await BridgeRunner.run(effective.configuration, stop: stop) { address in
      StandardError.say(
        "taskbridge listens on \(address.url), broker \(RedactedURL.text(effective.configuration.amqpURL))")
    }
  }
}

/// Runs the bridge and turns the errors an operator can mend into one message and an exit status.
enum BridgeRunner {
  static func run(
    _ configuration: TaskBridgeConfiguration, stop: StopLatch, onReady: @escaping @Sendable (BridgeAddress) -> Void
  ) async throws {
    do {
      try await runBridge(configuration, stop: stop, onReady: onReady)
    } catch let error as StartError {
      throw CommandFailure(
        ExitStatus(rawValue: error.exitCode) ?? .failed, "start_failed", Escaping.visible(error.message))
    }
  }
}
