public import TaskBridgeCore
import TaskBridgeStore

extension TaskBridge {
  /// Why a run is not running, and what will unblock it.
  /// - Throws: 404 `run_not_found`, 503.
  public func explain(_ id: RunID) async throws(Problem) -> ExplanationView {
    let found = try await reading { transaction throws(StoreError) in try transaction.explainFacts(id) }
    guard let facts = found else { throw Problem.runNotFound(id) }
    let now = now()
    var view = ExplanationView(at: now, run: facts.run)
    if facts.run.state == .ready {
      let gates = gates(task: facts.run.task, group: facts.run.group, occupancy: facts.occupancy)
      view.heldBy = gates.holds
      view.reasons = gates.map { ExplanationView.Reason($0) }
    }
    if view.reasons.isEmpty { view.reasons = facts.reasons(now: now) }
    if facts.run.state == .launched { view.reasons += queueReasons(facts.run.task) }
    for reason in view.reasons.indices {
      for index in view.reasons[reason].runs.indices {
        let run = view.reasons[reason].runs[index]
        guard let place = facts.ready[run.id] else { continue }
        view.reasons[reason].runs[index].heldBy =
          gates(task: run.task, group: place.group, occupancy: place.occupancy).holds
      }
    }
    return view
  }

  /// What keeps a run that lies in the queue of `task` from being claimed.
  private func queueReasons(_ task: TaskKey) -> [ExplanationView.Reason] {
    if context.state.isQueueMissing(task) {
      return [
        ExplanationView.Reason(
          "queue_deleted", "the queue of task \(task) is not in the broker any more",
          unblockedBy:
            "the bridge: it declares the queue again within \(configuration.claimLatencyMaxSeconds) s and sends the run once more"
        )
      ]
    }
    guard context.state.consumers[task] == 0 else { return [] }
    return [
      ExplanationView.Reason(
        "no_consumers", "no worker listens on the queue of task \(task)", unblockedBy: "a worker; start one")
    ]
  }
}

extension ExplainFacts {
  fileprivate typealias Reason = ExplanationView.Reason

  /// What the run's own state says; never empty.
  fileprivate func reasons(now: Timestamp) -> [Reason] {
    switch run.state {
    case .blocked: blocked
    case .scheduled: [scheduled]
    case .ready:
      [
        Reason(
          "next", "no gate is closed: it waits behind more urgent runs of task \(run.task), if there are any",
          unblockedBy: "the next release, within a second")
      ]
    case .paused:
      [
        Reason(
          "run_paused", "this run is paused since \(since): \(newest?.reason ?? "no reason was given")",
          unblockedBy: "POST /v1/runs/\(run.id)/resume, or taskbridge resume \(run.id)")
      ] + blocked
    case .adjusting, .error:
      [Reason(run.state.rawValue, "the next attempt is being prepared", unblockedBy: "the end of this very step")]
    case .queued:
      [
        Reason(
          "queued", "attempt \(run.attempt) is on its way to the broker since \(since), which has not confirmed it",
          unblockedBy: "the broker's confirm; `taskbridge doctor` says what keeps it")
      ]
    case .launched:
      [
        Reason(
          "launched",
          "attempt \(run.attempt) lies in the queue of task \(run.task) since \(since), with at most \(occupancy.taskUnclaimed - 1) other runs that nobody has claimed",
          unblockedBy: "a worker that claims it")
      ]
    case .running:
      [
        Reason(
          "running", "attempt \(run.attempt) runs since \(since), claimed by \(worker)",
          unblockedBy: "its worker's report; without one its lease ends", at: attempt?.attempt.reportBy)
      ]
    case .waiting: [waiting]
    case .cancelling:
      [
        Reason(
          "cancelling", "cancel was asked at \(since), \(worker) has not answered yet",
          unblockedBy: "its answer, or the end of its lease", at: attempt?.attempt.reportBy)
      ]
    case .completed, .failed, .deadLettered, .dependencyFailed, .cancelled, .expired, .superseded: [ended]
    }
  }

  private var since: String { newest?.enteredAt.description ?? run.createdAt.description }
  private var worker: String { attempt?.attempt.worker.map { "worker \($0)" } ?? "its worker" }

  private var blocked: [Reason] {
    var reasons: [Reason] = []
    if run.openDependencies > 0 {
      var reason = Reason(
        "dependencies", "\(run.openDependencies) prerequisites are not satisfied",
        unblockedBy: "their completion; GET /v1/runs/{id}/explain says why each is not running")
      reason.runs = dependencies
      reasons.append(reason)
    }
    if let leader {
      var reason = Reason(
        "follow_up", "it runs once more after \(leader.id), which holds its dedup key",
        unblockedBy: "the end of that run, however it ends")
      reason.runs = [leader]
      reasons.append(reason)
    }
    if reasons.isEmpty, run.state == .blocked {
      reasons.append(Reason("dependencies", "its prerequisites have ended", unblockedBy: "a replay of this run"))
    }
    return reasons
  }

  private var scheduled: Reason {
    let at = run.runAt.map(\.description) ?? "its time"
    return switch newest?.previousState {
    case .error?:
      Reason("retry", "attempt \(run.attempt) failed, the next one is due at \(at)", unblockedBy: at, at: run.runAt)
    case .adjusting?:
      Reason(
        "retry", "attempt \(run.attempt) ran out of resources, the next one with more is due at \(at)",
        unblockedBy: at, at: run.runAt)
    case .running?:
      Reason("snooze", "its worker gave it back until \(at)", unblockedBy: at, at: run.runAt)
    default: Reason("run_at", "it is not due before \(at)", unblockedBy: at, at: run.runAt)
    }
  }

  private var waiting: Reason {
    var reason = Reason(
      "children", "its own work is done; \(run.openChildren) children have not ended", unblockedBy: "their ends")
    reason.runs = children
    return reason
  }

  private var ended: Reason {
    let why = newest?.reason.map { ": \($0)" } ?? ""
    let text = "it ended \(run.state.rawValue) at \(run.finishedAt?.description ?? since)\(why)"
    return switch run.state {
    case .superseded:
      Reason("ended", text + (run.supersededBy.map { "; run \($0) took its place" } ?? ""))
    case .completed: Reason("ended", text, unblockedBy: "taskbridge retry \(run.id) --force runs it again")
    default: Reason("ended", text, unblockedBy: "taskbridge retry \(run.id) runs it again")
    }
  }
}
