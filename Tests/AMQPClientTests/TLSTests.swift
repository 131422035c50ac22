import Testing

@testable import AMQPClient

/// TLS against the `openssl` program's server.
@Suite struct TLSTests {
  @Test func aServerWithAGoodCertificateIsTalkedTo() async throws {
    try await TLSWorkshop.with { workshop in
      let script: @Sendable (FakeSession) throws -> Void = { session in
        try session.handshake()
        try session.selectConfirms()
        for _ in 0..<3 { try session.expectPublish() }
        try session.ack(3, multiple: true)
        try session.startConsumer("c")
        try session.deliver(1, to: "c", body: [UInt8](repeating: 9, count: 300_000))
        try session.expect(Method.ack)
        try session.endOrderly()
      }
      try await workshop.withServer(script: script) { configuration in
        let connection = try await TLSWorkshop.open(configuration)
        let message = AMQPMessage(routingKey: "q", body: [UInt8](repeating: 1, count: 200_000))

        try await connection.publish((1...3).map { (id: $0, message: message) })
        let outcomes = try await collect(3, from: connection.outcomes)
        let consumer = try await connection.consume("q", prefetch: 1)
        let delivery = try #require(try await collect(1, from: consumer).first)
        connection.settle(acknowledged: [delivery.deliveryTag])
        await connection.close()

        #expect(outcomes.allSatisfy { $0.result == .confirmed })
        #expect(delivery.body == [UInt8](repeating: 9, count: 300_000))
        #expect(await connection.waitUntilClosed() == nil)
      }
    }
  }

  @Test func aCertificateOfAnUnknownAuthorityIsRefused() async throws {
    try await TLSWorkshop.with { workshop in
      try await workshop.withServer { configuration in
        var configuration = configuration
        configuration.tls?.certificateAuthorityFile = workshop.file("other-ca.pem")

        let error = await #expect(throws: AMQPError.self) { _ = try await TLSWorkshop.open(configuration) }

        #expect(error?.kind == .tlsFailed)
        #expect(error?.text.contains("is not signed by an authority in \(workshop.file("other-ca.pem"))") == true)
      }
    }
  }

  @Test func aCertificateForAnotherHostIsRefusedUnlessTheCheckIsOff() async throws {
    try await TLSWorkshop.with { workshop in
      try await workshop.withServer(certificate: "wrong") { configuration in
        let error = await #expect(throws: AMQPError.self) { _ = try await TLSWorkshop.open(configuration) }
        #expect(error?.kind == .tlsFailed)
        #expect(error?.text.contains("is for another host name") == true)
      }
      try await workshop.withServer(certificate: "wrong") { configuration in
        var configuration = configuration
        configuration.tls?.verifyPeer = false
        let connection = try await TLSWorkshop.open(configuration)
        #expect(connection.isOpen)
        await connection.close()
      }
    }
  }

  @Test func aClientCertificateIsShownAlsoWithAnEncryptedKey() async throws {
    try await TLSWorkshop.with { workshop in
      let options = ["-Verify", "1", "-verify_return_error", "-CAfile", workshop.file("ca.pem")]
      for (key, passphrase) in [("client.key", nil), ("client.encrypted.key", "s3cret")] {
        try await workshop.withServer(options: options) { configuration in
          var configuration = configuration
          configuration.tls?.certificateFile = workshop.file("client.pem")
          configuration.tls?.keyFile = workshop.file(key)
          configuration.tls?.keyPassphrase = passphrase
          let connection = try await TLSWorkshop.open(configuration)
          #expect(connection.isOpen)
          await connection.close()
        }
      }
      try await workshop.withServer(options: options) { configuration in
        await #expect(throws: AMQPError.self) { _ = try await TLSWorkshop.open(configuration) }
      }
    }
  }

  @Test func aServerWithoutTLS12IsRefused() async throws {
    try await TLSWorkshop.with { workshop in
      let options = ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]
      try await workshop.withServer(options: options) { configuration in
        let error = await #expect(throws: AMQPError.self) { _ = try await TLSWorkshop.open(configuration) }
        #expect(error?.kind == .tlsFailed)
      }
    }
  }

  @Test func aPlainPortIsNoTLSSession() async throws {
    let peer = try FakePeer { session in
      try session.write(Array("AMQP".utf8) + [0, 0, 9, 1])
      session.drain()
    }
    var configuration = peer.configuration
    configuration.tls = .init()

    let error = await #expect(throws: AMQPError.self) { _ = try await TLSWorkshop.open(configuration) }

    #expect(error?.kind == .tlsFailed)
    try await peer.finished()
  }

  /// Found before anything is connected: the library would abort, or ask for the passphrase on the terminal.
  @Test func filesThatCannotBeUsedAreNamed() async throws {
    try await TLSWorkshop.with { workshop in
      let pem = workshop.file("client.pem")
      let encrypted = workshop.file("client.encrypted.key")
      let missing = workshop.file("missing")
      let cases: [((inout AMQPConfiguration.TLS) -> Void, String)] = [
        ({ $0.certificateAuthorityFile = missing }, "cacertfile \(missing) cannot be read: No such file or directory"),
        ({ $0.certificateAuthorityFile = "/tmp" }, "cacertfile /tmp is empty or not a file"),
        (
          { $0.certificateAuthorityFile = encrypted }, "cacertfile \(encrypted) holds no PEM certificate"
        ),
        (
          {
            $0.certificateFile = pem
            $0.keyFile = encrypted
          }, "keyfile \(encrypted) is encrypted: give its passphrase, or a key without one"
        ),
        (
          {
            $0.certificateFile = pem
            $0.keyFile = encrypted
            $0.keyPassphrase = "wrong"
          },
          "certfile \(pem) and keyfile \(encrypted) are not a PEM certificate and its key, or the passphrase is wrong"
        ),
        (
          {
            $0.certificateFile = missing
            $0.keyFile = encrypted
          }, "certfile \(missing) cannot be read: No such file or directory"
        ),
      ]
      for (change, text) in cases {
        var configuration = AMQPConfiguration(endpoints: [.init(host: "localhost", port: 1)])
        var tls = AMQPConfiguration.TLS()
        tls.certificateAuthorityFile = workshop.file("ca.pem")
        change(&tls)
        configuration.tls = tls

        let error = await #expect(throws: AMQPError.self) {
          try await AMQPConnection.open(configuration, logger: Broker.logger)
        }

        #expect(error?.kind == .invalidConfiguration)
        #expect(error?.text == text)
      }
    }
  }
}
