package import TaskBridgeCore

/// A run handed over for publishing: everything its message is made of.
package struct Dispatch: Sendable {
  package let run: Run
  package let payload: Payload
  package let maxAttempts: Int
  package let leaseSeconds: Int
  /// What it was released with; 0 first.
  package let effectivePriority: Int

  package init(run: Run, payload: Payload, maxAttempts: Int, leaseSeconds: Int, effectivePriority: Int) {
    self.run = run
    self.payload = payload
    self.maxAttempts = maxAttempts
    self.leaseSeconds = leaseSeconds
    self.effectivePriority = effectivePriority
  }

  package var id: DispatchID { DispatchID(runID: run.id, attempt: run.attempt, dispatch: run.dispatch) }
}

/// A dispatch that the broker has confirmed, and when it said so.
package struct Confirmed: Sendable {
  package let dispatch: DispatchID
  package let at: Timestamp

  package init(dispatch: DispatchID, at: Timestamp) {
    self.dispatch = dispatch
    self.at = at
  }
}

/// What a release may hand over.
package struct ReleaseRequest: Sendable {
  package var now: Timestamp
  /// Most runs to hand over, all task keys together.
  package var runsMax: Int
  /// Most payload bytes to hand over; one run always fits.
  package var payloadBytesMax = 8 << 20
  /// Most task keys that share one release; the others come next.
  package var tasksMax = 64
  /// Most task keys one release looks at.
  package var looksMax = 1_000
  /// Settings of a task key; nil holds the key's runs back.
  package var policy: @Sendable (TaskKey) -> TaskPolicy?

  package init(now: Timestamp, runsMax: Int, policy: @escaping @Sendable (TaskKey) -> TaskPolicy?) {
    self.now = now
    self.runsMax = runsMax
    self.policy = policy
  }
}
