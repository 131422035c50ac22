import TaskBridgeCore

/// A run about to be stored, with what its tables need beside the run itself.
struct RunDraft {
  var run: Run
  let submission: Submission
  /// Prerequisites by id, in the order they were named, without repeats.
  var dependsOn: [RunID] = []
  var prerequisites: [(sequence: Int64, isSatisfied: Bool)] = []
  var parent: Int64?
  /// Replays of the parent so far: a child belongs to the series in which it was started.
  var parentSeries: Int?
  /// The parent, its parent and so on.
  var ancestors: [RunID] = []
  var openPrerequisites: [Int64] { prerequisites.filter { !$0.isSatisfied }.map(\.sequence) }
  /// It waits for the run whose dedup key it will take over.
  var followsAnother = false

  init(_ prepared: PreparedSubmission, now: Timestamp) {
    submission = prepared.submission
    run = Run(sequence: 0, id: prepared.id, task: submission.task, state: .ready, createdAt: now)
    run.priority = submission.priority ?? 128
    run.runAt = submission.runAt ?? submission.delaySeconds.map { now.adding(seconds: $0) }
    run.ttlSeconds = submission.ttlSeconds
    run.ttlFrom = submission.ttlFrom ?? .submission
    run.expiresAt = submission.expiresAt
    if let ttl = submission.ttlSeconds, run.ttlFrom == .submission { run.expiresAt = now.adding(seconds: ttl) }
    run.dedupKey = prepared.dedupKey
    run.idempotencyKey = submission.idempotencyKey
    run.group = submission.group
    run.name = submission.name
    run.workflowID = submission.workflowID
    run.template = submission.template
    run.array = submission.array
    run.arrayIndex = submission.arrayIndex
    run.failFast = submission.failFast ?? true
    run.onDependencyFailure = submission.onDependencyFailure ?? .cancel
    run.maxAttempts = submission.maxAttempts
    run.maxLost = submission.maxLost
    run.leaseSeconds = submission.leaseSeconds
    run.timeoutSeconds = submission.timeoutSeconds
    run.retry = submission.retry
    run.resources = submission.resources
    run.resourceScales = submission.resourceScales
    run.fallbackTasks = submission.fallbackTasks
    run.traceparent = submission.traceparent
    run.tracestate = submission.tracestate
  }

  /// The store's number of the run, once it is stored.
  func sequence(in transaction: Transaction) throws(StoreError) -> Int64 {
    guard let stored = try transaction.run(run.id) else { preconditionFailure("run \(run.id) was not stored") }
    return stored.sequence
  }
}

extension Transaction {
  /// Writes the run, its payload, tags, dependencies and first audit row.
  func insert(_ draft: RunDraft, now: Timestamp, actor: String) throws(StoreError) {
    var run = draft.run
    run.state = run.waitingState(at: now, isFollowing: draft.followsAnother)
    try db.run(
      Self.insertRun, run.id, run.task, run.task, now, run.state, run.priority, run.createdAt, run.runAt, run.expiresAt,
      run.dedupKey,
      run.idempotencyKey, run.group, run.name, run.workflowID, run.template, run.array, run.arrayIndex, run.parentID,
      draft.parentSeries, run.failFast, run.onDependencyFailure, run.openDependencies, run.maxAttempts, run.maxLost,
      run.leaseSeconds,
      run.timeoutSeconds, run.ttlSeconds, run.ttlFrom, run.retry.map { String(decoding: $0.json, as: UTF8.self) },
      StoredOptions.text(run.resources), StoredOptions.text(run.resourceScales),
      StoredOptions.text(run.fallbackTasks.map(\.rawValue)), run.traceparent, run.tracestate,
      StoredOptions.text(tags: draft.submission.tags), StoredOptions.text(draft.dependsOn.map(\.description)))
    run.sequence = db.lastInsertedRowID
    let payload = draft.submission.payload
    try db.run(
      Self.insertPayload, run.sequence, payload.bytes, payload.contentType, payload.contentEncoding)
    for (key, value) in draft.submission.tags {
      try db.run("INSERT INTO tags (run_seq, key, value) VALUES (?, ?, ?)", run.sequence, key, value)
    }
    for prerequisite in draft.prerequisites {
      try db.run(
        "INSERT INTO dependencies (dependent, prerequisite, satisfied) VALUES (?, ?, ?)", run.sequence,
        prerequisite.sequence, prerequisite.isSatisfied)
    }
    if let parent = draft.parent {
      try db.run("UPDATE runs SET open_children = open_children + 1 WHERE seq = ?", parent)
    }
    audit(run, from: nil, to: run.state, reason: nil, now: now, actor: actor)
    count(run, run.state, 1)
    if run.state == .ready { note(.ready) }
    if run.state == .scheduled || run.expiresAt != nil { note(.due) }
  }

  private static let insertRun = Statement.hot(
    """
    INSERT INTO runs (id, task, home_task, series_at, state, priority, created_at, run_at, expires_at, dedup_key, idempotency_key,
      group_name, name, workflow_id, template, array_name, array_index, parent, parent_series, fail_fast, on_dependency_failure,
      open_dependencies, max_attempts, max_lost, lease_seconds, timeout_seconds, ttl_seconds, ttl_from, retry,
      resources, resource_scales, fallback_tasks, traceparent, tracestate, tags, depends_on)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    """)
  private static let insertPayload = Statement.hot(
    "INSERT INTO payloads (run_seq, body, content_type, content_encoding) VALUES (?, ?, ?, ?)")
}
