package import TaskBridgeCore

/// A message that could not be understood or was not allowed.
package struct QuarantinedMessage: Sendable {
  /// Most bytes of a body that are kept.
  package static let bodyBytesMax = 65_536

  package var source: Source
  package var isRejected = false
  package var code: String
  package var detail: String
  package var routingKey: String?
  /// Properties and headers as JSON text.
  package var properties: String?
  package var body: [UInt8]
  package var bodyBytes: Int

  package enum Source: String, Sendable {
    case submit, events, returned
  }

  package init(
    source: Source, code: String, detail: String, routingKey: String?, properties: String?, body: [UInt8],
    bodyBytes: Int? = nil, isRejected: Bool = false
  ) {
    self.source = source
    self.code = code
    self.detail = detail
    self.routingKey = routingKey
    self.properties = properties
    self.body = Array(body.prefix(Self.bodyBytesMax))
    self.bodyBytes = bodyBytes ?? body.count
    self.isRejected = isRejected
  }
}

extension Transaction {
  package func quarantine(_ message: QuarantinedMessage, now: Timestamp) throws(StoreError) {
    try db.run(
      """
      INSERT INTO quarantine (received_at, source, kind, code, detail, routing_key, properties, body, body_bytes)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
      """, now, message.source.rawValue, message.isRejected ? "rejected" : "invalid", message.code, message.detail,
      message.routingKey, message.properties, message.body, message.bodyBytes)
  }
}
