import TaskBridgeCore

extension Model {
  /// What a submission is answered.
  enum Answer: Equatable {
    case stored(SubmissionOutcome, run: Place, replaced: Place? = nil, followUp: Place? = nil)
    case refused(String)
  }

  /// Stores one submission, or nothing.
  mutating func submit(_ request: Request, id: RunID) -> Answer {
    var trial = self
    let answer = trial.place(request, id: id, items: [:])
    if case .stored = answer { self = trial }
    return answer
  }

  /// Stores a batch, or nothing of it: prerequisites first; of several items with one key the last wins.
  ///
  /// - Parameter workflow: the one whose place the batch takes.
  mutating func submit(batch: [Request], ids: [RunID], superseding workflow: String? = nil) -> [Answer] {
    func refused(_ code: String) -> [Answer] { [.refused(code)] }
    let winners = batch.indices.map { Self.winner(of: $0, in: batch) }
    func needs(_ index: Int) -> [Int] {
      batch[index].dependsOn.compactMap { if case .item(let other) = $0 { winners[other] } else { nil } }
    }
    var order = batch.indices.filter { needs($0).isEmpty }
    var next = 0
    while next < order.count {
      // Freed by the one that is stored now, in the order of the batch.
      for index in batch.indices where !order.contains(index) && needs(index).contains(order[next]) {
        if needs(index).allSatisfy({ order[...next].contains($0) }) { order.append(index) }
      }
      next += 1
    }
    guard order.count == batch.count else { return refused("dependency_cycle") }
    var trial = self
    var answers: [Int: Answer] = [:]
    let stored = order.filter { winners[$0] == $0 }
    var succession = Succession()
    if let workflow, let code = trial.begin(superseding: workflow, by: batch, order: stored, &succession) {
      return refused(code)
    }
    for index in stored {
      if let run = succession.kept[index] {
        let answer = trial.keep(run, for: batch[index])
        if case .refused(let code) = answer { return refused(code) }
        answers[index] = answer
        continue
      }
      var items: [Int: Place] = [:]
      for other in batch.indices {
        if case .stored(_, let run, _, let followUp)? = answers[winners[other]] { items[other] = followUp ?? run }
      }
      let answer = trial.place(batch[index], id: ids[index], items: items)
      if case .refused(let code) = answer { return refused(code) }
      answers[index] = answer
    }
    for index in batch.indices where winners[index] != index {
      guard case .stored(_, let run, _, _)? = answers[winners[index]] else { preconditionFailure("no winner") }
      let answer = trial.repeated(batch[index]) ?? .stored(.duplicate, run: run)
      if case .refused(let code) = answer { return refused(code) }
      trial.keepKey(of: batch[index], run: run)
      answers[index] = answer
    }
    if let code = trial.finish(succession, &answers) { return refused(code) }
    self = trial
    return batch.indices.compactMap { answers[$0] }
  }

  /// The last item with the same task key and dedup key.
  static func winner(of index: Int, in batch: [Request]) -> Int {
    batch[index].dedupKey == nil
      ? index : batch.lastIndex { $0.dedupKey == batch[index].dedupKey && $0.task == batch[index].task } ?? index
  }

  /// The run of the superseded workflow stands in the place of a new one.
  private mutating func keep(_ run: Place, for request: Request) -> Answer {
    if let first = repeated(request) { return first }
    if let workflow = request.workflow { kept[workflow, default: []].insert(run) }
    keepKey(of: request, run: run)
    return .stored(.duplicate, run: run)
  }

  // MARK: Idempotency

  /// What a submission stored no run of its own for, under its idempotency key.
  struct KeptKey: Hashable {
    var task: String
    var key: String
  }

  struct KeptAnswer {
    var payload: Int
    var run: Place
    var followUp: Place?
  }

  private func repeated(_ request: Request) -> Answer? {
    guard let key = request.idempotencyKey else { return nil }
    if let first = runs.firstIndex(where: {
      $0.request.task == request.task && $0.request.idempotencyKey == key && !$0.isDeleted
    }) {
      return runs[first].request.payload == request.payload
        ? .stored(.duplicate, run: first) : .refused("idempotency_mismatch")
    }
    guard let kept = keptKeys[KeptKey(task: request.task, key: key)] else { return nil }
    guard kept.payload == request.payload else { return .refused("idempotency_mismatch") }
    if let followUp = kept.followUp, runs[kept.run].isDeleted { return .stored(.duplicate, run: followUp) }
    return .stored(.duplicate, run: kept.run, followUp: kept.followUp)
  }

  private mutating func keepKey(of request: Request, run: Place, followUp: Place? = nil) {
    guard let key = request.idempotencyKey, repeated(request) == nil else { return }
    keptKeys[KeptKey(task: request.task, key: key)] = KeptAnswer(
      payload: request.payload, run: run, followUp: followUp)
  }

  private mutating func place(_ asked: Request, id: RunID, items: [Int: Place]) -> Answer {
    var request = asked
    if let answer = repeated(request) { return answer }
    var prerequisites: [Prerequisite] = []
    for reference in request.dependsOn {
      let run: Place
      switch reference {
      case .run(let place): run = place
      case .item(let index):
        guard let place = items[index] else { return .refused("unknown_dependency") }
        run = place
      case .unknown: return .refused("unknown_dependency")
      }
      if prerequisites.contains(where: { $0.run == run }) { continue }
      if runs[run].isDeleted { return .refused("unknown_dependency") }
      let isSatisfied = runs[run].state == .completed || runs[run].isEnded && request.onDependencyFailure == .ignore
      if runs[run].isEnded && !isSatisfied { return .refused("dependency_ended") }
      prerequisites.append(Prerequisite(run: run, isSatisfied: isSatisfied))
    }
    request.dependsOn = prerequisites.map { .run($0.run) }
    if request.hasUnknownParent { return .refused("unknown_parent") }
    if let parent = request.parent {
      if runs[parent].isDeleted { return .refused("unknown_parent") }
      if runs[parent].isEnded || runs[parent].state == .cancelling { return .refused("parent_ended") }
      if waits(prerequisites.filter { !$0.isSatisfied }.map(\.run), reach: [parent]) {
        return .refused("dependency_cycle")
      }
    }
    var run = newRun(request, id: id, prerequisites: prerequisites)
    guard let key = request.dedupKey,
      let active = runs.firstIndex(where: { $0.dedupKey == key && $0.request.task == request.task && !$0.isEnded })
    else {
      insert(&run)
      return .stored(.inserted, run: runs.count - 1)
    }
    switch request.onDuplicate {
    case .reject: return .stored(.rejected, run: active)
    case .skip:
      let answer = skip(active, run)
      if case .stored(_, let run, _, let followUp) = answer { keepKey(of: request, run: run, followUp: followUp) }
      return answer
    case .supersede: return supersede(active, by: run)
    }
  }

  private func newRun(_ request: Request, id: RunID, prerequisites: [Prerequisite]) -> Run {
    var run = Run(
      id: id, request: request, task: request.task, state: .ready, memory: request.memory,
      priority: request.priority ?? 128, createdAt: now, seriesAt: now,
      payload: request.payload, maxAttempts: request.maxAttempts ?? 4)
    run.prerequisites = prerequisites
    run.dedupKey = request.dedupKey
    run.runAt = request.runAt ?? request.delaySeconds.map { now + Int64($0) * 1_000 }
    run.expiresAt = request.expiresAfterSeconds.map { now + Int64($0) * 1_000 }
    if let ttl = request.ttlSeconds, !request.ttlFromFirstAttempt { run.expiresAt = now + Int64(ttl) * 1_000 }
    if let parent = request.parent {
      run.parentSeries = runs[parent].replays
      run.priority = min(run.priority, runs[parent].priority)
      if let end = runs[parent].expiresAt { run.expiresAt = min(run.expiresAt ?? end, end) }
    }
    return run
  }

  private mutating func insert(_ run: inout Run, follows: Bool = false, countsChild: Bool = true) {
    let isDue = run.runAt.map { $0 <= now } ?? true
    run.state = run.openPrerequisites > 0 || follows ? .blocked : isDue ? .ready : .scheduled
    if let parent = run.request.parent, countsChild { runs[parent].openChildren += 1 }
    add(run)
  }

  // MARK: Duplicates

  private mutating func skip(_ active: Place, _ draft: Run) -> Answer {
    switch runs[active].state {
    case .blocked, .scheduled, .ready, .paused:
      guard draft.priority < runs[active].priority else { return .stored(.duplicate, run: active) }
      runs[active].priority = draft.priority
      return .stored(.upgraded, run: active)
    case .running, .waiting, .cancelling:
      return follow(active, draft)
    default: return .stored(.duplicate, run: active)
    }
  }

  private mutating func follow(_ active: Place, _ draft: Run) -> Answer {
    if let waiting = runs[active].followUp, runs[waiting].state == .blocked || runs[waiting].state == .paused {
      runs[waiting].payload = draft.payload
      return .stored(.requeued, run: active, followUp: waiting)
    }
    // The follow-up waits for the active run, and a parent for the follow-up.
    if let parent = draft.request.parent, waits([active], reach: [parent]) { return .refused("dependency_cycle") }
    var followUp = draft
    followUp.dedupKey = nil
    followUp.request.idempotencyKey = nil
    insert(&followUp, follows: true)
    runs[active].followUp = runs.count - 1
    return .stored(.requeued, run: active, followUp: runs.count - 1)
  }

  /// The old run ends, with all that follows, before the new one is stored: so its key is free.
  private mutating func supersede(_ old: Place, by draft: Run) -> Answer {
    let heir = runs.count
    let open = draft.prerequisites.filter { !$0.isSatisfied }.map(\.run)
    let dependents = runs.indices.filter {
      !runs[$0].isEnded && runs[$0].prerequisites.contains(Prerequisite(run: old, isSatisfied: false))
    }
    if open.contains(old) || ancestors(of: draft).contains(old) || waits(open, reach: dependents) {
      return .refused("dependency_cycle")
    }
    if let parent = draft.request.parent { runs[parent].openChildren += 1 }
    endSuperseded(old, heir: heir)
    var run = draft
    for index in run.prerequisites.indices where !run.prerequisites[index].isSatisfied {
      let prerequisite = runs[run.prerequisites[index].run]
      guard prerequisite.isEnded else { continue }
      guard prerequisite.state == .completed || run.request.onDependencyFailure == .ignore else {
        return .refused("dependency_ended")
      }
      run.prerequisites[index].isSatisfied = true
    }
    // What ends with the old run may be the new one's parent.
    if let parent = run.request.parent, runs[parent].isEnded || runs[parent].state == .cancelling {
      return .refused("parent_ended")
    }
    insert(&run, countsChild: false)
    for dependent in runs.indices {
      for index in runs[dependent].prerequisites.indices
      where runs[dependent].prerequisites[index] == Prerequisite(run: old, isSatisfied: false) {
        runs[dependent].prerequisites[index].run = heir
      }
    }
    return .stored(.superseded, run: heir, replaced: old)
  }

  /// - Parameter heir: nil: nobody takes its place, and its dependents fail.
  mutating func endSuperseded(_ old: Place, heir: Place?) {
    if let newest = runs[old].attempts.indices.last, runs[old].attempts[newest].isOpen {
      if !runs[old].attempts[newest].isUnclaimed { notices.append(Notice(isDeadLetter: false, run: old)) }
      runs[old].attempts[newest].state = .fatal
    }
    let followUp = runs[old].followUp
    runs[old].followUp = nil
    runs[old].supersededBy = heir
    switch runs[old].state {
    case .running, .waiting: move(old, .cancelling, .superseded)
    default: move(old, .superseded)
    }
    if let followUp, !runs[followUp].isEnded { cancel(followUp) }
  }

  // MARK: Who waits for whom

  private func ancestors(of draft: Run) -> [Place] {
    var found: [Place] = []
    var next = draft.request.parent
    while let place = next, !found.contains(place), !runs[place].isDeleted {
      found.append(place)
      next = runs[place].request.parent
    }
    return found
  }

  /// Whether a run of `first`, or what it waits for, directly or not, is one of `targets`.
  private func waits(_ first: [Place], reach targets: [Place]) -> Bool {
    var open = first
    var seen: Set<Place> = []
    while let place = open.popLast() {
      if runs[place].isEnded || !seen.insert(place).inserted { continue }
      if targets.contains(place) { return true }
      open += runs[place].prerequisites.filter { !$0.isSatisfied }.map(\.run)
      open += runs.indices.filter { runs[$0].request.parent == place || runs[$0].followUp == place }
    }
    return false
  }
}
