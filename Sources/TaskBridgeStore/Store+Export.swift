package import TaskBridgeCore

/// Dead letters as lines of JSON that can be submitted again.
extension ReadTransaction {
  /// The next lines, each a submission with its payload and, in `dead_letter`, what became of it. What ties a run to
  /// others of this store (its ids, prerequisites, parent, place in an array, idempotency key) is left out of the
  /// submission: it is a request for a new run.
  ///
  /// - Parameters:
  ///   - cursor: position of the last one seen; nil at the beginning.
  ///   - bytesMax: the chunk ends after the line that passes it.
  /// - Returns: the lines, and the position to go on after; nil at the end.
  package func deadLetterLines(
    _ request: BulkRequest, _ cutoff: Cutoff, after cursor: Int64?, limit: Int, bytesMax: Int
  ) throws(StoreError) -> (lines: [UInt8], last: Int64)? {
    let candidates = try bulkCandidates(
      request, cutoff, phase: .only, after: cursor, limit: limit, held: HeldSet())
    var lines: [UInt8] = []
    var last: Int64?
    for candidate in candidates {
      last = candidate.position
      if let line = try db.exportLine(candidate.id, cutoff) { lines += line + [UInt8(ascii: "\n")] }
      if lines.count > bytesMax { break }
    }
    return last.map { (lines, $0) }
  }
}

extension Connection {
  /// Nil for a run that is no unresolved dead letter, or died later.
  fileprivate func exportLine(_ id: RunID, _ cutoff: Cutoff) throws(StoreError) -> [UInt8]? {
    let (died, values) = cutoff.condition("d.dead_at")
    let lines = try all(
      composed: """
        SELECT r.id, r.home_task, p.body, p.content_type, p.content_encoding, r.priority, r.dedup_key, r.group_name,
          r.name, r.workflow_id, r.template, r.ttl_seconds, r.ttl_from, r.max_attempts, r.max_lost, r.timeout_seconds,
          r.lease_seconds, r.tags, r.retry, r.resources, r.resource_scales, r.fallback_tasks, r.traceparent,
          r.tracestate, d.reason, d.fingerprint, d.error_type, d.error_message, d.attempt, d.dead_at, r.replays,
          o.last_error, d.task
        FROM runs r CROSS JOIN dead_letters d ON d.run_seq = r.seq CROSS JOIN payloads p ON p.run_seq = r.seq
          LEFT JOIN outcomes o ON o.run_seq = r.seq
          WHERE r.id = ? AND d.resolution IS NULL AND \(died)
        """, [id] + values
    ) { row throws(StoreError) in try Self.exportLine(row) }
    return lines.first
  }

  private static func exportLine(_ row: Row) throws(StoreError) -> [UInt8] {
    let runID = try row.runID(0)
    let payload = Payload(
      bytes: row.blob(2), contentType: row.optionalText(3), contentEncoding: row.optionalText(4))
    var json = JSONWriter(reserving: payload.bytes.count + 1_024)
    json.object { json in
      json.member("task", row.text(1))
      payload.writeLine(into: &json)
      json.member("priority", row.int(5))
      for (name, column) in [
        ("dedup_key", 6), ("group", 7), ("name", 8), ("workflow_id", 9), ("template", 10), ("traceparent", 22),
        ("tracestate", 23),
      ] as [(String, Int32)] {
        if let text = row.optionalText(column) { json.member(name, text) }
      }
      if let seconds = row.optionalDouble(11) {
        json.member("ttl_seconds", seconds)
        json.member("ttl_from", row.text(12))
      }
      for (name, column) in [("max_attempts", 13), ("max_lost", 14), ("lease_seconds", 16)] as [(String, Int32)] {
        if let number = row.optionalInt(column) { json.member(name, number) }
      }
      if let seconds = row.optionalDouble(15) { json.member("timeout_seconds", seconds) }
      for (name, column) in [
        ("tags", 17), ("retry", 18), ("resources", 19), ("resource_scales", 20), ("fallback_tasks", 21),
      ] as [(String, Int32)] {
        if let text = row.optionalText(column) { json.member(name, raw: text.utf8) }
      }
      json.key("dead_letter")
      json.object { json in
        json.member("run_id", runID)
        json.member("task", row.text(32))
        json.member("reason", row.text(24))
        json.member("fingerprint", row.text(25))
        json.member("error_type", row.optionalText(26))
        json.member("error_message", row.optionalText(27))
        json.member("error", raw: row.optionalText(31)?.utf8)
        json.member("attempt", row.int(28))
        json.member("dead_at", row.time(29))
        json.member("replays", row.int(30))
      }
    }
    return json.bytes
  }
}
