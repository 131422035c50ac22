import AMQPClient
import Logging
import Synchronization

/// Publishes reports and takes the answers, over one connection that is opened again whenever it breaks.
///
/// Answers come by direct reply-to, which needs the question on the same channel; an answer is known by its token.
final class Reporter: Sendable {
  static let replyTo = "amq.rabbitmq.reply-to"
  /// After this long without an answer a question is asked again; the bridge answers a repeat `duplicate`.
  static let askAgainAfter = Duration.seconds(30)
  /// How long an answer is still waited for once the worker was told to stop.
  static let patienceWhenStopping = Duration.seconds(5)
  /// Pause before a message that was nacked or returned is published again.
  static let republishAfter = Duration.seconds(1)

  private struct State {
    var connection = OneShot<AMQPConnection>()
    var handlers: [String: @Sendable (ReportAnswer) -> Void] = [:]
    /// Fulfilled when the present connection ends.
    var lost = OneShot<Bool>()
  }

  private let broker: AMQPConfiguration
  private let stop: StopLatch
  private let logger: Logger
  private let state = Mutex(State())

  init(_ broker: AMQPConfiguration, stop: StopLatch, logger: Logger) {
    self.broker = broker
    self.stop = stop
    self.logger = logger
  }

  /// Keeps a connection open until the task is cancelled.
  func run() async {
    var dialer = Dialer(broker, purpose: "reports", logger: logger)
    while !Task.isCancelled {
      guard let connection = await dialer.open() else { return }
      do throws(AMQPError) {
        let answers = try await connection.consume(Self.replyTo, prefetch: 1, noAck: true)
        state.withLock { $0.connection }.fulfil(connection)
        for try await batch in answers { batch.forEach { take($0) } }
        dialer.ended(nil)
      } catch {
        dialer.ended(error)
      }
      let lost = state.withLock { state in
        defer {
          state.connection = OneShot()
          state.lost = OneShot()
        }
        return state.lost
      }
      lost.fulfil(true)
      await connection.close()
    }
  }

  /// From now on answers to reports with this token go to `handler`.
  func listen(_ token: String, _ handler: @escaping @Sendable (ReportAnswer) -> Void) {
    state.withLock { $0.handlers[token] = handler }
  }

  func forget(_ token: String) { state.withLock { $0.handlers[token] = nil } }

  /// Publishes and waits for the answer, again over a new connection when the present one breaks.
  /// - Returns: nil when the worker is to stop and no answer came in time.
  func ask(_ message: AMQPMessage) async -> ReportAnswer? {
    guard let token = message.properties.correlationID else { return nil }
    let answer = OneShot<ReportAnswer>()
    listen(token) { answer.fulfil($0) }
    defer { forget(token) }
    while !Task.isCancelled {
      guard await tell(message) else { return nil }
      let lost = state.withLock { $0.lost }
      let limit = ContinuousClock.now + Self.askAgainAfter
      while ContinuousClock.now < limit, lost.current == nil {
        if let answer = await answer.value(within: .seconds(1)) { return answer }
        if stop.signal != nil { return await answer.value(within: Self.patienceWhenStopping) }
        if Task.isCancelled { return nil }
      }
    }
    return nil
  }

  /// Publishes until the broker has confirmed.
  /// - Parameter patience: how long it may take in all; nil means as long as it takes.
  /// - Returns: false when it was given up.
  func tell(_ message: AMQPMessage, patience: Duration? = nil) async -> Bool {
    let start = ContinuousClock.now
    while !Task.isCancelled {
      let left = patience.map { $0 - (ContinuousClock.now - start) } ?? .seconds(1)
      if left <= .zero { return false }
      let pending = state.withLock { $0.connection }
      guard let connection = await pending.value(within: min(left, .seconds(1))) else {
        if stop.signal != nil, patience == nil { return false }
        continue
      }
      do throws(AMQPError) {
        switch try await connection.publishAndConfirm(message) {
        case .confirmed: return true
        case .refused(let error):
          StandardError.say("a report cannot be sent: \(error.text)")
          return false
        case .nacked, .returned: await Pause.uncancelled(Self.republishAfter)
        case .unknown: await Pause.uncancelled(.milliseconds(100))
        }
      } catch {
        // The connection has ended; the loop waits for the next.
        await Pause.uncancelled(.milliseconds(100))
      }
    }
    return false
  }

  /// Publishes once if there is a connection; for what is repeated anyway.
  func mention(_ message: AMQPMessage) async {
    guard let connection = state.withLock({ $0.connection }).current else { return }
    do throws(AMQPError) {
      _ = try await connection.publishAndConfirm(message)
    } catch {
      logger.debug("a heartbeat was not sent", metadata: ["reason": "\(error.text)"])
    }
  }

  private func take(_ delivery: AMQPDelivery) {
    guard let token = delivery.properties.correlationID, let answer = ReportAnswer(delivery.body) else { return }
    state.withLock { $0.handlers[token] }?(answer)
  }
}
