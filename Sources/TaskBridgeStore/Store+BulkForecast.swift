package import TaskBridgeCore

/// What a bulk call would do, worked out without doing it, some runs at a time.
package struct BulkForecast: Sendable {
  package var answer: BulkAnswer
  package let cutoff: Cutoff
  private var forecast = ReplayForecast()
  /// Dedup keys that runs looked at before will hold.
  private var taken: Set<[String]> = []
  /// Runs that are replayed, themselves or with others.
  private var replayed: Set<RunID> = []

  package init(_ cutoff: Cutoff, matched: Int) {
    self.cutoff = cutoff
    answer = BulkAnswer(asOf: cutoff.asOf, matched: matched)
  }

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
    guard request.verb.startsAgain else { return }
    replayed.insert(candidate.id)
    if request.options.retry.withDependents { try addDependents(of: candidate.id, db) }
  }

  /// Those that come back with `id`: what else they wait for comes back as well, or has before.
  private mutating func addDependents(of id: RunID, _ db: Connection) throws(StoreError) {
    var order = ReplayOrder()
    order.insert(try db.failedDependents(of: id))
    while let next = order.next() {
      guard !replayed.contains(next.id), let run = try db.run(id: next.id) else { continue }
      let missing = try db.failedPrerequisites(of: run, limit: .max).contains { !replayed.contains($0) }
      guard !missing, try replayRefusal(of: run, db) == nil else { continue }
      replayed.insert(next.id)
      answer.changed += 1
      order.insert(try db.failedDependents(of: next.id))
    }
  }

  private mutating func refusal(
    _ candidate: BulkCandidate, _ request: BulkRequest, db: Connection, payloadBytesMax: (TaskKey) -> Int
  ) throws(StoreError) -> String? {
    guard let state = candidate.state, let run = try db.run(id: candidate.id) else { return "run_not_found" }
    switch request.target {
    case .runs: break
    case .deadLetters, .ids:
      if let reason = try db.deadLetterRefusal(of: run, cutoff) { return reason }
    }
    if let reason = request.verb.refusal(of: state, force: request.options.retry.force) { return reason }
    guard request.verb.startsAgain else { return nil }
    if let patch = request.options.patch, let payload = try db.adding(payloadTo: RunView(run)).payload,
      case .failure(let refusal) = payload.patched(with: patch, bytesMax: payloadBytesMax(run.task))
    {
      return refusal.code
    }
    return try replayRefusal(of: run, db)
  }

  private mutating func replayRefusal(of run: Run, _ db: Connection) throws(StoreError) -> String? {
    if let parentID = run.parentID, try db.state(of: parentID) == .cancelling { return "parent_ended" }
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
