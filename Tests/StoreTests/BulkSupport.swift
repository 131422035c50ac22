import TaskBridgeCore

@testable import TaskBridgeStore

extension TestStore {
  /// A run that ended `failed`, a dead letter.
  @discardableResult
  func die(
    _ task: String = "media.thumbnail", payload: String = "{}", at seconds: Double = 0,
    _ change: (inout Submission) -> Void = { _ in }
  ) async throws -> RunID {
    let now = Self.start.adding(seconds: seconds)
    let id = try await add(task, now: now) { submission in
      submission.payload.bytes = Array(payload.utf8)
      change(&submission)
    }
    try await fail(id, at: seconds)
    return id
  }

  /// Dispatches everything that is ready and lets `id` fail for good.
  func fail(_ id: RunID, at seconds: Double = 0) async throws {
    let now = Self.start.adding(seconds: seconds)
    for dispatch in try await launch(now: now) where dispatch.run.id == id {
      try await report(.failed, dispatch.id, now: now) { $0.error = WorkerError(type: "Boom", retryable: false) }
    }
  }

  func candidates(
    _ request: BulkRequest, asOf: Timestamp, now: Timestamp = .latest
  ) async throws -> [BulkCandidate] {
    try await store.read { tx throws(StoreError) in
      var found: [BulkCandidate] = []
      for phase in BulkPhase.of(request.verb) {
        found += try tx.bulkCandidates(
          request, Cutoff(asOf: asOf, now: now), phase: phase, after: nil, limit: 10_000, held: HeldSet())
      }
      return found
    }
  }

  /// What the request changes, in one slice.
  @discardableResult
  func bulk(
    _ request: BulkRequest, asOf: Timestamp = start, now: Timestamp = start, begun: Timestamp? = nil
  ) async throws -> BulkOutcome {
    let found = try await candidates(request, asOf: asOf)
    let slice = BulkSlice(request, Cutoff(asOf: asOf, now: .latest), candidates: found, begun: begun) { _ in 1_000 }
    return try await store.write { tx throws(StoreError) in try tx.bulk(slice, now: now, actor: "ann") }
  }

  func forecast(_ request: BulkRequest, asOf: Timestamp = start) async throws -> BulkAnswer {
    let found = try await candidates(request, asOf: asOf)
    return try await store.read { tx throws(StoreError) in
      let cutoff = Cutoff(asOf: asOf, now: .latest)
      let empty = BulkForecast(cutoff, matched: try tx.bulkCount(request, cutoff, held: HeldSet()))
      return try tx.adding(found, to: empty, of: request) { _ in 1_000 }.finished(request)
    }
  }

  func payload(_ id: RunID) async throws -> String {
    let view = try await store.read { tx throws(StoreError) in try tx.run(id, includesPayload: true) }
    return String(decoding: view?.payload?.bytes ?? [], as: UTF8.self)
  }
}

extension BulkRequest {
  init(_ verb: BulkVerb, json: String = "{}", _ change: (inout BulkOptions) -> Void = { _ in }) throws {
    guard case .object(let object) = try JSONValue.parse(json) else { throw Problem(422, "test", json) }
    try self.init(verb, filter: object)
    change(&options)
  }
}

extension BulkOutcome {
  var reasons: [RunID: String] { Dictionary(skipped.map { ($0.id, $0.reason) }) { first, _ in first } }
}
