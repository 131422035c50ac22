import Foundation
import GRDB
import TaskBridgeCore
import TaskBridgeStore
import Testing

@Suite struct StoreFileTests {
  @Test func aSecondBridgeIsToldWhoHoldsTheStore() async throws {
    try await withTemporaryFolder { folder in
      let store = try openStore(folder)

      let error = #expect(throws: StoreError.self) { try openStore(folder) }

      #expect(error?.message.contains("pid \(ProcessInfo.processInfo.processIdentifier)") == true)
      await store.close()
      let again = try openStore(folder)
      await again.close()
    }
  }

  @Test func theFileBelongsToItsOwnerAlone() async throws {
    try await withTemporaryFolder { folder in
      let store = try openStore(folder)
      let mode = try FileManager.default.attributesOfItem(atPath: folder + "/taskbridge.db")[.posixPermissions] as? Int
      #expect(mode == 0o600)
      await store.close()
    }
  }

  @Test func whatIsNoStoreIsRefusedAndUntouched() async throws {
    try await withTemporaryFolder { folder in
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      let path = folder + "/taskbridge.db"
      let bytes = Data(repeating: 7, count: 8_192)
      try bytes.write(to: URL(fileURLWithPath: path))

      let error = #expect(throws: StoreError.self) { try openStore(folder) }

      #expect(error?.kind == .damaged)
      #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == bytes)
    }
  }

  @Test func aStoreOfANewerVersionIsRefused() async throws {
    try await withTemporaryFolder { folder in
      await (try openStore(folder)).close()
      let queue = try DatabaseQueue(path: folder + "/taskbridge.db")
      try await queue.write { db in
        try db.execute(sql: "INSERT INTO grdb_migrations (identifier) VALUES ('9999')")
      }
      try queue.close()

      let error = #expect(throws: StoreError.self) { try openStore(folder) }

      #expect(error?.kind == .newer)
    }
  }

  @Test func everyStateAndEveryAuditPairIsCheckedByTheSchema() async throws {
    try await withTemporaryFolder { folder in
      let test = TestStore(try openStore(folder))
      let id = try await test.add()
      let sequence = try await test.run(id).sequence
      await test.store.close()
      let queue = try DatabaseQueue(path: folder + "/taskbridge.db")

      for from in [nil] + RunState.allCases.map(Optional.some) {
        for to in RunState.allCases {
          let isAllowed = Transitions.isValid(from: from, to: to)
          let inserted = await accepts(
            queue,
            "INSERT INTO audit (run_seq, previous_state, new_state, attempt, entered_at, actor) VALUES (?, ?, ?, 0, 0, 'hand')",
            [sequence, from?.rawValue, to.rawValue])
          #expect(inserted == isAllowed, "\(from?.rawValue ?? "new") → \(to.rawValue)")
        }
      }
      #expect(await !accepts(queue, "UPDATE runs SET state = 'done' WHERE seq = ?", [sequence]))
      try queue.close()
    }
  }

  private func accepts(_ queue: DatabaseQueue, _ sql: String, _ arguments: StatementArguments) async -> Bool {
    do {
      try await queue.write { db in try db.execute(sql: sql, arguments: arguments) }
      return true
    } catch {
      return false
    }
  }

  @Test func aFailingOperationFailsAloneInItsBatch() async throws {
    try await withTemporaryStore { test in
      let store = test.store
      let results = await withTaskGroup(of: Bool.self) { group in
        for number in 0..<40 {
          group.addTask {
            let prepared = TestStore.prepared(TestStore.submission { $0.name = "run \(number)" })
            do {
              _ = try await store.write { tx throws(StoreError) in
                let result = try tx.submit(prepared, now: TestStore.start, actor: "test")
                if number == 13 { throw StoreError(.other, "planted") }
                return result
              }
              return true
            } catch {
              return false
            }
          }
        }
        return await group.reduce(into: [Bool]()) { $0.append($1) }
      }

      #expect(results.filter { !$0 }.count == 1)
      #expect(store.backlog == 39)
      let names = try await store.read { tx throws(StoreError) in try tx.count(RunFilter()).count }
      #expect(names == 39)
    }
  }

  @Test func auditRowsTileTime() async throws {
    try await withTemporaryStore { test in
      let id = try await test.add()
      let dispatch = try #require(try await test.launch().first)
      try await test.report(.failed, dispatch.id, now: TestStore.start.adding(seconds: 1))
      try await test.promote(now: TestStore.start.adding(seconds: 60))

      let rows = try await test.store.read { tx throws(StoreError) in
        Array(try tx.audit(run: id, workflowID: nil, limit: 100, before: nil).reversed())
      }

      #expect(rows.map(\.newState) == [.ready, .queued, .launched, .running, .error, .scheduled, .ready])
      for (row, next) in zip(rows, rows.dropFirst()) {
        #expect(row.exitedAt == next.enteredAt)
        #expect(next.previousState == row.newState)
      }
      #expect(rows.last?.exitedAt == nil)
    }
  }
}

@Suite struct ReopenTests {
  @Test("N18: a read whose task was cancelled is no failure of the store, by which a job would end")
  func aCancelledReadSaysSo() async throws {
    try await withTemporaryStore { test in
      let store = test.store
      let reader = Task {
        withUnsafeCurrentTask { $0?.cancel() }
        _ = try await store.read { tx throws(StoreError) in try tx.openLeases() }
      }

      let error = await #expect(throws: StoreError.self) { try await reader.value }
      #expect(error?.kind == .cancelled)
      #expect(error?.isRetriable == false)
    }
  }

  @Test func aStoreWithRowsInEveryTableOpensAgain() async throws {
    try await withTemporaryFolder { folder in
      let first = TestStore(try openStore(folder))
      let a = try await first.add {
        $0.tags = ["tenant": "42", "env": "prod"]
        $0.maxAttempts = 1
      }
      try await first.add { $0.dependsOn = [.run(a)] }
      let dispatch = try #require(try await first.launch().first)
      let task = dispatch.run.task
      try await first.store.write { tx throws(StoreError) in
        try tx.rememberQueue("q", task: task, broker: "b", now: TestStore.start)
        try tx.quarantine(
          QuarantinedMessage(
            source: .submit, code: "malformed", detail: "d", routingKey: nil, properties: nil, body: [1]),
          now: TestStore.start)
      }
      try await first.report(.failed, dispatch.id)
      await first.store.close()

      let second = TestStore(try openStore(folder))

      #expect(try await second.state(a) == .deadLettered)
      await second.store.close()
    }
  }
}
