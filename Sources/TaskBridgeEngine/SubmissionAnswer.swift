public import TaskBridgeCore

/// The answer to a submission: what became of it, and the run it is about (`contract.md` §3.2).
public struct SubmissionAnswer: Sendable, JSONWritable {
  public var result: SubmissionResult
  public var run: RunView

  /// 201 inserted, 409 rejected, 200 anything else.
  public var httpStatus: Int {
    switch result.outcome {
    case .inserted: 201
    case .rejected: 409
    case .duplicate, .upgraded, .requeued, .superseded, .replayed: 200
    }
  }

  /// Says why it was refused, as a problem says it.
  public var problem: Problem? {
    guard result.outcome == .rejected else { return nil }
    return Problem(
      409, "rejected",
      "run \(run.run.id) is active with the dedup key \(run.run.dedupKey ?? ""); wait for its end, or submit with on_duplicate: skip or supersede",
      runID: run.run.id)
  }

  public func write(to json: inout JSONWriter) {
    json.object { json in
      if let problem {
        json.member("type", "urn:taskbridge:problem:\(problem.code)")
        json.member("title", problem.title)
        json.member("status", problem.status)
        json.member("code", problem.code)
        json.member("detail", problem.detail)
        json.member("run_id", run.run.id)
      }
      json.member("outcome", result.outcome.rawValue)
      json.member("run", run)
      json.member("replaced_id", result.replacedID)
      json.member("follow_up_id", result.followUpID)
    }
  }
}
