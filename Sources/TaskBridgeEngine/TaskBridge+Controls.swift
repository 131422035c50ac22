public import TaskBridgeCore
import TaskBridgeStore

/// What operators hold back and set while the bridge runs; in the store, so that it survives a restart.
extension TaskBridge {
  // MARK: One run

  /// Holds one run back.
  /// - Throws: 404 `run_not_found`, 409 `dispatched`, `terminal_run`.
  public func pause(_ id: RunID, reason: String?, actor: String) async throws(Problem) -> RunView {
    let now = now()
    return try await changing(id) { transaction throws(StoreError) in
      try transaction.pause(id, reason: reason, now: now, actor: actor)
    }
  }

  /// Lets a paused run go on to what it waits for.
  /// - Throws: 404 `run_not_found`, 409 `terminal_run`.
  public func resume(_ id: RunID, reason: String?, actor: String) async throws(Problem) -> RunView {
    let now = now()
    return try await changing(id) { transaction throws(StoreError) in
      try transaction.resume(id, reason: reason, now: now, actor: actor)
    }
  }

  // MARK: The bridge, domains, task keys, groups

  /// Holds back what has not left the store; work that was handed out goes on.
  /// - Throws: 422 for an end that is past.
  public func pause(
    _ subject: ControlSubject, until: Timestamp?, reason: String?, actor: String
  ) async throws(Problem) -> PauseView {
    let now = now()
    if let until, until <= now {
      throw Problem(
        422, "invalid_field", "until is \(until), which is past; give a later time or leave it out",
        errors: [Fault(pointer: "/until", detail: "past")])
    }
    return try await answering { transaction throws(StoreError) in
      try transaction.pause(subject, until: until, reason: reason, now: now, actor: actor)
      return .success(PauseView(subject: subject, pause: transaction.controls.pause(of: subject, at: now)))
    }
  }

  /// Lets `subject` go on; what else holds its runs still does.
  public func resume(_ subject: ControlSubject) async throws(Problem) -> PauseView {
    let now = now()
    return try await answering { transaction throws(StoreError) in
      try transaction.resume(subject, now: now)
      return .success(PauseView(subject: subject, pause: nil))
    }
  }

  /// Changes settings of a task key, also of one not seen before.
  /// - Throws: 422 naming each wrong field; nothing is then changed.
  public func change(_ task: TaskKey, by object: JSONObject) async throws(Problem) {
    try await answering { transaction throws(StoreError) -> Result<Void, Problem> in
      var overrides = transaction.controls.tasks[task] ?? TaskOverrides()
      let faults = overrides.change(by: object)
      guard faults.isEmpty else { return .failure(Problem(faults: faults)) }
      try transaction.set(overrides, for: task)
      return .success(())
    }
  }

  /// Changes settings of a group, also of one not seen before.
  /// - Throws: 422 naming each wrong field; nothing is then changed.
  public func change(group: String, by object: JSONObject) async throws(Problem) {
    try await answering { transaction throws(StoreError) -> Result<Void, Problem> in
      var settings = transaction.controls.groups[group] ?? GroupSettings()
      let faults = settings.change(by: object)
      guard faults.isEmpty else { return .failure(Problem(faults: faults)) }
      try transaction.set(settings, forGroup: group)
      return .success(())
    }
  }

  // MARK: How they stand

  /// Task keys that have had runs, are configured, set or paused, by name.
  public func tasks(_ query: ListQuery) async throws(Problem) -> Page<TaskView> {
    let now = now()
    let lines = try await reading { transaction throws(StoreError) in try transaction.taskLines(domain: nil) }
    return query.page(completed(lines, domain: nil, now: now).map { TaskView(at: now, line: $0) }) {
      $0.line.key.rawValue
    }
  }

  /// One task key.
  /// - Throws: 404 `task_not_found` for one that has no run, no configuration, no setting and no pause.
  public func task(_ key: TaskKey) async throws(Problem) -> TaskView {
    let view = try await taskOrEmpty(key)
    let controls = store.controls
    let isNamed =
      configuration.tasks[key] != nil || controls.tasks[key] != nil || controls.pauses[.task(key)] != nil
    guard isNamed || !view.line.counts.isEmpty else {
      throw try await notFound(key)
    }
    return view
  }

  /// Existing task keys that the answer for an unknown one names.
  private static let nearestMax = 3

  private func notFound(_ key: TaskKey) async throws(Problem) -> Problem {
    let lines = try await reading { transaction throws(StoreError) in try transaction.taskLines(domain: nil) }
    let existing = completed(lines, domain: nil, now: now()).map(\.key.rawValue)
    let nearest = nearestNames(to: key.rawValue, among: existing, count: Self.nearestMax)
    let next =
      nearest.isEmpty
      ? "no task key exists yet: submit a run" : "the nearest existing keys are \(nearest.joined(separator: ", "))"
    return Problem(
      404, "task_not_found",
      "task \(key) has no run in this store and no settings; \(next), or PATCH /v1/tasks/\(key) to make some",
      allowed: nearest)
  }

  /// One task key; an unknown one has no runs and the settings of all.
  public func taskOrEmpty(_ key: TaskKey) async throws(Problem) -> TaskView {
    let now = now()
    let domain = String(key.domain)
    let lines = try await reading { transaction throws(StoreError) in try transaction.taskLines(domain: domain) }
    let line = lines.first { $0.key == key } ?? SnapshotView.TaskLine(key: key)
    return TaskView(at: now, line: completed(line, now: now))
  }

  /// Groups with runs that are ready or hold a slot, and those that are set or paused, by name.
  public func groups(_ query: ListQuery) async throws(Problem) -> Page<GroupView> {
    let counts = try await reading { transaction throws(StoreError) in try transaction.groupCounts() }
    return query.page(groupViews(counts, now: now())) { $0.name }
  }

  /// One group; unknown ones have no runs and no settings.
  public func group(_ name: String) async throws(Problem) -> GroupView {
    let counts = try await reading { transaction throws(StoreError) in try transaction.groupCounts() }
    return groupView(name, counts[name] ?? [:], now: now())
  }

  /// What waits in each task key.
  public func queueStatus(_ query: ListQuery) async throws(Problem) -> Page<QueueStatusView> {
    var items = try await reading { transaction throws(StoreError) in try transaction.queueStatus() }
    let (controls, now) = (store.controls, now())
    for index in items.indices {
      items[index].isPaused =
        controls.pause(of: .bridge, at: now) != nil || controls.isPaused(items[index].task, at: now)
    }
    let ranked = items.map { (item: $0, rank: $0.rank) }.sorted { QueueStatusView.isBefore($0.rank, $1.rank) }
    let rest = ranked.filter { entry in query.cursor.map { QueueStatusView.isBefore($0.parts, entry.rank) } ?? true }
    return Page(rest.prefix(query.limit + 1).map(\.item), limit: query.limit) {
      PageCursor($0.rank).text(scope: query.scope)
    }
  }

  /// Adds what only the running bridge knows: settings, pauses, task keys without runs.
  func completed(
    _ lines: [SnapshotView.TaskLine], domain: String?, now: Timestamp
  ) -> [SnapshotView.TaskLine] {
    let controls = store.controls
    var named = Set(configuration.tasks.keys).union(controls.tasks.keys)
    for case .task(let key) in controls.pauses.keys { named.insert(key) }
    named.subtract(lines.map(\.key))
    let unused = named.filter { key in domain.map { key.domain == $0 } ?? true }
    return (lines + unused.map { SnapshotView.TaskLine(key: $0) }).sorted { $0.key < $1.key }
      .map { completed($0, now: now) }
  }

  private func completed(_ line: SnapshotView.TaskLine, now: Timestamp) -> SnapshotView.TaskLine {
    let controls = store.controls
    var line = line
    line.pause =
      controls.pause(of: .task(line.key), at: now) ?? controls.pause(of: .domain(String(line.key.domain)), at: now)
    line.consumers = context.state.consumers[line.key]
    line.settings = settings(of: line.key, controls.tasks[line.key])
    return line
  }

  /// The settings in force, as a JSON object.
  private func settings(of task: TaskKey, _ overrides: TaskOverrides?) -> String {
    let configured = configuration.tasks[task]
    var json = JSONWriter()
    json.object { json in
      context.policy(task).writeMembers(to: &json)
      json.member(
        "payload_limit_bytes",
        overrides?.payloadLimitBytes ?? configured?.payloadLimitBytes ?? configuration.payloadLimitBytes)
      json.member("disabled", overrides?.disabled ?? configured?.disabled ?? false)
      json.member("wire", (configured?.wire ?? .raw).rawValue)
      json.member("queue_type", (configured?.queueType ?? configuration.queueType).rawValue)
    }
    return String(decoding: json.bytes, as: UTF8.self)
  }

  func groupViews(_ counts: [String: [RunState: Int]], now: Timestamp) -> [GroupView] {
    let controls = store.controls
    var names = Set(counts.keys).union(controls.groups.keys)
    for case .group(let name) in controls.pauses.keys { names.insert(name) }
    return names.sorted().map { groupView($0, counts[$0] ?? [:], now: now) }
  }

  private func groupView(_ name: String, _ counts: [RunState: Int], now: Timestamp) -> GroupView {
    let controls = store.controls
    return GroupView(
      name: name, pause: controls.pause(of: .group(name), at: now), settings: controls.groups[name] ?? GroupSettings(),
      counts: counts)
  }
}
