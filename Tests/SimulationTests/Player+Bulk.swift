import TaskBridgeCore

@testable import TaskBridgeStore

/// Calls on many runs, and deleting.
extension Player {
  func bulk(_ wish: Model.BulkWish) async throws {
    let request = try wish.request(model.now)
    let asOf = Timestamp(milliseconds: wish.asOf(model.now))
    let cutoff = Cutoff(asOf: asOf, now: now)
    note("bulk \(wish)")
    let (matched, found) = try await read { tx throws(StoreError) in
      var found: [BulkCandidate] = []
      for phase in BulkPhase.of(request.verb) {
        var cursor: Int64?
        while true {
          // Few at a time, so that the cursor is tried.
          let next = try tx.bulkCandidates(
            request, cutoff, phase: phase, after: cursor, limit: 3, held: HeldSet())
          guard let last = next.last else { break }
          found += next
          cursor = last.position
        }
      }
      return (try tx.bulkCount(request, cutoff, held: HeldSet()), found)
    }
    let expected = model.candidates(wish)
    try expect(found.map(candidate), expected, "runs meant")
    try expect(matched, expected.count, "matched")
    for start in stride(from: 0, to: found.count, by: wish.slice) {
      let range = start..<min(start + wish.slice, found.count)
      let slice = BulkSlice(request, cutoff, candidates: Array(found[range])) { _ in 1_000 }
      let now = now
      guard let outcome = try await write({ tx throws(StoreError) in try tx.bulk(slice, now: now, actor: "test") })
      else { return }
      let reply = reply(outcome)
      note("  → \(reply)")
      try expect(reply, model.bulk(wish, Array(expected[range])), "\(wish.verb) of many")
      reached.count("bulk \(wish.verb)", outcome.changed.count)
      for skipped in outcome.skipped { reached.refusals.insert("bulk \(skipped.reason)") }
    }
  }

  func reply(_ outcome: BulkOutcome) -> Model.BulkReply {
    Model.BulkReply(
      changed: outcome.changed.map(place), skipped: outcome.skipped.map { "\(place($0.id)) \($0.reason)" },
      failedDependents: outcome.failedDependents.map(place))
  }

  func place(_ id: RunID) -> Model.Place { model.place(of: id) ?? -1 }

  func delete(_ pick: UInt32) async throws {
    let ended = model.runs.indices.filter { model.runs[$0].isEnded }
    guard let run = pick & 7 == 0 ? run(pick >> 3) : one(of: ended, pick >> 3) else { return }
    let id = model.runs[run].id
    note("delete run \(run)")
    guard let result = try await write({ tx throws(StoreError) in try tx.delete(id) }) else { return }
    reached.count("deleted")
    try check(result, model.delete(run), "delete of run \(run)")
  }

  func prune(_ wish: Model.Prune) async throws {
    note("prune \(wish)")
    var request = PruneRequest(
      wish.keepLast.map { .keepLast($0) } ?? .olderThanDays(Double(wish.ageSeconds) / 86_400), states: wish.states)
    request.task = wish.task.map(Request.key)
    let (now, wanted) = (now, request)
    let (counted, bound, found) = try await read { tx throws(StoreError) in
      guard let bound = try tx.pruneBound(wanted, now: now) else { return (0, PruneBound?.none, [Int64]()) }
      return (
        try tx.prunableCount(wanted, upTo: bound), bound, try tx.prunable(wanted, upTo: bound, after: 0, limit: 500)
      )
    }
    let deleted = try await write { tx throws(StoreError) in
      guard let bound else { return 0 }
      return try tx.prune(found, wanted, upTo: bound)
    }
    guard let deleted else { return }
    let expected = model.prune(wish)
    note("  → \(expected)")
    reached.count("pruned", deleted)
    try expect([counted, deleted], [expected.count, expected.count], "pruned")
  }
}

extension Model.BulkWish {
  func request(_ now: Int64) throws -> BulkRequest {
    var json = JSONWriter()
    json.object { json in
      if !filter.states.isEmpty {
        json.key("state")
        json.array { json in for state in filter.states { json.value(state.rawValue) } }
      }
      json.member("task", filter.task)
      json.member("domain", filter.domain)
      json.member("group", filter.group)
      json.member("workflow_id", filter.workflow)
      json.member("dedup_key", filter.dedupKey)
      json.member("reason", filter.reason?.rawValue)
    }
    guard case .object(let object) = try JSONValue.parse(json.bytes) else { preconditionFailure("no object") }
    var request = try BulkRequest(verb, filter: object)
    request.options.retry = options.retry(now)
    request.options.canary = canary
    request.options.canaryWaitSeconds = Double(canaryWaitSeconds)
    if let payload { request.options.patch = try JSONValue.parse("{\"n\":\(payload)}") }
    return request
  }
}

extension Model.ReplayOptions {
  func retry(_ now: Int64) -> RetryOptions {
    var retry = RetryOptions()
    retry.force = force
    retry.priority = priority
    retry.runAt = time(now).map { Timestamp(milliseconds: $0) }
    retry.maxAttempts = maxAttempts
    retry.withDependents = withDependents
    return retry
  }
}
