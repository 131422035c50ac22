public import TaskBridgeCore
import TaskBridgeStore

/// Everything that only looks. Reads go to snapshots of the store beside the writer and are bounded in work.
extension TaskBridge {
  /// What `snapshot`, the command line and `/metrics` call this program.
  public static let version = "0.1.0"

  /// The time as this bridge sees it.
  public var clockNow: Timestamp { now() }

  // MARK: Runs

  /// One run, with its payload.
  /// - Throws: 404 `run_not_found`, 503.
  public func run(_ id: RunID, includesPayload: Bool = true) async throws(Problem) -> RunView {
    let found = try await reading { transaction throws(StoreError) -> (RunView, OccupancyTable)? in
      guard let view = try transaction.run(id, includesPayload: includesPayload) else { return nil }
      return (view, try transaction.occupancy(of: [view.run]))
    }
    guard let (view, occupancy) = found else { throw Problem.runNotFound(id) }
    return completed(view, occupancy[view.run])
  }

  /// One page of runs.
  /// - Throws: 503 `query_too_expensive` when the filter finds its runs only by reading most of the store.
  public func runs(_ query: RunQuery) async throws(Problem) -> Page<RunView> {
    let hold = holdLookup(query.filter.heldBy)
    let ordering = ordering(of: query.sort, after: query.cursor)
    let (page, occupancy) = try await reading { transaction throws(StoreError) in
      let page = try transaction.runs(query, held: try hold(transaction), ordering: ordering)
      return (page, try transaction.occupancy(of: page.items.lazy.map(\.run)))
    }
    return completed(page, occupancy)
  }

  /// How many runs a filter means.
  public func count(_ filter: RunFilter) async throws(Problem) -> RunCount {
    let hold = holdLookup(filter.heldBy)
    return try await reading { transaction throws(StoreError) in
      try transaction.count(filter, held: try hold(transaction))
    }
  }

  /// How many runs there were in each interval of time, by state.
  /// - Throws: 503 `query_too_expensive` when the filter finds its runs only by reading most of the store.
  public func history(_ query: RunHistoryQuery) async throws(Problem) -> RunHistory {
    let (hold, now) = (holdLookup(query.filter.heldBy), now())
    return try await reading { transaction throws(StoreError) in
      try transaction.history(query, held: try hold(transaction), now: now)
    }
  }

  /// Fills in what only the running bridge knows of a run: its holds and the settings in force.
  ///
  /// - Parameter occupancy: of the read that found a ready run.
  func completed(_ view: RunView, _ occupancy: Occupancy?) -> RunView {
    var view = view
    let policy = context.policy(view.run.task)
    view.maxAttempts = policy.resolved(for: view.run).maxAttempts
    if let aging = policy.aging {
      let now = now()
      let paused = store.controls.pausedTime(task: view.run.task, group: view.run.group, until: now)
      view.effectivePriority = view.run.effectivePriority(aging, paused: paused, at: now)
    }
    view.heldBy = holds(on: view.run, occupancy)
    return view
  }

  private func completed(_ page: Page<RunView>, _ occupancy: OccupancyTable) -> Page<RunView> {
    var page = page
    for index in page.items.indices {
      page.items[index] = completed(page.items[index], occupancy[page.items[index].run])
    }
    return page
  }

  // MARK: History of one run

  /// Attempts of a run, first to last.
  public func attempts(of id: RunID, _ query: PageQuery) async throws(Problem) -> Page<AttemptView> {
    try await page(of: id, query) { transaction, sequence throws(StoreError) in
      try transaction.attempts(of: id, sequence: sequence, limit: query.limit + 1, after: query.last)
    } number: {
      Int64($0.attempt.number)
    }
  }

  /// State changes of a run, newest first.
  public func audit(of id: RunID, _ query: PageQuery) async throws(Problem) -> Page<AuditView> {
    try await page(of: id, query) { transaction, _ throws(StoreError) in
      try transaction.audit(run: id, workflowID: nil, limit: query.limit + 1, before: query.last)
    } number: {
      $0.sequence
    }
  }

  /// State changes of a run, a workflow or all runs, newest first; unknown ones have none.
  public func audit(_ query: AuditQuery) async throws(Problem) -> Page<AuditView> {
    let rows = try await reading { transaction throws(StoreError) in
      try transaction.audit(
        run: query.runID, workflowID: query.workflowID, limit: query.page.limit + 1, before: query.page.last)
    }
    return query.page.page(rows) { $0.sequence }
  }

  /// Reports of a run's workers with their verdicts, newest first.
  public func reports(of id: RunID, _ query: PageQuery) async throws(Problem) -> Page<ReportView> {
    try await page(of: id, query) { transaction, sequence throws(StoreError) in
      try transaction.reports(of: sequence, limit: query.limit + 1, before: query.last)
    } number: {
      $0.sequence
    }
  }

  /// What went wrong, one for each failed attempt, newest first.
  public func errors(of id: RunID, _ query: PageQuery) async throws(Problem) -> Page<ErrorView> {
    try await page(of: id, query) { transaction, sequence throws(StoreError) in
      try transaction.errors(of: sequence, limit: query.limit + 1, before: query.last)
    } number: {
      Int64($0.attempt)
    }
  }

  /// The runs this one waits for.
  public func dependencies(of id: RunID, _ query: PageQuery) async throws(Problem) -> Page<DependencyView> {
    try await page(of: id, query) { transaction, sequence throws(StoreError) in
      try transaction.dependencies(of: sequence, limit: query.limit + 1, after: query.last)
    } number: {
      $0.sequence
    }
  }

  /// The runs that wait for this one.
  public func dependents(of id: RunID, _ query: PageQuery) async throws(Problem) -> Page<DependencyView> {
    try await page(of: id, query) { transaction, sequence throws(StoreError) in
      try transaction.dependents(of: sequence, limit: query.limit + 1, after: query.last)
    } number: {
      $0.sequence
    }
  }

  /// The runs this one is the parent of, newest first.
  /// - Parameter query: its scope is that of a list of runs by `-id`.
  public func children(of id: RunID, _ query: PageQuery) async throws(Problem) -> Page<RunView> {
    var children = RunQuery(limit: query.limit, cursor: query.last.map { PageCursor($0) })
    children.filter.parentID = id
    let wanted = children
    let found = try await reading { transaction throws(StoreError) -> (Page<RunView>, OccupancyTable)? in
      guard try transaction.sequence(of: id) != nil else { return nil }
      let page = try transaction.runs(wanted)
      return (page, try transaction.occupancy(of: page.items.lazy.map(\.run)))
    }
    guard let (page, occupancy) = found else { throw Problem.runNotFound(id) }
    return completed(page, occupancy)
  }

  /// A page of something that belongs to one run.
  /// - Throws: 404 `run_not_found`.
  private func page<Item: Sendable & JSONWritable>(
    of id: RunID, _ query: PageQuery,
    _ rows: @escaping @Sendable (ReadTransaction, Int64) throws(StoreError) -> [Item],
    number: @Sendable (Item) -> Int64
  ) async throws(Problem) -> Page<Item> {
    let found = try await reading { transaction throws(StoreError) -> [Item]? in
      guard let sequence = try transaction.sequence(of: id) else { return nil }
      return try rows(transaction, sequence)
    }
    guard let found else { throw Problem.runNotFound(id) }
    return query.page(found, number: number)
  }

  // MARK: Dead letters and quarantine

  public func deadLetters(_ query: DeadLetterQuery) async throws(Problem) -> Page<DeadLetterView> {
    var (page, occupancy) = try await reading { transaction throws(StoreError) in
      let page = try transaction.deadLetters(query)
      return (page, try transaction.occupancy(of: page.items.lazy.map(\.run.run)))
    }
    for index in page.items.indices {
      page.items[index].run = completed(page.items[index].run, occupancy[page.items[index].run.run])
    }
    return page
  }

  /// Dead letters by task key and fingerprint.
  public func deadLetterGroups(_ query: DeadLetterQuery) async throws(Problem) -> Page<DeadLetterGroupView> {
    try await reading { transaction throws(StoreError) in try transaction.deadLetterGroups(query) }
  }

  /// The dead letter of one run, resolved or not, with its payload.
  /// - Throws: 404 `run_not_found`, 404 `not_a_dead_letter`.
  public func deadLetter(_ id: RunID) async throws(Problem) -> DeadLetterView {
    typealias Found = (letter: DeadLetterView?, occupancy: OccupancyTable, exists: Bool)
    let (letter, occupancy, exists): Found = try await reading { transaction throws(StoreError) in
      var letter = try transaction.deadLetter(id)
      if letter != nil, let run = try transaction.run(id, includesPayload: true) { letter?.run = run }
      if let letter { return (letter, try transaction.occupancy(of: [letter.run.run]), true) }
      return (nil, OccupancyTable(), try transaction.sequence(of: id) != nil)
    }
    guard exists else { throw Problem.runNotFound(id) }
    guard var letter else {
      throw Problem(404, "not_a_dead_letter", "run \(id) exists but never became a dead letter", runID: id)
    }
    letter.run = completed(letter.run, occupancy[letter.run.run])
    return letter
  }

  /// Messages that could not be understood or were not allowed, newest first.
  public func quarantine(_ query: QuarantineView.Query) async throws(Problem) -> Page<QuarantineView> {
    try await reading { transaction throws(StoreError) in try transaction.quarantine(query) }
  }

  /// Load samples, oldest first unless asked otherwise.
  public func load(parameters: [Parameter]) async throws(Problem) -> Page<LoadSample> {
    let query = try LoadQuery(parameters: parameters, now: now())
    return try await reading { transaction throws(StoreError) in try transaction.load(query) }
  }

  // MARK: The whole

  /// Everything a dashboard needs, of one instant; an unknown domain has zeros.
  public func snapshot(domain: String? = nil) async throws(Problem) -> SnapshotView {
    let now = now()
    var (view, groups) = try await reading { transaction throws(StoreError) in
      (try transaction.snapshot(domain: domain, now: now), try transaction.groupCounts())
    }
    view.version = Self.version
    view.pause = store.controls.pause(of: .bridge, at: now)
    view.tasks = completed(view.tasks, domain: domain, now: now)
    view.groups = groupViews(groups, now: now)
    for index in view.running.indices { view.running[index] = completed(view.running[index], nil) }
    (view.storeSizeBytes, view.storeWALBytes) = store.sizes()
    (view.storeSynchronous, view.storeJournalMode) = (store.durability.synchronous, store.durability.journalMode)
    let readiness = readiness
    view.broker = SnapshotView.Broker(
      connected: readiness.brokerConnected, blocked: readiness.brokerBlocked, version: readiness.brokerVersion)
    return view
  }

  // MARK: Store access

  /// A read whose failure is the caller's answer.
  func reading<T: Sendable>(
    _ body: @escaping @Sendable (ReadTransaction) throws(StoreError) -> T
  ) async throws(Problem) -> T {
    do throws(StoreError) { return try await store.read(body) } catch { throw Problem(error) }
  }
}
