import AMQPClient
import Logging

/// Sends answers to `reply_to`. An answer is a courtesy: the store has the fact. So it waits for nobody, and when too
/// many wait the oldest are dropped.
///
/// On a connection of its own: a broker that does not let the bridge write to the default exchange closes the channel
/// with every answer, which must not touch the runs in flight.
final class ReplySender: Sendable {
  /// Most answers that wait.
  static let waitingMax = 10_000
  /// Seconds without answers after the broker has refused one.
  static let refusedPauseSeconds = 30.0

  private let codec: MessageCodec
  private let names: ObjectNames
  private let logger: Logger
  private let clock: WallClock
  private let open: @Sendable (String) async throws(AMQPError) -> AMQPConnection
  private let messages: AsyncStream<AMQPMessage>
  private let feed: AsyncStream<AMQPMessage>.Continuation

  init(
    codec: MessageCodec, names: ObjectNames, logger: Logger, clock: WallClock,
    open: @escaping @Sendable (String) async throws(AMQPError) -> AMQPConnection
  ) {
    self.codec = codec
    self.names = names
    self.logger = logger
    self.clock = clock
    self.open = open
    (messages, feed) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(Self.waitingMax))
  }

  func send(_ body: [UInt8], to replyTo: String, correlationID: String?) {
    guard names.mayAnswer(replyTo) else {
      logger.warning("no answer is sent to a queue of the bridge or the broker", metadata: ["reply_to": "\(replyTo)"])
      return
    }
    feed.yield(codec.answer(body, to: replyTo, correlationID: correlationID))
  }

  /// Sends until cancelled, one at a time; whatever goes wrong with an answer ends nothing else.
  func run() async throws {
    var connection: AMQPConnection?
    var pausedUntil = 0.0
    for await message in messages where clock.uptimeSeconds() >= pausedUntil {
      do {
        let open = if let connection, connection.isOpen { connection } else { try await self.open("reply") }
        connection = open
        if case .unknown(let error) = try await open.publishAndConfirm(message) { throw error }
      } catch let error as AMQPError {
        if Task.isCancelled { return }
        pausedUntil = clock.uptimeSeconds() + Self.refusedPauseSeconds
        logger.warning(
          "answers are not sent for \(Int(Self.refusedPauseSeconds)) s", metadata: ["error": "\(error)"])
      }
    }
    await connection?.close()
  }
}
