package import TaskBridgeCore

/// What a bulk call would do, worked out without doing it, some runs at a time.
package struct BulkForecast: Sendable {
  package var answer: BulkAnswer
  private var forecast = ReplayForecast()
  /// Dedup keys that runs looked at before will hold.
  private var taken: Set<[String]> = []
  /// Runs that are replayed with others.
  private var replayed: Set<RunID> = []

  package init(asOf: Timestamp, matched: Int) { answer = BulkAnswer(asOf: asOf, matched: matched) }

  /// The answer of the dry run.
  package func finished(_ request: BulkRequest) -> BulkAnswer {
    var answer = answer
    if request.verb == .replay { answer.forecast = forecast }
    return answer
  }

  fileprivate mutating func add(
    _ candidate: BulkCandidate, _ request: BulkRequest, db: Connection, payloadBytesMax: (TaskKey) -> Int
  ) throws(StoreError) {
    answer.add(id: candidate.id)
    if replayed.contains(candidate.id) { return }
    if let reason = try refusal(candidate, request, db: db, payloadBytesMax: payloadBytesMax) {
      answer.skip(candidate.id, reason)
      if reason == "dedup_busy" { forecast.conflicts += 1 } else { forecast.notEligible += 1 }
      return
    }
    answer.changed += 1
    forecast.eligible += 1
    if request.verb == .replay, forecast.sample == nil { try keepSample(candidate.id, request.options.patch, db) }
    guard request.verb.startsAgain, request.options.retry.withDependents else { return }
    var queue = [candidate.id]
    while let next = queue.popLast() {
      for dependent in try db.failedDependents(of: next) where replayed.insert(dependent).inserted {
        answer.changed += 1
        queue.append(dependent)
      }
    }
  }

  private mutating func refusal(
    _ candidate: BulkCandidate, _ request: BulkRequest, db: Connection, payloadBytesMax: (TaskKey) -> Int
  ) throws(StoreError) -> String? {
    guard let state = candidate.state, let run = try db.run(id: candidate.id) else { return "run_not_found" }
    switch request.target {
    case .runs: break
    case .deadLetters, .ids:
      let died = try db.first(
        "SELECT dead_at FROM dead_letters WHERE run_seq = ? AND resolution IS NULL", run.sequence
      ) { row throws(StoreError) in row.time(0) }
      guard let died else { return "not_a_dead_letter" }
      if died > answer.asOf { return "newer_than_as_of" }
    }
    if let reason = request.verb.refusal(of: state, force: request.options.retry.force) { return reason }
    guard request.verb.startsAgain else { return nil }
    if let patch = request.options.patch, let payload = try db.adding(payloadTo: RunView(run)).payload,
      case .failure(let refusal) = payload.patched(with: patch, bytesMax: payloadBytesMax(run.task))
    {
      return refusal.code
    }
    guard let key = run.dedupKey else { return nil }
    let (home, isBusy) = try db.dedupState(of: run)
    if isBusy || taken.contains([home, key]) { return "dedup_busy" }
    taken.insert([home, key])
    return nil
  }

  private mutating func keepSample(_ id: RunID, _ patch: JSONValue?, _ db: Connection) throws(StoreError) {
    guard let payload = try db.runView(id: id, includesPayload: true)?.payload, payload.isJSON else { return }
    let after = patch.flatMap { payload.patched(with: $0) } ?? payload.bytes
    forecast.sample = ReplayForecast.Sample(id: id, before: payload.bytes, after: after)
  }
}

extension ReadTransaction {
  /// `forecast` with these candidates.
  package func adding(
    _ candidates: [BulkCandidate], to forecast: BulkForecast, of request: BulkRequest,
    payloadBytesMax: (TaskKey) -> Int
  ) throws(StoreError) -> BulkForecast {
    var forecast = forecast
    for candidate in candidates {
      try forecast.add(candidate, request, db: db, payloadBytesMax: payloadBytesMax)
    }
    return forecast
  }
}

extension Connection {
  fileprivate func run(id: RunID) throws(StoreError) -> Run? {
    try first("SELECT \(Run.columns) FROM runs r WHERE r.id = ?", id) { row throws(StoreError) in try Run(row: row) }
  }

  /// The task key the dedup key of `run` belongs to, and whether an active run holds it.
  fileprivate func dedupState(of run: Run) throws(StoreError) -> (home: String, isBusy: Bool) {
    let row = try first(
      """
      SELECT r.home_task, EXISTS (SELECT 1 FROM runs h WHERE h.home_task = r.home_task AND h.dedup_key = r.dedup_key
        AND h.dedup_key IS NOT NULL AND \(Schema.isAny(Schema.active, "h.state"))) FROM runs r WHERE r.seq = ?
      """, run.sequence
    ) { row throws(StoreError) in (row.text(0), row.bool(1)) }
    return row ?? ("", false)
  }
}
