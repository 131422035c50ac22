import Foundation
import Logging
import ServiceLifecycle
import TaskBridgeEngine
import TaskBridgeHTTP

/// Runs the bridge until it is told to stop or a part of it fails.
///
/// - Parameters:
///   - stop: tripped by SIGTERM or SIGINT; the services then end in reverse order.
///   - onReady: called once with the address the HTTP server listens on.
/// - Throws: `StartError` for what an operator can mend; anything else is a defect.
func runBridge(
  _ configuration: TaskBridgeConfiguration, stop: StopLatch, onReady: @escaping @Sendable (BridgeAddress) -> Void
) async throws {
  let logger = Logger(label: "taskbridge")
  let bridge = try TaskBridge.open(configuration, logger: logger) { error in
    // Memory and disk may differ from here on: nothing may be written or acknowledged any more.
    StandardError.say(error.message)
    exit(error.exitCode)
  }
  let http = HTTPServer(
    bridge: bridge, host: configuration.httpHost, port: configuration.httpPort, logger: logger
  ) { port in onReady(BridgeAddress(host: configuration.httpHost, port: port)) }
  do {
    try await runServices([http] + bridge.services(), logger: logger, stop: stop)
  } catch {
    await bridge.close()
    throw error
  }
  await bridge.close()
}

/// Runs services in order and stops them in reverse when `stop` is tripped.
///
/// The signals come here through the latch and not through the group, because its own handling knows no second step.
func runServices(_ services: [any Service], logger: Logger, stop: StopLatch) async throws {
  let group = ServiceGroup(
    configuration: ServiceGroupConfiguration(services: services.map { .init(service: $0) }, logger: logger))
  try await withThrowingTaskGroup(of: Bool.self) { tasks in
    tasks.addTask {
      if await stop.wait() != nil {
        logger.info("stopping")
        await group.triggerGracefulShutdown()
      }
      return false
    }
    tasks.addTask {
      try await group.run()
      return true
    }
    // The end of the group counts, good or bad; the watcher of the latch ends before it or is cancelled after it.
    while let groupHasEnded = try await tasks.next(), !groupHasEnded {}
    tasks.cancelAll()
  }
}
