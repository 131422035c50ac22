import CRabbitMQ
import Glibc

/// A message on its way in: the method frame told what it is, then come one header frame and body frames until the
/// announced size is there.
struct ContentAssembly {
  enum Purpose {
    case delivery(consumer: ConsumerEntry?, publicTag: UInt64, redelivered: Bool, exchange: String, routingKey: String)
    case got(publicTag: UInt64, redelivered: Bool, exchange: String, routingKey: String)
    case returned(code: Int, text: String, exchange: String, routingKey: String)
  }

  /// Of a body that is too large.
  static let keptBytesMax = 64 * 1024
  /// Reserved at once on the peer's word; more only as it arrives.
  private static let reservedBytesMax = 1 << 20

  let purpose: Purpose
  private(set) var properties = AMQPProperties()
  private(set) var problem: AMQPDelivery.Problem?
  private(set) var body: [UInt8] = []
  private(set) var claimedBytes: UInt64 = 0
  private var hasHeader = false
  private var missing: UInt64 = 0
  private var keptBytes = 0

  init(_ purpose: Purpose) { self.purpose = purpose }

  var isComplete: Bool { hasHeader && missing == 0 }

  /// - Parameter bodyBytesMax: a larger body is read to its end, but only its first 64 KiB are kept.
  mutating func addHeader(_ frame: UnsafePointer<amqp_frame_t>, bodyBytesMax: Int) throws(AMQPError) {
    guard !hasHeader, tb_frame_class(frame) == UInt16(AMQP_BASIC_CLASS), let source = tb_frame_properties(frame) else {
      throw AMQPError(.protocolViolation, "the broker sent a content header out of place")
    }
    hasHeader = true
    claimedBytes = tb_frame_body_size(frame)
    missing = claimedBytes
    switch purpose {
    case .delivery, .got:
      let (decoded, malformed) = WireDecoder.properties(source)
      properties = decoded
      if let malformed { problem = .malformedHeaders(reason: malformed.reason) }
      if claimedBytes > UInt64(bodyBytesMax) {
        problem = .tooLarge(claimedBytes: claimedBytes)
        keptBytes = Self.keptBytesMax
      } else {
        keptBytes = Int(claimedBytes)
      }
      body.reserveCapacity(min(keptBytes, Self.reservedBytesMax))
    case .returned:
      properties.messageID = WireDecoder.messageID(source)
    }
  }

  mutating func addBody(_ bytes: amqp_bytes_t) throws(AMQPError) {
    guard hasHeader, UInt64(bytes.len) <= missing else {
      throw AMQPError(.protocolViolation, "the broker sent more body than it announced")
    }
    missing -= UInt64(bytes.len)
    let wanted = min(bytes.len, keptBytes - body.count)
    guard wanted > 0, let base = bytes.bytes else { return }
    body.append(contentsOf: UnsafeRawBufferPointer(start: base, count: wanted))
  }
}

/// A consumer as the connection's thread knows it.
final class ConsumerEntry {
  let tag: String
  let queue: String
  let tagBytes: [UInt8]
  let needsAcknowledgement: Bool
  let deliveries: BatchBuffer<AMQPDelivery>
  /// Since the last flush.
  var batch: [AMQPDelivery] = []

  init(tag: String, queue: String, needsAcknowledgement: Bool, deliveries: BatchBuffer<AMQPDelivery>) {
    self.tag = tag
    self.queue = queue
    tagBytes = Array(tag.utf8)
    self.needsAcknowledgement = needsAcknowledgement
    self.deliveries = deliveries
  }

  func hasTag(_ bytes: amqp_bytes_t) -> Bool { bytes.equals(tagBytes) }
}

/// The last name that came, because it is nearly always the next one too: saves an allocation per message.
struct LastName {
  private var bytes: [UInt8] = []
  private var text = ""

  mutating func string(_ source: amqp_bytes_t) -> String {
    if source.equals(bytes) { return text }
    bytes = WireDecoder.array(source)
    text = String(decoding: bytes, as: UTF8.self)
    return text
  }
}

extension amqp_bytes_t {
  func equals(_ other: [UInt8]) -> Bool {
    guard len == other.count else { return false }
    guard len > 0, let base = bytes else { return true }
    return other.withUnsafeBytes { memcmp($0.baseAddress!, base, len) == 0 }
  }
}
