/// A token bucket's rule: so many releases a second in the long run, so many at once.
public struct RateLimit: Sendable, Equatable {
  /// At least 0.001.
  public var perSecond: Double
  /// At least 1.
  public var burst: Double

  public init(perSecond: Double, burst: Double) {
    self.perSecond = perSecond
    self.burst = burst
  }

  /// Nil without a rate; the burst is a second's worth, at least 1, unless it is named.
  public init?(perSecond: Double?, burst: Int?) {
    guard let perSecond else { return nil }
    self.init(perSecond: perSecond, burst: burst.map { Double($0) } ?? max(1, perSecond.rounded(.up)))
  }
}

/// What is left of a rate limit.
public struct TokenBucket: Sendable, Equatable {
  public var tokens: Double
  /// When ``tokens`` was right.
  public var at: Timestamp

  public init(tokens: Double, at: Timestamp) {
    self.tokens = tokens
    self.at = at
  }

  /// A clock that was set back adds nothing.
  public func refilled(by limit: RateLimit, at now: Timestamp) -> TokenBucket {
    let seconds = max(0, now.seconds(since: at))
    return TokenBucket(tokens: min(limit.burst, tokens + seconds * limit.perSecond), at: now)
  }

  /// Whole releases it allows. Tokens come by fractions that binary numbers miss by a hair.
  public var whole: Int { Int((tokens + 1e-9).rounded(.down)) }

  /// When there is a whole token again, at the earliest now.
  public func nextToken(by limit: RateLimit) -> Timestamp {
    tokens >= 1 ? at : at.adding(seconds: (1 - tokens) / limit.perSecond)
  }
}
