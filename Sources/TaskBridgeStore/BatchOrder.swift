import TaskBridgeCore

/// The order in which the items of a batch are stored: as given, but prerequisites of the same batch first.
enum BatchOrder {
  static func sort(_ batch: [PreparedSubmission]) -> Result<[Int], Problem> {
    var dependents: [Int: [Int]] = [:]
    var open = Array(repeating: 0, count: batch.count)
    let winners = winners(batch)
    for (index, item) in batch.enumerated() {
      for case .index(let other) in item.submission.dependsOn {
        guard batch.indices.contains(other) else {
          return .failure(
            Problem(
              422, "unknown_dependency",
              "item \(index) depends on #\(other), but the batch has items #0 to #\(batch.count - 1)",
              errors: [Fault(pointer: "/runs/\(index)/depends_on", detail: "no item #\(other)")]))
        }
        dependents[winners[other], default: []].append(index)
        open[index] += 1
      }
    }
    if dependents.isEmpty { return .success(Array(batch.indices)) }
    var sorted: [Int] = []
    var ready = open.indices.filter { open[$0] == 0 }
    var next = 0
    while next < ready.count {
      let index = ready[next]
      next += 1
      sorted.append(index)
      for dependent in dependents[index, default: []] {
        open[dependent] -= 1
        if open[dependent] == 0 { ready.append(dependent) }
      }
    }
    if sorted.count == batch.count { return .success(sorted) }
    let cycle = dependencyCycle(
      batch.map { item in
        item.submission.dependsOn.compactMap { if case .index(let other) = $0 { winners[other] } else { nil } }
      })
    return .failure(
      Problem(
        422, "dependency_cycle",
        "an item waits for itself: \(dependencyCycleText(cycle)) (of items with one dedup key the last counts)",
        errors: cycle.dropLast().prefix(10).map {
          Fault(pointer: "/runs/\($0)/depends_on", detail: "part of the circle")
        }
      ))
  }

  /// For each item the one that is stored for it: the last with the same task key and dedup key.
  static func winners(_ batch: [PreparedSubmission]) -> [Int] {
    struct Key: Hashable {
      var task: TaskKey
      var dedupKey: String
    }
    var last: [Key: Int] = [:]
    for (index, item) in batch.enumerated() {
      if let key = item.dedupKey { last[Key(task: item.submission.task, dedupKey: key)] = index }
    }
    return batch.enumerated().map { index, item in
      item.dedupKey.flatMap { last[Key(task: item.submission.task, dedupKey: $0)] } ?? index
    }
  }
}
