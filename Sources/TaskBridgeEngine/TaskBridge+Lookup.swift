public import TaskBridgeCore
import TaskBridgeStore

extension TaskBridge {
  /// The attempt a token speaks for.
  /// - Throws: 404 `unknown_token` for a token this store has not issued, 503.
  public func attempt(token: String) async throws(Problem) -> AttemptView {
    var found: AttemptView?
    if let dispatch = context.signer.verify(token) {
      found = try await reading { transaction throws(StoreError) in
        try transaction.attempt(dispatch.attempt, of: dispatch.runID)
      }
    }
    guard let found else {
      throw Problem(404, "unknown_token", "the token was not issued by this store, or its run was deleted")
    }
    return found
  }

  /// The newest attempt of the run at `index` of an array.
  /// - Throws: 404 `array_index_not_found` without such a run, 404 `not_dispatched` before its first attempt, 503.
  public func attempt(workflow: String, array: String, index: Int) async throws(Problem) -> AttemptView {
    let found = try await reading { transaction throws(StoreError) in
      try transaction.arrayAttempt(workflow: workflow, array: array, index: index)
    }
    guard let found else {
      throw Problem(
        404, "array_index_not_found", "array \(array) of workflow \(workflow) has no run with index \(index)")
    }
    guard let attempt = found.attempt else {
      throw Problem(
        404, "not_dispatched",
        "run \(found.run) has no attempt yet; GET /v1/runs/\(found.run)/explain says what it waits for",
        runID: found.run)
    }
    return attempt
  }

  /// The run that holds a dedup key, or the newest one that did.
  public func lookup(task: TaskKey, dedupKey: String) async throws(Problem) -> LookupView {
    let found = try await reading { transaction throws(StoreError) -> (RunView, OccupancyTable)? in
      guard let view = try transaction.run(dedupKey: dedupKey, of: task) else { return nil }
      return (view, try transaction.occupancy(of: [view.run]))
    }
    return LookupView(run: found.map { view, occupancy in completed(view, occupancy[view.run]) })
  }
}
