package import TaskBridgeCore

/// Some of the runs of a bulk call, for one transaction.
package struct BulkSlice: Sendable {
  package var request: BulkRequest
  package var cutoff: Cutoff
  package var candidates: [BulkCandidate]
  /// When the job began that this is a slice of; nil for a call that reads all its runs first.
  package var begun: Timestamp?
  /// Largest payload that a patch may leave, in bytes.
  package var payloadBytesMax: @Sendable (TaskKey) -> Int

  package init(
    _ request: BulkRequest, _ cutoff: Cutoff, candidates: [BulkCandidate], begun: Timestamp? = nil,
    payloadBytesMax: @escaping @Sendable (TaskKey) -> Int
  ) {
    self.request = request
    self.cutoff = cutoff
    self.candidates = candidates
    self.begun = begun
    self.payloadBytesMax = payloadBytesMax
  }
}

/// What became of a slice.
package struct BulkOutcome: Sendable, Equatable {
  package var changed: [RunID] = []
  package var skipped: [BulkAnswer.Skipped] = []
  /// Dependents of replayed runs that stay `dependency_failed`.
  package var failedDependents: [RunID] = []

  package init() {}
}

/// Many runs at once: each by the same step as a call for it alone.
extension Transaction {
  package func bulk(_ slice: BulkSlice, now: Timestamp, actor: String) throws(StoreError) -> BulkOutcome {
    var outcome = BulkOutcome()
    let meant = try stillMeant(slice)
    for candidate in slice.candidates {
      guard let run = try run(candidate.id) else {
        outcome.skipped.append(.init(id: candidate.id, reason: "run_not_found"))
        continue
      }
      switch try judge(candidate, run, slice, meant: meant, actor: actor) {
      case .change: try change(run, slice, into: &outcome, now: now, actor: actor)
      case .isChanged: outcome.changed.append(run.id)
      case .isCounted: break
      case .skip(let reason): outcome.skipped.append(.init(id: run.id, reason: reason))
      }
    }
    return outcome
  }

  private enum Judgement {
    case change
    /// This call has changed it already, by what follows from another of its runs.
    case isChanged
    /// The same, and it is counted.
    case isCounted
    case skip(String)
  }

  private func judge(
    _ candidate: BulkCandidate, _ run: Run, _ slice: BulkSlice, meant: Set<Int64>?, actor: String
  ) throws(StoreError) -> Judgement {
    let (verb, force) = (slice.request.verb, slice.request.options.retry.force)
    if verb == .cancel, run.state == .cancelled || run.state == .cancelling {
      if let begun = slice.begun {
        if let first = try firstCancel(of: run, since: begun, by: actor) {
          return first == .waiting && candidate.state != .waiting ? .isCounted : .isChanged
        }
      } else if let before = candidate.state, verb.refusal(of: before, force: force) == nil {
        return .isChanged
      }
    }
    if slice.request.options.retry.withDependents, candidate.state?.isTerminal == true, !run.state.isTerminal {
      return .isCounted
    }
    if let meant, !meant.contains(run.sequence) { return .skip("no_longer_matches") }
    if meant == nil, let reason = try db.deadLetterRefusal(of: run, slice.cutoff) { return .skip(reason) }
    return verb.refusal(of: run.state, force: force).map { .skip($0) } ?? .change
  }

  private func change(
    _ run: Run, _ slice: BulkSlice, into outcome: inout BulkOutcome, now: Timestamp, actor: String
  ) throws(StoreError) {
    let options = slice.request.options
    let result: Result<[RunID], Problem>
    switch slice.request.verb {
    case .cancel: result = try cancel(run.id, reason: options.reason, now: now, actor: actor).map { [$0] }
    case .pause: result = try pause(run.id, reason: options.reason, now: now, actor: actor).map { [$0] }
    case .resume: result = try resume(run.id, reason: options.reason, now: now, actor: actor).map { [$0] }
    case .discard: result = try discard(run.id, reason: options.reason, now: now, actor: actor).map { [$0] }
    case .retry: result = try replayAll(run.id, options: options.retry, now: now, actor: actor)
    case .replay:
      let limit = slice.payloadBytesMax(run.task)
      switch try patched(run, options.patch, bytesMax: limit) {
      case .failure(let refusal): return outcome.skipped.append(.init(id: run.id, reason: refusal.code))
      case .success(let payload):
        result = try replayAll(run.id, options: options.retry, now: now, actor: actor)
        if let payload, case .success = result { try replacePayload(of: run, by: payload, now: now, actor: actor) }
      }
    }
    switch result {
    case .success(let ids):
      outcome.changed += ids
      if slice.request.verb.startsAgain { outcome.failedDependents += try failedDependents(of: run.id) }
    case .failure(let problem): outcome.skipped.append(.init(id: run.id, reason: problem.code))
    }
  }

  /// The numbers of those runs of the slice that its filter still means; nil when it is about dead letters.
  private func stillMeant(_ slice: BulkSlice) throws(StoreError) -> Set<Int64>? {
    guard case .runs(let filter) = slice.request.target else { return nil }
    let sequences = "[\(slice.candidates.map { String($0.position) }.joined(separator: ","))]"
    var select = RunSelect(filter, among: sequences)
    select.require(slice.request.verb, slice.cutoff)
    return Set(
      try db.once(
        composed: "SELECT r.seq FROM \(select.source) \(select.query.whereClause)", select.query.values
      ) { row throws(StoreError) in row.int64(0) })
  }

  /// The state in which this call met the run, when it has cancelled it already.
  private func firstCancel(of run: Run, since begun: Timestamp, by actor: String) throws(StoreError) -> RunState? {
    try db.first(
      """
      SELECT previous_state FROM audit WHERE run_seq = ? AND entered_at >= ? AND actor = ?
        AND (new_state = 'cancelling' OR new_state = 'cancelled') ORDER BY id LIMIT 1
      """, run.sequence, begun, actor
    ) { row throws(StoreError) in try row.word(0, as: RunState.self) }
  }
}
