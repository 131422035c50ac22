import TaskBridgeCore

@testable import TaskBridgeStore

/// Random numbers that a seed repeats.
struct Seeded: RandomNumberGenerator {
  private var state: UInt64

  init(_ seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }

  mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &self) < percent }
  mutating func pick<T>(_ values: [T]) -> T { values.randomElement(using: &self)! }
}

/// A run with what filters look at, kept beside the store.
struct ModelRun {
  var run: Run
  var tags: [String: String]
  var errorType: String?
}

/// Runs in every state, in a store and beside it.
struct QueryModel {
  static let tasks = ["media.cut", "media.join", "media", "mediator", "mail.send"].compactMap { TaskKey($0) }
  static let states = RunState.allCases.filter { $0 != .error && $0 != .adjusting }
  static let names = ["Alpha", "alphabet", "100% beta", "b_ta", "Gamma"]

  var runs: [ModelRun] = []
  var hasChildren: Set<RunID> = []

  static func fill(_ test: TestStore, count: Int, random: inout Seeded) async throws -> QueryModel {
    var model = QueryModel()
    for number in 0..<count {
      let submission = randomSubmission(number, parents: model.runs.map(\.run), random: &random)
      let now = TestStore.start.adding(seconds: Double(number))
      guard case .success(let result) = try await test.submit(submission, now: now), result.outcome == .inserted else {
        continue
      }
      let state = random.pick(states)
      let errorType = random.chance(20) ? random.pick(["Boom", "Timeout"]) : nil
      try await force(result.runID, into: state, errorType: errorType, in: test, at: now, random: &random)
      model.runs.append(
        ModelRun(run: try await test.run(result.runID), tags: submission.tags, errorType: errorType))
      if let parent = submission.parentID { model.hasChildren.insert(parent) }
    }
    return model
  }

  private static func randomSubmission(_ number: Int, parents: [Run], random: inout Seeded) -> Submission {
    TestStore.submission(random.pick(tasks).rawValue) { submission in
      submission.priority = Int.random(in: 0...3, using: &random)
      if random.chance(30) { submission.name = random.pick(names) }
      if random.chance(30) { submission.workflowID = random.pick(["w1", "w2"]) }
      if random.chance(30) { submission.group = random.pick(["g1", "g2"]) }
      if random.chance(20) { submission.template = random.pick(["t1", "t2"]) }
      if random.chance(20) { submission.array = random.pick(["x", "y"]) }
      if random.chance(30) { submission.dedupKey = "d\(number)" }
      if random.chance(40) { submission.tags["tenant"] = random.pick(["1", "2"]) }
      if random.chance(20) { submission.tags["te%ant"] = "1" }
      if random.chance(20) { submission.tags["env"] = random.pick(["prod", "test"]) }
      if random.chance(20) { submission.expiresAt = TestStore.start.adding(seconds: 1e6) }
      if random.chance(15), let parent = parents.filter({ !$0.state.isTerminal }).randomElement(using: &random) {
        submission.parentID = parent.id
      }
    }
  }

  /// Puts a run into a state without the way there: queries do not look at it.
  private static func force(
    _ id: RunID, into state: RunState, errorType: String?, in test: TestStore, at now: Timestamp, random: inout Seeded
  ) async throws {
    let finishedAt = state.isTerminal ? now.adding(seconds: Double(Int.random(in: 0...5, using: &random))) : nil
    let startedAt = random.chance(50) ? now.adding(seconds: 1) : nil
    let runAt =
      state == .scheduled || random.chance(20)
      ? TestStore.start.adding(seconds: Double(Int.random(in: 0...50, using: &random))) : nil
    let releaseClass = random.chance(30) ? 0 : 1
    try await test.store.write { tx throws(StoreError) in
      guard let run = try tx.run(id) else { throw StoreError(.damaged, "the run is gone") }
      try tx.db.run(
        "UPDATE runs SET state = ?, finished_at = ?, started_at = ?, run_at = ?, release_class = ? WHERE seq = ?",
        state,
        finishedAt, startedAt, runAt, releaseClass, run.sequence)
      tx.count(run.task, run.state, -1)
      tx.count(run.task, state, 1)
      if let errorType {
        try tx.db.run(
          "INSERT INTO outcomes (run_seq, last_error) VALUES (?, ?)", run.sequence,
          String(decoding: WorkerError(type: errorType, message: "m").json, as: UTF8.self))
      }
    }
  }

  // MARK: Brute force

  func matches(_ filter: RunFilter, _ model: ModelRun, heldTasks: [TaskKey]) -> Bool {
    let run = model.run
    if !filter.states.isEmpty, !filter.states.contains(run.state) { return false }
    if !filter.tasks.isEmpty, !filter.tasks.contains(run.task) { return false }
    if filter.excludedTasks.contains(run.task) { return false }
    if let domain = filter.domain, run.task.domain != domain { return false }
    if !filter.ids.isEmpty, !filter.ids.contains(run.id) { return false }
    if filter.heldBy != nil, run.state != .ready || !heldTasks.contains(run.task) { return false }
    return matchesText(filter, run) && matchesRelations(filter, model)
      && filter.isNull.allSatisfy { isNull($0.key, run) == $0.value }
      && filter.times.allSatisfy { isWithin($0.value, time($0.key, run)) }
  }

  private func matchesText(_ filter: RunFilter, _ run: Run) -> Bool {
    if let group = filter.group, run.group != group { return false }
    if let workflowID = filter.workflowID, run.workflowID != workflowID { return false }
    if let dedupKey = filter.dedupKey, run.dedupKey != dedupKey { return false }
    if let name = filter.name, run.name != name { return false }
    if let template = filter.template, run.template != template { return false }
    if let array = filter.array, run.array != array { return false }
    guard let part = filter.nameLike?.lowercased() else { return true }
    return run.name?.lowercased().contains(part) ?? false
  }

  private func matchesRelations(_ filter: RunFilter, _ model: ModelRun) -> Bool {
    for tag in filter.tags where model.tags[tag.key] != tag.value { return false }
    if let prefix = filter.tagPrefix, !model.tags.keys.contains(where: { $0.hasPrefix(prefix) }) { return false }
    if let parentID = filter.parentID, model.run.parentID != parentID { return false }
    if let expected = filter.hasChildren, hasChildren.contains(model.run.id) != expected { return false }
    if let type = filter.errorType, model.errorType != type { return false }
    return true
  }

  private func isNull(_ field: RunFilter.NullableField, _ run: Run) -> Bool {
    switch field {
    case .startedAt: run.startedAt == nil
    case .finishedAt: run.finishedAt == nil
    case .runAt: run.runAt == nil
    case .expiresAt: run.expiresAt == nil
    case .dedupKey: run.dedupKey == nil
    case .group: run.group == nil
    case .workflowID: run.workflowID == nil
    case .parentID: run.parentID == nil
    }
  }

  private func time(_ field: RunFilter.TimeField, _ run: Run) -> Timestamp? {
    switch field {
    case .created: run.createdAt
    case .runAt: run.runAt
    case .started: run.startedAt
    case .finished: run.finishedAt
    }
  }

  private func isWithin(_ bounds: RunFilter.Bounds, _ time: Timestamp?) -> Bool {
    guard let time else { return false }
    return bounds.after.map { time > $0 } ?? true && bounds.before.map { time < $0 } ?? true
  }

  func isBefore(_ left: Run, _ right: Run, _ sort: RunSort) -> Bool {
    switch sort {
    case .idAscending: left.sequence < right.sequence
    case .idDescending: left.sequence > right.sequence
    case .runAtAscending: nullsLast(left.runAt, right.runAt, left, right, descending: false)
    case .runAtDescending: nullsLast(left.runAt, right.runAt, left, right, descending: true)
    case .nameAscending:
      nullsLast(left.name.map(Bytes.init), right.name.map(Bytes.init), left, right, descending: false)
    case .nameDescending:
      nullsLast(left.name.map(Bytes.init), right.name.map(Bytes.init), left, right, descending: true)
    case .finishedAtDescending: nullsLast(left.finishedAt, right.finishedAt, left, right, descending: true)
    case .priority: (left.priority, left.sequence) < (right.priority, right.sequence)
    case .release:
      (left.priority, left.isRetry ? 0 : 1, left.sequence) < (right.priority, right.isRetry ? 0 : 1, right.sequence)
    }
  }

  /// Text in the order of its bytes, as SQLite compares it.
  private struct Bytes: Comparable {
    var text: String
    static func < (left: Bytes, right: Bytes) -> Bool { left.text.utf8.lexicographicallyPrecedes(right.text.utf8) }
  }

  private func nullsLast<T: Comparable>(_ a: T?, _ b: T?, _ left: Run, _ right: Run, descending: Bool) -> Bool {
    switch (a, b) {
    case (let a?, let b?) where a != b: return descending ? a > b : a < b
    case (nil, _?): return false
    case (_?, nil): return true
    default: return descending ? left.sequence > right.sequence : left.sequence < right.sequence
    }
  }
}

extension RunFilter {
  /// A few conditions that some runs of the model meet.
  static func random(_ model: QueryModel, using random: inout Seeded) -> RunFilter {
    var filter = RunFilter()
    for _ in 0..<Int.random(in: 0...3, using: &random) { filter.addRandom(model, using: &random) }
    return filter
  }

  private mutating func addRandom(_ model: QueryModel, using random: inout Seeded) {
    let run = random.pick(model.runs).run
    switch Int.random(in: 0..<22, using: &random) {
    case 0, 1: states = (0..<Int.random(in: 1...4, using: &random)).map { _ in random.pick(QueryModel.states) }
    case 2: states = [random.pick(QueryModel.states)]
    case 3: tasks = [random.pick(QueryModel.tasks)]
    case 4: excludedTasks = [random.pick(QueryModel.tasks), random.pick(QueryModel.tasks)]
    case 5: domain = random.pick(["media", "mail", "mediator", "nobody"])
    case 6: tags.append(Tag(key: "tenant", value: random.pick(["1", "2", "3"])))
    case 7: tags += [Tag(key: "env", value: "prod"), Tag(key: "te%ant", value: "1")]
    case 8: tagPrefix = random.pick(["te", "te%", "e", "z"])
    case 9: group = "g1"
    case 10: workflowID = "w1"
    case 11: parentID = model.hasChildren.sorted().first ?? run.id
    case 12: dedupKey = run.dedupKey ?? "d0"
    case 13: name = random.pick(QueryModel.names)
    case 14: nameLike = random.pick(["ALPHA", "% b", "_", "a"])
    case 15: template = "t1"
    case 16: array = "x"
    case 17: ids = (0..<5).map { _ in random.pick(model.runs).run.id }
    case 18: hasChildren = random.chance(50)
    case 19: errorType = "Boom"
    case 20: isNull[random.pick(NullableField.allCases)] = random.chance(50)
    default:
      let moment = TestStore.start.adding(seconds: Double(Int.random(in: 0...60, using: &random)))
      times[random.pick(TimeField.allCases)] = random.chance(50) ? Bounds(after: moment) : Bounds(before: moment)
    }
    if random.chance(5) { heldBy = .brokerDown }
  }
}
