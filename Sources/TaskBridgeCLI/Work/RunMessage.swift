import AMQPClient

/// A run as it came from its queue.
struct RunMessage: Sendable, Equatable {
  var token: String
  var runID: String
  var task: String
  var attempt: Int
  var leaseSeconds: Int
  /// Exchange that takes the reports; it has the name of the address to reply to.
  var reports: String
  var payload: [UInt8]

  /// Reads a delivery; nil when it carries no token and so is no run of a bridge.
  init?(_ delivery: AMQPDelivery, task: String) {
    guard let token = delivery.properties.correlationID ?? delivery.properties.headers["tb-token"]?.stringValue,
      !token.isEmpty
    else { return nil }
    let headers = delivery.properties.headers
    self.token = token
    runID = headers["tb-run-id"]?.stringValue ?? String(token.prefix { $0 != "." })
    self.task = headers["tb-task"]?.stringValue ?? task
    attempt = headers["tb-attempt"]?.intValue.flatMap { Int(exactly: $0) } ?? 1
    leaseSeconds = headers["tb-lease-seconds"]?.intValue.map { Int(min(max($0, 1), 86_400)) } ?? 60
    reports = delivery.properties.replyTo.flatMap { $0.isEmpty ? nil : $0 } ?? "taskbridge.events"
    payload = Self.payload(of: delivery.body, token: token)
  }

  /// With `wire: envelope` the payload lies inside a JSON body that repeats the token.
  private static func payload(of body: [UInt8], token: String) -> [UInt8] {
    guard body.first == UInt8(ascii: "{") else { return body }
    let envelope = JSONSlice(body)
    guard envelope["token"]?.string == token, envelope["run_id"] != nil else { return body }
    if let base64 = envelope["payload_base64"]?.string { return Base64Bytes.decoded(base64) ?? body }
    return envelope["payload"].map { Array($0.bytes) } ?? body
  }
}
