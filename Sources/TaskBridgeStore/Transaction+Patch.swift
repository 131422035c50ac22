package import TaskBridgeCore

/// Why a payload cannot be patched.
enum PatchRefusal: Error {
  case noJSON
  case tooLarge

  var code: String {
    switch self {
    case .noJSON: "payload_not_json"
    case .tooLarge: "payload_too_large"
    }
  }
}

/// The payload of a replay may differ from the one before.
extension Transaction {
  /// What `patch` makes of the payload; nil when there is no patch.
  func patched(_ run: Run, _ patch: JSONValue?, bytesMax: Int) throws(StoreError) -> Result<[UInt8]?, PatchRefusal> {
    guard let patch else { return .success(nil) }
    return try payload(of: run).patched(with: patch, bytesMax: bytesMax).map { $0 }
  }

  /// Puts `bytes` in the place of the payload, which stays readable in the run's history. The key of idempotency goes on
  /// comparing with what was submitted first; a dedup key stays as it is.
  func replacePayload(of run: Run, by bytes: [UInt8], now: Timestamp, actor: String) throws(StoreError) {
    try db.run(
      """
      INSERT INTO payload_history (run_seq, replay, replaced_at, actor, body, content_type, content_encoding)
        SELECT p.run_seq, r.replays, ?, ?, p.body, p.content_type, p.content_encoding
        FROM payloads p JOIN runs r ON r.seq = p.run_seq WHERE p.run_seq = ?
      """, now, actor, run.sequence)
    try db.run("UPDATE payloads SET body = ? WHERE run_seq = ?", bytes, run.sequence)
  }
}

extension Payload {
  func patched(with patch: JSONValue, bytesMax: Int) -> Result<[UInt8], PatchRefusal> {
    guard let bytes = patched(with: patch) else { return .failure(.noJSON) }
    return bytes.count <= bytesMax ? .success(bytes) : .failure(.tooLarge)
  }
}

extension ReadTransaction {
  /// Payloads of a run that patches have replaced, oldest first; nil when there is no such run.
  package func payloadHistory(of id: RunID) throws(StoreError) -> [PayloadView]? {
    guard let sequence = try sequence(of: id) else { return nil }
    return try db.all(
      """
      SELECT replay, replaced_at, actor, body, content_type, content_encoding FROM payload_history
        WHERE run_seq = ? ORDER BY replay
      """, sequence
    ) { row throws(StoreError) in
      PayloadView(
        replay: row.int(0), replacedAt: row.time(1), actor: row.text(2),
        payload: Payload(bytes: row.blob(3), contentType: row.optionalText(4), contentEncoding: row.optionalText(5)))
    }
  }
}
