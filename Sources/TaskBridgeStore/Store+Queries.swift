package import TaskBridgeCore

/// Reading one run as callers see it; usable inside write transactions too.
extension Connection {
  /// The columns ``runView(row:)`` reads, of `runs r` and `outcomes o`.
  static let runViewColumns = "\(Run.columns), r.tags, r.depends_on, o.progress, o.result, o.last_error"
  static let runViewJoin = "LEFT JOIN outcomes o ON o.run_seq = r.seq"
  static let runViewColumnCount = Run.columnCount + 5

  static func runView(row: Row) throws(StoreError) -> RunView {
    var view = RunView(try Run(row: row))
    let next = Run.columnCount
    view.tags = row.optionalText(next)
    view.dependsOn = row.optionalText(next + 1)
    view.progress = row.optionalText(next + 2)
    view.result = row.optionalBlob(next + 3)
    view.lastError = row.optionalText(next + 4)
    return view
  }

  private static let runViewBySequence = Statement.hot(
    "SELECT \(runViewColumns) FROM runs r \(runViewJoin) WHERE r.seq = ?")
  private static let runViewByID = Statement.hot("SELECT \(runViewColumns) FROM runs r \(runViewJoin) WHERE r.id = ?")

  /// The run with this number of the store; nil when there is none.
  func runView(sequence: Int64, includesPayload: Bool = false) throws(StoreError) -> RunView? {
    let view = try first(Self.runViewBySequence, sequence) { row throws(StoreError) in try Self.runView(row: row) }
    return includesPayload ? try view.map { view throws(StoreError) in try adding(payloadTo: view) } : view
  }

  /// The run with this id; nil when there is none.
  func runView(id: RunID, includesPayload: Bool = false) throws(StoreError) -> RunView? {
    let view = try first(Self.runViewByID, id) { row throws(StoreError) in try Self.runView(row: row) }
    return includesPayload ? try view.map { view throws(StoreError) in try adding(payloadTo: view) } : view
  }

  func adding(payloadTo view: RunView) throws(StoreError) -> RunView {
    var view = view
    view.payload = try first(
      "SELECT body, content_type, content_encoding FROM payloads WHERE run_seq = ?", view.run.sequence
    ) { row throws(StoreError) in
      Payload(bytes: row.blob(0), contentType: row.optionalText(1), contentEncoding: row.optionalText(2))
    }
    return view
  }
}

extension Connection {
  /// Which runs keep the blocked ones waiting: their open prerequisites, or the run whose dedup key one will take over.
  func adding(blockersTo views: [RunView]) throws(StoreError) -> [RunView] {
    let blocked = views.filter { $0.run.state == .blocked }.map(\.run)
    guard !blocked.isEmpty else { return views }
    var blockers: [Int64: [RunID]] = [:]
    for (sequence, id) in try prerequisites(of: blocked) { blockers[sequence, default: []].append(id) }
    let following = blocked.filter { blockers[$0.sequence] == nil }
    if !following.isEmpty {
      for (sequence, id) in try followed(by: following) { blockers[sequence] = [id] }
    }
    return views.map { view in
      var view = view
      if view.run.state == .blocked { view.blockedBy = blockers[view.run.sequence] ?? [] }
      return view
    }
  }

  /// The first open prerequisites of each run.
  private func prerequisites(of runs: [Run]) throws(StoreError) -> [(run: Int64, blocker: RunID)] {
    try once(
      composed: """
        SELECT b.seq, p.id FROM runs b CROSS JOIN dependencies d ON d.dependent = b.seq AND d.prerequisite <= coalesce(
            (SELECT x.prerequisite FROM dependencies x WHERE x.dependent = b.seq AND x.satisfied = 0
              ORDER BY x.prerequisite LIMIT 1 OFFSET ?), \(Int64.max))
          CROSS JOIN runs p ON p.seq = d.prerequisite
          WHERE b.seq IN \(ComposedQuery.places(runs.count)) AND d.satisfied = 0 ORDER BY b.seq, d.prerequisite
        """, [RunView.blockersMax - 1] + runs.map { $0.sequence as any Bindable }
    ) { row throws(StoreError) in (row.int64(0), try row.runID(1)) }
  }

  /// The open run that each follow-up follows.
  private func followed(by runs: [Run]) throws(StoreError) -> [(run: Int64, blocker: RunID)] {
    try once(
      composed: """
        SELECT b.seq, r.id FROM runs b CROSS JOIN runs r INDEXED BY runs_follow_up ON r.follow_up = b.id
          WHERE b.seq IN \(ComposedQuery.places(runs.count)) AND r.follow_up IS NOT NULL AND r.finished_at IS NULL
        """, runs.map { $0.sequence as any Bindable }
    ) { row throws(StoreError) in (row.int64(0), try row.runID(1)) }
  }
}

extension ReadTransaction {
  /// The run with this id; nil when there is none.
  package func run(_ id: RunID, includesPayload: Bool = false) throws(StoreError) -> RunView? {
    guard let view = try db.runView(id: id, includesPayload: includesPayload) else { return nil }
    return try db.adding(blockersTo: [view])[0]
  }

  /// The runs whose attempt has an open lease, in no order.
  package func openLeases() throws(StoreError) -> [Int64] {
    try db.all(
      """
      SELECT run_seq FROM attempts INDEXED BY attempts_lease WHERE \(Schema.isAttempt(.running, .triaging, .stopping))
      """
    ) { row throws(StoreError) in row.int64(0) }
  }

  /// The store's number of the run; nil when there is none.
  package func sequence(of id: RunID) throws(StoreError) -> Int64? {
    try db.first("SELECT seq FROM runs WHERE id = ?", id) { row throws(StoreError) in row.int64(0) }
  }
}

extension Transaction {
  /// The run as callers see it, as it stands inside this transaction; nil when there is none.
  package func runView(_ id: RunID) throws(StoreError) -> RunView? { try db.runView(id: id) }
}

/// A statement put together from fixed fragments; values are only ever bound.
struct ComposedQuery {
  private(set) var conditions: [String] = []
  private(set) var values: [any Bindable] = []

  /// Adds a condition with its values, in the order of its `?`.
  mutating func require(_ condition: String, _ values: any Bindable...) {
    conditions.append(condition)
    self.values += values
  }

  mutating func require(_ condition: String, all values: [any Bindable]) {
    conditions.append(condition)
    self.values += values
  }

  var whereClause: String { conditions.isEmpty ? "" : "WHERE \(conditions.joined(separator: " AND "))" }

  /// `(?, ?, …)` for `count` values.
  static func places(_ count: Int) -> String { "(\(Array(repeating: "?", count: count).joined(separator: ", ")))" }

  /// Runs whose task key is `domain` or begins with it and a dot; `column` is a fixed name.
  mutating func require(domain: String, column: String) {
    // '/' follows '.' in ASCII: the range holds exactly the keys that begin with "<domain>.".
    require("(\(column) = ? OR \(column) >= ? AND \(column) < ?)", domain, "\(domain).", "\(domain)/")
  }
}
