import AMQPClient
import Foundation
import Logging
import ServiceLifecycle
import TaskBridgeCore
import TaskBridgeStore

/// Keeps a session with the broker: connects, works, and after an end connects again with jittered back-off.
struct BrokerService: Service {
  let bridge: BridgeContext

  func run() async throws {
    let logger = bridge.logger
    var machine = AMQPConnectionMachine(endpointCount: try connectionConfiguration().endpoints.count)
    var action = machine.handle(.start, jitter: 0)
    var wasConnected = false
    while !Task.isCancelled, !Task.isShuttingDownGracefully {
      switch action {
      case .none, .close: return
      case .wait(let duration):
        // Queues that vanished with the last session need their pause too.
        let wait = wasConnected ? max(duration, .seconds(QueueRoster.pauseSeconds)) : duration
        do {
          try await cancelWhenGracefulShutdown { try await Task.sleep(for: wait) }
        } catch is CancellationError {
          return
        }
        action = machine.handle(.retryTimeReached, jitter: 0)
      case .open(let index):
        do {
          let session = try await BrokerSession.open(
            bridge, configuration: try connectionConfiguration(wasConnected: wasConnected), endpointIndex: index)
          _ = machine.handle(.opened, jitter: 0)
          wasConnected = true
          bridge.state.enter(.restoring, brokerVersion: session.publish.serverVersion)
          let error = await ended(session)
          if let fatal = fatal(error) { throw fatal }
          if Task.isShuttingDownGracefully || Task.isCancelled { return }
          let reason = error as? AMQPError ?? AMQPError(.connectionLost, "\(error.map { "\($0)" } ?? "session ended")")
          bridge.state.enter(.brokerDown(reason.description))
          logger.error("broker connection ended", metadata: ["error": "\(reason)"])
          // What counts is whether it became ready: a queue that answers nothing ends a session only after 10 s.
          let openFor = session.wasReady.value > 0 ? ReconnectBackoff.stableAfter : .zero
          action = machine.handle(.closed(reason, openFor: openFor), jitter: bridge.jitter())
        } catch let error as AMQPError {
          // Broken off by the end of the service, which has its own reason.
          if Task.isShuttingDownGracefully || Task.isCancelled { return }
          if error.kind == .loginRefused, !wasConnected {
            throw StartError(
              message:
                "the broker refused the login: \(error.text). Check user, password (TASKBRIDGE_AMQP_PASSWORD_FILE) and vhost.",
              exitCode: 5)
          }
          if error.kind == .invalidConfiguration { throw StartError(message: error.text, exitCode: 64) }
          bridge.state.enter(.brokerDown(error.description))
          logger.error("broker cannot be reached", metadata: ["error": "\(error)"])
          action = machine.handle(.openFailed(error), jitter: bridge.jitter())
        }
      }
    }
  }

  private func ended(_ session: BrokerSession) async -> (any Error)? {
    do {
      try await session.run()
      return nil
    } catch {
      return error
    }
  }

  /// What no reconnect can mend.
  private func fatal(_ error: (any Error)?) -> StartError? {
    if let error = error as? StartError { return error }
    guard let error = error as? StoreError else { return nil }
    switch error.kind {
    case .damaged, .unusable, .fatalIO, .newer, .closed, .inUse: return StartError(message: error.message, exitCode: 5)
    case .busy, .full, .tooExpensive, .cancelled, .other: return nil
    }
  }

  /// Read anew at each connect: a password file may have changed.
  private func connectionConfiguration(wasConnected: Bool = false) throws -> AMQPConfiguration {
    let settings = bridge.configuration
    do {
      var configuration = try AMQPConfiguration(url: settings.amqpURL)
      configuration.heartbeatSeconds = settings.heartbeatSeconds
      if let file = settings.amqpPasswordFile {
        let text = try String(contentsOfFile: file, encoding: .utf8)
        configuration.password = text.trimmingCharacters(in: .newlines)
      }
      if let file = settings.amqpCAFile { configuration.tls?.certificateAuthorityFile = file }
      if let file = settings.amqpCertificateFile { configuration.tls?.certificateFile = file }
      if let file = settings.amqpKeyFile { configuration.tls?.keyFile = file }
      return configuration
    } catch let error as AMQPError {
      throw StartError(message: error.text, exitCode: 64)
    } catch {
      // A file that is being replaced right now is there again in a moment.
      if wasConnected { throw AMQPError(.loginRefused, "the broker's password file cannot be read") }
      throw StartError(
        message:
          "the broker's password file \(settings.amqpPasswordFile ?? "") cannot be read: \(error.localizedDescription)",
        exitCode: 5)
    }
  }
}
