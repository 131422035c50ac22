/// What a schedule does with a local time that the clocks jump over.
public enum DSTGap: String, CaseIterable, Sendable {
  /// It runs when the clocks have jumped; several missing times of one gap run once.
  case runAfter = "run_after"
  /// It does not run.
  case skip
}

/// What a schedule does with a local time that comes twice, because the clocks were set back.
public enum DSTOverlap: String, CaseIterable, Sendable {
  /// It runs the first time.
  case first
  /// It runs the second time.
  case second
  /// It runs both times.
  case both
}
