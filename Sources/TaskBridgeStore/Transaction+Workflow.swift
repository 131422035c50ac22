import TaskBridgeCore

/// What becomes of an old workflow's runs when a batch takes its place.
struct WorkflowSuccession {
  let workflow: String
  /// Items that need no run of their own, with the completed run that each keeps.
  var kept: [Int: RunID] = [:]
  /// Runs that had not ended, and the item that takes the place of each.
  var unfinished: [(run: Run, heir: Int?)] = []
  /// Parents of the batch's items, held open until their new children are stored.
  var parents: [RunID] = []
}

/// Superseding workflows: completed runs that are asked for unchanged are kept, unfinished ones are superseded.
///
/// An item is unchanged when task key, canonical payload and prerequisites are: each prerequisite is the same run, so a
/// node below a changed one is new as well. A name that the workflow and the batch both have binds: its run and its item
/// are each other's alone. The heir of an unfinished run is the item of the same task key and name, else of the same task
/// key and payload; its dependents outside of the workflow wait for the heir, and without one follow their policy.
extension Transaction {
  /// Most runs of a workflow that can be superseded at once.
  static let workflowRunsMax = 100_000

  /// Ends the unfinished runs, so that their keys are free for the batch.
  ///
  /// - Throws: 422 `unknown_workflow`, `same_workflow`, `too_many`.
  func begin(
    superseding workflow: String, by batch: [PreparedSubmission], order: [Int], winners: [Int], now: Timestamp,
    actor: String
  ) throws(Refusal) -> WorkflowSuccession {
    if let index = batch.firstIndex(where: { $0.submission.workflowID == workflow }) {
      throw .problem(
        Problem(
          422, "same_workflow",
          "item \(index) is of workflow \(workflow) itself, which is to be superseded; give the new workflow another id",
          errors: [Fault(pointer: "/runs/\(index)/workflow_id", detail: "the superseded workflow")]))
    }
    let nodes = try refusing { () throws(StoreError) in try oldNodes(of: workflow) }
    guard (1...Self.workflowRunsMax).contains(nodes.count) else {
      let isUnknown = nodes.isEmpty
      throw .problem(
        Problem(
          422, isUnknown ? "unknown_workflow" : "too_many",
          isUnknown
            ? "no run has the workflow id \(workflow)"
            : "workflow \(workflow) has more than \(Self.workflowRunsMax) runs; cancel it instead",
          errors: [Fault(pointer: "/supersedes_workflow_id", detail: isUnknown ? "unknown" : "too large")]))
    }
    return try refusing { () throws(StoreError) in
      var succession = WorkflowSuccession(workflow: workflow)
      let shared = sharedNames(nodes, batch)
      try findKept(among: nodes, &succession, by: batch, order: order.filter { winners[$0] == $0 }, winners, shared)
      try findHeirs(among: nodes, &succession, by: batch, winners, shared)
      succession.parents = Array(Set(batch.compactMap(\.submission.parentID)))
      for parent in succession.parents { try addOpenChildren(1, to: parent) }
      try endingTogether(now: now) { () throws(StoreError) in
        // Followers and dependents come after what they wait for, so they end first.
        for entry in succession.unfinished.reversed() {
          guard let run = try run(entry.run.id), !run.state.isTerminal else { continue }
          try end(
            run, supersededBy: entry.heir.map { batch[$0].id }, reason: "workflow \(workflow) was superseded", now: now,
            actor: actor)
        }
      }
      return succession
    }
  }

  /// The kept run stands in the item's place; it is not altered.
  func keep(_ id: RunID, for prepared: PreparedSubmission) throws(Refusal) -> SubmissionResult {
    if let first = try repeated(prepared) { return first }
    return try refusing { () throws(StoreError) in
      guard let run = try run(id) else { throw StoreError(.damaged, "store: run \(id) is gone inside its transaction") }
      if let workflow = prepared.submission.workflowID {
        try db.run("INSERT OR IGNORE INTO kept_runs (workflow_id, run_seq) VALUES (?, ?)", workflow, run.sequence)
      }
      try keepIdempotencyKey(of: prepared, for: run.sequence)
      return SubmissionResult(.duplicate, runID: id)
    }
  }

  /// Hands the dependents of superseded runs to their heirs, which are stored now.
  ///
  /// - Throws: 422 `dependency_cycle` when an heir waits for one of them.
  func finish(
    _ succession: WorkflowSuccession, _ results: inout [SubmissionResult?], by batch: [PreparedSubmission],
    now: Timestamp, actor: String
  ) throws(Refusal) {
    for (old, item) in succession.unfinished {
      guard let item, let result = results[item] else { continue }
      let heir = try refusing { () throws(StoreError) in
        try handOver(from: old, to: result.followUpID ?? result.runID, promised: batch[item].id, now: now, actor: actor)
      }
      if let heir { try refuseCycle(through: heir) }
      if result.outcome == .inserted {
        results[item] = SubmissionResult(.superseded, runID: result.runID, replacedID: old.id)
      }
    }
    try refusing { () throws(StoreError) in
      for parent in succession.parents {
        try addOpenChildren(-1, to: parent)
        try settleWaiting(parent, now: now, actor: actor)
      }
    }
  }

  /// - Returns: the heir's number when dependents were moved to it.
  private func handOver(
    from old: Run, to id: RunID, promised: RunID, now: Timestamp, actor: String
  ) throws(StoreError) -> Int64? {
    guard let heir = try run(id) else { throw StoreError(.damaged, "store: run \(id) is gone inside its transaction") }
    if id != promised { try db.run("UPDATE runs SET superseded_by = ? WHERE seq = ?", id, old.sequence) }
    let moved = try db.run(
      """
      UPDATE OR IGNORE dependencies SET prerequisite = ? WHERE prerequisite = ? AND satisfied = 0
        AND EXISTS (SELECT 1 FROM runs r WHERE r.seq = dependent AND r.finished_at IS NULL)
      """, heir.sequence, old.sequence)
    // Who waits for the heir already waits no longer for the old one.
    let twice = try db.all(
      """
      SELECT d.dependent FROM dependencies d JOIN runs r ON r.seq = d.dependent
        WHERE d.prerequisite = ? AND d.satisfied = 0 AND r.finished_at IS NULL
      """, old.sequence
    ) { row throws(StoreError) in row.int64(0) }
    for dependent in twice {
      try satisfy(try run(sequence: dependent), prerequisite: old.sequence, now: now, actor: actor)
    }
    if heir.state.isTerminal { try settleDependents(of: heir, now: now, actor: actor) }
    return moved > 0 ? heir.sequence : nil
  }

  private func addOpenChildren(_ count: Int, to parent: RunID) throws(StoreError) {
    try db.run("UPDATE runs SET open_children = open_children + ? WHERE id = ?", count, parent)
  }
}

// MARK: Matching

/// A run of the old workflow, as far as matching needs it.
private struct OldNode {
  var sequence: Int64
  var id: RunID
  var task: TaskKey
  var state: RunState
  var name: String?
  var array: String?
  var arrayIndex: Int?
  /// As the submission named them, JSON text.
  var dependsOn: String?

  /// What tells this run apart from equal ones, for `submission`: a lower number fits better; nil does not at all.
  func distance(to submission: Submission, shared: Set<NodeName>) -> Int? {
    if name != submission.name {
      let isBound = [name, submission.name].compactMap(\.self).contains {
        shared.contains(NodeName(task: task, name: $0))
      }
      return isBound ? nil : 2
    }
    return array == submission.array && arrayIndex == submission.arrayIndex ? 0 : 1
  }
}

private struct NodeContent: Hashable {
  var task: TaskKey
  var digest: String
  var prerequisites: Set<RunID> = []
}

private struct NodeName: Hashable {
  var task: TaskKey
  var name: String

  init(task: TaskKey, name: String) {
    self.task = task
    self.name = name
  }

  init?(_ submission: Submission) {
    guard let name = submission.name else { return nil }
    self.init(task: submission.task, name: name)
  }
}

extension Transaction {
  /// The runs of the workflow, those it has kept included, in the order of submission; one more than the maximum at most.
  private func oldNodes(of workflow: String) throws(StoreError) -> [OldNode] {
    try db.all(
      """
      SELECT r.seq, r.id, r.home_task, r.state, r.name, r.array_name, r.array_index, r.depends_on FROM (
          SELECT seq FROM runs INDEXED BY runs_workflow WHERE workflow_id = ?1
          UNION SELECT run_seq FROM kept_runs WHERE workflow_id = ?1) n
        CROSS JOIN runs r ON r.seq = n.seq ORDER BY r.seq LIMIT ?2
      """, workflow, Self.workflowRunsMax + 1
    ) { row throws(StoreError) in
      OldNode(
        sequence: row.int64(0), id: try row.runID(1), task: try row.task(2), state: try row.word(3, as: RunState.self),
        name: row.optionalText(4), array: row.optionalText(5), arrayIndex: row.optionalInt(6),
        dependsOn: row.optionalText(7))
    }
  }

  private func sharedNames(_ nodes: [OldNode], _ batch: [PreparedSubmission]) -> Set<NodeName> {
    let old = nodes.compactMap { node in node.name.map { NodeName(task: node.task, name: $0) } }
    return Set(old).intersection(batch.compactMap { NodeName($0.submission) })
  }

  private func findKept(
    among nodes: [OldNode], _ succession: inout WorkflowSuccession, by batch: [PreparedSubmission], order: [Int],
    _ winners: [Int], _ shared: Set<NodeName>
  ) throws(StoreError) {
    let tasks = Set(batch.map(\.submission.task))
    var completed: [NodeContent: [OldNode]] = [:]
    for node in nodes where node.state == .completed && tasks.contains(node.task) {
      let content = NodeContent(
        task: node.task, digest: batch[0].digest(try payload(ofSequence: node.sequence)),
        prerequisites: try prerequisites(of: node))
      completed[content, default: []].append(node)
    }
    if completed.isEmpty { return }
    for index in order {
      let submission = batch[index].submission
      guard let prerequisites = keptPrerequisites(of: submission, succession, winners: winners) else { continue }
      let content = NodeContent(
        task: submission.task, digest: batch[index].digest(submission.payload.bytes), prerequisites: prerequisites)
      guard var equal = completed[content] else { continue }
      // The first of those that fit best: the oldest.
      let fits = equal.indices.compactMap { place in
        equal[place].distance(to: submission, shared: shared).map { (distance: $0, place: place) }
      }
      guard let best = fits.min(by: { $0.distance < $1.distance })?.place else { continue }
      succession.kept[index] = equal.remove(at: best).id
      completed[content] = equal
    }
  }

  /// Nil when one of them is a new run.
  private func keptPrerequisites(
    of submission: Submission, _ succession: WorkflowSuccession, winners: [Int]
  ) -> Set<RunID>? {
    var ids: Set<RunID> = []
    for reference in submission.dependsOn {
      switch reference {
      case .run(let id): ids.insert(id)
      case .index(let index):
        guard let id = succession.kept[winners[index]] else { return nil }
        ids.insert(id)
      }
    }
    return ids
  }

  /// What the run waited for: an heir in the place of a superseded run, and deleted ones as they were named.
  private func prerequisites(of node: OldNode) throws(StoreError) -> Set<RunID> {
    guard let text = node.dependsOn else { return [] }
    let stored = try db.all(
      "SELECT p.id FROM dependencies d CROSS JOIN runs p ON p.seq = d.prerequisite WHERE d.dependent = ?", node.sequence
    ) { row throws(StoreError) in try row.runID(0) }
    let named = try StoredOptions.runs(text)
    return Set(stored.count < named.count ? named : stored)
  }

  private func payload(ofSequence sequence: Int64) throws(StoreError) -> [UInt8] {
    try db.first("SELECT body FROM payloads WHERE run_seq = ?", sequence) { row throws(StoreError) in row.blob(0) }
      ?? []
  }

  private func findHeirs(
    among nodes: [OldNode], _ succession: inout WorkflowSuccession, by batch: [PreparedSubmission], _ winners: [Int],
    _ shared: Set<NodeName>
  ) throws(StoreError) {
    let unfinished = nodes.filter { !$0.state.isTerminal }
    if unfinished.isEmpty { return }
    var byName: [NodeName: [Int]] = [:]
    var byContent: [NodeContent: [Int]] = [:]
    for index in batch.indices.reversed() where winners[index] == index && succession.kept[index] == nil {
      let submission = batch[index].submission
      if let name = NodeName(submission) {
        byName[name, default: []].append(index)
        if shared.contains(name) { continue }
      }
      byContent[
        NodeContent(task: submission.task, digest: batch[index].digest(submission.payload.bytes)), default: []
      ].append(index)
    }
    var heirs: [Int64: Int] = [:]
    for node in unfinished {
      let name = node.name.map { NodeName(task: node.task, name: $0) }
      if let name, shared.contains(name) {
        heirs[node.sequence] = byName[name]?.popLast()
        continue
      }
      let content = NodeContent(task: node.task, digest: batch[0].digest(try payload(ofSequence: node.sequence)))
      heirs[node.sequence] = byContent[content]?.popLast()
    }
    for node in unfinished {
      succession.unfinished.append((try run(sequence: node.sequence), heirs[node.sequence]))
    }
  }
}
