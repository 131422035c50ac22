import Testing

@testable import AMQPClient

/// What the broker is told about deliveries, frame by frame.
@Suite struct PeerConsumeTests {
  @Test func onlyAPrefixWithoutAGapIsAcknowledgedAtOnce() async throws {
    let frames = Promise<[FakeSession.Frame]>()
    try await FakePeer.withConnection(
      script: { session in
        try session.handshake()
        try session.startConsumer("one")
        try session.startConsumer("two")
        for tag in 1...6 { try session.deliver(UInt64(tag), to: tag % 2 == 1 ? "one" : "two") }
        frames.fulfil(try (0..<4).map { _ in try session.next() })
        try session.endOrderly()
      }
    ) { connection in
      let one = try await connection.consume("one", prefetch: 10)
      let two = try await connection.consume("two", prefetch: 10)
      let ofOne = try await collect(3, from: one).map(\.deliveryTag)
      let ofTwo = try await collect(3, from: two).map(\.deliveryTag)
      #expect(ofOne == [1, 3, 5])
      #expect(ofTwo == [2, 4, 6])

      connection.settle(acknowledged: ofTwo.dropLast())
      // Answered behind the acknowledgements, so those were sent on their own.
      while connection.line.mailbox.isEmpty == false { await Task.yield() }
      connection.settle(acknowledged: ofOne)
      while connection.line.mailbox.isEmpty == false { await Task.yield() }
      connection.reject(6, requeue: true)

      let sent = await frames.value() ?? []
      #expect(sent.map(\.method) == [Method.ack, Method.ack, Method.ack, Method.reject])
      #expect(
        sent.map { Array($0.arguments) } == [
          Wire.u64(2) + [0], Wire.u64(4) + [0], Wire.u64(5) + [1], Wire.u64(6) + [1],
        ])
    }
  }

  @Test func aConsumerThatTheBrokerEndsIsConfirmedWhenItAsks() async throws {
    try await FakePeer.withConnection(
      script: { session in
        try session.handshake()
        try session.startConsumer("c")
        try session.deliver(1, to: "c")
        try session.send(Method.cancel, Wire.shortString("c") + [0])
        try session.expect(Method.cancelOK)
        try session.endOrderly()
      }
    ) { connection in
      let consumer = try await connection.consume("q", prefetch: 10)
      var received = 0

      let error = await #expect(throws: AMQPError.self) {
        for try await batch in consumer { received += batch.count }
      }

      #expect(received == 1)
      #expect(error?.kind == .consumerCancelled)
      #expect(error?.text == "the broker ended the consumer of queue \"q\": the queue was deleted or moved")
    }
  }

  @Test func aCancelledConsumeIsUndone() async throws {
    let asked = Promise<Bool>()
    let gate = Gate()
    try await FakePeer.withConnection(
      script: { session in
        try session.handshake()
        try session.expect(Method.qos)
        asked.fulfil(true)
        try gate.wait()
        try session.send(Method.qosOK)
        try session.expect(Method.consume)
        try session.send(Method.consumeOK, Wire.shortString("c"))
        try session.deliver(1, to: "c")
        let cancel = try session.expect(Method.cancel)
        try session.send(Method.cancelOK, Wire.shortString("c"))
        // This one crossed the cancellation: it belongs to nobody and must go back.
        try session.deliver(2, to: "c")
        let reject = try session.expect(Method.reject)
        guard Array(cancel.arguments.dropLast()) == Wire.shortString("c"), Array(reject.arguments) == Wire.u64(2) + [1]
        else { throw FakePeer.Failure(description: "\(cancel) \(reject)") }
        try session.endOrderly()
      }
    ) { connection in
      let consuming = Task { try await connection.consume("q", prefetch: 10) }
      _ = await asked.value()

      consuming.cancel()
      let error = await #expect(throws: AMQPError.self) { try await consuming.value }
      gate.open()

      #expect(error?.kind == .cancelled)
    }
  }

  @Test func aConsumerWithoutAcknowledgementThatDoesNotKeepUpEnds() async throws {
    try await FakePeer.withConnection(
      script: { session in
        try session.handshake()
        try session.startConsumer("c")
        try session.untilEnded {
          for tag in 1...25_000 { try session.deliver(UInt64(tag), to: "c", body: []) }
        }
        session.drain()
      }
    ) { connection in
      let consumer = try await connection.consume("q", prefetch: 0, noAck: true)
      // Reads only when the connection has ended it.
      while !consumer.buffer.isFinished { await Task.yield() }
      var received = 0

      let error = await #expect(throws: AMQPError.self) {
        for try await batch in consumer { received += batch.count }
      }

      #expect(error?.kind == .overflow)
      #expect(received <= FrameLoop.unacknowledgedBufferedMax + FrameLoop.framesPerTurn)
    }
  }
}
