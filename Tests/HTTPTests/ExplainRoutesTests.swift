import TaskBridgeCore
import TaskBridgeStore
import Testing

@testable import TaskBridgeEngine

/// What explain says of holds and queues that a real broker shows for an instant only (features N11, N12, T18).
@Suite struct ExplainRoutesTests {
  @Test("N11: while store and broker are brought in line runs are held by restoring, and by a degraded queue after it")
  func restoringAndDegraded() async throws {
    try await withServer { client, bridge in
      let id = try await client.submit(#"{"task":"a","payload":1}"#)
      func reasons() async throws -> [JSONValue] {
        let explained = try await client.get("/v1/runs/\(id)/explain").json
        #expect(explained["held_by"] == .array(explained["reasons"]?.arrayValue?.compactMap { $0["code"] } ?? []))
        return explained["reasons"]?.arrayValue ?? []
      }
      let state = bridge.context.state

      state.enter(.restoring)
      let restoring = try await reasons()
      state.setDegraded(TaskKey("a")!, because: "405 RESOURCE_LOCKED")
      let both = try await reasons()
      state.enter(.running)
      let degraded = try await reasons()
      state.setBlocked("low on memory")
      state.setDegraded(TaskKey("a")!, because: nil)
      let blocked = try await reasons()
      state.setBlocked(nil)
      let next = try await client.get("/v1/runs/\(id)/explain").json

      #expect(restoring.map { $0["code"] } == [.string("restoring")])
      #expect(restoring.first?["unblocked_by"] == .string("the end of the restore"))
      #expect(both.map { $0["code"] } == [.string("restoring"), .string("queue_degraded")])
      #expect(degraded.map { $0["code"] } == [.string("queue_degraded")])
      #expect(degraded.first?["detail"]?.stringValue?.contains("405 RESOURCE_LOCKED") == true)
      #expect(blocked.map { $0["code"] } == [.string("broker_down")])
      #expect(blocked.first?["detail"]?.stringValue?.contains("low on memory") == true)
      #expect(next["held_by"] == .array([]))
      #expect(next["reasons"]?.arrayValue?.map { $0["code"] } == [.string("next")])
    }
  }

  @Test("N12, T18: a launched run whose queue is gone, or has nobody listening, says so")
  func launchedSaysWhoCouldTakeIt() async throws {
    try await withServer { client, bridge in
      let id = try await client.submit(#"{"task":"a","payload":1}"#)
      let task = TaskKey("a")!
      let dispatches = try await bridge.context.writing { tx throws(StoreError) in
        try tx.release(ReleaseRequest(now: bridge.now(), runsMax: 1) { _ in TaskPolicy() })
      }
      try await bridge.context.writing { tx throws(StoreError) in try tx.confirm(dispatches, now: bridge.now()) }
      func codes() async throws -> [String?] {
        let reasons = try await client.get("/v1/runs/\(id)/explain").json["reasons"]?.arrayValue ?? []
        return reasons.map { $0["code"]?.stringValue }
      }
      func consumers() async throws -> JSONValue? { try await client.get("/v1/tasks/a").json["consumers"] }
      let state = bridge.context.state

      let unknown = try await (codes(), consumers())
      state.setConsumers(task, 0)
      let nobody = try await (codes(), consumers())
      state.setConsumers(task, 3)
      let some = try await (codes(), consumers())
      state.setConsumers(task, nil)
      let gone = try await (codes(), consumers())
      state.enter(.brokerDown("x"))
      let down = try await (codes(), consumers())

      #expect(unknown == (["launched"], .null))
      #expect(nobody == (["launched", "no_consumers"], .number(JSONNumber(0))))
      #expect(some == (["launched"], .number(JSONNumber(3))))
      #expect(gone == (["launched", "queue_deleted"], .null))
      #expect(down == (["launched"], .null))
    }
  }
}
