import AMQPClient
import Testing

/// Consuming at a real broker.
@Suite struct BrokerConsumeTests {
  @Test func acknowledgedMessagesAreGoneAndTheOthersComeAgain() async throws {
    try await Broker.withQueue { connection, queue in
      try await fill(queue, 10, by: connection)
      let consumer = try await connection.consume(queue, prefetch: 100)
      let deliveries = try await collect(10, from: consumer)
      #expect(deliveries.map(\.body) == (0..<10).map { [$0] })

      connection.settle(acknowledged: deliveries.filter { $0.body[0] % 2 == 0 }.map(\.deliveryTag))
      await connection.close()

      try await Broker.withConnection { second in
        let rest = try await collect(5, from: try await second.consume(queue, prefetch: 100))
        #expect(Set(rest.map(\.body)) == Set([1, 3, 5, 7, 9].map { [$0] }))
        #expect(rest.allSatisfy { $0.redelivered })
      }
    }
  }

  /// One channel, one tag space: an acknowledgement with `multiple` must not take the other consumer's messages.
  @Test func acknowledgingOneConsumersMessagesLeavesTheOthersAlone() async throws {
    try await Broker.withQueue { connection, first in
      try await Broker.withQueue { _, second in
        try await fill(first, 50, by: connection)
        try await fill(second, 50, by: connection)
        let one = try await connection.consume(first, prefetch: 100)
        let two = try await connection.consume(second, prefetch: 100)
        let ofOne = try await collect(50, from: one)
        let ofTwo = try await collect(50, from: two)

        connection.settle(acknowledged: ofTwo.map(\.deliveryTag))
        connection.settle(acknowledged: ofOne.prefix(20).map(\.deliveryTag))
        await connection.close()

        // After a close the broker takes a moment to count; fetching waits for it.
        try await Broker.withConnection { other in
          let rest = try await collect(30, from: try await other.consume(first, prefetch: 100))
          #expect(Set(rest.map(\.body)) == Set((20..<50).map { [$0] }))
        }
        #expect(try await readyCount(second) == 0)
        #expect(ofOne.count == 50)
      }
    }
  }

  @Test func prefetchBoundsWhatIsDeliveredUnsettled() async throws {
    try await Broker.withQueue { connection, queue in
      try await fill(queue, 30, by: connection)
      let consumer = try await connection.consume(queue, prefetch: 10)
      let first = try await collect(10, from: consumer)
      #expect(first.count == 10)
      let info = try await connection.declareQueue(queue, passive: true)
      #expect(info.messageCount == 20)

      connection.settle(acknowledged: first.map(\.deliveryTag))

      #expect(try await collect(10, from: consumer).map(\.body) == (10..<20).map { [$0] })
    }
  }

  @Test func aRejectedMessageComesAgainOrIsDropped() async throws {
    try await Broker.withQueue { connection, queue in
      try await fill(queue, 2, by: connection)
      let consumer = try await connection.consume(queue, prefetch: 10)
      let first = try await collect(2, from: consumer)

      connection.reject(first[0].deliveryTag, requeue: true)
      connection.reject(first[1].deliveryTag, requeue: false)

      let again = try await collect(1, from: consumer)
      #expect(again.map(\.body) == [[0]])
      #expect(again[0].redelivered)
      connection.settle(acknowledged: again.map(\.deliveryTag))
      await connection.close()
      #expect(try await readyCount(queue) == 0)
    }
  }

  @Test func settlingTwiceOrAnUnknownTagHarmsNothing() async throws {
    try await Broker.withQueue { connection, queue in
      try await fill(queue, 3, by: connection)
      let consumer = try await connection.consume(queue, prefetch: 10)
      let deliveries = try await collect(3, from: consumer)
      let tags = deliveries.map(\.deliveryTag)

      connection.settle(acknowledged: tags + tags)
      connection.settle(acknowledged: [0, 99_999, .max])
      connection.reject(tags[0], requeue: true)

      #expect(try await connection.declareQueue(queue, passive: true).messageCount == 0)
      #expect(connection.isOpen)
    }
  }

  @Test func aDeletedQueueEndsItsConsumerWithThatError() async throws {
    try await Broker.withQueue { connection, queue in
      try await Broker.withQueue { _, survivor in
        let consumer = try await connection.consume(queue, prefetch: 10)
        let other = try await connection.consume(survivor, prefetch: 10)
        try await Broker.withConnection { _ = try await $0.deleteQueue(queue) }

        let error = await #expect(throws: AMQPError.self) {
          try await within { for try await _ in consumer {} }
        }

        #expect(error?.kind == .consumerCancelled)
        #expect(error?.text.contains(queue) == true)
        try await fill(survivor, 1, by: connection)
        #expect(try await collect(1, from: other).count == 1)
      }
    }
  }

  @Test func cancelEndsTheSequenceBehindWhatWasDelivered() async throws {
    try await Broker.withQueue { connection, queue in
      try await fill(queue, 5, by: connection)
      let consumer = try await connection.consume(queue, prefetch: 10)
      var tags: [UInt64] = try await collect(5, from: consumer).map(\.deliveryTag)

      try await connection.cancel(consumer)
      for try await batch in consumer { tags += batch.map(\.deliveryTag) }

      #expect(tags.count == 5)
      connection.settle(acknowledged: tags)
      #expect(try await connection.declareQueue(queue, passive: true).messageCount == 0)
      try await connection.cancel(consumer)
    }
  }

  @Test func aChannelErrorEndsTheConsumersAndLateSettlementsHitNothing() async throws {
    try await Broker.withQueue { connection, queue in
      try await fill(queue, 4, by: connection)
      let consumer = try await connection.consume(queue, prefetch: 2)
      let old = try await collect(2, from: consumer)
      await #expect(throws: AMQPError.self) { try await connection.declareQueue("amqp-test.missing", passive: true) }

      let error = await #expect(throws: AMQPError.self) { for try await _ in consumer {} }
      let again = try await connection.consume(queue, prefetch: 2)
      let new = try await collect(2, from: again)
      // The broker numbers from 1 again: these would be the same tags, had they not been made unique.
      connection.settle(acknowledged: old.map(\.deliveryTag))

      #expect(error?.code == 404)
      #expect(Set(old.map(\.deliveryTag)).isDisjoint(with: new.map(\.deliveryTag)))
      await connection.close()
      try await Broker.withConnection { other in
        let all = try await collect(4, from: try await other.consume(queue, prefetch: 10))
        #expect(all.count == 4)
      }
    }
  }

  @Test func aCancelledReaderStopsAndAnotherOneGoesOn() async throws {
    try await Broker.withQueue { connection, queue in
      let consumer = try await connection.consume(queue, prefetch: 10)
      let reader = Task {
        var count = 0
        for try await batch in consumer { count += batch.count }
        return count
      }
      reader.cancel()
      #expect(try await reader.value == 0)

      try await fill(queue, 1, by: connection)

      #expect(try await collect(1, from: consumer).count == 1)
    }
  }

  @Test func aRequestIsAnsweredByDirectReplyTo() async throws {
    try await Broker.withQueue { worker, queue in
      try await Broker.withConnection { requester in
        let replies = try await requester.consume("amq.rabbitmq.reply-to", prefetch: 0, noAck: true)
        let request = AMQPMessage(
          routingKey: queue, properties: .init(correlationID: "7", replyTo: "amq.rabbitmq.reply-to"), body: [1])
        #expect(try await requester.publishAndConfirm(request) == .confirmed)

        let received = try #require(try await worker.get(queue, acknowledge: true))
        let replyTo = try #require(received.properties.replyTo)
        let answer = AMQPMessage(
          routingKey: replyTo, mandatory: false, properties: .init(correlationID: received.properties.correlationID),
          body: [2])
        #expect(try await worker.publishAndConfirm(answer) == .confirmed)
        worker.settle(acknowledged: [received.deliveryTag])

        let reply = try #require(try await collect(1, from: replies).first)
        #expect(reply.body == [2])
        #expect(reply.properties.correlationID == "7")
        #expect(reply.deliveryTag == 0)
      }
    }
  }

  @Test func aBodyOverTheLimitIsCutAndCanStillBeSettled() async throws {
    try await Broker.withQueue { connection, queue in
      let size = 300_000
      #expect(
        try await connection.publishAndConfirm(
          AMQPMessage(routingKey: queue, body: [UInt8](repeating: 5, count: size))) == .confirmed)
      #expect(try await connection.publishAndConfirm(AMQPMessage(routingKey: queue, body: [1])) == .confirmed)
      let small = try await AMQPConnection.open(
        try Broker.configuration(), bodyBytesMax: 100_000, logger: Broker.logger)

      let deliveries = try await collect(2, from: try await small.consume(queue, prefetch: 10))

      #expect(deliveries[0].problem == .tooLarge(claimedBytes: UInt64(size)))
      #expect(deliveries[0].body == [UInt8](repeating: 5, count: 65_536))
      #expect(deliveries[1].body == [1])
      #expect(deliveries[1].problem == nil)
      small.settle(acknowledged: deliveries.map(\.deliveryTag))
      await small.close()
      #expect(try await connection.declareQueue(queue, passive: true).messageCount == 0)
    }
  }

  /// Seen from a connection of its own.
  private func readyCount(_ queue: String) async throws -> Int {
    try await Broker.withConnection { try await $0.declareQueue(queue, passive: true).messageCount }
  }

  private func fill(_ queue: String, _ count: UInt8, by connection: AMQPConnection) async throws {
    for index in 0..<count {
      let message = AMQPMessage(routingKey: queue, body: [index])
      #expect(try await connection.publishAndConfirm(message) == .confirmed)
    }
  }
}
