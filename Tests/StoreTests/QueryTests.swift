import TaskBridgeCore
import Testing

@testable import TaskBridgeStore

@Suite struct QueryTests {
  @Test(arguments: [1, 2, 3] as [UInt64])
  func everyFilterAndOrderAgreesWithBruteForce(seed: UInt64) async throws {
    try await withTemporaryStore { test in
      var random = Seeded(seed)
      let model = try await QueryModel.fill(test, count: 150, random: &random)
      let held = [QueryModel.tasks[0], QueryModel.tasks[3]]

      for round in 0..<170 {
        let filter = RunFilter.random(model, using: &random)
        let sort = random.pick(RunSort.allCases)
        let limit = random.pick([5, 50, 1_000])
        let expected = model.runs.filter { model.matches(filter, $0, heldTasks: held) }.map(\.run)
          .sorted { model.isBefore($0, $1, sort) }

        let found = try await allPages(RunQuery(filter: filter, sort: sort, limit: limit), held, in: test)
        let count = try await test.store.read { tx throws(StoreError) in
          try tx.count(filter, held: HeldSet(tasks: held))
        }

        try #require(found == expected.map(\.id), "seed \(seed), round \(round): \(filter) by \(sort.rawValue)")
        let byState = Dictionary(grouping: expected, by: \.state).mapValues(\.count)
        try #require(count.byState == byState, "seed \(seed), round \(round): \(filter)")
      }
    }
  }

  /// The ids of every page, one after the other.
  private func allPages(_ query: RunQuery, _ held: [TaskKey], in test: TestStore) async throws -> [RunID] {
    var ids: [RunID] = []
    var query = query
    while true {
      let wanted = query
      let page = try await test.store.read { tx throws(StoreError) in try tx.runs(wanted, held: HeldSet(tasks: held)) }
      ids += page.items.map(\.run.id)
      guard let next = page.nextCursor else { return ids }
      query.cursor = PageCursor(text: next, scope: query.scope)
      try #require(query.cursor != nil)
    }
  }

  @Test func runsAreSeenWhicheverWayTheyAreFound() async throws {
    // Above `RunSelect.rareMax` and `sortedMax` other ways in are chosen: the same rows must come.
    try await withTemporaryStore { test in
      var random = Seeded(7)
      let model = try await QueryModel.fill(test, count: 150, random: &random)

      for state in QueryModel.states {
        for sort in RunSort.allCases {
          var filter = RunFilter()
          filter.states = [state]
          let expected = model.runs.map(\.run).filter { $0.state == state }
            .sorted { model.isBefore($0, $1, sort) }.map(\.id)
          for matching in [0, 10_000, .max] {
            let ids = try await test.store.read { [filter] tx throws(StoreError) in
              var select = RunSelect(filter, sort: sort, held: HeldSet(), matching: matching)
              let order = select.order(by: sort, after: nil, ordering: ListOrdering(now: TestStore.start))
              return try tx.db.all(
                composed: "SELECT r.id FROM \(select.source) \(select.query.whereClause) ORDER BY \(order)",
                select.query.values
              ) { row throws(StoreError) in try row.runID(0) }
            }
            #expect(ids == expected, "\(state) by \(sort.rawValue), \(matching) matching")
          }
        }
      }
    }
  }

  @Test(arguments: [
    ("state=running", "runs_held (state=?)"), ("state=running&state=blocked", "runs_held (state=?)"),
    ("state=failed&sort=id", "runs_ended_badly (state=?)"), ("state=ready&sort=release&task=a", "runs_ready (task=?)"),
    ("state=scheduled&sort=run_at", "runs_due"), ("state=launched&task=a", "runs_unclaimed (task=?)"),
    ("workflow_id=w&state=completed", "runs_workflow (workflow_id=?)"), ("group=g", "runs_group (group_name=?)"),
    ("parent_id=01936a3e-0000-7000-8000-000000000000", "runs_parent (parent=?)"),
    ("dedup_key=k", "runs_dedup_history (dedup_key=?)"), ("tag.a=b&state=completed", "SEARCH t0 USING PRIMARY KEY"),
    ("id=01936a3e-0000-7000-8000-000000000000&state=running", "sqlite_autoindex_runs_1 (id=?)"),
  ])
  func aListIsFoundByItsIndex(query: String, index: String) async throws {
    try await withTemporaryStore { test in
      let parameters = query.split(separator: "&").map { pair in
        let parts = pair.split(separator: "=", maxSplits: 1)
        return Parameter(query: String(parts[0]), String(parts[1]))
      }
      let wanted = try RunQuery(parameters: parameters)

      let plan = try await test.store.read { tx throws(StoreError) -> [String] in
        guard let (sql, values) = try tx.statement(of: wanted) else { return [] }
        return try tx.db.all(composed: "EXPLAIN QUERY PLAN \(sql)", values) { row throws(StoreError) in row.text(3) }
      }

      #expect(plan.contains { $0.contains(index) }, "\(plan)")
      #expect(!plan.contains { $0.hasPrefix("SCAN r") && !$0.contains("INDEX") }, "\(plan)")
    }
  }

  @Test func historyIsReadByTheRunsOwnIndexes() async throws {
    try await withTemporaryStore { test in
      let id = try await test.add()
      let dispatch = try #require(try await test.launch().first)
      try await test.report(.running, dispatch.id) { $0.worker = "w" }
      try await test.report(.failed, dispatch.id) { $0.error = WorkerError(type: "Boom", message: "no") }
      try await test.report(.completed, dispatch.id)

      let (attempts, audit, reports, errors) = try await test.store.read { tx throws(StoreError) in
        let sequence = try tx.sequence(of: id) ?? 0
        return (
          try tx.attempts(of: id, sequence: sequence, limit: 10, after: nil),
          try tx.audit(run: id, workflowID: nil, limit: 100, before: nil),
          try tx.reports(of: sequence, limit: 10, before: nil),
          try tx.errors(of: sequence, limit: 10, before: nil)
        )
      }

      #expect(attempts.map(\.attempt.number) == [1])
      #expect(attempts[0].attempt.worker == "w")
      #expect(reports.map(\.state) == [.completed, .failed, .running])
      #expect(reports[0].code != .applied)
      #expect(errors.map(\.attempt) == [1])
      #expect(errors[0].error.contains("Boom"))
      // The rows tile time: each ends where the next begins, one is open.
      #expect(audit.first?.exitedAt == nil)
      #expect(audit.last?.previousState == nil)
      for (newer, older) in zip(audit, audit.dropFirst()) {
        #expect(older.exitedAt == newer.enteredAt)
        #expect(older.newState == newer.previousState)
      }
    }
  }

  @Test func theGlobalAuditPagesThroughEqualTimes() async throws {
    try await withTemporaryStore { test in
      for number in 0..<20 { try await test.add { if number % 2 == 0 { $0.workflowID = "w" } } }

      let all = try await test.store.read { tx throws(StoreError) in
        try tx.audit(run: nil, workflowID: nil, limit: 100, before: nil)
      }
      let page = try await test.store.read { tx throws(StoreError) in
        try tx.audit(run: nil, workflowID: nil, limit: 5, before: all[9].sequence)
      }
      let workflow = try await test.store.read { tx throws(StoreError) in
        try tx.audit(run: nil, workflowID: "w", limit: 100, before: nil)
      }
      let mixed = try await test.store.read { tx throws(StoreError) in
        try tx.audit(run: all[0].runID, workflowID: "other", limit: 100, before: nil)
      }

      #expect(all.count == 20)
      #expect(page == Array(all[10..<15]))
      #expect(workflow == all.filter { $0.workflowID == "w" })
      #expect(mixed.isEmpty)
    }
  }
}
