import TaskBridgeCore
import TaskBridgeStore

/// What a message to `taskbridge.submit` asks for.
enum SubmissionWish: Sendable {
  case submit(PreparedSubmission)
  /// A dead letter that was moved back.
  case replay(RunID)
}

extension BridgeContext {
  /// Reads a submission or a moved dead letter.
  /// - Throws: what is wrong with the message.
  func wish(of message: SubmissionMessage, now: Timestamp) throws(Problem) -> SubmissionWish {
    if let text = message.replayRunID {
      // Its run id counts, its other headers and its body do not.
      guard let id = RunID(text) else {
        throw Problem(422, "unknown_run", "header tb-run-id \(text.prefix(80)) is no run id")
      }
      return .replay(id)
    }
    let limits = SubmissionLimits(payloadBytesMax: configuration.payloadLimitBytes)
    return .submit(try prepare(try Submission.parse(message: message, limits: limits), now: now))
  }

  func fulfil(
    _ wish: SubmissionWish, routingKey: String, in transaction: Transaction, now: Timestamp, actor: String
  ) throws(StoreError) -> Result<SubmissionResult, Problem> {
    switch wish {
    case .submit(let prepared): try transaction.submit(prepared, now: now, actor: actor)
    case .replay(let id): try replay(id, routingKey: routingKey, in: transaction, now: now, actor: actor)
    }
  }

  private func replay(
    _ id: RunID, routingKey: String, in transaction: Transaction, now: Timestamp, actor: String
  ) throws(StoreError) -> Result<SubmissionResult, Problem> {
    guard let run = try transaction.run(id) else {
      return .failure(Problem(422, "unknown_run", "run \(id) does not exist in this store", runID: id))
    }
    guard routingKey == run.task.rawValue || routingKey.isEmpty else {
      return .failure(
        Problem(422, "task_mismatch", "run \(id) is of task \(run.task), the routing key is \(routingKey)", runID: id))
    }
    guard run.state.isDeadLetter, try transaction.isUnresolvedDeadLetter(id) else {
      return .success(SubmissionResult(.duplicate, runID: id))
    }
    var options = RetryOptions()
    options.reason = "dead letter moved back"
    if case .failure(let problem) = try transaction.replay(id, options: options, now: now, actor: actor) {
      return .failure(problem)
    }
    return .success(SubmissionResult(.replayed, runID: id))
  }
}
