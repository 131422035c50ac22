import TaskBridgeCore

/// Deleting ended runs. A deleted run keeps its place here, marked, so that those after it keep theirs.
extension Model {
  struct Prune: Equatable, Sendable {
    /// All but so many, the last to end; nil: by age.
    var keepLast: Int?
    /// Ended at least so long ago.
    var ageSeconds = 0
    /// Empty: every end, unresolved dead letters apart.
    var states: [RunState] = []
    var task: String?
  }

  /// - Returns: nil, or the code of the refusal.
  mutating func delete(_ run: Place) -> String? {
    if runs[run].isDeleted { return "run_not_found" }
    if !runs[run].isEnded { return "active" }
    if isMirrorPending(run) { return "mirror_pending" }
    if failsOpenParent(run) { return "parent_active" }
    remove(run)
    return nil
  }

  /// - Returns: the runs that are gone.
  mutating func prune(_ wish: Prune) -> [Place] {
    let ended = runs.indices.filter { place in
      let run = runs[place]
      return run.isEnded && !run.isDeleted && wish.task.map { run.task == $0 } ?? true
        && (wish.states.isEmpty || wish.states.contains(run.state))
    }
    var gone: [Place]
    if let keep = wish.keepLast {
      gone = Array(
        ended.sorted { (runs[$0].finishedAt ?? 0, $0) > (runs[$1].finishedAt ?? 0, $1) }.dropFirst(keep))
    } else {
      gone = ended.filter { runs[$0].finishedAt ?? .max <= now - Int64(wish.ageSeconds) * 1_000 }
    }
    gone.removeAll { isMirrorPending($0) || failsOpenParent($0) || wish.states.isEmpty && isDeadLetter($0) }
    for run in gone.sorted() { remove(run) }
    return gone.sorted()
  }

  func isDeadLetter(_ run: Place) -> Bool { runs[run].deadLetter.map { $0.resolution == nil } ?? false }

  private func isMirrorPending(_ run: Place) -> Bool { notices.contains { $0.isDeadLetter && $0.run == run } }

  /// Whether a parent that has not ended may still have to fail by it.
  private func failsOpenParent(_ run: Place) -> Bool {
    guard let parent = runs[run].request.parent, runs[run].failsParent else { return false }
    return !runs[parent].isEnded
  }

  private mutating func remove(_ run: Place) {
    if let letter = runs[run].deadLetter { leftovers[letter.task, default: 0] += 1 }
    notices.removeAll { $0.run == run }
    keptKeys = keptKeys.filter { ($0.value.followUp ?? $0.value.run) != run }
    for other in runs.indices { runs[other].prerequisites.removeAll { $0.run == run } }
    runs[run].prerequisites = []
    for workflow in kept.keys { kept[workflow]?.remove(run) }
    runs[run].deadLetter = nil
    runs[run].isDeleted = true
  }
}
