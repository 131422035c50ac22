import TaskBridgeCore

/// Whose turn it is at the next release: in memory alone, after a restart all begin equal.
struct ReleaseTurn {
  /// The task key after which the next release begins.
  var last: TaskKey?
  /// Task keys looked at in a row none of which released anything.
  var closed = 0
  /// Of task keys whose room is shared by weights: the turns their groups had (``GroupShare/turns``), those without a
  /// group under the empty name. Only groups that have ready runs.
  var groups: [TaskKey: [String: Int64]] = [:]
}

extension Transaction {
  /// The queues of one release pass, beginning after the last one of the pass before, so that all come round: at most
  /// `ReleaseRequest.tasksMax` of those that can release something, out of at most `ReleaseRequest.looksMax`.
  ///
  /// - Returns: the queues, and how many task keys were looked at for them.
  func openQueues(_ request: ReleaseRequest) -> (queues: [ReadyQueue], looked: Int) {
    let tasks = tasks(with: .ready)
    var queues: [ReadyQueue] = []
    let first = turn.last.map { tasks.place(after: $0) } ?? 0
    var looked = 0
    while looked < min(tasks.count, request.looksMax), queues.count < request.tasksMax {
      let task = tasks[(first + looked) % tasks.count]
      looked += 1
      if let policy = request.policy(task),
        let queue = open(task, controls.policy(policy, for: task), now: request.now)
      {
        queues.append(queue)
      }
      turn.last = task
    }
    // All were looked at: the next pass begins with another one.
    if looked == tasks.count { turn.last = queues.first?.task }
    return (queues, looked)
  }

  /// Remembers whether there is anything left to look at, once a pass has released what it could.
  func closeTurn(looked: Int, released: Int) {
    let keys = tasks(with: .ready).count
    turn.closed = released == 0 ? turn.closed + looked : 0
    hasMoreKeys = looked < keys && turn.closed < keys
    if !hasMoreKeys { turn.closed = 0 }
  }

  // MARK: Groups

  /// Splits what `queue` may release next between its groups, by weights and minimum slots.
  ///
  /// - Parameters:
  ///   - groups: the places of `merge`; nil is the runs without a group, which are one group of weight 1.
  ///   - merge: filled; its rooms are what the groups' own gates let through.
  func share(_ limit: Int, of queue: ReadyQueue, between groups: [String?], in merge: inout ReadyMerge) {
    var waiting = Array(repeating: 0, count: groups.count)
    for source in merge.sources {
      waiting[source.place] += source.isCut ? runs(of: groups[source.place], queue.task, in: .ready) : source.runs.count
    }
    let (turns, least) = turns(of: queue.task, groups)
    let states: [RunState] = queue.isLimited ? GroupCounts.slots : [.queued, .launched]
    var shares = groups.indices.map { index in
      let settings = groups[index].flatMap { controls.groups[$0] }
      return GroupShare(
        weight: settings?.weight ?? 1, minimumSlots: settings?.minimumSlots ?? 0,
        used: states.reduce(0) { $0 + runs(of: groups[index], queue.task, in: $1) },
        wanted: min(merge.rooms[index], waiting[index], runs(of: groups[index], queue.task, in: .ready)),
        turns: turns[groups[index] ?? ""] ?? least)
    }
    shares.share(limit)
    merge.rooms = shares.map(\.granted)
  }

  /// Counts the turns that `released` were.
  func countTurns(_ released: ArraySlice<Run>, of queue: ReadyQueue, between groups: [String?]) {
    let (turns, least) = turns(of: queue.task, groups)
    var counted: [String: Int64] = [:]
    for group in groups { counted[group ?? ""] = turns[group ?? ""] ?? least }
    for run in released {
      let weight = run.group.flatMap { controls.groups[$0]?.weight } ?? 1
      counted[run.group ?? "", default: least] += GroupShare.turn(weight: weight)
    }
    turn.groups[queue.task] = counted
  }

  /// Who comes new begins with those who had the fewest turns: waiting for nothing earns none.
  private func turns(of task: TaskKey, _ groups: [String?]) -> (turns: [String: Int64], least: Int64) {
    let turns = turn.groups[task] ?? [:]
    return (turns, groups.compactMap { turns[$0 ?? ""] }.min() ?? 0)
  }

  /// Runs of `task` in `group`, or in none.
  private func runs(of group: String?, _ task: TaskKey, in state: RunState) -> Int {
    guard let group else { return runs(of: task, in: state) - groupedRuns(of: task, in: state) }
    let key = GroupCounts.Key(group: group, task: task, state: state)
    return groups[key] + (groupDeltas[key] ?? 0)
  }
}

extension [TaskKey] {
  /// Where the first key after `key` stands in a list in order; 0 when there is none.
  fileprivate func place(after key: TaskKey) -> Int {
    var (low, high) = (startIndex, endIndex)
    while low < high {
      let middle = (low + high) / 2
      if self[middle] <= key { low = middle + 1 } else { high = middle }
    }
    return low == endIndex ? 0 : low
  }
}
