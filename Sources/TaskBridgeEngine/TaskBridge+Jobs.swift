public import TaskBridgeCore
import TaskBridgeStore

/// Background work.
extension TaskBridge {
  /// Stores a job; its work begins at once.
  func start(
    _ request: BulkRequest, asOf: Timestamp, matched: Int, now: Timestamp, actor: String
  ) async throws(Problem) -> BulkAnswer {
    let id = context.newRunID(now: now)
    try await answering { transaction throws(StoreError) in
      try transaction.addJob(id, request, asOf: asOf, matched: matched, now: now, actor: actor)
      return .success(())
    }
    context.jobs.raise()
    var answer = BulkAnswer(asOf: asOf, matched: matched)
    answer.jobID = id
    return answer
  }

  /// Jobs, newest first.
  public func jobs(_ query: JobQuery) async throws(Problem) -> Page<JobView> {
    try await reading { transaction throws(StoreError) in try transaction.jobs(query) }
  }

  /// One job.
  /// - Throws: 404 `job_not_found`.
  public func job(_ id: RunID) async throws(Problem) -> JobView {
    let view = try await reading { transaction throws(StoreError) in try transaction.jobView(id) }
    guard let view else { throw Problem(404, "job_not_found", "job \(id) does not exist in this store") }
    return view
  }

  /// Stops a job between two slices; what it did stays done.
  /// - Throws: 404 `job_not_found`, 409 `job_ended`.
  public func cancelJob(_ id: RunID) async throws(Problem) -> JobView {
    let now = now()
    try await answering { transaction throws(StoreError) in try transaction.cancelJob(id, now: now) }
    context.jobs.raise()
    return try await job(id)
  }
}
