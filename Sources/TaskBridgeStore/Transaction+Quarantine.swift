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
  /// Properties and headers as JSON text, for people.
  package var properties: String?
  /// The headers' values, a JSON object; nil when there were none, empty when they could not be kept.
  package var headers: String?
  /// Of a report whose token means nothing to this store; nil for any other message.
  package var correlationID: String?
  package var body: [UInt8]
  package var bodyBytes: Int

  package enum Source: String, Sendable {
    case submit, events, returned
  }

  package init(
    source: Source, code: String, detail: String, routingKey: String?, properties: String?, headers: String? = nil,
    correlationID: String? = nil, body: [UInt8], bodyBytes: Int? = nil, isRejected: Bool = false
  ) {
    self.source = source
    self.code = code
    self.detail = detail
    self.routingKey = routingKey
    self.properties = properties
    self.headers = headers
    self.correlationID = correlationID
    self.body = Array(body.prefix(Self.bodyBytesMax))
    self.bodyBytes = bodyBytes ?? body.count
    self.isRejected = isRejected
  }
}

extension Transaction {
  package func quarantine(_ message: QuarantinedMessage, now: Timestamp) throws(StoreError) {
    try db.run(
      """
      INSERT INTO quarantine (received_at, source, kind, code, detail, routing_key, properties, headers, correlation_id,
        body, body_bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
      """, now, message.source.rawValue, message.isRejected ? "rejected" : "invalid", message.code, message.detail,
      message.routingKey, message.properties, message.headers, message.correlationID, message.body, message.bodyBytes)
  }

  /// A message that is kept; nil when there is none with this number.
  package func quarantined(_ id: Int64) throws(StoreError) -> QuarantinedMessage? {
    try db.first(
      """
      SELECT source, kind, code, detail, routing_key, properties, headers, correlation_id, body, body_bytes
        FROM quarantine WHERE id = ?
      """, id
    ) { row throws(StoreError) in
      QuarantinedMessage(
        source: try row.word(0, as: QuarantinedMessage.Source.self), code: row.text(2), detail: row.text(3),
        routingKey: row.optionalText(4), properties: row.optionalText(5), headers: row.optionalText(6),
        correlationID: row.optionalText(7), body: row.blob(8), bodyBytes: row.int(9),
        isRejected: row.text(1) == "rejected")
    }
  }

  /// - Returns: false when there is no such message.
  package func endQuarantine(_ id: Int64) throws(StoreError) -> Bool {
    try db.run("DELETE FROM quarantine WHERE id = ?", id) > 0
  }
}
