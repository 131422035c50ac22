import Testing

@testable import AMQPClient

/// A peer that is silent, slow, or sends what it must not. The library can hang or crash on each of these.
@Suite struct PeerFailureTests {
  /// The library's publish waits for ever when the peer is silent and no longer reads.
  @Test func publishingToAPeerThatStopsReadingEndsTheConnection() async throws {
    let count: UInt64 = 60
    let gate = Gate()
    try await FakePeer.withConnection(
      configure: {
        $0.heartbeatSeconds = 1
        $0.timeouts.call = .milliseconds(1_500)
      },
      script: { session in
        try session.handshake(heartbeat: 1)
        try session.selectConfirms()
        // Neither reads nor writes any more, until the client has given up.
        try gate.wait()
      }
    ) { connection in
      let body = [UInt8](repeating: 1, count: 1 << 20)
      let messages = (0..<count).map { (id: $0, message: AMQPMessage(routingKey: "q", body: body)) }
      try await connection.publish(messages)

      let outcomes = try await collect(Int(count), from: connection.outcomes)

      #expect(Set(outcomes.map(\.id)) == Set(0..<count))
      #expect(outcomes.allSatisfy { isUnknown($0.result) })
      let error = try await within { await connection.waitUntilClosed() }
      #expect(error?.kind == .timeout || error?.kind == .connectionLost)
      gate.open()
    }
  }

  @Test func anIdlePeerThatFallsSilentIsNoticedAfterTwoHeartbeats() async throws {
    try await FakePeer.withConnection(
      configure: { $0.heartbeatSeconds = 1 },
      script: { session in
        try session.handshake(heartbeat: 1)
        session.drain()
      }
    ) { connection in
      let error = try await within { await connection.waitUntilClosed() }
      #expect(error?.kind == .connectionLost)
      #expect(error?.text == "the broker was silent for two heartbeats of 1 s")
    }
  }

  @Test func anIdleConnectionSendsHeartbeats() async throws {
    let sawThem = Promise<Bool>()
    try await FakePeer.withConnection(
      configure: { $0.heartbeatSeconds = 1 },
      script: { session in
        try session.handshake(heartbeat: 1)
        for _ in 0..<2 {
          guard try session.readFrame().type == 8 else { throw FakePeer.Failure(description: "not a heartbeat") }
          try session.sendFrame(8, channel: 0, [])
        }
        sawThem.fulfil(true)
        try session.endOrderly()
      }
    ) { connection in
      let seen = try await within { await sawThem.value() }
      #expect(seen == true)
      #expect(connection.isOpen)
    }
  }

  @Test func aPeerThatNeverSaysHelloIsGivenUp() async throws {
    let peer = try FakePeer { $0.drain() }
    var configuration = peer.configuration
    configuration.timeouts.login = .milliseconds(200)

    let error = await #expect(throws: AMQPError.self) {
      try await AMQPConnection.open(configuration, logger: Broker.logger)
    }

    #expect(error?.kind == .timeout)
    try await peer.finished()
  }

  @Test func aPeerThatHangsUpDuringTheLoginIsAConnectionLost() async throws {
    let peer = try FakePeer { _ = try $0.read(8) }

    let error = await #expect(throws: AMQPError.self) {
      try await AMQPConnection.open(peer.configuration, logger: Broker.logger)
    }

    #expect(error?.kind == .connectionLost)
    #expect(error?.isRetriable == true)
  }

  @Test func nobodyListeningIsAFailedConnect() async throws {
    var configuration = AMQPConfiguration(endpoints: [.init(host: "127.0.0.1", port: 1)])
    configuration.timeouts.connect = .seconds(2)

    let error = await #expect(throws: AMQPError.self) {
      try await AMQPConnection.open(configuration, logger: Broker.logger)
    }

    #expect(error?.kind == .connectFailed)
    #expect(error?.text == "no connection to 127.0.0.1:1: refused or unreachable; is the broker running?")
  }

  @Test func aRequestThatIsNotAnsweredEndsTheConnection() async throws {
    try await FakePeer.withConnection(
      configure: { $0.timeouts.request = .milliseconds(200) },
      script: { session in
        try session.handshake()
        session.drain()
      }
    ) { connection in
      let error = await #expect(throws: AMQPError.self) { try await connection.declareQueue("q") }

      #expect(error?.kind == .timeout)
      #expect(error?.text.contains("declare queue \"q\"") == true)
      #expect(await connection.waitUntilClosed() == error)
    }
  }

  /// After such data the library may only be destroyed; the next call would crash.
  @Test(arguments: BadBytes.allCases)
  func badBytesEndTheConnectionAndNothingElse(_ bad: BadBytes) async throws {
    try await FakePeer.withConnection(
      script: { session in
        try session.handshake()
        try session.startConsumer("c")
        try session.untilEnded { try bad.send(session) }
        session.drain()
      }
    ) { connection in
      let consumer = try await connection.consume("q", prefetch: 10)

      let error = await #expect(throws: AMQPError.self) { try await within { for try await _ in consumer {} } }

      #expect(error?.kind == bad.kind, "\(bad): \(String(describing: error))")
      #expect(await connection.waitUntilClosed() == error)
      await #expect(throws: AMQPError.self) { try await connection.declareQueue("q") }
    }
  }

  enum BadBytes: String, CaseIterable, Sendable {
    case garbage, wrongFrameEnd, hugeFrame, headerOverFrameMax, unknownFieldType, truncatedTable, unknownMethod
    case unknownClass, bodyWithoutHeader, moreBodyThanAnnounced, deliveryWithinDelivery, foreignChannel
    case endInsideAFrame, tagOutOfOrder, unaskedReply

    var kind: AMQPError.Kind { self == .endInsideAFrame ? .connectionLost : .protocolViolation }

    func send(_ session: FakeSession) throws {
      switch self {
      case .garbage: try session.write([UInt8](repeating: 0xFF, count: 64))
      case .wrongFrameEnd: try session.write([8, 0, 0, 0, 0, 0, 0, 0x00])
      case .hugeFrame: try session.write([3] + Wire.u16(1) + Wire.u32(15_000_000) + [UInt8](repeating: 0, count: 1000))
      case .headerOverFrameMax:
        let value = [UInt8](repeating: 120, count: 140_000)
        try session.deliver(1, to: "c", headers: Wire.field("h", "x", Wire.u32(140_000) + value))
      case .unknownFieldType: try session.deliver(1, to: "c", headers: Wire.field("h", "Z", [1, 2, 3]))
      case .truncatedTable: try session.deliver(1, to: "c", headers: Wire.field("h", "F", Wire.u32(1_000_000)))
      case .unknownMethod: try session.send(0x003C_00FF)
      case .unknownClass: try session.send(0x00FF_0001)
      case .bodyWithoutHeader: try session.sendFrame(3, channel: 1, [1])
      case .moreBodyThanAnnounced: try session.deliver(1, to: "c", claimedBytes: 2, body: [1, 2, 3])
      case .deliveryWithinDelivery:
        try session.deliver(1, to: "c", claimedBytes: 10, body: [])
        try session.deliver(2, to: "c")
      case .foreignChannel: try session.send(Method.ack, channel: 7, Wire.u64(1) + [0])
      case .endInsideAFrame:
        try session.write([1, 0, 1, 0, 0, 1, 0, 0])
        session.hangUp()
      case .tagOutOfOrder:
        try session.deliver(1, to: "c")
        try session.deliver(1 << 60, to: "c")
      case .unaskedReply: try session.send(Method.declareQueueOK, Wire.shortString("q") + Wire.u32(0) + Wire.u32(0))
      }
    }
  }

  /// RabbitMQ 3.10 passes such headers on; the library recurses through them.
  @Test(arguments: [false, true])
  func deeplyNestedHeadersAreSetAsideAndTheNextMessageArrives(_ arrays: Bool) async throws {
    try await FakePeer.withConnection(
      script: { session in
        // No limit of the peer's: then ours counts, 1 MiB.
        try session.handshake(frameMax: 0)
        try session.startConsumer("c")
        let headers = arrays ? Wire.nestedArrays(209_000) : Wire.nestedTables(149_000)
        try session.deliver(1, to: "c", headers: headers)
        try session.deliver(2, to: "c", headers: Wire.field("h", "t", [1]))
        let ack = try session.expect(Method.ack)
        guard Array(ack.arguments) == Wire.u64(2) + [1] else { throw FakePeer.Failure(description: "\(ack)") }
        try session.endOrderly()
      }
    ) { connection in
      let consumer = try await connection.consume("q", prefetch: 10)

      let deliveries = try await collect(2, from: consumer)

      #expect(deliveries[0].problem == .malformedHeaders(reason: "header tables are nested deeper than 16"))
      #expect(deliveries[0].properties.headers.isEmpty)
      #expect(deliveries[0].body == [7])
      #expect(deliveries[1].problem == nil)
      #expect(deliveries[1].properties.headers == ["h": true])
      connection.settle(acknowledged: deliveries.map(\.deliveryTag))
    }
  }

  @Test func aHeaderWithAnEmptyNameIsSetAsideAndTheNextMessageArrives() async throws {
    try await FakePeer.withConnection(
      script: { session in
        try session.handshake()
        try session.startConsumer("c")
        try session.deliver(1, to: "c", headers: Wire.field("", "t", [1]), body: [1, 2])
        try session.deliver(2, to: "c")
        try session.endOrderly()
      }
    ) { connection in
      let deliveries = try await collect(2, from: try await connection.consume("q", prefetch: 10))

      #expect(deliveries[0].problem == .malformedHeaders(reason: "a header has an empty name"))
      #expect(deliveries[0].body == [1, 2])
      #expect(deliveries[1].problem == nil)
    }
  }

  @Test func everyKindOfHeaderValueIsRead() async throws {
    let fields: [(String, Character, [UInt8], AMQPValue)] = [
      ("t", "t", [1], true), ("b", "b", [0xFF], -1), ("B", "B", [0xFF], 255), ("s", "s", [0xFF, 0xFE], -2),
      ("u", "u", [0xFF, 0xFE], 65_534), ("I", "I", Wire.u32(.max), -1), ("i", "i", Wire.u32(.max), 4_294_967_295),
      ("l", "l", Wire.u64(.max), -1), ("L", "L", Wire.u64(5), 5), ("M", "L", Wire.u64(.max), .uint(.max)),
      ("f", "f", Wire.u32(Float(1.5).bitPattern), .double(1.5)),
      ("d", "d", Wire.u64((-2.5).bitPattern), .double(-2.5)), ("D", "D", [2] + Wire.u32(314), .double(3.14)),
      ("S", "S", Wire.longString("text"), "text"), ("R", "S", Wire.u32(2) + [0xFF, 0xFE], .bytes([0xFF, 0xFE])),
      ("x", "x", Wire.u32(2) + [1, 2], .bytes([1, 2])), ("T", "T", Wire.u64(99), .timestamp(99)), ("V", "V", [], .null),
      ("A", "A", Wire.u32(3) + [0x74, 0, 0x56], .array([false, .null])),
      ("F", "F", Wire.table(Wire.field("k", "t", [0])), .table(["k": false])),
    ]
    try await FakePeer.withConnection(
      script: { session in
        try session.handshake()
        try session.startConsumer("c")
        try session.deliver(1, to: "c", headers: fields.flatMap { Wire.field($0.0, $0.1, $0.2) })
        try session.endOrderly()
      }
    ) { connection in
      let delivery = try #require(try await collect(1, from: try await connection.consume("q", prefetch: 10)).first)

      for (name, _, _, value) in fields { #expect(delivery.properties.headers[name] == value, "\(name)") }
      #expect(delivery.properties.headers.count == fields.count)
    }
  }

  /// The library would reserve the announced size at once.
  @Test func anAbsurdlyLargeAnnouncedBodyTakesNoMemory() async throws {
    try await FakePeer.withConnection(
      script: { session in
        try session.handshake()
        try session.startConsumer("c")
        try session.untilEnded {
          try session.deliver(1, to: "c", claimedBytes: 1 << 60, body: [UInt8](repeating: 1, count: 3 << 20))
        }
        session.hangUp()
        session.drain()
      }
    ) { connection in
      let consumer = try await connection.consume("q", prefetch: 10)

      let error = await #expect(throws: AMQPError.self) { try await within { for try await _ in consumer {} } }

      #expect(error?.kind == .connectionLost)
    }
  }
}

func isUnknown(_ result: AMQPPublishResult) -> Bool {
  if case .unknown = result { return true }
  return false
}
