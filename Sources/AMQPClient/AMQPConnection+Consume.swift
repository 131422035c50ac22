extension AMQPConnection {
  /// Starts a consumer. Several may share the connection.
  /// - Parameters:
  ///   - prefetch: unsettled messages at most, 1 to 65535; it bounds the consumer's buffer. Without acknowledgement it
  ///     has no meaning.
  ///   - consumerTag: `nil` lets the broker make one up.
  ///   - noAck: messages count as settled when they are sent. Needed for `amq.rabbitmq.reply-to`; with more than 16,384
  ///     waiting the consumer ends with `.overflow`.
  /// - Throws: 404 when the queue does not exist, 403 without permission or beside an exclusive consumer.
  public func consume(
    _ queue: String, prefetch: UInt16, consumerTag: String? = nil, noAck: Bool = false, exclusive: Bool = false
  ) async throws(AMQPError) -> AMQPConsumer {
    guard prefetch > 0 || noAck else {
      throw AMQPError(.invalidArgument, "prefetch is 0, which means no bound; it must be from 1 to 65535")
    }
    let deliveries = BatchBuffer<AMQPDelivery>()
    let reply = try await request(
      .consume(queue, prefetch: prefetch, consumerTag: consumerTag ?? "", noAck: noAck, exclusive: exclusive),
      deliveries: deliveries)
    guard case .consumer(let tag) = reply else { throw .mismatch }
    return AMQPConsumer(consumerTag: tag, queue: queue, buffer: deliveries)
  }

  /// Ends a consumer. Its sequence ends behind what was already delivered, which is still to be settled.
  public func cancel(_ consumer: AMQPConsumer) async throws(AMQPError) {
    // One that has ended by itself is what the caller wants.
    guard !consumer.buffer.isFinished else { return }
    _ = try await request(.cancelConsumer(consumer.consumerTag))
  }

  /// Acknowledges deliveries. Never waits; the connection sends one acknowledgement for all deliveries that are settled
  /// without a gap and single ones for the rest. Tags that are unknown, settled, or from before the channel was closed
  /// are passed over: the broker has taken those back.
  public func settle(acknowledged tags: [UInt64]) {
    guard !tags.isEmpty else { return }
    line.mailbox.settle(acknowledged: tags)
  }

  /// Gives a delivery back.
  /// - Parameter requeue: `true` lets the broker deliver it again, `false` drops it or sends it to the queue's dead
  ///   letter exchange.
  public func reject(_ tag: UInt64, requeue: Bool) {
    line.mailbox.reject(tag, requeue: requeue)
  }
}

/// The deliveries of one consumer, in batches: all that came since the last one, at most its prefetch. For one reader.
///
/// Ends by throwing `.consumerCancelled` when the queue was deleted, `.channelClosed` when the channel was, or the error
/// the connection ended with; without an error after `cancel`, `close`, or when the reading task is cancelled.
public struct AMQPConsumer: AsyncSequence, Sendable {
  public typealias Element = [AMQPDelivery]
  public typealias Failure = AMQPError

  public let consumerTag: String
  public let queue: String
  let buffer: BatchBuffer<AMQPDelivery>

  public func makeAsyncIterator() -> Iterator { Iterator(buffer: buffer) }

  public struct Iterator: AsyncIteratorProtocol {
    let buffer: BatchBuffer<AMQPDelivery>

    public mutating func next() async throws(AMQPError) -> [AMQPDelivery]? {
      try await next(isolation: nil)
    }

    public mutating func next(isolation actor: isolated (any Actor)?) async throws(AMQPError) -> [AMQPDelivery]? {
      switch await buffer.next() {
      case .batch(let deliveries): return deliveries
      case .failed(let error): throw error
      case .ended: return nil
      }
    }
  }
}
