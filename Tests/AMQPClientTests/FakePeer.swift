import Glibc
import Synchronization
import Testing

@testable import AMQPClient

/// A scripted AMQP peer on loopback: what a broker would hardly ever send, and what it must not send.
final class FakePeer: Sendable {
  struct Failure: Error, CustomStringConvertible { let description: String }

  let port: Int
  private let listener: Int32
  private let script = Promise<Result<Void, Failure>>()
  private let session = Mutex<FakeSession?>(nil)

  /// Runs `script` on a thread of its own for the first client; its socket closes when the script ends.
  init(_ body: @escaping @Sendable (FakeSession) throws -> Void) throws {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    listener = descriptor
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let bound = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
        bind(descriptor, address, length) == 0 && listen(descriptor, 4) == 0
          && getsockname(descriptor, address, &length) == 0
      }
    }
    guard bound else { throw Failure(description: "no listener: \(String(cString: strerror(errno)))") }
    port = Int(UInt16(bigEndian: address.sin_port))
    try AMQPThread.start(name: "fake-peer", stackBytes: 8 << 20) { [self] in
      let client = accept(descriptor, nil, nil)
      guard client >= 0 else {
        script.fulfil(.failure(Failure(description: "no client came")))
        return
      }
      let made = FakeSession(client)
      session.withLock { $0 = made }
      do {
        try body(made)
        script.fulfil(.success(()))
      } catch {
        script.fulfil(.failure(Failure(description: "the peer's script failed: \(error)")))
      }
      made.close()
    }
  }

  deinit { close(listener) }

  var configuration: AMQPConfiguration {
    var configuration = AMQPConfiguration(endpoints: [.init(host: "127.0.0.1", port: port)])
    configuration.timeouts.confirmsAtClose = .milliseconds(100)
    configuration.timeouts.farewell = .milliseconds(200)
    return configuration
  }

  /// Waits for the script and rethrows what went wrong in it.
  func finished() async throws {
    let script = self.script
    try await within(.seconds(20), "the end of the peer's script") { try await script.value()?.get() }
  }

  /// Runs the script against a connection of ours, and ends both.
  static func withConnection(
    configure: (inout AMQPConfiguration) -> Void = { _ in },
    script: @escaping @Sendable (FakeSession) throws -> Void,
    _ body: (AMQPConnection) async throws -> Void
  ) async throws {
    let peer = try FakePeer(script)
    var configuration = peer.configuration
    configure(&configuration)
    let connection = try await AMQPConnection.open(configuration, bodyBytesMax: 1 << 20, logger: Broker.logger)
    do {
      try await body(connection)
    } catch {
      await connection.close()
      throw error
    }
    await connection.close()
    try await peer.finished()
  }
}

/// One client of a fake peer, with the frames of the protocol.
final class FakeSession: Sendable {
  struct Frame: Sendable, Equatable {
    let type: UInt8
    let channel: UInt16
    let payload: [UInt8]

    /// Class and method, or 0.
    var method: UInt32 {
      guard type == 1, payload.count >= 4 else { return 0 }
      return payload[..<4].reduce(0) { $0 << 8 | UInt32($1) }
    }
    var arguments: ArraySlice<UInt8> { payload.dropFirst(4) }
  }

  struct Ended: Error {}

  private let descriptor: Int32
  private let isClosed = Mutex(false)

  init(_ descriptor: Int32) {
    self.descriptor = descriptor
    var limit = timeval(tv_sec: 15, tv_usec: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
  }

  func close() {
    let isFirst = isClosed.withLock { closed in
      defer { closed = true }
      return !closed
    }
    if isFirst { Glibc.close(descriptor) }
  }

  /// Ends our direction; the client reads the end of the stream.
  func hangUp() { shutdown(descriptor, Int32(SHUT_WR)) }

  /// For what the client may cut short by going away.
  func untilEnded(_ body: () throws -> Void) throws {
    do { try body() } catch is Ended {}
  }

  // MARK: Bytes

  func write(_ bytes: [UInt8]) throws {
    var sent = 0
    while sent < bytes.count {
      let count = bytes[sent...].withUnsafeBytes {
        Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
      }
      guard count > 0 else { throw Ended() }
      sent += count
    }
  }

  func read(_ count: Int) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    var got = 0
    while got < count {
      let more = bytes[got...].withUnsafeMutableBytes { recv(descriptor, $0.baseAddress, $0.count, 0) }
      guard more > 0 else { throw Ended() }
      got += more
    }
    return bytes
  }

  // MARK: Frames

  func readFrame() throws -> Frame {
    let header = try read(7)
    let size = header[3...].reduce(0) { $0 << 8 | Int($1) }
    let payload = try read(size + 1)
    return Frame(type: header[0], channel: UInt16(header[1]) << 8 | UInt16(header[2]), payload: payload.dropLast())
  }

  /// The next frame that is no heartbeat.
  func next() throws -> Frame {
    while true {
      let frame = try readFrame()
      if frame.type != 8 { return frame }
    }
  }

  @discardableResult
  func expect(_ method: UInt32) throws -> Frame {
    let frame = try next()
    guard frame.method == method else {
      throw FakePeer.Failure(
        description: "expected \(String(method, radix: 16)), got type \(frame.type) \(String(frame.method, radix: 16))")
    }
    return frame
  }

  /// Reads a whole `basic.publish`.
  /// - Returns: the body.
  @discardableResult
  func expectPublish() throws -> [UInt8] {
    try expect(Method.publish)
    let header = try next()
    let size = header.payload[4..<12].reduce(0) { $0 << 8 | Int($1) }
    var body: [UInt8] = []
    while body.count < size { body += try next().payload }
    return body
  }

  /// Reads until the client goes.
  func drain() {
    var bytes = [UInt8](repeating: 0, count: 65_536)
    while recv(descriptor, &bytes, bytes.count, 0) > 0 {}
  }

  func sendFrame(_ type: UInt8, channel: UInt16, _ payload: [UInt8]) throws {
    try write([type] + Wire.u16(channel) + Wire.u32(UInt32(payload.count)) + payload + [0xCE])
  }

  func send(_ method: UInt32, channel: UInt16 = 1, _ arguments: [UInt8] = []) throws {
    try sendFrame(1, channel: channel, Wire.u32(method) + arguments)
  }

  // MARK: Conversations

  /// Up to the open channel.
  /// - Returns: the arguments of the client's `start-ok`.
  @discardableResult
  func handshake(frameMax: UInt32 = 131_072, heartbeat: UInt16 = 0) throws -> [UInt8] {
    guard try read(8) == Array("AMQP".utf8) + [0, 0, 9, 1] else {
      throw FakePeer.Failure(description: "no AMQP header")
    }
    let properties = Wire.table(Wire.field("product", "S", Wire.longString("Fake")))
    try send(
      Method.start, channel: 0, [0, 9] + properties + Wire.longString("PLAIN EXTERNAL") + Wire.longString("en_US"))
    let startOK = try expect(Method.startOK)
    try send(Method.tune, channel: 0, Wire.u16(0) + Wire.u32(frameMax) + Wire.u16(heartbeat))
    try expect(Method.tuneOK)
    try expect(Method.open)
    try send(Method.openOK, channel: 0, [0])
    try openChannel()
    return Array(startOK.arguments)
  }

  func openChannel() throws {
    try expect(Method.channelOpen)
    try send(Method.channelOpenOK, Wire.u32(0))
  }

  func selectConfirms() throws {
    try expect(Method.confirmSelect)
    try send(Method.confirmSelectOK)
  }

  func startConsumer(_ tag: String) throws {
    try expect(Method.qos)
    try send(Method.qosOK)
    try expect(Method.consume)
    try send(Method.consumeOK, Wire.shortString(tag))
  }

  func ack(_ tag: UInt64, multiple: Bool = false) throws {
    try send(Method.ack, Wire.u64(tag) + [multiple ? 1 : 0])
  }

  func nack(_ tag: UInt64, multiple: Bool = false) throws {
    try send(Method.nack, Wire.u64(tag) + [multiple ? 1 : 0])
  }

  func deliver(
    _ tag: UInt64, to consumer: String, headers: [UInt8]? = nil, claimedBytes: UInt64? = nil, body: [UInt8] = [7]
  ) throws {
    try send(
      Method.deliver,
      Wire.shortString(consumer) + Wire.u64(tag) + [0] + Wire.shortString("exchange") + Wire.shortString("key"))
    try sendContent(headers: headers, claimedBytes: claimedBytes, body: body)
  }

  func sendContent(headers: [UInt8]? = nil, claimedBytes: UInt64? = nil, messageID: String? = nil, body: [UInt8]) throws
  {
    let flags: UInt16 = (headers == nil ? 0 : 1 << 13) | (messageID == nil ? 0 : 1 << 7)
    let properties = (headers.map(Wire.table) ?? []) + (messageID.map(Wire.shortString) ?? [])
    let size = claimedBytes ?? UInt64(body.count)
    try sendFrame(2, channel: 1, Wire.u16(60) + Wire.u16(0) + Wire.u64(size) + Wire.u16(flags) + properties)
    var rest = body[...]
    while !rest.isEmpty {
      try sendFrame(3, channel: 1, [UInt8](rest.prefix(100_000)))
      rest = rest.dropFirst(100_000)
    }
  }

  /// Answers the client's `close`.
  func endOrderly() throws {
    while true {
      let frame = try next()
      if frame.method == Method.close { break }
    }
    try send(Method.closeOK, channel: 0)
    drain()
  }
}

/// Holds a script until the test lets it go on.
final class Gate: Sendable {
  private let descriptors: (Int32, Int32)

  init() {
    var both: [Int32] = [-1, -1]
    pipe(&both)
    descriptors = (both[0], both[1])
  }

  deinit {
    close(descriptors.0)
    close(descriptors.1)
  }

  func open() { _ = Glibc.write(descriptors.1, [1], 1) }

  func wait() throws {
    var poller = pollfd(fd: descriptors.0, events: Int16(POLLIN), revents: 0)
    guard poll(&poller, 1, 15_000) > 0 else { throw FakePeer.Failure(description: "nobody opened the gate") }
  }
}

/// Class and method numbers.
enum Method {
  static let start: UInt32 = 0x000A_000A
  static let startOK: UInt32 = 0x000A_000B
  static let tune: UInt32 = 0x000A_001E
  static let tuneOK: UInt32 = 0x000A_001F
  static let open: UInt32 = 0x000A_0028
  static let openOK: UInt32 = 0x000A_0029
  static let close: UInt32 = 0x000A_0032
  static let closeOK: UInt32 = 0x000A_0033
  static let blocked: UInt32 = 0x000A_003C
  static let unblocked: UInt32 = 0x000A_003D
  static let channelOpen: UInt32 = 0x0014_000A
  static let channelOpenOK: UInt32 = 0x0014_000B
  static let channelClose: UInt32 = 0x0014_0028
  static let channelCloseOK: UInt32 = 0x0014_0029
  static let declareQueue: UInt32 = 0x0032_000A
  static let declareQueueOK: UInt32 = 0x0032_000B
  static let qos: UInt32 = 0x003C_000A
  static let qosOK: UInt32 = 0x003C_000B
  static let consume: UInt32 = 0x003C_0014
  static let consumeOK: UInt32 = 0x003C_0015
  static let cancel: UInt32 = 0x003C_001E
  static let cancelOK: UInt32 = 0x003C_001F
  static let publish: UInt32 = 0x003C_0028
  static let `return`: UInt32 = 0x003C_0032
  static let deliver: UInt32 = 0x003C_003C
  static let ack: UInt32 = 0x003C_0050
  static let reject: UInt32 = 0x003C_005A
  static let nack: UInt32 = 0x003C_0078
  static let confirmSelect: UInt32 = 0x0055_000A
  static let confirmSelectOK: UInt32 = 0x0055_000B
}

/// The encodings of the protocol.
enum Wire {
  static func u16(_ value: UInt16) -> [UInt8] { [UInt8(value >> 8), UInt8(truncatingIfNeeded: value)] }
  static func u32(_ value: UInt32) -> [UInt8] { u16(UInt16(value >> 16)) + u16(UInt16(truncatingIfNeeded: value)) }
  static func u64(_ value: UInt64) -> [UInt8] { u32(UInt32(value >> 32)) + u32(UInt32(truncatingIfNeeded: value)) }
  static func shortString(_ text: String) -> [UInt8] { [UInt8(text.utf8.count)] + Array(text.utf8) }
  static func longString(_ text: String) -> [UInt8] { u32(UInt32(text.utf8.count)) + Array(text.utf8) }
  static func table(_ entries: [UInt8]) -> [UInt8] { u32(UInt32(entries.count)) + entries }
  static func field(_ name: String, _ kind: Character, _ value: [UInt8]) -> [UInt8] {
    shortString(name) + [kind.asciiValue ?? 0] + value
  }

  /// Entries of a table that holds `depth` tables in each other.
  static func nestedTables(_ depth: Int) -> [UInt8] {
    // From the outside in, because each length is known beforehand: 7 bytes a level.
    var bytes: [UInt8] = []
    bytes.reserveCapacity(depth * 7)
    for level in 0..<depth {
      bytes += field("a", "F", u32(UInt32((depth - level - 1) * 7)))
    }
    return bytes
  }

  /// Entries of a table that holds `depth` arrays in each other.
  static func nestedArrays(_ depth: Int) -> [UInt8] {
    var bytes = shortString("a")
    for level in 0..<depth {
      bytes += [Character("A").asciiValue ?? 0] + u32(UInt32((depth - level - 1) * 5))
    }
    return bytes
  }

  /// Arguments of `channel.close` and `connection.close`.
  static func closing(_ code: UInt16, _ text: String) -> [UInt8] {
    u16(code) + shortString(text) + u16(0) + u16(0)
  }
}
