import TaskBridgeCore
import Testing

@testable import TaskBridgeStore

/// What blocked runs wait for, as lists and single runs tell it.
@Suite struct BlockerTests {
  @Test("T28: each blocked run of a page has its own open prerequisites, at most 100, a follow-up the run before it")
  func aPageNamesWhatEachOneWaitsFor() async throws {
    try await withTemporaryStore { test in
      var ids: [RunID] = []
      for _ in 0..<102 { ids.append(try await test.add("p")) }
      let (all, some) = (ids, [ids[5], ids[2]])
      let many = try await test.add("a") { $0.dependsOn = all.map { .run($0) } }
      let few = try await test.add("b") { $0.dependsOn = some.map { .run($0) } }
      let active = try await test.add("c") { $0.dedupKey = "k" }
      for dispatch in try await test.launch() {
        if dispatch.run.id == ids[0] { try await test.report(.completed, dispatch.id) }
        if dispatch.run.id == active { try await test.report(.running, dispatch.id) }
      }
      let again = TestStore.submission("c") { $0.dedupKey = "k" }
      let next = try #require(try await test.submit(again).get().followUpID)

      let expected = [many: Array(ids[1...100]), few: [ids[2], ids[5]], next: [active]]
      var query = RunQuery(sort: .idAscending, limit: 10)
      query.filter.states = [.blocked]
      let wanted = query
      let (page, alone) = try await test.store.read { tx throws(StoreError) in
        let alone = try [many, few, next, active].map { id throws(StoreError) in try tx.run(id)?.blockedBy }
        return (try tx.runs(wanted).items, alone)
      }
      #expect(page.map(\.run.id) == [many, few, next])
      #expect(page.map(\.blockedBy) == [expected[many], expected[few], expected[next]])
      #expect(alone == [expected[many], expected[few], expected[next], nil])
    }
  }
}
