import AMQPClient
import Logging

/// Opens connections one after the other, with growing pauses, and says each new trouble once (a quiet one only logs
/// it).
struct Dialer {
  private var broker: AMQPConfiguration
  private let purpose: String
  private let isQuiet: Bool
  private let logger: Logger
  private var machine: AMQPConnectionMachine
  private var openedAt = ContinuousClock.now
  private var action: AMQPConnectionMachine.Action
  private var lastTrouble: String?

  init(_ broker: AMQPConfiguration, purpose: String, isQuiet: Bool = false, logger: Logger) {
    self.broker = broker
    self.broker.connectionName = "\(broker.connectionName) \(purpose)"
    self.purpose = purpose
    self.isQuiet = isQuiet
    self.logger = logger
    machine = AMQPConnectionMachine(endpointCount: broker.endpoints.count)
    action = machine.handle(.start, jitter: 0)
  }

  /// An open connection; nil when the task was cancelled, or `stop` tripped, before there was one.
  mutating func open(unless stop: StopLatch? = nil) async -> AMQPConnection? {
    while !Task.isCancelled, stop?.signal == nil {
      switch action {
      case .open(let index):
        do throws(AMQPError) {
          let connection = try await AMQPConnection.open(broker, endpointIndex: index, logger: logger)
          action = machine.handle(.opened, jitter: 0)
          openedAt = .now
          if lastTrouble != nil { say("connected to the broker again (\(purpose))") }
          lastTrouble = nil
          return connection
        } catch {
          note(error)
          action = machine.handle(.openFailed(error), jitter: Double.random(in: 0..<1))
        }
      case .wait(let duration):
        let goesOn = await (stop ?? StopLatch()).pause(duration)
        guard goesOn else { return nil }
        action = machine.handle(.retryTimeReached, jitter: 0)
      case .none, .close:
        return nil
      }
    }
    return nil
  }

  /// Tells that the connection given out has ended.
  mutating func ended(_ error: AMQPError?) {
    if let error { note(error) }
    action = machine.handle(.closed(error, openFor: .now - openedAt), jitter: Double.random(in: 0..<1))
  }

  private mutating func note(_ error: AMQPError) {
    guard error.kind != .cancelled, error.text != lastTrouble else { return }
    lastTrouble = error.text
    say("broker \(broker.redacted) (\(purpose)): \(Escaping.visible(error.text)); trying again")
  }

  private func say(_ text: String) {
    if isQuiet { logger.debug("\(text)") } else { StandardError.say(text) }
  }
}
