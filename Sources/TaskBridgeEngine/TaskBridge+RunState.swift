public import TaskBridgeCore
import TaskBridgeStore

extension TaskBridge {
  /// Asks a run to take a state; refused or not, the answer says what is stored.
  /// - Throws: 404 `run_not_found`, 422 `transition_mismatch`, 503.
  public func setState(of id: RunID, _ request: StateRequest, actor: String) async throws(Problem) -> StateAnswer {
    let facts = StateFacts(policies: context.policyLookup, now: now(), jitter: context.jitter(), actor: actor)
    return try await answering { transaction throws(StoreError) in
      try transaction.setState(of: id, request, facts)
    }
  }

  /// Changes a run that has not been dispatched.
  /// - Throws: 404 `run_not_found`, 409 `dispatched`, `terminal_run`, 422 for fewer attempts than it has used up.
  public func change(_ id: RunID, by change: RunChange, actor: String) async throws(Problem) -> RunView {
    let (now, policies) = (now(), context.policyLookup)
    return try await changing(id) { transaction throws(StoreError) in
      try transaction.change(id, change, policies: policies, now: now, actor: actor)
    }
  }
}
