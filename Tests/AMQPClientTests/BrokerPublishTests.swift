import AMQPClient
import Testing

/// Publishing at a real broker.
@Suite struct BrokerPublishTests {
  @Test func everyPublishedMessageIsConfirmedOnce() async throws {
    try await Broker.withQueue { connection, queue in
      let count = 2_000
      let messages = (0..<count).map { index in
        (
          id: UInt64(index),
          message: AMQPMessage(routingKey: queue, properties: .init(deliveryMode: 2), body: [1, 2, 3])
        )
      }

      async let outcomes = collect(count, from: connection.outcomes)
      try await connection.publish(messages)

      let all = try await outcomes
      #expect(all.map(\.id).sorted() == (0..<UInt64(count)).map { $0 })
      #expect(all.allSatisfy { $0.result == .confirmed })
      #expect(connection.unconfirmedCount == 0)
      let info = try await connection.declareQueue(queue, passive: true)
      #expect(info.messageCount == count)
    }
  }

  @Test func anUnroutableMandatoryMessageComesBackAndItsNeighboursAreConfirmed() async throws {
    try await Broker.withQueue { connection, queue in
      let nowhere = AMQPMessage(routingKey: queue + ".missing", properties: .init(messageID: "lost"), body: [9])
      let here = AMQPMessage(routingKey: queue, properties: .init(messageID: "kept"), body: [9])

      try await connection.publish([(1, here), (2, nowhere), (3, here)])

      let outcomes = try await collect(3, from: connection.outcomes).sorted { $0.id < $1.id }
      #expect(outcomes[0].result == .confirmed)
      #expect(outcomes[1].result == .returned(code: 312, text: "NO_ROUTE"))
      #expect(outcomes[2].result == .confirmed)
    }
  }

  @Test func aMessageThatIsNotMandatoryIsConfirmedThoughNoQueueTookIt() async throws {
    try await Broker.withConnection { connection in
      let message = AMQPMessage(routingKey: "amqp-test.nowhere", mandatory: false, body: [1])

      let result = try await connection.publishAndConfirm(message)

      #expect(result == .confirmed)
    }
  }

  @Test func publishAndConfirmKeepsOutOfTheOutcomes() async throws {
    try await Broker.withQueue { connection, queue in
      let message = AMQPMessage(routingKey: queue, body: [1])

      #expect(try await connection.publishAndConfirm(message) == .confirmed)
      try await connection.publish([(7, message)])

      #expect(try await collect(1, from: connection.outcomes).map(\.id) == [7])
    }
  }

  @Test(arguments: [0, 1, 131_064, 131_065, 1 << 20])
  func aBodyOfThisSizeArrivesAsItWas(_ size: Int) async throws {
    try await Broker.withQueue { connection, queue in
      let body = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31) }

      #expect(try await connection.publishAndConfirm(AMQPMessage(routingKey: queue, body: body)) == .confirmed)

      let delivery = try #require(try await connection.get(queue, acknowledge: false))
      #expect(delivery.body == body)
      #expect(delivery.problem == nil)
      #expect(delivery.deliveryTag == 0)
    }
  }

  @Test func propertiesAndHeadersOfEveryTypeArriveAsTheyWere() async throws {
    try await Broker.withQueue { connection, queue in
      let configuration = try Broker.configuration()
      let headers: [String: AMQPValue] = [
        "null": .null, "true": true, "false": false, "int": 42, "negative": .int(.min), "largest": .int(.max),
        "double": .double(2.5), "string": "grün ✓", "empty": "", "bytes": .bytes([0, 255, 1]),
        "timestamp": .timestamp(1_700_000_000), "array": .array([1, "two", .array([true])]), "none": .array([]),
        "table": .table(["inner": .table(["deep": 1])]), "nothing": .table([:]),
      ]
      let properties = AMQPProperties(
        contentType: "application/json", contentEncoding: "utf-8", headers: headers, deliveryMode: 2, priority: 7,
        correlationID: "correlation", replyTo: "reply", expiration: "60000", messageID: "id", timestamp: 1_700_000_001,
        type: "type", userID: configuration.user, appID: "app")

      let message = AMQPMessage(routingKey: queue, properties: properties, body: [1])
      #expect(try await connection.publishAndConfirm(message) == .confirmed)

      let delivery = try #require(try await connection.get(queue, acknowledge: false))
      #expect(delivery.properties == properties)
      #expect(delivery.routingKey == queue)
      #expect(delivery.exchange == "")
    }
  }

  @Test func aMessageThatBreaksALimitIsRefusedAndTheNextOneGoesOut() async throws {
    try await Broker.withQueue { connection, queue in
      let long = String(repeating: "x", count: 256)
      let big = AMQPValue.string(String(repeating: "x", count: 140_000))
      let refused: [AMQPMessage] = [
        .init(routingKey: long, body: []),
        .init(exchange: long, routingKey: queue, body: []),
        .init(routingKey: queue, properties: .init(messageID: long), body: []),
        .init(routingKey: queue, properties: .init(headers: [long: 1]), body: []),
        .init(routingKey: queue, properties: .init(headers: ["": 1]), body: []),
        .init(routingKey: queue, properties: .init(headers: ["big": big]), body: []),
        .init(routingKey: queue, properties: .init(headers: ["u": .uint(.max)]), body: []),
        .init(routingKey: queue, properties: .init(headers: ["nested": nested(17)]), body: []),
      ]

      for message in refused {
        let result = try await connection.publishAndConfirm(message)
        guard case .refused(let error) = result else {
          Issue.record("not refused: \(result)")
          continue
        }
        #expect(error.kind == .invalidArgument)
        #expect(!error.isRetriable)
      }

      #expect(try await connection.publishAndConfirm(AMQPMessage(routingKey: queue, body: [1])) == .confirmed)
      #expect(connection.isOpen)
    }
  }

  @Test func theLargestHeaderBlockThatIsAllowedIsTaken() async throws {
    try await Broker.withQueue { connection, queue in
      // 131072 is RabbitMQ's frame size: less 22 for the frame, and 4 + 1 + 1 + 1 + 4 for a table with one string.
      let value = String(repeating: "x", count: 131_072 - 22 - 11)
      let fits = AMQPMessage(routingKey: queue, properties: .init(headers: ["h": .string(value)]), body: [1])
      let tooLarge = AMQPMessage(routingKey: queue, properties: .init(headers: ["h": .string(value + "x")]), body: [1])

      #expect(try await connection.publishAndConfirm(fits) == .confirmed)
      guard case .refused = try await connection.publishAndConfirm(tooLarge) else {
        Issue.record("a header block over the limit was sent")
        return
      }
      #expect(try await connection.publishAndConfirm(fits) == .confirmed)
    }
  }

  @Test func publishingToAMissingExchangeCostsTheChannelAndNotTheConnection() async throws {
    try await Broker.withQueue { connection, queue in
      let states = connection.stateChanges
      try await connection.publish([(1, AMQPMessage(exchange: "amqp-test.missing", routingKey: "x", body: []))])

      let outcome = try #require(try await collect(1, from: connection.outcomes).first)
      guard case .unknown(let error) = outcome.result else {
        Issue.record("not unknown: \(outcome.result)")
        return
      }
      #expect(error.kind == .channelClosed)
      #expect(error.code == 404)
      let first = try await within { await states.first { _ in true } }
      #expect(first == .channelReopened(error))
      #expect(try await connection.publishAndConfirm(AMQPMessage(routingKey: queue, body: [1])) == .confirmed)
    }
  }

  @Test func closeWaitsForTheConfirmsOfEverythingPublished() async throws {
    try await Broker.withQueue { _, queue in
      let count = 3_000
      let configuration = try Broker.configuration()
      let connection = try await AMQPConnection.open(configuration, logger: Broker.logger)
      let messages = (0..<count).map { (id: UInt64($0), message: AMQPMessage(routingKey: queue, body: [1])) }
      try await connection.publish(messages)

      await connection.close()

      var results: [AMQPPublishResult] = []
      for await batch in connection.outcomes { results += batch.map(\.result) }
      #expect(results.count == count)
      #expect(results.allSatisfy { $0 == .confirmed })
      #expect(await connection.waitUntilClosed() == nil)
      await #expect(throws: AMQPError.self) { try await connection.publish(messages) }
    }
  }

  private func nested(_ depth: Int) -> AMQPValue {
    depth == 0 ? 1 : .table(["n": nested(depth - 1)])
  }
}
