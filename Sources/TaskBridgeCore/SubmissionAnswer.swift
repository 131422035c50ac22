/// What became of a submission.
public enum SubmissionOutcome: String, Sendable, CaseIterable {
  case inserted, duplicate, upgraded, requeued, superseded, rejected, replayed
}

/// What the store made of a submission; the run itself is looked up by whoever answers.
public struct SubmissionResult: Sendable, Equatable {
  public var outcome: SubmissionOutcome
  /// The run the answer is about: the new one, or the one that was there.
  public var runID: RunID
  /// The run that was superseded.
  public var replacedID: RunID?
  /// The run that will run once more after this one.
  public var followUpID: RunID?

  public init(_ outcome: SubmissionOutcome, runID: RunID, replacedID: RunID? = nil, followUpID: RunID? = nil) {
    self.outcome = outcome
    self.runID = runID
    self.replacedID = replacedID
    self.followUpID = followUpID
  }
}

/// A submission with everything that needs a clock, a random source or a hash already filled in.
public struct PreparedSubmission: Sendable {
  public var submission: Submission
  public var id: RunID
  /// `$payload` replaced by its digest.
  public var dedupKey: String?
  /// A short name of a payload: the same for payloads with the same canonical form.
  public var digest: @Sendable ([UInt8]) -> String

  public init(
    _ submission: Submission, id: RunID, dedupKey: String?,
    digest: @escaping @Sendable ([UInt8]) -> String = { String(decoding: canonicalPayload($0), as: UTF8.self) }
  ) {
    self.submission = submission
    self.id = id
    self.dedupKey = dedupKey
    self.digest = digest
  }
}
