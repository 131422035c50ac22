import Glibc
import Testing

@testable import AMQPClient

/// Messages that no decent client sends, but that the broker takes and passes on.
@Suite struct BrokerRawTests {
  @Test(arguments: [
    (Wire.nestedTables(18_000), "header tables are nested deeper than 16"),
    (Wire.nestedArrays(25_000), "header tables are nested deeper than 16"),
    (Wire.field("", "t", [1]), "a header has an empty name"),
  ])
  func headersThatTheBrokerTakesAndWeDoNotAreSetAside(_ headers: [UInt8], _ reason: String) async throws {
    try await Broker.withQueue { connection, queue in
      let configuration = try Broker.configuration()
      try await onThread { try publishRaw(headers, to: queue, configuration) }
      #expect(try await connection.publishAndConfirm(AMQPMessage(routingKey: queue, body: [2])) == .confirmed)

      let deliveries = try await collect(2, from: try await connection.consume(queue, prefetch: 10))
      connection.settle(acknowledged: deliveries.map(\.deliveryTag))

      #expect(deliveries[0].problem == .malformedHeaders(reason: reason))
      #expect(deliveries[0].properties.messageID == "raw")
      #expect(deliveries[0].body == [1])
      #expect(deliveries[1].problem == nil)
      #expect(try await connection.get(queue, acknowledge: false) == nil)
    }
  }

  private func onThread(_ body: @escaping @Sendable () throws -> Void) async throws {
    let done = Promise<Result<Void, FakePeer.Failure>>()
    try AMQPThread.start(name: "raw-client", stackBytes: 1 << 20) {
      do {
        try body()
        done.fulfil(.success(()))
      } catch {
        done.fulfil(.failure(FakePeer.Failure(description: "\(error)")))
      }
    }
    try await within(.seconds(20), "the raw client") { try await done.value()?.get() }
  }
}

/// Publishes one message with these header entries and waits until the broker has it.
private func publishRaw(_ headers: [UInt8], to queue: String, _ configuration: AMQPConfiguration) throws {
  let session = FakeSession(try connected(configuration.endpoints[0]))
  defer { session.close() }
  try session.write(Array("AMQP".utf8) + [0, 0, 9, 1])
  try session.expect(Method.start)
  let login = "\0\(configuration.user)\0\(configuration.password)"
  try session.send(
    Method.startOK, channel: 0,
    Wire.table([]) + Wire.shortString("PLAIN") + Wire.longString(login) + Wire.shortString("en_US"))
  try session.expect(Method.tune)
  try session.send(Method.tuneOK, channel: 0, Wire.u16(1) + Wire.u32(131_072) + Wire.u16(0))
  try session.send(Method.open, channel: 0, Wire.shortString(configuration.vhost) + [0, 0])
  try session.expect(Method.openOK)
  try session.send(Method.channelOpen, [0])
  try session.expect(Method.channelOpenOK)
  try session.send(Method.confirmSelect, [0])
  try session.expect(Method.confirmSelectOK)
  try session.send(Method.publish, Wire.u16(0) + Wire.shortString("") + Wire.shortString(queue) + [0])
  try session.sendContent(headers: headers, messageID: "raw", body: [1])
  try session.expect(Method.ack)
}

private func connected(_ endpoint: AMQPConfiguration.Endpoint) throws -> Int32 {
  var hints = addrinfo()
  hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
  var list: UnsafeMutablePointer<addrinfo>?
  guard getaddrinfo(endpoint.host, "\(endpoint.port)", &hints, &list) == 0 else {
    throw FakePeer.Failure(description: "\(endpoint.host) cannot be resolved")
  }
  defer { freeaddrinfo(list) }
  var next = list
  while let address = next {
    let descriptor = socket(address.pointee.ai_family, address.pointee.ai_socktype, 0)
    if connect(descriptor, address.pointee.ai_addr, address.pointee.ai_addrlen) == 0 { return descriptor }
    close(descriptor)
    next = address.pointee.ai_next
  }
  throw FakePeer.Failure(description: "no connection to \(endpoint)")
}
