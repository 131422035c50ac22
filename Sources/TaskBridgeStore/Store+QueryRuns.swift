package import TaskBridgeCore

/// Lists and counts of runs.
extension ReadTransaction {
  /// One page of runs.
  ///
  /// - Parameters:
  ///   - held: whose ready runs are held by `query.filter.heldBy`; the store alone cannot know them.
  ///   - ordering: what the settings of task keys change in the order of release.
  /// - Throws: `StoreError` `.tooExpensive` when finding them takes more work than a read may do.
  package func runs(
    _ query: RunQuery, held: HeldSet = HeldSet(), ordering: ListOrdering = ListOrdering(now: .earliest)
  ) throws(StoreError) -> Page<RunView> {
    guard let (sql, values) = try statement(of: query, held: held, ordering: ordering) else {
      return Page(items: [], nextCursor: nil)
    }
    let rows = try db.all(composed: sql, values) { row throws(StoreError) in try Connection.runView(row: row) }
    func cursor(_ view: RunView) -> String {
      query.sort.position(of: view.run, ordering: ordering).text(scope: query.scope)
    }
    var page = Page(rows, limit: query.limit, cursor: cursor)
    if query.includesPayload { try addPayloads(to: &page, cursor: cursor) }
    page.items = try db.adding(blockersTo: page.items)
    return page
  }

  /// Ends the page early where the payloads grow past what one answer may hold.
  private func addPayloads(to page: inout Page<RunView>, cursor: (RunView) -> String) throws(StoreError) {
    var bytes = 0
    for index in page.items.indices {
      page.items[index] = try db.adding(payloadTo: page.items[index])
      bytes += page.items[index].payload?.bytes.count ?? 0
      if bytes > RunQuery.payloadBytesMax, index < page.items.count - 1 {
        page.nextCursor = cursor(page.items[index])
        page.items.removeSubrange((index + 1)...)
        return
      }
    }
  }

  /// How many runs the filter means, by state, at this instant.
  package func count(_ filter: RunFilter, held: HeldSet = HeldSet()) throws(StoreError) -> RunCount {
    var plain = RunFilter()
    plain.states = filter.states
    plain.tasks = filter.tasks
    plain.excludedTasks = filter.excludedTasks
    plain.domain = filter.domain
    if plain == filter { return RunCount(byState: try counted(filter)) }
    let select = RunSelect(filter, sort: .idDescending, held: held, matching: try matching(filter))
    if select.isImpossible { return RunCount(byState: [:]) }
    let rows = try db.all(
      composed: "SELECT r.state, COUNT(*) FROM \(select.source) \(select.query.whereClause) GROUP BY r.state",
      select.query.values
    ) { row throws(StoreError) in (try row.word(0, as: RunState.self), row.int(1)) }
    return RunCount(byState: Dictionary(rows, uniquingKeysWith: +))
  }

  /// The SQL of a page, one row more than asked for; nil when nothing can match.
  func statement(
    of query: RunQuery, held: HeldSet = HeldSet(), ordering: ListOrdering = ListOrdering(now: .earliest)
  ) throws(StoreError) -> (sql: String, values: [any Bindable])? {
    var select = RunSelect(
      query.filter, sort: query.sort, held: held, matching: try matching(query.filter))
    if select.isImpossible { return nil }
    let order = select.order(by: query.sort, after: query.cursor, ordering: ordering)
    let sql = """
      SELECT \(Connection.runViewColumns) FROM \(select.source) \(Connection.runViewJoin) \(select.query.whereClause) \
      ORDER BY \(order) LIMIT ?
      """
    return (sql, select.query.values + select.orderValues + [query.limit + 1])
  }

  /// By the counters: an upper bound of what the filter can match.
  func matching(_ filter: RunFilter) throws(StoreError) -> Int {
    var states = filter
    if filter.heldBy != nil { states.states = [.ready] }
    if states.states.isEmpty { return .max }
    return try counted(states).values.reduce(0, +)
  }

  /// From the counters the writer keeps: exact for filters by state and task key.
  private func counted(_ filter: RunFilter) throws(StoreError) -> [RunState: Int] {
    var query = ComposedQuery()
    query.require("runs <> 0")
    if !filter.states.isEmpty { query.require("state IN (\(Schema.list(filter.states)))") }
    query.require(tasksOf: filter, column: "task")
    let rows = try db.all(
      composed: "SELECT state, SUM(runs) FROM counts \(query.whereClause) GROUP BY state", query.values
    ) { row throws(StoreError) in (try row.word(0, as: RunState.self), row.int(1)) }
    return Dictionary(rows, uniquingKeysWith: +)
  }
}
