import AMQPClient
import Logging

/// Hears of cancelled runs at once instead of with the next heartbeat; a worker without the right to listen works all
/// the same.
struct CancelListener: Sendable {
  /// Pause before another try when the exchange is missing or not to be read.
  static let retryAfter = Duration.seconds(30)

  let broker: AMQPConfiguration
  let exchange: String
  let tasks: [String]
  let ledger: RunLedger
  let logger: Logger

  /// Listens until the task is cancelled.
  func run() async {
    var dialer = Dialer(broker, purpose: "cancels", isQuiet: true, logger: logger)
    while !Task.isCancelled {
      guard let connection = await dialer.open() else { return }
      do throws(AMQPError) {
        let queue = try await connection.declareQueue("", durable: false, exclusive: true, autoDelete: true)
        for task in tasks {
          try await connection.bindQueue(queue.name, exchange: exchange, routingKey: "cancel.\(task)")
        }
        let messages = try await connection.consume(queue.name, prefetch: 1, noAck: true)
        for try await batch in messages { batch.forEach { take($0) } }
        dialer.ended(nil)
      } catch {
        if error.kind == .channelClosed {
          logger.debug("no cancel messages", metadata: ["reason": "\(error.text)"])
          // The next heartbeat's answer tells the same, only later.
          _ = await StopLatch().pause(Self.retryAfter)
        }
        dialer.ended(error.kind == .channelClosed ? nil : error)
      }
      await connection.close()
    }
  }

  private func take(_ delivery: AMQPDelivery) {
    let headers = delivery.properties.headers
    guard let run = headers["tb-run-id"]?.stringValue ?? JSONSlice(delivery.body)["run_id"]?.string else { return }
    ledger.stop(runID: run, attempt: headers["tb-attempt"]?.intValue.flatMap { Int(exactly: $0) })
  }
}
