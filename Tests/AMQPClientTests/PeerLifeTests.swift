import Testing

@testable import AMQPClient

/// How a connection begins and ends.
@Suite struct PeerLifeTests {
  @Test func severalTasksMayWaitForTheEndAndOneMayGiveUp() async throws {
    let gate = Gate()
    try await FakePeer.withConnection(
      script: { session in
        try session.handshake()
        try gate.wait()
        try session.send(Method.close, channel: 0, Wire.closing(530, "NOT_ALLOWED"))
        try session.expect(Method.closeOK)
      }
    ) { connection in
      let first = Task { await connection.waitUntilClosed() }
      let second = Task { await connection.waitUntilClosed() }
      let third = Task { await connection.waitUntilClosed() }
      third.cancel()
      #expect(await third.value?.kind == .cancelled)
      gate.open()

      #expect(await first.value?.code == 530)
      #expect(await second.value == first.value)
      #expect(await connection.waitUntilClosed()?.needsOperator == true)
    }
  }

  @Test func aConnectionThatNobodyHoldsClosesByItself() async throws {
    let closed = Promise<Bool>()
    let peer = try FakePeer { session in
      try session.handshake()
      try session.endOrderly()
      closed.fulfil(true)
    }
    do {
      let connection = try await AMQPConnection.open(peer.configuration, logger: Broker.logger)
      #expect(connection.isOpen)
    }

    let seen = try await within { await closed.value() }

    #expect(seen == true)
    try await peer.finished()
  }

  @Test func aCancelledOpenLeavesNoConnectionBehind() async throws {
    let reached = Promise<Bool>()
    let gate = Gate()
    let peer = try FakePeer { session in
      reached.fulfil(true)
      try gate.wait()
      try session.handshake()
      try session.endOrderly()
    }
    let configuration = peer.configuration
    let opening = Task { try await AMQPConnection.open(configuration, logger: Broker.logger) }
    _ = await reached.value()

    opening.cancel()
    let error = await #expect(throws: AMQPError.self) { _ = try await opening.value }
    gate.open()

    #expect(error?.kind == .cancelled)
    try await peer.finished()
  }

  @Test(arguments: [1, 3, -1])
  func theEndpointIsChosenByItsIndexInTurn(_ index: Int) async throws {
    let peer = try FakePeer { session in
      try session.handshake()
      try session.endOrderly()
    }
    var configuration = peer.configuration
    let here = configuration.endpoints[0]
    configuration.endpoints = [.init(host: "127.0.0.1", port: 1), here]

    let connection = try await AMQPConnection.open(configuration, endpointIndex: index, logger: Broker.logger)

    #expect(connection.endpoint == here)
    await connection.close()
    try await peer.finished()
  }
}
