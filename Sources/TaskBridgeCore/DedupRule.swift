/// What a submission does whose dedup key an active run already holds (`contract.md` §3.2).
public enum DedupEffect: Sendable, Equatable {
  /// Nothing: the active run stands.
  case keep
  /// The active run takes the more urgent priority.
  case upgrade
  /// A run of its own follows when the active one has ended.
  case follow
  /// The active run ends, the new one takes its place.
  case supersede
  /// The submission is refused.
  case reject
}

/// - Parameter priority: of the new submission; 0 is the most urgent.
public func dedup(_ strategy: OnDuplicate, active: Run, priority: Int) -> DedupEffect {
  switch strategy {
  case .reject: return .reject
  case .supersede: return .supersede
  case .skip:
    switch active.state {
    case .blocked, .scheduled, .ready, .paused: return priority < active.priority ? .upgrade : .keep
    case .running, .waiting, .cancelling: return .follow
    case .adjusting, .queued, .launched, .error, .completed, .failed, .deadLettered, .dependencyFailed, .cancelled,
      .expired, .superseded:
      return .keep
    }
  }
}
