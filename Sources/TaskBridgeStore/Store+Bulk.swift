package import TaskBridgeCore

/// One run a bulk call means, as it was when it was looked up.
package struct BulkCandidate: Sendable, Equatable {
  /// The run's number in the store; of a list of ids the place in it.
  package var position: Int64
  package var id: RunID
  /// Nil when there is no such run.
  package var state: RunState?
}

/// The order in which a bulk call goes through its runs.
///
/// Replays go oldest first, so that a prerequisite is active again when its dependents are looked at. A cancel goes newest
/// first, so that dependents are cancelled themselves and do not fail by their prerequisite; only parents that wait for
/// their children go before them, because a waiting parent whose child was cancelled would fail.
package enum BulkPhase: Int, Sendable, CaseIterable {
  case only = 0
  case waitingParents = 1
  case others = 2

  package static func of(_ verb: BulkVerb) -> [BulkPhase] {
    verb == .cancel ? [.waitingParents, .others] : [.only]
  }

  package var next: BulkPhase? { self == .waitingParents ? .others : nil }
  var isDescending: Bool { self == .others }
}

/// Which runs a bulk call means.
///
/// None that is newer than its cutoff: a run counts from the beginning of its present series of attempts (its creation,
/// or its last replay), for the verbs that start runs again also from its end; a dead letter from its death.
extension ReadTransaction {
  /// How many runs the request means.
  package func bulkCount(_ request: BulkRequest, _ cutoff: Cutoff, held: HeldSet) throws(StoreError) -> Int {
    switch request.target {
    case .ids(let ids): return ids.count
    case .deadLetters(let filter): return try deadLetterCount(matching: filter, cutoff)
    case .runs(let filter):
      let select = try select(filter, request.verb, cutoff, sort: .idAscending, held: held)
      if select.isImpossible { return 0 }
      let rows = try db.once(
        composed: "SELECT COUNT(*) FROM \(select.source) \(select.query.whereClause)", select.query.values
      ) { row throws(StoreError) in row.int(0) }
      return rows.first ?? 0
    }
  }

  /// The next runs of a phase.
  ///
  /// - Parameter cursor: position of the last one seen; nil at the beginning of the phase.
  package func bulkCandidates(
    _ request: BulkRequest, _ cutoff: Cutoff, phase: BulkPhase, after cursor: Int64?, limit: Int, held: HeldSet
  ) throws(StoreError) -> [BulkCandidate] {
    switch request.target {
    case .ids(let ids):
      let first = Int(cursor ?? -1) + 1
      return try ids[min(first, ids.count)...].prefix(limit).enumerated().map { index, id throws(StoreError) in
        BulkCandidate(position: Int64(first + index), id: id, state: try db.state(of: id))
      }
    case .deadLetters(let filter):
      return try db.deadLetterCandidates(filter, cutoff, after: cursor, limit: limit)
    case .runs(var filter):
      if phase == .waitingParents {
        guard filter.states.isEmpty || filter.states.contains(.waiting) else { return [] }
        filter.states = [.waiting]
      }
      let sort = phase.isDescending ? RunSort.idDescending : .idAscending
      var select = try select(filter, request.verb, cutoff, sort: sort, held: held)
      if select.isImpossible { return [] }
      if phase == .others { select.require("+r.state <> 'waiting'") }
      let order = select.order(by: sort, after: cursor.map { PageCursor($0) }, ordering: ListOrdering(now: .earliest))
      return try db.once(
        composed: """
          SELECT \(select.sequence), r.id, r.state FROM \(select.source) \(select.query.whereClause) \
          ORDER BY \(order) LIMIT ?
          """, select.query.values + [limit]
      ) { row throws(StoreError) in
        BulkCandidate(position: row.int64(0), id: try row.runID(1), state: try row.word(2, as: RunState.self))
      }
    }
  }

  private func select(
    _ filter: RunFilter, _ verb: BulkVerb, _ cutoff: Cutoff, sort: RunSort, held: HeldSet
  ) throws(StoreError) -> RunSelect {
    var select = RunSelect(filter, sort: sort, held: held, matching: try matching(filter))
    select.require(verb, cutoff)
    return select
  }
}

extension RunSelect {
  /// No run newer than `cutoff`.
  mutating func require(_ verb: BulkVerb, _ cutoff: Cutoff) {
    let (begun, times) = cutoff.condition("r.series_at")
    require(begun, all: times)
    guard verb.startsAgain else { return }
    let (ended, values) = cutoff.condition("r.finished_at")
    require("(r.finished_at IS NULL OR \(ended))", all: values)
  }
}

extension Connection {
  func state(of id: RunID) throws(StoreError) -> RunState? {
    try first("SELECT state FROM runs WHERE id = ?", id) { row throws(StoreError) in
      try row.word(0, as: RunState.self)
    }
  }
}
