import TaskBridgeCore
import TaskBridgeStore

/// What holds ready runs back: the store's gates and those of the broker.
extension TaskBridge {
  /// Every gate that is closed to ready runs of `task` and `group` now, in the order of `fsm.md` §3 rule 11.
  func gates(task: TaskKey, group: String?, occupancy: Occupancy) -> [Gate] {
    Gate.closed(
      task: task, group: group, policy: context.policy(task), controls: store.controls, occupancy: occupancy,
      now: now()) + brokerGates(task)
  }

  private func brokerGates(_ task: TaskKey) -> [Gate] {
    var gates: [Gate] = []
    switch context.state.phase {
    case .starting:
      gates.append(Gate(.brokerDown, "the bridge has not connected yet", unblockedBy: "the connection to the broker"))
    case .brokerDown(let reason):
      gates.append(
        Gate(
          .brokerDown, "no connection to the broker: \(reason)", unblockedBy: "the broker; it is tried again and again")
      )
    case .restoring:
      gates.append(
        Gate(.restoring, "store and broker are being brought in line", unblockedBy: "the end of the restore"))
    case .running:
      if let reason = context.state.blockedReason {
        gates.append(
          Gate(.brokerDown, "the broker has blocked publishing: \(reason)", unblockedBy: "more memory or disk for it"))
      }
    }
    if let degradation = context.state.degraded[task] {
      gates.append(
        Gate(
          .queueDegraded, "the queue of task \(task) cannot be used: \(degradation.reason)",
          unblockedBy: degradation.isSilent
            ? "the deletion of the queue; it is declared again" : "the queue; it is tried again"
        ))
    }
    return gates
  }

  /// What holds `run` back; nothing unless it is ready.
  func holds(on run: Run, _ occupancy: Occupancy?) -> [Hold] {
    guard run.state == .ready, let occupancy else { return [] }
    return gates(task: run.task, group: run.group, occupancy: occupancy).holds
  }

  /// What the settings of task keys change in a list of runs by `sort`.
  func ordering(of sort: RunSort, after cursor: PageCursor?) -> ListOrdering {
    var ordering = ListOrdering(now: ListOrdering.time(of: cursor, sort: sort) ?? now())
    guard sort == .release || sort == .priority else { return ordering }
    let controls = store.controls
    for task in Set(configuration.tasks.keys).union(controls.tasks.keys).sorted() {
      let policy = context.policy(task)
      if policy.order == .lifo { ordering.newestFirst.append(task) }
      guard let aging = policy.aging else { continue }
      func paused(_ group: String?) -> PausedTime {
        controls.pausedTime(task: task, group: group, until: ordering.now)
      }
      ordering.aging.append(
        ListOrdering.AgingTask(
          task: task, aging: aging, paused: paused(nil),
          groups: controls.pausedGroups.map { (name: $0, paused: paused($0)) }))
    }
    return ordering
  }

  /// Whose ready runs are held by `hold`.
  func holdLookup(_ hold: Hold?) -> @Sendable (ReadTransaction) throws(StoreError) -> HeldSet {
    guard let hold else { return { _ throws(StoreError) in HeldSet() } }
    return { transaction throws(StoreError) in
      var held = HeldSet()
      for task in try transaction.readyTasks() {
        let occupancy = try transaction.occupancy(task: task, group: nil)
        if self.gates(task: task, group: nil, occupancy: occupancy).holds.contains(hold) { held.tasks.append(task) }
      }
      // What a group adds to its runs' holds is the same whatever their task key.
      guard let none = TaskKey("none") else { return held }
      let controls = self.store.controls
      for (group, counts) in try transaction.groupCounts() where counts[.ready] ?? 0 > 0 {
        // Runs of the task key of that name count for nothing here.
        var occupancy = Occupancy()
        occupancy.groupInUse = try transaction.occupancy(task: none, group: group).groupInUse
        let gates = Gate.closed(
          task: none, group: group, policy: TaskPolicy(), controls: controls.ofGroup(group), occupancy: occupancy,
          now: self.now())
        if gates.holds.contains(hold) { held.groups.append(group) }
      }
      return held
    }
  }
}

extension [Gate] {
  /// Their words, each once.
  var holds: [Hold] { reduce(into: []) { holds, gate in if !holds.contains(gate.hold) { holds.append(gate.hold) } } }
}
