import TaskBridgeCore

extension Run {
  /// The columns ``init(row:)`` reads, in its order, of table `runs` under the alias `r`.
  static let columns = """
    r.seq, r.id, r.task, r.state, r.attempt, r.dispatch, r.failures, r.losses, r.priority, r.release_class, \
    r.created_at, r.run_at, r.queued_at, r.launched_at, r.started_at, r.finished_at, r.expires_at, r.dedup_key, \
    r.idempotency_key, r.group_name, r.name, r.workflow_id, r.template, r.array_name, r.array_index, r.parent, \
    r.fail_fast, r.on_dependency_failure, r.open_dependencies, r.open_children, r.max_attempts, r.max_lost, \
    r.lease_seconds, r.timeout_seconds, r.ttl_seconds, r.ttl_from, r.retry, r.resources, r.resource_scales, \
    r.fallback_tasks, r.traceparent, r.tracestate, r.replays, r.superseded_by, r.follow_up, \
    r.ages_from, r.paused_at, r.schedule, r.nominal_at
    """
  /// How many columns ``columns`` names: further ones of a query start here.
  static let columnCount: Int32 = 49

  init(row: Row) throws(StoreError) {
    self.init(
      sequence: row.int64(0), id: try row.runID(1), task: try row.task(2), state: try row.word(3, as: RunState.self),
      createdAt: row.time(10))
    attempt = row.int(4)
    dispatch = row.int(5)
    failures = row.int(6)
    losses = row.int(7)
    priority = row.int(8)
    isRetry = row.int(9) == 0
    runAt = row.optionalTime(11)
    queuedAt = row.optionalTime(12)
    launchedAt = row.optionalTime(13)
    startedAt = row.optionalTime(14)
    finishedAt = row.optionalTime(15)
    expiresAt = row.optionalTime(16)
    dedupKey = row.optionalText(17)
    idempotencyKey = row.optionalText(18)
    group = row.optionalText(19)
    name = row.optionalText(20)
    workflowID = row.optionalText(21)
    template = row.optionalText(22)
    array = row.optionalText(23)
    arrayIndex = row.optionalInt(24)
    parentID = try row.optionalRunID(25)
    failFast = row.bool(26)
    onDependencyFailure = try row.word(27, as: OnDependencyFailure.self)
    openDependencies = row.int(28)
    openChildren = row.int(29)
    maxAttempts = row.optionalInt(30)
    maxLost = row.optionalInt(31)
    leaseSeconds = row.optionalInt(32)
    timeoutSeconds = row.optionalDouble(33)
    ttlSeconds = row.optionalDouble(34)
    ttlFrom = try row.word(35, as: TTLFrom.self)
    retry = try row.optionalText(36).map(StoredOptions.retry)
    resources = try row.optionalText(37).map(StoredOptions.resources) ?? [:]
    resourceScales = try row.optionalText(38).map(StoredOptions.scales) ?? [:]
    fallbackTasks = try row.optionalText(39).map(StoredOptions.tasks) ?? []
    traceparent = row.optionalText(40)
    tracestate = row.optionalText(41)
    replays = row.int(42)
    supersededBy = try row.optionalRunID(43)
    followUpID = try row.optionalRunID(44)
    agesFrom = row.optionalTime(45)
    pausedAt = row.optionalTime(46)
    schedule = row.optionalText(47)
    nominalAt = row.optionalTime(48)
  }
}

extension Attempt {
  /// The columns ``init(row:from:)`` reads, in its order, of table `attempts` under the alias `a`.
  static let columns = """
    a.number, a.dispatches, a.state, a.worker, a.node, a.claim, a.dispatched_at, a.launched_at, a.started_at, \
    a.finished_at, a.report_by, a.reported_end, a.returns
    """

  init(row: Row, from first: Int32 = 0) throws(StoreError) {
    self.init(
      number: row.int(first), dispatches: row.int(first + 1), state: try row.word(first + 2, as: AttemptState.self),
      dispatchedAt: row.time(first + 6), reportBy: row.time(first + 10))
    worker = row.optionalText(first + 3)
    node = row.optionalText(first + 4)
    claim = row.optionalText(first + 5)
    launchedAt = row.optionalTime(first + 7)
    startedAt = row.optionalTime(first + 8)
    finishedAt = row.optionalTime(first + 9)
    reportedEnd = row.isNull(first + 11) ? nil : try row.word(first + 11, as: ReportedState.self)
    returns = row.int(first + 12)
  }
}

/// Options of a submission that are kept as JSON text, because nothing is ever looked up by them.
enum StoredOptions {
  static func retry(_ text: String) throws(StoreError) -> RetryPolicy {
    var faults: [Fault] = []
    let policy = RetryPolicy(json: try value(text), pointer: "/retry", faults: &faults)
    guard faults.isEmpty else {
      throw StoreError(.damaged, "store: stored retry policy is unreadable: \(text.prefix(200))")
    }
    return policy
  }

  static func resources(_ text: String) throws(StoreError) -> [String: Double] {
    var resources: [String: Double] = [:]
    for member in try members(text) {
      guard case .number(let number) = member.value, let amount = number.double else { throw unreadable(text) }
      resources[member.key] = amount
    }
    return resources
  }

  static func scales(_ text: String) throws(StoreError) -> [String: ResourceScale] {
    var scales: [String: ResourceScale] = [:]
    for member in try members(text) {
      switch member.value {
      case .number(let number):
        guard let factor = number.double else { throw unreadable(text) }
        scales[member.key] = .factor(factor)
      case .array(let items):
        scales[member.key] = .values(
          items.compactMap { if case .number(let number) = $0 { number.double } else { nil } })
      case .null, .bool, .string, .object: throw unreadable(text)
      }
    }
    return scales
  }

  static func tasks(_ text: String) throws(StoreError) -> [TaskKey] {
    guard case .array(let items) = try value(text) else { throw unreadable(text) }
    return items.compactMap { if case .string(let key) = $0 { TaskKey(key) } else { nil } }
  }

  static func runs(_ text: String) throws(StoreError) -> [RunID] {
    guard case .array(let items) = try value(text) else { throw unreadable(text) }
    return items.compactMap { if case .string(let id) = $0 { RunID(id) } else { nil } }
  }

  static func text(_ resources: [String: Double]) -> String? {
    guard !resources.isEmpty else { return nil }
    var json = JSONWriter(reserving: 64)
    json.object { json in
      for name in resources.keys.sorted() { json.member(name, resources[name]) }
    }
    return String(decoding: json.bytes, as: UTF8.self)
  }

  static func text(_ scales: [String: ResourceScale]) -> String? {
    guard !scales.isEmpty else { return nil }
    var json = JSONWriter(reserving: 64)
    json.object { json in
      for (name, scale) in scales.sorted(by: { $0.key < $1.key }) {
        switch scale {
        case .factor(let factor): json.member(name, factor)
        case .values(let values):
          json.key(name)
          json.array { json in for value in values { json.value(value) } }
        }
      }
    }
    return String(decoding: json.bytes, as: UTF8.self)
  }

  static func text(_ words: [String]) -> String? {
    guard !words.isEmpty else { return nil }
    var json = JSONWriter(reserving: 64)
    json.array { json in for word in words { json.value(word) } }
    return String(decoding: json.bytes, as: UTF8.self)
  }

  static func text(tags: [String: String]) -> String? {
    guard !tags.isEmpty else { return nil }
    var json = JSONWriter(reserving: 64)
    json.object { json in
      for key in tags.keys.sorted() { json.member(key, tags[key]) }
    }
    return String(decoding: json.bytes, as: UTF8.self)
  }

  private static func value(_ text: String) throws(StoreError) -> JSONValue {
    do { return try JSONValue.parse(Array(text.utf8)) } catch { throw unreadable(text) }
  }

  private static func members(_ text: String) throws(StoreError) -> [JSONObject.Member] {
    guard case .object(let object) = try value(text) else { throw unreadable(text) }
    return object.members
  }

  private static func unreadable(_ text: String) -> StoreError {
    StoreError(.damaged, "store: stored options are unreadable: \(text.prefix(200))")
  }
}
