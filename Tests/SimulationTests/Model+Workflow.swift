import TaskBridgeCore

/// A batch that takes the place of an older workflow: completed runs that are asked for unchanged are kept, unfinished
/// ones are superseded, each by the item of its task key and name, else of its task key and payload.
extension Model {
  struct Succession {
    /// Items that need no run of their own, with the run each keeps.
    var kept: [Int: Place] = [:]
    var unfinished: [(run: Place, heir: Int?)] = []
    /// Held open until their new children are stored.
    var parents: Set<Place> = []
  }

  private struct Name: Hashable {
    var task: String
    var name: String
  }

  /// A place that is not known yet.
  private static let promised: Place = -1

  /// - Returns: the code of the refusal.
  mutating func begin(
    superseding workflow: String, by batch: [Request], order: [Int], _ succession: inout Succession
  ) -> String? {
    if batch.contains(where: { $0.workflow == workflow }) { return "same_workflow" }
    let nodes = runs.indices.filter {
      !runs[$0].isDeleted && (runs[$0].request.workflow == workflow || kept[workflow, default: []].contains($0))
    }
    if nodes.isEmpty { return "unknown_workflow" }
    func name(_ request: Request) -> Name? { request.name.map { Name(task: request.task, name: $0) } }
    let shared = Set(nodes.compactMap { name(runs[$0].request) }).intersection(batch.compactMap(name))
    func binds(_ request: Request) -> Bool { name(request).map { shared.contains($0) } ?? false }

    for index in order {
      let item = batch[index]
      guard let needed = keptPrerequisites(of: item, batch, succession) else { continue }
      let equal = nodes.filter { place in
        let run = runs[place]
        let hasName = run.request.name == item.name || !binds(run.request) && !binds(item)
        return run.state == .completed && run.request.task == item.task && run.payload == item.payload && hasName
          && prerequisites(of: place) == needed && !succession.kept.values.contains(place)
      }
      succession.kept[index] = equal.first { runs[$0].request.name == item.name } ?? equal.first
    }

    var free = order.sorted().filter { succession.kept[$0] == nil }
    for node in nodes where !runs[node].isEnded {
      let request = runs[node].request
      let heir = free.firstIndex { index in
        let item = batch[index]
        if binds(request) || binds(item) { return name(request) != nil && name(request) == name(item) }
        return item.task == request.task && item.payload == runs[node].payload
      }
      succession.unfinished.append((node, heir.map { free.remove(at: $0) }))
    }
    succession.parents = Set(batch.compactMap(\.parent))
    for parent in succession.parents { runs[parent].openChildren += 1 }
    let unfinished = succession.unfinished
    endingTogether { model in
      for (run, heir) in unfinished.reversed() where !model.runs[run].isEnded {
        model.endSuperseded(run, heir: heir.map { _ in Self.promised })
      }
    }
    return nil
  }

  /// Nil when one of them is a new run.
  private func keptPrerequisites(of item: Request, _ batch: [Request], _ succession: Succession) -> Set<Place>? {
    var places: Set<Place> = []
    for reference in item.dependsOn {
      switch reference {
      case .run(let run): places.insert(run)
      case .item(let index):
        guard let run = succession.kept[Self.winner(of: index, in: batch)] else { return nil }
        places.insert(run)
      case .unknown: places.insert(Self.promised)
      }
    }
    return places
  }

  /// What the run waited for; deleted ones as they were named.
  private func prerequisites(of run: Place) -> Set<Place> {
    let named = runs[run].request.dependsOn.compactMap { if case .run(let place) = $0 { place } else { nil } }
    let stored = runs[run].prerequisites.map(\.run)
    return Set(stored.count < named.count ? named : stored)
  }

  /// - Returns: the code of the refusal.
  mutating func finish(_ succession: Succession, _ answers: inout [Int: Answer]) -> String? {
    for (old, item) in succession.unfinished {
      guard let item, case .stored(let outcome, let run, _, let followUp)? = answers[item] else { continue }
      let heir = followUp ?? run
      runs[old].supersededBy = heir
      var hasMoved = false
      for dependent in runs.indices where !runs[dependent].isEnded {
        guard let edge = runs[dependent].prerequisites.firstIndex(of: Prerequisite(run: old, isSatisfied: false)) else {
          continue
        }
        if runs[dependent].prerequisites.contains(where: { $0.run == heir }) {
          // It waits for the heir already, and no longer for the old one.
          satisfy(dependent, old)
        } else {
          runs[dependent].prerequisites[edge].run = heir
          hasMoved = true
        }
      }
      if runs[heir].isEnded { settleDependents(of: heir) }
      if hasMoved, waitsForItself(heir) { return "dependency_cycle" }
      if outcome == .inserted { answers[item] = .stored(.superseded, run: run, replaced: old) }
    }
    for parent in succession.parents {
      runs[parent].openChildren -= 1
      settleParent(parent)
    }
    return nil
  }

  private func waitsForItself(_ run: Place) -> Bool {
    var (open, seen): ([Place], Set<Place>) = ([run], [])
    while let place = open.popLast() {
      for edge in runs[place].prerequisites where !edge.isSatisfied && seen.insert(edge.run).inserted {
        if edge.run == run { return true }
        open.append(edge.run)
      }
    }
    return false
  }
}
