import TaskBridgeCore
import Testing

@testable import TaskBridgeStore

/// Which of the ready runs go first (features S1, S2).
@Suite struct ReleaseOrderTests {
  /// S1, S2: by priority, then oldest or newest first, with and without groups.
  @Test(arguments: [ReleaseOrder.fifo, .lifo], [false, true])
  func runsComeOutInTheOrderOfTheirTaskKey(order: ReleaseOrder, isGrouped: Bool) async throws {
    try await withTemporaryStore { test in
      try await test.set("a") { $0.order = order }
      var added: [(priority: Int, number: Int, id: RunID)] = []
      for number in 0..<120 {
        let priority = [0, 200, 128][number % 3]
        let id = try await test.add("a") {
          $0.priority = priority
          if isGrouped { $0.group = [nil, "g", "h", "i"][number % 4] }
        }
        added.append((priority, number, id))
      }

      var released: [RunID] = []
      while case let next = try await test.release(7), !next.isEmpty { released += next.map(\.run.id) }

      let expected = added.sorted { left, right in
        if left.priority != right.priority { return left.priority < right.priority }
        return order == .fifo ? left.number < right.number : left.number > right.number
      }
      #expect(released == expected.map(\.id))
    }
  }

  /// S1: the release of ungrouped runs stays one look into the index, without sorting.
  @Test func thePlainReleaseIsOneIndexScan() async throws {
    try await withTemporaryStore { test in
      let plan = try await test.store.read { tx throws(StoreError) in
        try tx.db.all(
          """
          EXPLAIN QUERY PLAN SELECT r.id FROM runs r INDEXED BY runs_ready WHERE r.state = 'ready' AND r.task = 'a'
            AND r.group_name IS NULL AND (r.expires_at IS NULL OR r.expires_at > 1)
            ORDER BY r.priority, r.release_class, r.seq LIMIT 10
          """
        ) { row throws(StoreError) in row.text(3) }
      }

      #expect(plan == ["SEARCH r USING INDEX runs_ready (task=? AND group_name=?)"])
    }
  }
}
