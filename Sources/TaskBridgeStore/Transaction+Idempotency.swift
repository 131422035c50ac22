import TaskBridgeCore

/// Idempotency keys: whoever sends one again gets what the first submission with it got.
///
/// A key stands on the run that was stored for it. Where none was, because another run had the dedup key, it stands in a
/// table of its own beside the run that carries the request.
extension Transaction {
  /// The answer to a submission whose key is known; nil when it has none, or a new one.
  /// - Throws: 422 `idempotency_mismatch` for another payload than the first one's.
  func repeated(_ prepared: PreparedSubmission) throws(Refusal) -> SubmissionResult? {
    let submission = prepared.submission
    guard let key = submission.idempotencyKey else { return nil }
    let found = try refusing { () throws(StoreError) in try first(key, task: submission.task) }
    guard let first = found else { return nil }
    let isSame = try refusing { () throws(StoreError) in
      if let digest = first.digest { return digest == prepared.digest(submission.payload.bytes) }
      let stored = try submittedPayload(of: first.run)
      return stored == submission.payload.bytes
        || canonicalPayload(stored) == canonicalPayload(submission.payload.bytes)
    }
    guard isSame else {
      throw .problem(
        Problem(
          422, "idempotency_mismatch",
          "the idempotency key \(key) belongs to run \(first.run.id), where it came with another payload; use a new key for a new request",
          runID: first.run.id))
    }
    if let answered = first.answered, try refusing({ () throws(StoreError) in try run(answered) }) != nil {
      return SubmissionResult(.duplicate, runID: answered, followUpID: first.run.id)
    }
    return SubmissionResult(.duplicate, runID: first.run.id)
  }

  /// What was submitted, whatever a replay's patch has made of it since.
  private func submittedPayload(of run: Run) throws(StoreError) -> [UInt8] {
    let replaced = try db.first(
      "SELECT body FROM payload_history WHERE run_seq = ? ORDER BY replay LIMIT 1", run.sequence
    ) { row throws(StoreError) in row.blob(0) }
    if let replaced { return replaced }
    return try payload(of: run).bytes
  }

  private func first(
    _ key: String, task: TaskKey
  ) throws(StoreError) -> (run: Run, answered: RunID?, digest: String?)? {
    try db.first(Self.firstWithKey, task, key) { row throws(StoreError) in
      let next = Run.columnCount
      return (try Run(row: row), try row.optionalRunID(next), row.optionalText(next + 1))
    }
  }

  private static let firstWithKey = Statement.hot(
    """
    SELECT \(Run.columns), NULL, NULL FROM runs r WHERE r.home_task = ?1 AND r.idempotency_key = ?2
      UNION ALL
      SELECT \(Run.columns), k.answered, k.payload_digest FROM idempotency_keys k CROSS JOIN runs r ON r.seq = k.run_seq
        WHERE k.task = ?1 AND k.key = ?2
    """)

  /// Keeps the key of a submission that stored no run of its own.
  /// - Parameters:
  ///   - sequence: the run that carries the request; the key is free once it is deleted.
  ///   - answered: the run the answer names, when it is another one.
  func keepIdempotencyKey(
    of prepared: PreparedSubmission, for sequence: Int64, answered: RunID? = nil
  ) throws(StoreError) {
    guard let key = prepared.submission.idempotencyKey else { return }
    try db.run(
      "INSERT INTO idempotency_keys (task, key, run_seq, answered, payload_digest) VALUES (?, ?, ?, ?, ?)",
      prepared.submission.task, key, sequence, answered, prepared.digest(prepared.submission.payload.bytes))
  }
}
