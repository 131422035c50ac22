import Testing

@testable import AMQPClient

/// Confirms, returns and refusals in the orders a broker may choose.
@Suite struct PeerPublishTests {
  @Test func confirmsMayBeOutOfOrderAndSeveralAtOnce() async throws {
    try await FakePeer.withConnection(
      script: { session in
        try session.handshake()
        try session.selectConfirms()
        for _ in 0..<8 { try session.expectPublish() }
        try session.ack(3)
        try session.nack(2)
        // Tags that are settled, unknown or nonsense change nothing.
        try session.ack(3)
        try session.ack(99)
        try session.ack(0)
        try session.ack(.max, multiple: true)
        try session.ack(4, multiple: true)
        try session.nack(6, multiple: true)
        try session.ack(0, multiple: true)
        try session.endOrderly()
      }
    ) { connection in
      try await connection.publish(messages(1...8))

      let outcomes = try await collect(8, from: connection.outcomes)

      #expect(
        outcomes == [
          .init(id: 3, result: .confirmed), .init(id: 2, result: .nacked), .init(id: 1, result: .confirmed),
          .init(id: 4, result: .confirmed), .init(id: 5, result: .nacked), .init(id: 6, result: .nacked),
          .init(id: 7, result: .confirmed), .init(id: 8, result: .confirmed),
        ])
      #expect(connection.unconfirmedCount == 0)
    }
  }

  @Test func aReturnedMessageIsFoundThoughItsConfirmComesWithOthers() async throws {
    try await FakePeer.withConnection(
      script: { session in
        try session.handshake()
        try session.selectConfirms()
        for _ in 0..<4 { try session.expectPublish() }
        try session.sendReturn("m3")
        try session.ack(1)
        try session.ack(4, multiple: true)
        try session.endOrderly()
      }
    ) { connection in
      try await connection.publish(messages(1...4))

      let outcomes = try await collect(4, from: connection.outcomes)

      #expect(outcomes.map(\.id) == [1, 2, 3, 4])
      #expect(
        outcomes.map(\.result) == [.confirmed, .confirmed, .returned(code: 312, text: "NO_ROUTE"), .confirmed])
    }
  }

  @Test func sameMessagesReturnInTheOrderTheyWerePublished() async throws {
    try await FakePeer.withConnection(
      script: { session in
        try session.handshake()
        try session.selectConfirms()
        for _ in 0..<3 { try session.expectPublish() }
        try session.sendReturn("m7")
        try session.sendReturn("m7")
        // Nothing of ours: logged and passed over.
        try session.sendReturn("other")
        try session.ack(3, multiple: true)
        try session.endOrderly()
      }
    ) { connection in
      let message = messages(7...7)[0].message
      try await connection.publish([(1, message), (2, message), (3, message)])

      let results = try await collect(3, from: connection.outcomes).map(\.result)

      let returned = AMQPPublishResult.returned(code: 312, text: "NO_ROUTE")
      #expect(results == [returned, returned, .confirmed])
    }
  }

  @Test func noMoreThanTheWindowIsInFlight() async throws {
    let window = AMQPConnection.publishWindow
    let inFlight = Promise<Bool>()
    let gate = Gate()
    try await FakePeer.withConnection(
      script: { session in
        try session.handshake()
        try session.selectConfirms()
        for _ in 0..<window { try session.expectPublish() }
        inFlight.fulfil(true)
        try gate.wait()
        try session.ack(10, multiple: true)
        for _ in 0..<10 { try session.expectPublish() }
        try session.ack(0, multiple: true)
        for _ in 0..<(1000 - window - 10) { try session.expectPublish() }
        try session.ack(0, multiple: true)
        try session.endOrderly()
      }
    ) { connection in
      let publishing = Task { try await connection.publish(messages(1...1000)) }
      let seen = try await within { await inFlight.value() }
      #expect(seen == true)
      #expect(connection.unconfirmedCount == 1000)

      gate.open()
      try await publishing.value

      let outcomes = try await collect(1000, from: connection.outcomes)
      #expect(outcomes.map(\.id) == Array(1...1000))
    }
  }

  @Test func aCancelledPublisherGetsAnOutcomeForEveryMessage() async throws {
    let window = AMQPConnection.publishWindow
    let inFlight = Promise<Bool>()
    let gate = Gate()
    try await FakePeer.withConnection(
      script: { session in
        try session.handshake()
        try session.selectConfirms()
        for _ in 0..<window { try session.expectPublish() }
        inFlight.fulfil(true)
        try gate.wait()
        try session.ack(0, multiple: true)
        try session.endOrderly()
      }
    ) { connection in
      let publishing = Task { try await connection.publish(messages(1...600)) }
      _ = try await within { await inFlight.value() }

      publishing.cancel()
      try await publishing.value
      gate.open()

      let outcomes = try await collect(600, from: connection.outcomes).sorted { $0.id < $1.id }
      #expect(outcomes.map(\.id) == Array(1...600))
      #expect(outcomes.prefix(window).allSatisfy { $0.result == .confirmed })
      #expect(outcomes.dropFirst(window).allSatisfy { isUnknown($0.result) })
      #expect(connection.unconfirmedCount == 0)
    }
  }

  @Test func aClosedChannelMakesEverythingInFlightUnknownAndTagsStartAgain() async throws {
    try await FakePeer.withConnection(
      script: { session in
        try session.handshake()
        try session.selectConfirms()
        for _ in 0..<3 { try session.expectPublish() }
        try session.ack(1)
        try session.send(Method.channelClose, Wire.closing(404, "NOT_FOUND - no exchange 'x'"))
        try session.expect(Method.channelCloseOK)
        try session.openChannel()
        try session.selectConfirms()
        try session.expectPublish()
        try session.ack(1)
        try session.endOrderly()
      }
    ) { connection in
      try await connection.publish(messages(1...3))
      let first = try await collect(3, from: connection.outcomes)
      try await connection.publish(messages(4...4))
      let second = try await collect(1, from: connection.outcomes)

      let error = AMQPError(
        .channelClosed, code: 404, "the broker closed the channel: NOT_FOUND - no exchange 'x'")
      #expect(first[0] == .init(id: 1, result: .confirmed))
      #expect(first[1] == .init(id: 2, result: .unknown(error)))
      #expect(first[2] == .init(id: 3, result: .unknown(error)))
      #expect(second == [.init(id: 4, result: .confirmed)])
      let change = try await within { await connection.stateChanges.first { _ in true } }
      #expect(change == .channelReopened(error))
    }
  }

  @Test func aClosedConnectionMakesEverythingInFlightUnknownAndEndsTheOutcomes() async throws {
    try await FakePeer.withConnection(
      script: { session in
        try session.handshake()
        try session.selectConfirms()
        for _ in 0..<2 { try session.expectPublish() }
        try session.send(Method.close, channel: 0, Wire.closing(320, "CONNECTION_FORCED - shutdown"))
        try session.expect(Method.closeOK)
      }
    ) { connection in
      try await connection.publish(messages(1...2))

      var outcomes: [AMQPPublishOutcome] = []
      for await batch in connection.outcomes { outcomes += batch }

      let error = AMQPError(
        .connectionClosed, code: 320, "the broker closed the connection: CONNECTION_FORCED - shutdown")
      #expect(outcomes == [.init(id: 1, result: .unknown(error)), .init(id: 2, result: .unknown(error))])
      #expect(await connection.waitUntilClosed() == error)
      #expect(error.isRetriable)
      let failure = await #expect(throws: AMQPError.self) { try await connection.publish(messages(3...3)) }
      #expect(failure == error)
      #expect(await connection.stateChanges.first { _ in true } == .closed(error))
    }
  }

  @Test func aBlockedConnectionHoldsMessagesBackUntilItIsUnblocked() async throws {
    let held = Gate()
    try await FakePeer.withConnection(
      configure: { $0.timeouts.request = .milliseconds(150) },
      script: { session in
        try session.handshake()
        try session.selectConfirms()
        try session.expectPublish()
        try session.ack(1)
        try session.send(Method.blocked, channel: 0, Wire.shortString("low on memory"))
        try held.wait()
        // The request that the client sent while it was blocked; it is not given up, though it waits long.
        try session.expect(Method.declareQueue)
        try session.send(Method.unblocked, channel: 0)
        try session.send(
          Method.declareQueueOK, Wire.shortString("q") + Wire.u32(1) + Wire.u32(2))
        try session.expectPublish()
        try session.ack(2)
        try session.endOrderly()
      }
    ) { connection in
      var states = connection.stateChanges.makeAsyncIterator()
      #expect(try await connection.publishAndConfirm(messages(1...1)[0].message) == .confirmed)
      #expect(await states.next() == .blocked(reason: "low on memory"))
      #expect(connection.isBlocked)

      async let second = connection.publishAndConfirm(messages(2...2)[0].message)
      async let declared = connection.declareQueue("q")
      // Three times the time that a request may take.
      await #expect(throws: TooLate.self) {
        try await within(.milliseconds(450)) { await connection.waitUntilClosed() }
      }
      held.open()

      #expect(await states.next() == .unblocked)
      let (info, result) = try await (declared, second)
      #expect(info.messageCount == 1)
      #expect(result == .confirmed)
      #expect(!connection.isBlocked)
    }
  }

  @Test func theLoginAnnouncesWhatWeUnderstand() async throws {
    let announced = Promise<[UInt8]>()
    try await FakePeer.withConnection(
      configure: { $0.connectionName = "the name" },
      script: { session in
        announced.fulfil(try session.handshake())
        try session.endOrderly()
      }
    ) { connection in
      let bytes = await announced.value() ?? []
      let text = String(decoding: bytes, as: UTF8.self)
      for name in [
        "consumer_cancel_notify", "connection.blocked", "publisher_confirms", "basic.nack",
        "authentication_failure_close", "connection_name", "the name",
      ] {
        #expect(text.contains(name), "\(name)")
      }
      #expect(connection.serverProduct == "Fake")
    }
  }

  private func messages(_ ids: ClosedRange<UInt64>) -> [(id: UInt64, message: AMQPMessage)] {
    ids.map { (id: $0, message: AMQPMessage(routingKey: "q", properties: .init(messageID: "m\($0)"), body: [1])) }
  }
}

extension FakeSession {
  fileprivate func sendReturn(_ messageID: String) throws {
    try send(
      Method.return, Wire.u16(312) + Wire.shortString("NO_ROUTE") + Wire.shortString("") + Wire.shortString("q"))
    try sendContent(messageID: messageID, body: [1])
  }
}
