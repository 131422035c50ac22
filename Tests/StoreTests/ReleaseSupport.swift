import TaskBridgeCore

@testable import TaskBridgeStore

extension TestStore {
  /// Releases under settings of the test's own.
  @discardableResult
  func release(
    _ max: Int = 1_000, now: Timestamp = start, _ change: @escaping @Sendable (inout TaskPolicy) -> Void
  ) async throws -> [Dispatch] {
    try await store.write { tx throws(StoreError) in
      try tx.release(
        ReleaseRequest(now: now, runsMax: max) { _ in
          var policy = TaskPolicy()
          change(&policy)
          return policy
        })
    }
  }

  func pause(_ subject: ControlSubject, until: Timestamp? = nil, now: Timestamp = start) async throws {
    try await store.write { tx throws(StoreError) in
      try tx.pause(subject, until: until, reason: nil, now: now, actor: "test")
    }
  }

  func resume(_ subject: ControlSubject, now: Timestamp = start) async throws {
    try await store.write { tx throws(StoreError) in try tx.resume(subject, now: now) }
  }

  func set(_ task: String, _ change: @escaping @Sendable (inout TaskOverrides) -> Void) async throws {
    try await store.write { tx throws(StoreError) in
      let key = TaskKey(task)!
      var overrides = tx.controls.tasks[key] ?? TaskOverrides()
      change(&overrides)
      try tx.set(overrides, for: key)
    }
  }

  func set(group: String, _ change: @escaping @Sendable (inout GroupSettings) -> Void) async throws {
    try await store.write { tx throws(StoreError) in
      var settings = tx.controls.groups[group] ?? GroupSettings()
      change(&settings)
      try tx.set(settings, forGroup: group)
    }
  }

  /// The store's gates that are closed to a ready run.
  func gates(_ id: RunID, now: Timestamp = start, policy: TaskPolicy = TaskPolicy()) async throws -> [Gate] {
    let run = try await run(id)
    let occupancy = try await store.read { tx throws(StoreError) in
      try tx.occupancy(task: run.task, group: run.group)
    }
    let inside = try await store.write { tx throws(StoreError) in tx.occupancy(of: run) }
    guard occupancy == inside else { throw Disagreement(read: occupancy, memory: inside) }
    return Gate.closed(
      task: run.task, group: run.group, policy: store.controls.policy(policy, for: run.task), controls: store.controls,
      occupancy: occupancy, now: now)
  }

  /// The tables and the writer's memory count differently.
  struct Disagreement: Error { let read, memory: Occupancy }

  func pauseRun(_ id: RunID, now: Timestamp = start) async throws -> Result<RunID, Problem> {
    try await store.write { tx throws(StoreError) in try tx.pause(id, reason: nil, now: now, actor: "test") }
  }

  func resumeRun(_ id: RunID, now: Timestamp = start) async throws -> Result<RunID, Problem> {
    try await store.write { tx throws(StoreError) in try tx.resume(id, reason: nil, now: now, actor: "test") }
  }
}
