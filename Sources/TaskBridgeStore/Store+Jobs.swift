package import TaskBridgeCore

/// Looking at jobs.
extension Connection {
  fileprivate static let jobColumns = """
    j.seq, j.id, j.kind, j.request, j.state, j.as_of, j.actor, j.created_at, j.started_at, j.finished_at, j.matched, \
    j.changed, j.skipped, j.phase, j.cursor, j.canary_until, j.error
    """

  fileprivate static func job(row: Row) throws(StoreError) -> Job {
    let (verb, text) = (try row.word(2, as: BulkVerb.self), row.text(3))
    var job = Job(
      sequence: row.int64(0), id: try row.runID(1), request: BulkRequest(verb, ids: []), asOf: row.time(5),
      actor: row.text(6), createdAt: row.time(7), matched: row.int(10), phase: row.int(13))
    do throws(Problem) {
      job.request = try BulkRequest(verb, stored: text)
    } catch {
      // Written by another version, or damaged: it must not keep the other jobs from being seen and worked off.
      job.unreadable = Job.Unreadable(
        text: text,
        problem: Problem(
          422, "unreadable_request",
          "what job \(job.id) was asked for cannot be read by this version (\(error.detail)); nothing more of it is done: make the call again"
        ))
    }
    job.state = try row.word(4, as: JobState.self)
    job.startedAt = row.optionalTime(8)
    job.finishedAt = row.optionalTime(9)
    job.changed = row.int(11)
    job.skipped = row.int(12)
    job.cursor = row.isNull(14) ? nil : row.int64(14)
    job.canaryUntil = row.optionalTime(15)
    job.error = row.optionalText(16)
    return job
  }

  func job(_ id: RunID) throws(StoreError) -> Job? {
    try first("SELECT \(Self.jobColumns) FROM jobs j WHERE j.id = ?", id) { row throws(StoreError) in
      try Self.job(row: row)
    }
  }

  fileprivate func reasons(of job: Int64) throws(StoreError) -> [(reason: String, count: Int)] {
    try all("SELECT reason, runs FROM job_skips WHERE job = ? ORDER BY reason", job) { row throws(StoreError) in
      (row.text(0), row.int(1))
    }
  }
}

extension ReadTransaction {
  /// Jobs that have not ended, oldest first.
  package func openJobs() throws(StoreError) -> [Job] {
    try db.all(
      "SELECT \(Connection.jobColumns) FROM jobs j INDEXED BY jobs_open WHERE j.finished_at IS NULL ORDER BY j.seq"
    ) { row throws(StoreError) in try Connection.job(row: row) }
  }

  package func jobs(_ query: JobQuery) throws(StoreError) -> Page<JobView> {
    var conditions = ComposedQuery()
    if !query.states.isEmpty {
      conditions.require(
        "j.state IN \(ComposedQuery.places(query.states.count))", all: query.states.map(\.rawValue))
    }
    if let kind = query.kind { conditions.require("j.kind = ?", kind.rawValue) }
    if let before = query.cursor?.integer { conditions.require("j.seq < ?", before) }
    let jobs = try db.all(
      composed: """
        SELECT \(Connection.jobColumns) FROM jobs j \(conditions.whereClause) ORDER BY j.seq DESC LIMIT ?
        """, conditions.values + [query.limit + 1]
    ) { row throws(StoreError) in try Connection.job(row: row) }
    var views: [JobView] = []
    for job in jobs {
      var view = JobView(job)
      view.reasons = try db.reasons(of: job.sequence)
      views.append(view)
    }
    return Page(views, limit: query.limit) { PageCursor($0.job.sequence).text(scope: JobQuery.scope) }
  }

  /// One job with its canary and the first runs it left alone; nil when there is none.
  package func jobView(_ id: RunID) throws(StoreError) -> JobView? {
    guard let job = try db.job(id) else { return nil }
    var view = JobView(job)
    view.reasons = try db.reasons(of: job.sequence)
    view.canary = try db.canary(of: job.sequence)
    view.skips = try db.all(
      "SELECT run, reason FROM job_runs WHERE job = ? AND reason IS NOT NULL ORDER BY run", job.sequence
    ) { row throws(StoreError) in BulkAnswer.Skipped(id: try row.runID(0), reason: row.text(1)) }
    return view
  }

  /// How the canary of a job stands.
  package func canary(of job: Job) throws(StoreError) -> CanaryState {
    let died = try db.first(
      """
      SELECT c.run FROM job_runs c CROSS JOIN runs r ON r.id = c.run CROSS JOIN dead_letters d ON d.run_seq = r.seq
        WHERE c.job = ? AND c.reason IS NULL AND d.resolution IS NULL ORDER BY r.seq LIMIT 1
      """, job.sequence
    ) { row throws(StoreError) in try row.runID(0) }
    if let died { return .died(died) }
    let open = try db.integer(
      """
      SELECT COUNT(*) FROM job_runs c CROSS JOIN runs r ON r.id = c.run
        WHERE c.job = ? AND c.reason IS NULL AND r.finished_at IS NULL
      """, job.sequence)
    return open == 0 ? .ended : .open
  }
}

extension Connection {
  fileprivate func canary(of job: Int64) throws(StoreError) -> [RunID] {
    try all("SELECT run FROM job_runs WHERE job = ? AND reason IS NULL ORDER BY run", job) { row throws(StoreError) in
      try row.runID(0)
    }
  }
}

/// What became of the runs that a job replayed first.
package enum CanaryState: Sendable, Equatable {
  /// At least one has not ended.
  case open
  /// All have ended, none as a dead letter.
  case ended
  /// This one is a dead letter again.
  case died(RunID)
}
