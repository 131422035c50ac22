package import TaskBridgeCore

/// Dead letters and messages nobody understood.
extension Connection {
  /// FROM and WHERE of the dead letters `d` that a filter means.
  ///
  /// - Parameter walksTable: other columns are looked at too, or the rows are wanted in the table's order.
  private static func select(
    _ filter: DeadLetterFilter, walksTable: Bool = false
  ) -> (source: String, query: ComposedQuery) {
    var query = ComposedQuery()
    var source = "dead_letters AS d NOT INDEXED"
    switch filter.resolution {
    case .unresolved:
      // The index for what it can answer or narrow down; anything else is found faster by going along the table.
      if !walksTable, filter.task != nil || filter.isAnsweredByIndex {
        source = "dead_letters AS d INDEXED BY dead_letters_open"
      }
      query.require("d.resolution IS NULL")
    case .replayed: query.require("d.resolution = 'replayed'")
    case .discarded: query.require("d.resolution = 'discarded'")
    case .any: break
    }
    if let task = filter.task { query.require("d.task = ?", task) }
    if let domain = filter.domain { query.require(domain: domain, column: "d.task") }
    if let fingerprint = filter.fingerprint { query.require("d.fingerprint = ?", fingerprint) }
    if let reason = filter.reason { query.require("d.reason = ?", reason) }
    if let since = filter.since { query.require("d.dead_at >= ?", since) }
    if let until = filter.until { query.require("d.dead_at < ?", until) }
    if !filter.payload.isEmpty {
      source += " CROSS JOIN payloads AS p ON p.run_seq = d.run_seq"
      query.require(filter.payload)
    }
    return (source, query)
  }

  /// The next dead letters that match and died before `cutoff`, oldest submission first; `cursor` is the last one's.
  func deadLetterCandidates(
    _ filter: DeadLetterFilter, _ cutoff: Cutoff, after cursor: Int64?, limit: Int
  ) throws(StoreError) -> [BulkCandidate] {
    var (source, query) = Self.select(filter, walksTable: true)
    query.require("d.dead_at", within: cutoff)
    if let cursor { query.require("d.run_seq > ?", cursor) }
    return try once(
      composed: """
        SELECT c.seq, r.id, r.state FROM (SELECT d.run_seq AS seq FROM \(source) \(query.whereClause) \
        ORDER BY d.run_seq LIMIT ?) AS c CROSS JOIN runs r ON r.seq = c.seq ORDER BY c.seq
        """, query.values + [limit]
    ) { row throws(StoreError) in
      BulkCandidate(position: row.int64(0), id: try row.runID(1), state: try row.word(2, as: RunState.self))
    }
  }

  /// Why a call on dead letters leaves `run` alone; nil when it is one that died before `cutoff`.
  func deadLetterRefusal(of run: Run, _ cutoff: Cutoff) throws(StoreError) -> String? {
    let died = try first(
      "SELECT dead_at FROM dead_letters WHERE run_seq = ? AND resolution IS NULL", run.sequence
    ) { row throws(StoreError) in row.time(0) }
    guard let died else { return "not_a_dead_letter" }
    return cutoff.includes(died) ? nil : "newer_than_as_of"
  }

  /// How many dead letters match and died before `cutoff`.
  fileprivate func deadLetterCount(matching filter: DeadLetterFilter, _ cutoff: Cutoff) throws(StoreError) -> Int {
    var (source, query) = Self.select(filter, walksTable: true)
    query.require("d.dead_at", within: cutoff)
    return try once(composed: "SELECT COUNT(*) FROM \(source) \(query.whereClause)", query.values) {
      row throws(StoreError) in row.int(0)
    }.first ?? 0
  }

  private static let deadLetterColumns = """
    \(runViewColumns), d.reason, d.fingerprint, d.error_type, d.error_message, d.attempt, d.dead_at, d.resolution, \
    d.resolved_at, d.resolved_by, d.resolved_reason
    """

  private static func deadLetter(row: Row) throws(StoreError) -> DeadLetterView {
    let next = runViewColumnCount
    var view = DeadLetterView(
      run: try runView(row: row), reason: try row.word(next, as: DeadLetterReason.self),
      fingerprint: row.text(next + 1), attempt: row.int(next + 4), deadAt: row.time(next + 5))
    view.errorType = row.optionalText(next + 2)
    view.errorMessage = row.optionalText(next + 3)
    view.resolution = row.optionalText(next + 6)
    view.resolvedAt = row.optionalTime(next + 7)
    view.resolvedBy = row.optionalText(next + 8)
    view.resolvedReason = row.optionalText(next + 9)
    return view
  }

  fileprivate func deadLetters(_ query: DeadLetterQuery) throws(StoreError) -> Page<DeadLetterView> {
    var (source, conditions) = Self.select(query.filter)
    if let before = query.cursor?.integer { conditions.require("d.run_seq < ?", before) }
    let rows = try all(
      composed: """
        SELECT \(Self.deadLetterColumns) FROM (SELECT d.run_seq AS seq FROM \(source) \(conditions.whereClause) \
        ORDER BY d.run_seq DESC LIMIT ?) AS c CROSS JOIN dead_letters AS d ON d.run_seq = c.seq \
        CROSS JOIN runs r ON r.seq = c.seq \(Self.runViewJoin) ORDER BY c.seq DESC
        """, conditions.values + [query.limit + 1]
    ) { row throws(StoreError) in try Self.deadLetter(row: row) }
    return Page(rows, limit: query.limit) {
      PageCursor($0.run.run.sequence).text(scope: DeadLetterQuery.listScope)
    }
  }

  fileprivate func deadLetter(_ id: RunID) throws(StoreError) -> DeadLetterView? {
    try first(
      """
      SELECT \(Self.deadLetterColumns) FROM runs r CROSS JOIN dead_letters d ON d.run_seq = r.seq
        \(Self.runViewJoin) WHERE r.id = ?
      """, id
    ) { row throws(StoreError) in try Self.deadLetter(row: row) }
  }

  fileprivate func deadLetterGroups(_ query: DeadLetterQuery) throws(StoreError) -> Page<DeadLetterGroupView> {
    var (source, conditions) = Self.select(query.filter)
    if let parts = query.cursor?.parts.compactMap(\.bindable), parts.count == 2 {
      conditions.require("(d.task, d.fingerprint) > (?, ?)", all: parts)
    }
    let groups = try all(
      composed: """
        SELECT d.task, d.fingerprint, COUNT(*), MIN(d.dead_at), MAX(d.dead_at), MAX(d.run_seq) FROM \(source) \
        \(conditions.whereClause) GROUP BY d.task, d.fingerprint ORDER BY d.task, d.fingerprint LIMIT ?
        """, conditions.values + [query.limit + 1]
    ) { row throws(StoreError) in
      (try row.task(0), row.text(1), row.int(2), row.time(3), row.time(4), row.int64(5))
    }
    var views: [DeadLetterGroupView] = []
    for (task, fingerprint, count, firstSeen, lastSeen, newest) in groups {
      let view = try first(
        """
        SELECT r.id, d.error_type, d.error_message FROM dead_letters d JOIN runs r ON r.seq = d.run_seq
          WHERE d.run_seq = ?
        """, newest
      ) { row throws(StoreError) in
        DeadLetterGroupView(
          fingerprint: fingerprint, task: task, count: count, firstSeen: firstSeen, lastSeen: lastSeen,
          sampleID: try row.runID(0), sampleType: row.optionalText(1), sampleMessage: row.optionalText(2))
      }
      if let view { views.append(view) }
    }
    return Page(views, limit: query.limit) {
      PageCursor([.text($0.task.rawValue), .text($0.fingerprint)]).text(scope: DeadLetterQuery.groupsScope)
    }
  }

  fileprivate func quarantine(_ query: QuarantineView.Query) throws(StoreError) -> Page<QuarantineView> {
    var conditions = ComposedQuery()
    if let kind = query.kind { conditions.require("kind = ?", kind.rawValue) }
    if let source = query.source { conditions.require("source = ?", source.rawValue) }
    if let code = query.code { conditions.require("code = ?", code) }
    if let before = query.cursor?.integer { conditions.require("id < ?", before) }
    let body = query.includesBody ? "body" : "substr(body, 1, \(QuarantineView.previewBytesMax))"
    let rows = try all(
      composed: """
        SELECT id, received_at, source, kind, code, detail, routing_key, properties, \(body), body_bytes \
        FROM quarantine \(conditions.whereClause) ORDER BY id DESC LIMIT ?
        """, conditions.values + [query.limit + 1]
    ) { row throws(StoreError) in
      QuarantineView(
        id: row.int64(0), receivedAt: row.time(1), source: try row.word(2, as: QuarantineView.Source.self),
        kind: try row.word(3, as: QuarantineView.Kind.self), code: row.text(4), detail: row.text(5),
        routingKey: row.optionalText(6), properties: row.optionalText(7), body: row.blob(8),
        isWhole: query.includesBody, sizeBytes: row.int(9))
    }
    return Page(rows, limit: query.limit) { PageCursor($0.id).text(scope: QuarantineView.Query.scope) }
  }
}

extension ReadTransaction {
  package func deadLetters(_ query: DeadLetterQuery) throws(StoreError) -> Page<DeadLetterView> {
    try db.deadLetters(query)
  }

  /// The dead letter of a run, resolved or not; nil when the run never was one.
  package func deadLetter(_ id: RunID) throws(StoreError) -> DeadLetterView? { try db.deadLetter(id) }

  /// Dead letters by task key and fingerprint.
  package func deadLetterGroups(_ query: DeadLetterQuery) throws(StoreError) -> Page<DeadLetterGroupView> {
    try db.deadLetterGroups(query)
  }

  package func quarantine(_ query: QuarantineView.Query) throws(StoreError) -> Page<QuarantineView> {
    try db.quarantine(query)
  }

  package func deadLetterCount(matching filter: DeadLetterFilter, _ cutoff: Cutoff) throws(StoreError) -> Int {
    try db.deadLetterCount(matching: filter, cutoff)
  }
}

extension DeadLetterFilter {
  /// Whether task key and fingerprint are all it looks at.
  fileprivate var isAnsweredByIndex: Bool { reason == nil && since == nil && until == nil && payload.isEmpty }
}
