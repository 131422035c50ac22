import AMQPClient
import Logging
import Synchronization

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
  /// Seconds without answers after their connection broke.
  static let lostPauseSeconds = 1.0

  private let codec: MessageCodec
  private let names: ObjectNames
  private let logger: Logger
  private let clock: WallClock
  private let open: @Sendable (String) async throws(AMQPError) -> AMQPConnection
  /// No answer goes out before, in seconds since boot.
  private let pausedUntil = Mutex(0.0)
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

  /// Sends until cancelled, in order and without waiting for the broker's confirms: as many are in flight as a connection
  /// lets. Whatever goes wrong with an answer ends nothing else.
  func run() async throws {
    await withDiscardingTaskGroup { group in
      var connection: AMQPConnection?
      for await message in messages where clock.uptimeSeconds() >= pausedUntil.withLock({ $0 }) {
        if connection?.isOpen != true {
          connection = await connect()
          if let connection { group.addTask { await self.watch(connection) } }
        }
        await hand(message, to: connection)
      }
      await connection?.close()
    }
  }

  private func connect() async -> AMQPConnection? {
    do throws(AMQPError) {
      return try await open("reply")
    } catch {
      pause(error)
      return nil
    }
  }

  private func hand(_ message: AMQPMessage, to connection: AMQPConnection?) async {
    guard let connection else { return }
    do throws(AMQPError) { try await connection.publish([(id: 0, message: message)]) } catch { pause(error) }
  }

  /// Reads what became of the answers until the connection ends.
  private func watch(_ connection: AMQPConnection) async {
    for await outcomes in connection.outcomes {
      for outcome in outcomes {
        guard case .unknown(let error) = outcome.result else { continue }
        pause(error)
        break
      }
    }
  }

  private func pause(_ error: AMQPError) {
    if Task.isCancelled { return }
    let isRefused = error.kind == .channelClosed || error.needsOperator
    let seconds = isRefused ? Self.refusedPauseSeconds : Self.lostPauseSeconds
    pausedUntil.withLock { $0 = clock.uptimeSeconds() + seconds }
    logger.warning("answers are not sent for \(Int(seconds)) s", metadata: ["error": "\(error)"])
  }
}
