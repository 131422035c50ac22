package import TaskBridgeCore

/// Jobs move with what they do: the cursor of a slice is written in the transaction of its changes, so that a kill at any
/// point repeats nothing and leaves nothing out.
extension Transaction {
  /// Days that ended jobs are kept.
  package static let jobDays = 31.0
  /// Most runs a job names as left alone; all of them are counted.
  static let jobSkipsMax = 1_000

  /// Stores a job; ended ones that are too old go.
  package func addJob(
    _ id: RunID, _ request: BulkRequest, asOf: Timestamp, matched: Int, now: Timestamp, actor: String
  ) throws(StoreError) {
    try db.run(
      "DELETE FROM jobs WHERE finished_at IS NOT NULL AND finished_at < ?", now.adding(seconds: -Self.jobDays * 86_400))
    try db.run(
      """
      INSERT INTO jobs (id, kind, state, request, as_of, actor, created_at, matched, phase)
        VALUES (?, ?, 'pending', ?, ?, ?, ?, ?, ?)
      """, id, request.verb.rawValue, String(decoding: request.json, as: UTF8.self), asOf, actor, now, matched,
      BulkPhase.of(request.verb)[0].rawValue)
  }

  /// Changes the runs of `slice` and moves the job behind them; nil when the job is no more where `job` says.
  package func step(_ job: Job, _ slice: BulkSlice, now: Timestamp) throws(StoreError) -> BulkOutcome? {
    guard let last = slice.candidates.last, try isCurrent(job) else { return nil }
    let outcome = try bulk(slice, now: now, actor: job.actor)
    try db.run(
      """
      UPDATE jobs SET state = 'running', started_at = coalesce(started_at, ?), cursor = ?, changed = changed + ?,
        skipped = skipped + ? WHERE seq = ?
      """, now, last.position, outcome.changed.count, outcome.skipped.count, job.sequence)
    if job.canaryMissing != nil {
      for id in outcome.changed { try note(id, nil, of: job) }
    }
    let room = max(0, Self.jobSkipsMax - job.skipped)
    for skipped in outcome.skipped.prefix(room) { try note(skipped.id, skipped.reason, of: job) }
    for skipped in outcome.skipped {
      try db.run(
        """
        INSERT INTO job_skips (job, reason, runs) VALUES (?, ?, 1)
          ON CONFLICT (job, reason) DO UPDATE SET runs = runs + 1
        """, job.sequence, skipped.reason)
    }
    return outcome
  }

  private func note(_ id: RunID, _ reason: String?, of job: Job) throws(StoreError) {
    try db.run("INSERT OR IGNORE INTO job_runs (job, run, reason) VALUES (?, ?, ?)", job.sequence, id, reason)
  }

  private func isCurrent(_ job: Job) throws(StoreError) -> Bool {
    try db.integer(
      "SELECT COUNT(*) FROM jobs WHERE seq = ? AND state = ? AND phase = ? AND cursor IS ?", job.sequence,
      job.state.rawValue, job.phase, job.cursor) == 1
  }

  /// The job's next pass over its runs.
  package func enter(_ phase: BulkPhase, _ job: Job) throws(StoreError) {
    guard try isCurrent(job) else { return }
    try db.run("UPDATE jobs SET phase = ?, cursor = NULL WHERE seq = ?", phase.rawValue, job.sequence)
  }

  /// The canary is out: the job waits for it until `until` at most.
  package func watchCanary(of job: Job, until: Timestamp) throws(StoreError) {
    guard try isCurrent(job) else { return }
    try db.run("UPDATE jobs SET state = 'waiting', canary_until = ? WHERE seq = ?", until, job.sequence)
  }

  /// The canary is well: the job goes on.
  package func goOn(_ job: Job) throws(StoreError) {
    try db.run("UPDATE jobs SET state = 'running' WHERE seq = ? AND state = 'waiting'", job.sequence)
  }

  /// Ends a job that has not ended.
  package func end(_ job: Job, _ state: JobState, _ problem: Problem? = nil, now: Timestamp) throws(StoreError) {
    try db.run(
      "UPDATE jobs SET state = ?, finished_at = ?, error = ? WHERE seq = ? AND finished_at IS NULL",
      state.rawValue, now, problem.map(Self.text), job.sequence)
  }

  private static func text(_ problem: Problem) -> String {
    var json = JSONWriter()
    json.object { json in
      json.member("code", problem.code)
      json.member("detail", problem.detail)
      json.member("run_id", problem.runID)
    }
    return String(decoding: json.bytes, as: UTF8.self)
  }

  /// Stops a job; what it did stays done.
  ///
  /// - Returns: 404 `job_not_found`, 409 `job_ended`.
  package func cancelJob(_ id: RunID, now: Timestamp) throws(StoreError) -> Result<Void, Problem> {
    guard let job = try db.job(id) else {
      return .failure(Problem(404, "job_not_found", "job \(id) does not exist in this store"))
    }
    guard job.state.isOpen else {
      return .failure(
        Problem(409, "job_ended", "job \(id) has ended \(job.state.rawValue): there is nothing to cancel"))
    }
    try end(job, .cancelled, now: now)
    return .success(())
  }
}
