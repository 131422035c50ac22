import Synchronization

/// What the front of a connection and its thread share.
final class ConnectionLine: Sendable {
  /// Messages in flight at most: what a crash or a cut can send twice.
  static let window = 512
  /// Outcomes that nobody has fetched yet; above it nothing more is sent.
  static let outcomesBufferedMax = 65_536
  static let statesBufferedMax = 256

  let mailbox = Mailbox(window: ConnectionLine.window)
  let outcomes = BatchBuffer<AMQPPublishOutcome>()
  let closed = Promise<AMQPError?>()
  let states: AsyncStream<AMQPConnectionState>
  let stateContinuation: AsyncStream<AMQPConnectionState>.Continuation

  init() {
    (states, stateContinuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(Self.statesBufferedMax))
  }
}
