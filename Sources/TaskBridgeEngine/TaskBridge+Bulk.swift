public import TaskBridgeCore
import TaskBridgeStore

/// Calls on many runs: what they mean is read beside the writer, what they change is written in slices, each a
/// transaction of its own, so that submissions and reports are not held up.
extension TaskBridge {
  /// Most runs one call changes by itself: as many as an answer names. More are a job.
  static let directMax = 1_000
  /// Most runs looked up at once.
  static let chunk = 2_000
  /// Most runs changed in one transaction.
  static let bulkSlice = 200

  /// A large or paced one is stored as a job, whose id the answer names; its work has then not begun.
  ///
  /// - Parameters:
  ///   - asOf: no run newer than this is touched (see ``ReadTransaction/bulkCount(_:_:held:)``); nil, or a time to come, means
  ///     now. Times ahead of the clock are from before it was set back: they count as old.
  ///   - dryRun: only says what would be done; `ids` are then those matched.
  /// - Throws: 503 `query_too_expensive` for a filter that only reading most of the store can answer.
  public func bulk(
    _ request: BulkRequest, asOf: Timestamp?, dryRun: Bool, actor: String
  ) async throws(Problem) -> BulkAnswer {
    let now = now()
    let cutoff = Cutoff(asOf: min(asOf ?? now, now), now: now)
    let hold = holdLookup(request.heldBy)
    let matched = try await reading { transaction throws(StoreError) in
      try transaction.bulkCount(request, cutoff, held: try hold(transaction))
    }
    if dryRun { return try await forecast(request, BulkForecast(cutoff, matched: matched), hold) }
    if matched > Self.directMax || request.options.isPaced {
      return try await start(request, asOf: cutoff.asOf, matched: matched, now: now, actor: actor)
    }
    return try await change(request, cutoff, matched: matched, hold, actor: actor)
  }

  /// What the request means, with nothing said of what would become of it.
  public func matches(_ request: BulkRequest, asOf: Timestamp?) async throws(Problem) -> BulkAnswer {
    let now = now()
    let cutoff = Cutoff(asOf: min(asOf ?? now, now), now: now)
    let hold = holdLookup(request.heldBy)
    return try await reading { transaction throws(StoreError) in
      let held = try hold(transaction)
      var answer = BulkAnswer(asOf: cutoff.asOf, matched: try transaction.bulkCount(request, cutoff, held: held))
      for phase in BulkPhase.of(request.verb) {
        let found = try transaction.bulkCandidates(
          request, cutoff, phase: phase, after: nil, limit: BulkAnswer.idsMax, held: held)
        for candidate in found { answer.add(id: candidate.id) }
      }
      return answer
    }
  }

  typealias HoldLookup = @Sendable (ReadTransaction) throws(StoreError) -> HeldSet

  private func forecast(
    _ request: BulkRequest, _ forecast: BulkForecast, _ hold: @escaping HoldLookup
  ) async throws(Problem) -> BulkAnswer {
    var forecast = forecast
    let payloadBytesMax = context.payloadBytesMax
    for phase in BulkPhase.of(request.verb) {
      var cursor: Int64?
      while true {
        let (before, after) = (forecast, cursor)
        let (next, last) = try await reading { transaction throws(StoreError) in
          let candidates = try transaction.bulkCandidates(
            request, before.cutoff, phase: phase, after: after, limit: Self.chunk,
            held: try hold(transaction))
          let next = try transaction.adding(candidates, to: before, of: request, payloadBytesMax: payloadBytesMax)
          return (next, candidates.last?.position)
        }
        forecast = next
        guard let last else { break }
        cursor = last
      }
    }
    return forecast.finished(request)
  }

  private func change(
    _ request: BulkRequest, _ cutoff: Cutoff, matched: Int, _ hold: @escaping HoldLookup, actor: String
  ) async throws(Problem) -> BulkAnswer {
    var answer = BulkAnswer(asOf: cutoff.asOf, matched: matched)
    var changed: Set<RunID> = []
    var failedDependents: [RunID] = []
    let payloadBytesMax = context.payloadBytesMax
    let candidates = try await candidates(request, cutoff, hold)
    for start in stride(from: 0, to: candidates.count, by: Self.bulkSlice) {
      // Not the time of the call: workers have moved runs since.
      let now = now()
      let slice = BulkSlice(
        request, Cutoff(asOf: cutoff.asOf, now: now),
        candidates: Array(candidates[start..<min(start + Self.bulkSlice, candidates.count)]),
        payloadBytesMax: payloadBytesMax)
      let outcome = try await answering { transaction throws(StoreError) in
        .success(try transaction.bulk(slice, now: now, actor: actor))
      }
      for id in outcome.changed where changed.insert(id).inserted { answer.add(id: id) }
      for skipped in outcome.skipped { answer.skip(skipped.id, skipped.reason) }
      failedDependents += outcome.failedDependents
    }
    answer.changed = changed.count
    if request.verb.startsAgain {
      var seen = changed
      answer.failedDependents = failedDependents.filter { seen.insert($0).inserted }
    }
    return answer
  }

  /// Every run the request means, before anything is changed.
  private func candidates(
    _ request: BulkRequest, _ cutoff: Cutoff, _ hold: @escaping HoldLookup
  ) async throws(Problem) -> [BulkCandidate] {
    try await reading { transaction throws(StoreError) in
      let held = try hold(transaction)
      var candidates: [BulkCandidate] = []
      for phase in BulkPhase.of(request.verb) {
        var cursor: Int64?
        while true {
          let found = try transaction.bulkCandidates(
            request, cutoff, phase: phase, after: cursor, limit: Self.chunk, held: held)
          guard let last = found.last else { break }
          candidates += found
          cursor = last.position
        }
      }
      return candidates
    }
  }
}

extension TaskBridge {
  /// Payloads of a run that replays with a patch have replaced, oldest first: at most one a replay.
  /// - Throws: 404 `run_not_found`.
  public func payloadHistory(of id: RunID) async throws(Problem) -> Page<PayloadView> {
    let found = try await reading { transaction throws(StoreError) in try transaction.payloadHistory(of: id) }
    guard let found else { throw Problem.runNotFound(id) }
    return Page(items: found, nextCursor: nil)
  }
}

extension BridgeContext {
  /// Largest payload of a task key, in bytes.
  var payloadBytesMax: @Sendable (TaskKey) -> Int {
    let (configuration, store) = (configuration, store)
    return { task in
      store.controls.tasks[task]?.payloadLimitBytes ?? configuration.tasks[task]?.payloadLimitBytes
        ?? configuration.payloadLimitBytes
    }
  }
}
