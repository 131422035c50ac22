extension AMQPConnection {
  /// Hands messages over, in their order. Waits while the window (512 in flight) is full or the broker has blocked us.
  ///
  /// When it returns, each id gets exactly one outcome in `outcomes`: also when the connection ended or the task was
  /// cancelled in the middle, then `.unknown`. Ids are the caller's own; they may repeat.
  /// - Throws: `.notOpen` or the error the connection ended with. Then nothing of this call was or will be sent, and
  ///   nothing of it comes up in `outcomes`.
  public func publish(_ messages: [(id: UInt64, message: AMQPMessage)]) async throws(AMQPError) {
    guard !messages.isEmpty else { return }
    switch line.mailbox.publish(messages) {
    case .taken: return
    case .closed(let error): throw error
    case .queued(let jobID):
      let left = await line.mailbox.waitUntilTaken(jobID: jobID)
      let cancelled = AMQPError(.cancelled, "the publishing task was cancelled before the message was sent")
      line.outcomes.append(left.map { AMQPPublishOutcome(id: $0, result: .unknown(cancelled)) })
    }
  }

  /// What became of the messages given to `publish`. For one reader; it must be read, for with 65,536 outcomes waiting
  /// nothing more is sent.
  public var outcomes: AMQPOutcomes { AMQPOutcomes(buffer: line.outcomes) }

  /// Publishes one message and waits for its fate, which does not come up in `outcomes`.
  /// - Throws: `.notOpen`, the error the connection ended with earlier, or `.cancelled`; after the last the message may
  ///   still be sent.
  public func publishAndConfirm(_ message: AMQPMessage) async throws(AMQPError) -> AMQPPublishResult {
    let result = Promise<AMQPPublishResult>()
    if case .closed(let error) = line.mailbox.publish([(0, message)], result: result) { throw error }
    guard let value = await result.value() else {
      throw AMQPError(.cancelled, "the publishing task was cancelled before the broker confirmed")
    }
    return value
  }
}

/// The outcomes of a connection's messages, in batches: all that came since the last one. Ends when the connection has
/// ended and the last outcome was given out, or when the reading task is cancelled.
public struct AMQPOutcomes: AsyncSequence, Sendable {
  public typealias Element = [AMQPPublishOutcome]
  public typealias Failure = Never

  let buffer: BatchBuffer<AMQPPublishOutcome>

  public func makeAsyncIterator() -> Iterator { Iterator(buffer: buffer) }

  public struct Iterator: AsyncIteratorProtocol {
    let buffer: BatchBuffer<AMQPPublishOutcome>

    public mutating func next() async -> [AMQPPublishOutcome]? {
      await next(isolation: nil)
    }

    public mutating func next(isolation actor: isolated (any Actor)?) async -> [AMQPPublishOutcome]? {
      switch await buffer.next() {
      case .batch(let outcomes): outcomes
      // Outcomes end without an error: each message in flight got its own.
      case .failed, .ended: nil
      }
    }
  }
}
