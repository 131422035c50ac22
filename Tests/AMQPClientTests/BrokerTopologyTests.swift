import AMQPClient
import Testing

/// Declaring, binding and looking at a real broker.
@Suite struct BrokerTopologyTests {
  @Test func theBrokerSaysWhatItIs() async throws {
    try await Broker.withConnection { connection in
      #expect(!connection.serverProduct.isEmpty)
      #expect(connection.serverVersion.contains("."))
      #expect(connection.isOpen)
      #expect(!connection.isBlocked)
    }
  }

  @Test func aMissingQueueIs404AndTheConnectionGoesOn() async throws {
    try await Broker.withConnection { connection in
      for _ in 0..<3 {
        let error = await #expect(throws: AMQPError.self) {
          try await connection.declareQueue("amqp-test.missing", passive: true)
        }
        #expect(error?.kind == .channelClosed)
        #expect(error?.code == 404)
        #expect(error?.text.contains("amqp-test.missing") == true)
      }
      let info = try await connection.declareQueue("", exclusive: true)
      #expect(!info.name.isEmpty)
    }
  }

  @Test func otherArgumentsAre406AndNotRetriable() async throws {
    try await Broker.withQueue { connection, queue in
      let error = await #expect(throws: AMQPError.self) {
        try await connection.declareQueue(queue, arguments: ["x-max-length": 5])
      }

      #expect(error?.code == 406)
      #expect(error?.isRetriable == false)
      let info = try await connection.declareQueue(queue)
      #expect(info.name == queue)
    }
  }

  @Test func anotherConnectionsOwnQueueIs405() async throws {
    try await Broker.withConnection { owner in
      let queue = try await owner.declareQueue("", exclusive: true).name
      try await Broker.withConnection { other in
        let error = await #expect(throws: AMQPError.self) { try await other.declareQueue(queue, passive: true) }
        #expect(error?.code == 405)
        #expect(error?.isRetriable == true)
      }
    }
  }

  @Test func aBoundQueueGetsWhatItsExchangeIsSent() async throws {
    try await Broker.withQueue { connection, queue in
      let exchange = queue + ".exchange"
      try await connection.declareExchange(exchange, kind: .topic)
      try await connection.bindQueue(queue, exchange: exchange, routingKey: "a.*")
      let message = AMQPMessage(exchange: exchange, routingKey: "a.b", body: [1])

      #expect(try await connection.publishAndConfirm(message) == .confirmed)
      #expect(try await connection.get(queue, acknowledge: false)?.exchange == exchange)
      try await connection.unbindQueue(queue, exchange: exchange, routingKey: "a.*")
      #expect(try await connection.publishAndConfirm(message) == .returned(code: 312, text: "NO_ROUTE"))
      try await connection.deleteExchange(exchange)
      let error = await #expect(throws: AMQPError.self) {
        try await connection.declareExchange(exchange, kind: .topic, passive: true)
      }
      #expect(error?.code == 404)
    }
  }

  @Test func purgeAndDeleteTellHowManyMessagesThereWere() async throws {
    try await Broker.withQueue { connection, queue in
      for _ in 0..<3 { _ = try await connection.publishAndConfirm(AMQPMessage(routingKey: queue, body: [])) }
      let error = await #expect(throws: AMQPError.self) { try await connection.deleteQueue(queue, ifEmpty: true) }
      #expect(error?.code == 406)

      #expect(try await connection.purgeQueue(queue) == 3)
      #expect(try await connection.deleteQueue(queue, ifUnused: true, ifEmpty: true) == 0)
      #expect(try await connection.deleteQueue(queue) == 0)
    }
  }

  @Test func gettingFromAnEmptyQueueGivesNothing() async throws {
    try await Broker.withQueue { connection, queue in
      #expect(try await connection.get(queue, acknowledge: true) == nil)
      _ = try await connection.publishAndConfirm(AMQPMessage(routingKey: queue, body: [1]))
      let delivery = try #require(try await connection.get(queue, acknowledge: true))
      connection.reject(delivery.deliveryTag, requeue: true)
      let again = try #require(try await connection.get(queue, acknowledge: true))
      #expect(again.redelivered)
      connection.settle(acknowledged: [again.deliveryTag])
      #expect(try await connection.get(queue, acknowledge: true) == nil)
    }
  }

  @Test func aNameOverTheLimitIsRefusedBeforeItIsSent() async throws {
    try await Broker.withConnection { connection in
      let error = await #expect(throws: AMQPError.self) {
        try await connection.declareQueue(String(repeating: "q", count: 256))
      }
      #expect(error?.kind == .invalidArgument)
      #expect(error?.text == "the name is 256 bytes, at most 255")
      let info = try await connection.declareQueue("", exclusive: true)
      #expect(info.messageCount == 0)
    }
  }

  @Test func manyRequestsAtOnceEachGetTheirOwnAnswer() async throws {
    try await Broker.withConnection { connection in
      try await withThrowingTaskGroup(of: Void.self) { group in
        for index in 0..<50 {
          group.addTask {
            let name = "amqp-test.many.\(index)"
            let info = try await connection.declareQueue(name, durable: false, exclusive: true)
            #expect(info.name == name)
          }
        }
        try await group.waitForAll()
      }
    }
  }

  @Test func aWrongPasswordIsALoginThatNeedsAnOperator() async throws {
    var configuration = try Broker.configuration()
    configuration.password = "wrong"
    let error = await #expect(throws: AMQPError.self) {
      try await AMQPConnection.open(configuration, logger: Broker.logger)
    }
    #expect(error?.kind == .loginRefused)
    #expect(error?.code == 403)
    #expect(error?.needsOperator == true)
    #expect(error?.text.contains("wrong") == false)
  }

  @Test func aMissingVirtualHostIsALoginThatNeedsAnOperator() async throws {
    var configuration = try Broker.configuration()
    configuration.vhost = "missing"
    let error = await #expect(throws: AMQPError.self) {
      try await AMQPConnection.open(configuration, logger: Broker.logger)
    }
    #expect(error?.kind == .loginRefused)
    #expect(error?.code == 530)
    #expect(error?.text.contains("\"missing\"") == true)
  }

  @Test func closingTwiceAndWaitingForTheEndTellsAnOrderlyClose() async throws {
    let connection = try await AMQPConnection.open(try Broker.configuration(), logger: Broker.logger)
    async let reason = connection.waitUntilClosed()
    await connection.close()
    await connection.close()

    #expect(await reason == nil)
    #expect(!connection.isOpen)
    let error = await #expect(throws: AMQPError.self) { try await connection.declareQueue("x") }
    #expect(error?.kind == .notOpen)
  }
}
