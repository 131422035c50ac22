import TaskBridgeCore

/// Turns a run filter and an order into SQL.
///
/// The planner has no statistics and would guess, so the way into the table is chosen here, by what the filter names and
/// by how many runs the counters say it can match: the partial indexes are named with `INDEXED BY`, and their states
/// stand in WHERE literally, as SQLite demands. Only fixed fragments are put together; values are bound.
struct RunSelect {
  /// Up to so many runs in the states of a filter, these are looked up by state whatever else it names.
  static let rareMax = 2_000
  /// Up to so many are collected and sorted rather than found by walking back over all runs.
  static let sortedMax = 50_000

  /// One partial index and the states it holds.
  private struct StateIndex {
    var name: String
    var states: [RunState]
    /// Rows of one state come in the order of submission.
    var isInOrder: Bool

    init(_ name: String, _ states: [RunState], isInOrder: Bool = false) {
      self.name = name
      self.states = states
      self.isInOrder = isInOrder
    }

    /// The index's own condition, word for word.
    func condition(_ prefix: String = "") -> String {
      name == "runs_ended_badly" ? Schema.endedBadly(column: prefix) : Schema.isAny(states, "\(prefix)state")
    }
  }

  private static let stateIndexes = [
    StateIndex("runs_ready", [.ready]),
    StateIndex("runs_due", [.scheduled]),
    StateIndex("runs_unclaimed", [.queued, .launched]),
    StateIndex("runs_held", [.running, .waiting, .cancelling, .blocked, .paused], isInOrder: true),
    StateIndex(
      "runs_ended_badly", [.failed, .deadLettered, .dependencyFailed, .cancelled, .expired, .superseded],
      isInOrder: true),
  ]

  /// FROM, up to the join of `outcomes`.
  private(set) var source = "runs AS r NOT INDEXED"
  private(set) var query = ComposedQuery()
  /// The column that holds the number of the run.
  private(set) var sequence = "r.seq"
  /// Values of the `?` in the ORDER BY, which stand behind those of ``query``.
  private(set) var orderValues: [any Bindable] = []
  /// The filter can match nothing.
  private(set) var isImpossible = false
  /// Rows come from the index of scheduled runs by time.
  private var isByDueTime = false

  /// - Parameters:
  ///   - held: whose ready runs are held by `filter.heldBy`.
  ///   - matching: how many runs the counters show for the filter's states and task keys.
  init(_ filter: RunFilter, sort: RunSort, held: HeldSet, matching: Int) {
    var states = filter.states
    if filter.heldBy != nil {
      isImpossible = held.isEmpty || !(states.isEmpty || states.contains(.ready))
      states = [.ready]
    }
    choose(filter, states: states, sort: sort, matching: matching)
    if !states.isEmpty {
      // The unary plus keeps the planner from using a partial index of its own choice.
      query.require("+r.state IN (\(Schema.list(states)))")
    }
    if filter.heldBy != nil {
      query.require(
        "(r.task IN \(ComposedQuery.places(held.tasks.count)) OR r.group_name IN \(ComposedQuery.places(held.groups.count)))",
        all: (held.tasks as [any Bindable]) + held.groups)
    }
    requireFields(filter)
    requireTimes(filter)
  }

  /// For runs whose numbers are known: whether the filter still means them.
  ///
  /// - Parameter sequences: a JSON array, so that any number of them is one text of SQL. What only readers can know,
  ///   which holds a ready run has, is not asked again.
  init(_ filter: RunFilter, among sequences: String) {
    query.require("r.seq IN (SELECT value FROM json_each(?))", sequences)
    let states = filter.heldBy == nil ? filter.states : [.ready]
    if !states.isEmpty { query.require("+r.state IN (\(Schema.list(states)))") }
    requireFields(filter)
    requireTimes(filter)
  }

  /// Adds a condition of the caller's, a fixed text.
  mutating func require(_ condition: String, _ values: any Bindable...) { query.require(condition, all: values) }

  mutating func require(_ condition: String, all values: [any Bindable]) { query.require(condition, all: values) }

  // MARK: The way in

  private mutating func choose(_ filter: RunFilter, states: [RunState], sort: RunSort, matching: Int) {
    let indexes = Self.stateIndexes.filter { index in index.states.contains { states.contains($0) } }
    let isIndexed = !states.isEmpty && states.allSatisfy { state in indexes.contains { $0.states.contains(state) } }
    if !filter.ids.isEmpty {
      source = "runs AS r"
    } else if isIndexed, matching <= Self.rareMax {
      drive(by: indexes, states: states, sort: sort)
    } else if let workflowID = filter.keptBy {
      source = "kept_runs AS k CROSS JOIN runs AS r ON r.seq = k.run_seq"
      query.require("k.workflow_id = ?", workflowID)
      sequence = "k.run_seq"
    } else if filter.parentID != nil {
      source = "runs AS r INDEXED BY runs_parent"
    } else if filter.workflowID != nil {
      source = "runs AS r INDEXED BY runs_workflow"
    } else if filter.dedupKey != nil {
      source = "runs AS r INDEXED BY runs_dedup_history"
    } else if filter.group != nil {
      source = "runs AS r INDEXED BY runs_group"
    } else if let tag = filter.tags.first {
      source = "tags AS t0 CROSS JOIN runs AS r ON r.seq = t0.run_seq"
      query.require("t0.key = ? AND t0.value = ?", tag.key, tag.value)
      sequence = "t0.run_seq"
    } else if isIndexed, prefersStates(indexes, states: states, sort: sort, matching: matching) {
      drive(by: indexes, states: states, sort: sort)
    }
  }

  private func prefersStates(_ indexes: [StateIndex], states: [RunState], sort: RunSort, matching: Int) -> Bool {
    switch sort {
    case .idAscending, .idDescending: matching <= Self.sortedMax || states.count == 1 && indexes[0].isInOrder
    case .runAtAscending, .runAtDescending, .nameAscending, .nameDescending, .finishedAtDescending, .priority, .release:
      true
    }
  }

  private mutating func drive(by indexes: [StateIndex], states: [RunState], sort: RunSort) {
    if indexes.count == 1 {
      let index = indexes[0]
      source = "runs AS r INDEXED BY \(index.name)"
      query.require(index.condition("r."))
      if states.count == 1, index.states.count > 1 { query.require("r.state = '\(states[0].rawValue)'") }
      isByDueTime = index.name == "runs_due"
    } else {
      let parts = indexes.map { index in
        "SELECT seq FROM runs INDEXED BY \(index.name) WHERE \(index.condition())"
          + " AND state IN (\(Schema.list(index.states.filter { states.contains($0) })))"
      }
      source = "(\(parts.joined(separator: " UNION ALL "))) AS c CROSS JOIN runs AS r ON r.seq = c.seq"
    }
  }

  // MARK: The conditions

  private mutating func requireFields(_ filter: RunFilter) {
    if !filter.ids.isEmpty { query.require("r.id IN \(ComposedQuery.places(filter.ids.count))", all: filter.ids) }
    query.require(tasksOf: filter, column: "r.task")
    for tag in sequence == "t0.run_seq" ? filter.tags.dropFirst() : filter.tags[...] {
      query.require(
        "EXISTS (SELECT 1 FROM tags t WHERE t.key = ? AND t.value = ? AND t.run_seq = r.seq)", tag.key, tag.value)
    }
    if let prefix = filter.tagPrefix {
      query.require("EXISTS (SELECT 1 FROM tags t WHERE t.run_seq = r.seq AND instr(t.key, ?) = 1)", prefix)
    }
    if let group = filter.group { query.require("r.group_name = ?", group) }
    if let workflowID = filter.workflowID { query.require("r.workflow_id = ?", workflowID) }
    if let keptBy = filter.keptBy, sequence != "k.run_seq" {
      query.require("EXISTS (SELECT 1 FROM kept_runs k WHERE k.workflow_id = ? AND k.run_seq = r.seq)", keptBy)
    }
    if let parentID = filter.parentID { query.require("r.parent = ?", parentID) }
    if let dedupKey = filter.dedupKey { query.require("r.dedup_key = ?", dedupKey) }
    if let name = filter.name { query.require("r.name = ?", name) }
    if let part = filter.nameLike { query.require("instr(lower(r.name), lower(?)) > 0", part) }
    if let template = filter.template { query.require("r.template = ?", template) }
    if let array = filter.array { query.require("r.array_name = ?", array) }
    if let hasChildren = filter.hasChildren {
      query.require("\(hasChildren ? "" : "NOT ")EXISTS (SELECT 1 FROM runs child WHERE child.parent = r.id)")
    }
    if let type = filter.errorType {
      query.require(
        "EXISTS (SELECT 1 FROM outcomes e WHERE e.run_seq = r.seq AND json_extract(e.last_error, '$.type') = ?)", type)
    }
    for field in RunFilter.NullableField.allCases {
      if let isNull = filter.isNull[field] { query.require("\(Self.column(field)) IS \(isNull ? "" : "NOT ")NULL") }
    }
  }

  private mutating func requireTimes(_ filter: RunFilter) {
    for field in RunFilter.TimeField.allCases {
      guard let bounds = filter.times[field] else { continue }
      if let after = bounds.after { query.require("\(Self.column(field)) > ?", after) }
      if let before = bounds.before { query.require("\(Self.column(field)) < ?", before) }
    }
  }

  private static func column(_ field: RunFilter.NullableField) -> String {
    switch field {
    case .startedAt: "r.started_at"
    case .finishedAt: "r.finished_at"
    case .runAt: "r.run_at"
    case .expiresAt: "r.expires_at"
    case .dedupKey: "r.dedup_key"
    case .group: "r.group_name"
    case .workflowID: "r.workflow_id"
    case .parentID: "r.parent"
    }
  }

  private static func column(_ field: RunFilter.TimeField) -> String {
    switch field {
    case .created: "r.created_at"
    case .runAt: "r.run_at"
    case .started: "r.started_at"
    case .finished: "r.finished_at"
    }
  }

  // MARK: The order

  /// Adds the condition of the cursor.
  /// - Returns: the ORDER BY of `sort`.
  /// - Parameters:
  ///   - cursor: the parts ``RunSort/position(of:ordering:)`` made; others are ignored.
  ///   - ordering: what the settings of task keys change in the order of release.
  mutating func order(by sort: RunSort, after cursor: PageCursor?, ordering: ListOrdering) -> String {
    let parts = cursor?.parts ?? []
    switch sort {
    case .idAscending: return orderBySequence(parts, descending: false)
    case .idDescending: return orderBySequence(parts, descending: true)
    case .runAtAscending, .runAtDescending:
      if isByDueTime { return orderByDueTime(parts, descending: sort == .runAtDescending) }
      return order(byNullable: "r.run_at", parts, descending: sort == .runAtDescending)
    case .nameAscending, .nameDescending:
      return order(byNullable: "r.name", parts, descending: sort == .nameDescending)
    case .finishedAtDescending: return order(byNullable: "r.finished_at", parts, descending: true)
    case .priority:
      let priority = ordering.priority
      if parts.count == 3 {
        query.require(
          "(\(priority.sql), \(sequence)) > (?, ?)",
          all: priority.values + parts.prefix(2).compactMap(\.bindable))
      }
      orderValues = priority.values
      return "\(priority.sql), \(sequence)"
    case .release:
      let (priority, newestFirst) = (ordering.priority, ordering.newestFirst)
      let age =
        newestFirst.isEmpty
        ? sequence
        : "CASE WHEN r.task IN \(ComposedQuery.places(newestFirst.count)) THEN -\(sequence) ELSE \(sequence) END"
      let since = ordering.waitsSince
      let terms = [priority.sql, "r.release_class"] + (since.map { [$0.sql] } ?? []) + [age]
      orderValues = priority.values + (since?.values ?? []) + newestFirst
      if parts.count == 5 {
        let place = since == nil ? [parts[0], parts[1], parts[3]] : Array(parts.prefix(4))
        query.require(
          "(\(terms.joined(separator: ", "))) > \(ComposedQuery.places(terms.count))",
          all: orderValues + place.compactMap(\.bindable))
      }
      return terms.joined(separator: ", ")
    }
  }

  private mutating func orderBySequence(_ parts: [PageCursor.Part], descending: Bool) -> String {
    if parts.count == 1 {
      query.require("\(sequence) \(descending ? "<" : ">") ?", all: parts.compactMap(\.bindable))
    }
    return descending ? "\(sequence) DESC" : sequence
  }

  private mutating func orderByDueTime(_ parts: [PageCursor.Part], descending: Bool) -> String {
    if parts.count == 2 {
      query.require("(r.run_at, r.seq) \(descending ? "<" : ">") (?, ?)", all: parts.compactMap(\.bindable))
    }
    return descending ? "r.run_at DESC, r.seq DESC" : "r.run_at, r.seq"
  }

  /// Rows without a value come last in either direction.
  private mutating func order(byNullable column: String, _ parts: [PageCursor.Part], descending: Bool) -> String {
    let beyond = descending ? "<" : ">"
    if parts.count == 2, let last = parts[1].bindable {
      if let value = parts[0].bindable {
        query.require("(\(column) IS NULL OR (\(column), \(sequence)) \(beyond) (?, ?))", value, last)
      } else {
        query.require("\(column) IS NULL AND \(sequence) \(beyond) ?", last)
      }
    }
    let direction = descending ? " DESC" : ""
    return "\(column) IS NULL, \(column)\(direction), \(sequence)\(direction)"
  }
}

extension ComposedQuery {
  /// The conditions on the task key alone; `column` is a fixed name.
  mutating func require(tasksOf filter: RunFilter, column: String) {
    if !filter.tasks.isEmpty { require("\(column) IN \(Self.places(filter.tasks.count))", all: filter.tasks) }
    if !filter.excludedTasks.isEmpty {
      require("\(column) NOT IN \(Self.places(filter.excludedTasks.count))", all: filter.excludedTasks)
    }
    if let domain = filter.domain { require(domain: domain, column: column) }
  }
}

extension PageCursor.Part {
  var bindable: (any Bindable)? {
    switch self {
    case .null: nil
    case .integer(let value): value
    case .text(let text): text
    }
  }
}

extension RunSort {
  /// Where `run` stands in this order.
  func position(of run: Run, ordering: ListOrdering) -> PageCursor {
    let sequence = PageCursor.Part.integer(run.sequence)
    let now = PageCursor.Part.integer(ordering.now.milliseconds)
    func time(_ value: Timestamp?) -> PageCursor.Part { value.map { .integer($0.milliseconds) } ?? .null }
    return switch self {
    case .idAscending, .idDescending: PageCursor([sequence])
    case .runAtAscending, .runAtDescending: PageCursor([time(run.runAt), sequence])
    case .nameAscending, .nameDescending: PageCursor([run.name.map { .text($0) } ?? .null, sequence])
    case .finishedAtDescending: PageCursor([time(run.finishedAt), sequence])
    case .priority: PageCursor([.integer(Int64(ordering.priority(of: run))), sequence, now])
    case .release:
      PageCursor([
        .integer(Int64(ordering.priority(of: run))), .integer(run.isRetry ? 0 : 1), .integer(ordering.waitsSince(run)),
        ordering.newestFirst.contains(run.task) ? .integer(-run.sequence) : sequence, now,
      ])
    }
  }
}
