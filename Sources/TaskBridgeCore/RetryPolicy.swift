/// How long to wait before each next attempt.
public struct RetryPolicy: Equatable, Sendable {
  public enum Strategy: String, CaseIterable, Sendable {
    case constant
    case linear
    case exponential
    case fullJitter = "full_jitter"
  }

  public var strategy: Strategy
  /// The delay after the first failure, in seconds, at least 0.
  public var initialSeconds: Double
  /// What `linear` adds per failure, in seconds, at least 0.
  public var incrementSeconds: Double
  /// What `exponential` and `full_jitter` multiply by per failure, at least 0.
  public var multiplier: Double
  /// The most that a strategy yields, in seconds; a list of delays and a worker's own wish are not bound by it.
  public var maxSeconds: Double
  /// Delays of their own per failure, in seconds, instead of the strategy; the last one is reused.
  public var delaysSeconds: [Double]?

  /// The most entries of ``delaysSeconds``.
  public static let delaysMax = 1000

  public init(
    strategy: Strategy = .constant, initialSeconds: Double = 1, incrementSeconds: Double = 0,
    multiplier: Double = 2, maxSeconds: Double = 300, delaysSeconds: [Double]? = nil
  ) {
    self.strategy = strategy
    self.initialSeconds = initialSeconds
    self.incrementSeconds = incrementSeconds
    self.multiplier = multiplier
    self.maxSeconds = maxSeconds
    self.delaysSeconds = delaysSeconds
  }

  /// The wait before the next attempt, in seconds; finite and at least 0 for every `n`.
  /// - Parameters:
  ///   - n: failures before this one, from 0.
  ///   - jitter: 0..<1, used by `full_jitter` alone.
  public func delaySeconds(failures n: Int, jitter: Double) -> Double {
    let n = max(0, n)
    if let delays = delaysSeconds, let last = delays.last {
      return n < delays.count ? delays[n] : last
    }
    switch strategy {
    case .constant: return bounded(initialSeconds)
    case .linear: return bounded(initialSeconds + incrementSeconds * Double(n))
    case .exponential: return bounded(grown(n))
    case .fullJitter: return bounded(grown(n)) * min(max(jitter, 0), 1)
    }
  }

  private func bounded(_ seconds: Double) -> Double { max(0, min(seconds, maxSeconds)) }

  /// initial × multiplierⁿ by repeated squaring: n may be a million.
  private func grown(_ n: Int) -> Double {
    guard initialSeconds > 0 else { return 0 }
    var power = 1.0
    var base = multiplier
    var exponent = n
    while exponent > 0 {
      if exponent & 1 == 1 { power *= base }
      exponent >>= 1
      if exponent > 0 { base *= base }
    }
    return initialSeconds * power
  }
}

extension RetryPolicy {
  /// Reads the `retry` object of a submission or of task settings; members that are missing have their defaults.
  ///
  /// What is wrong is added to `faults`, and the default stands in its place.
  public init(json: JSONValue, pointer: String, faults: inout [Fault]) {
    self.init()
    guard case .object(let object) = json else {
      faults.append(Fault(pointer: pointer, detail: "\(json.kind) is not a retry policy; allowed: an object or null"))
      return
    }
    for member in object.members {
      let at = pointer + "/" + member.key.jsonPointerEscaped
      var field = FieldReader(value: member.value, pointer: at)
      switch member.key {
      case "strategy": field.choice(Strategy.self).map { strategy = $0 }
      case "initial_seconds": field.number(0...secondsMax).map { initialSeconds = $0 }
      case "increment_seconds": field.number(0...secondsMax).map { incrementSeconds = $0 }
      case "multiplier": field.number(0...1_000_000).map { multiplier = $0 }
      case "max_seconds": field.number(0...secondsMax).map { maxSeconds = $0 }
      case "delays_seconds": field.numbers(0...secondsMax, countMax: Self.delaysMax).map { delaysSeconds = $0 }
      default: field.unknown(among: Self.fieldNames)
      }
      faults.append(contentsOf: field.faults)
    }
  }

  static let fieldNames = [
    "strategy", "initial_seconds", "increment_seconds", "multiplier", "max_seconds", "delays_seconds",
  ]
}

extension RetryPolicy: JSONWritable {
  public func write(to json: inout JSONWriter) {
    json.object { json in
      json.member("strategy", strategy.rawValue)
      json.member("initial_seconds", initialSeconds)
      json.member("increment_seconds", incrementSeconds)
      json.member("multiplier", multiplier)
      json.member("max_seconds", maxSeconds)
      json.member("delays_seconds", delaysSeconds.map { JSONValue.array($0.map { .number(JSONNumber($0)) }) })
    }
  }
}

/// The longest duration that a submission may name: 100 years, in seconds.
let secondsMax = 3_155_760_000.0
