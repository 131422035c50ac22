import TaskBridgeCore
import Testing

@Suite struct RetryPolicyTests {
  @Test func theDefaultsAreThoseOfTheContract() {
    let policy = RetryPolicy()

    #expect(policy.strategy == .constant)
    #expect(policy.initialSeconds == 1 && policy.incrementSeconds == 0 && policy.multiplier == 2)
    #expect(policy.maxSeconds == 300 && policy.delaysSeconds == nil)
  }

  @Test(
    "T65: delays follow the strategy up to the maximum",
    arguments: [
      (.constant, [3, 3, 3, 3, 3]), (.linear, [3, 5, 7, 9, 10]), (.exponential, [3, 6, 10, 10, 10]),
      (.fullJitter, [1.5, 3, 5, 5, 5]),
    ] as [(RetryPolicy.Strategy, [Double])])
  func delaysFollowTheStrategyUpToTheMaximum(strategy: RetryPolicy.Strategy, delays: [Double]) {
    let policy = RetryPolicy(
      strategy: strategy, initialSeconds: 3, incrementSeconds: 2, multiplier: 2, maxSeconds: 10)
    #expect((0..<5).map { policy.delaySeconds(failures: $0, jitter: 0.5) } == delays)
  }

  @Test("T65: a list of delays goes first and reuses its last")
  func aListOfDelaysGoesFirstAndReusesItsLast() {
    let policy = RetryPolicy(strategy: .exponential, maxSeconds: 2, delaysSeconds: [1, 5])
    #expect((0..<4).map { policy.delaySeconds(failures: $0, jitter: 0) } == [1, 5, 5, 5])
  }

  @Test("T65: no number of failures overflows", arguments: RetryPolicy.Strategy.allCases)
  func noNumberOfFailuresOverflows(strategy: RetryPolicy.Strategy) {
    for (initial, multiplier) in [(1.0, 2.0), (0, 1e6), (1e-9, 1e6), (3, 0), (3, 1), (1e9, 1e6)] {
      let policy = RetryPolicy(
        strategy: strategy, initialSeconds: initial, incrementSeconds: 1e9, multiplier: multiplier, maxSeconds: 60)
      for failures in Array(0...20) + [1000, 1_000_000, .max, -1] {
        let delay = policy.delaySeconds(failures: failures, jitter: 0.999)
        #expect(delay >= 0 && delay <= 60, "\(initial) × \(multiplier)^\(failures)")
      }
    }
  }

  @Test func aPolicyReadsBackAsWritten() {
    var random = SplitMix64(seed: 12)
    for strategy in RetryPolicy.Strategy.allCases {
      for _ in 0..<100 {
        let policy = RetryPolicy(
          strategy: strategy, initialSeconds: .random(in: 0...100, using: &random),
          incrementSeconds: .random(in: 0...100, using: &random), multiplier: .random(in: 0...9, using: &random),
          maxSeconds: .random(in: 0...1e6, using: &random), delaysSeconds: Bool.random(using: &random) ? [1, 2.5] : nil)
        var faults: [Fault] = []

        let text = String(decoding: policy.json, as: UTF8.self)

        #expect(RetryPolicy(json: .parsed(text), pointer: "", faults: &faults) == policy)
        #expect(faults.isEmpty)
      }
    }
  }

  @Test(arguments: [
    (#"{"strategy":"never"}"#, "/retry/strategy", "invalid_field"),
    (#"{"initial_seconds":-1}"#, "/retry/initial_seconds", "invalid_field"),
    (#"{"multiplier":"2"}"#, "/retry/multiplier", "invalid_field"),
    (#"{"max_seconds":1e400}"#, "/retry/max_seconds", "invalid_field"),
    (#"{"delays_seconds":[]}"#, "/retry/delays_seconds", "invalid_field"),
    (#"{"delays_seconds":[1,-1]}"#, "/retry/delays_seconds/1", "invalid_field"),
    (#"{"max_second":1}"#, "/retry/max_second", "unknown_field"), ("5", "/retry", "invalid_field"),
  ])
  func faultsOfAPolicyHaveTheirPlace(text: String, pointer: String, code: String) {
    var faults: [Fault] = []

    let policy = RetryPolicy(json: .parsed(text), pointer: "/retry", faults: &faults)

    #expect(policy == RetryPolicy())
    #expect(faults.map(\.pointer) == [pointer])
    #expect(faults.map(\.code) == [code])
  }
}
