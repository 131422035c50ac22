import AMQPClient
import Logging
import Synchronization

/// Sends answers to `reply_to`. An answer is a courtesy: the store has the fact. So it waits for nobody, and when too
/// many wait the oldest are dropped.
final class ReplySender: Sendable {
  /// Most answers that wait.
  static let waitingMax = 10_000

  private let connection: AMQPConnection
  private let codec: MessageCodec
  private let names: ObjectNames
  private let logger: Logger
  private let messages: AsyncStream<AMQPMessage>
  private let feed: AsyncStream<AMQPMessage>.Continuation
  /// Ids apart from those of outbox rows; nobody waits for their outcome.
  private let lastID = Mutex<UInt64>(1 << 62)

  init(connection: AMQPConnection, codec: MessageCodec, names: ObjectNames, logger: Logger) {
    self.connection = connection
    self.codec = codec
    self.names = names
    self.logger = logger
    (messages, feed) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(Self.waitingMax))
  }

  func send(_ body: [UInt8], to replyTo: String, correlationID: String?) {
    guard names.mayAnswer(replyTo) else {
      logger.warning("no answer is sent to a queue of the bridge or the broker", metadata: ["reply_to": "\(replyTo)"])
      return
    }
    feed.yield(codec.answer(body, to: replyTo, correlationID: correlationID))
  }

  func run() async throws {
    for await message in messages {
      let id = lastID.withLock { last in
        last += 1
        return last
      }
      try await connection.publish([(id: id, message: message)])
    }
  }
}
