import AMQPClient
import Testing

/// When to connect again, and where.
@Suite struct ReconnectTests {
  let lost = AMQPError(.connectionLost, "lost")
  let refused = AMQPError(.loginRefused, code: 403, "refused")

  @Test func theDelayDoublesUpToItsLimit() {
    var backoff = ReconnectBackoff()

    let longest = (0..<12).map { _ in backoff.next(after: lost, jitter: 1) }

    #expect(
      longest.map { $0 / .milliseconds(1) } == [
        200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000, 30_000, 30_000,
      ])
  }

  @Test(arguments: [0.0, 0.25, 0.5, 0.999, -1, 2])
  func jitterSpreadsOverTheUpperHalfAndStaysInBounds(_ jitter: Double) {
    var backoff = ReconnectBackoff()
    for failure in 0..<200 {
      let delay = backoff.next(after: lost, jitter: jitter)
      let step = min(Duration.milliseconds(200) * (1 << min(failure, 10)), .seconds(30))
      #expect(delay >= max(.milliseconds(200), step / 2))
      #expect(delay <= step)
    }
  }

  @Test(arguments: [
    AMQPError(.loginRefused, code: 403, ""), AMQPError(.loginRefused, code: 530, ""),
    AMQPError(.connectionClosed, code: 530, ""), AMQPError(.connectionClosed, code: 540, ""),
    AMQPError(.channelClosed, code: 403, ""), AMQPError(.tlsFailed, ""),
  ])
  func whatOnlyAnOperatorCanMendWaitsLongAtOnce(_ error: AMQPError) {
    var backoff = ReconnectBackoff()
    #expect(backoff.next(after: error, jitter: 0) == .seconds(30))
    #expect(backoff.next(after: error, jitter: 1) == .seconds(60))
  }

  /// RabbitMQ 3.10 says 541 to who publishes to a queue that is being deleted: the next connection works.
  @Test func anInternalErrorOfTheBrokerIsTriedAgainAtOnce() {
    var backoff = ReconnectBackoff()
    #expect(backoff.next(after: AMQPError(.connectionClosed, code: 541, ""), jitter: 1) == .milliseconds(200))
  }

  @Test func aFailedOpenWaitsAndTriesTheNextEndpoint() {
    var machine = AMQPConnectionMachine(endpointCount: 3)

    #expect(machine.handle(.start, jitter: 1) == .open(endpointIndex: 0))
    #expect(machine.handle(.openFailed(lost), jitter: 1) == .wait(.milliseconds(200)))
    #expect(machine.handle(.retryTimeReached, jitter: 1) == .open(endpointIndex: 1))
    #expect(machine.handle(.openFailed(lost), jitter: 1) == .wait(.milliseconds(400)))
    #expect(machine.handle(.retryTimeReached, jitter: 1) == .open(endpointIndex: 2))
    #expect(machine.handle(.openFailed(refused), jitter: 0) == .wait(.seconds(30)))
    #expect(machine.handle(.retryTimeReached, jitter: 1) == .open(endpointIndex: 0))
    #expect(machine.handle(.opened, jitter: 1) == .none)
    #expect(machine.state == .open(endpointIndex: 0))
  }

  @Test func onlyAConnectionThatLastedStartsTheDelaysAnew() {
    var machine = AMQPConnectionMachine(endpointCount: 1)
    _ = machine.handle(.start, jitter: 1)
    for expected in [200, 400, 800] {
      _ = machine.handle(.opened, jitter: 1)
      let action = machine.handle(.closed(lost, openFor: .seconds(1)), jitter: 1)
      #expect(action == .wait(.milliseconds(expected)))
      _ = machine.handle(.retryTimeReached, jitter: 1)
    }
    _ = machine.handle(.opened, jitter: 1)

    #expect(
      machine.handle(.closed(lost, openFor: ReconnectBackoff.stableAfter), jitter: 1) == .wait(.milliseconds(200)))
  }

  @Test func stopEndsEverythingAndNothingStartsAgain() {
    let open: [AMQPConnectionMachine.Event] = [.start, .opened]
    let connecting: [AMQPConnectionMachine.Event] = [.start]
    let waiting: [AMQPConnectionMachine.Event] = [.start, .openFailed(lost)]
    let cases: [([AMQPConnectionMachine.Event], AMQPConnectionMachine.Action)] = [
      ([], .none), (connecting, .close), (open, .close), (waiting, .none),
    ]
    for (before, expected) in cases {
      var machine = AMQPConnectionMachine(endpointCount: 2)
      for event in before { _ = machine.handle(event, jitter: 0) }

      #expect(machine.handle(.stop, jitter: 0) == expected)

      for event in everyEvent {
        #expect(machine.handle(event, jitter: 0) == .none)
        #expect(machine.state == .stopped)
      }
    }
  }

  @Test func anEventThatDoesNotFitChangesNothing() {
    var machine = AMQPConnectionMachine(endpointCount: 2)
    for event in everyEvent where event != .start && event != .stop {
      #expect(machine.handle(event, jitter: 0) == .none)
      #expect(machine.state == .idle)
    }
    _ = machine.handle(.start, jitter: 0)
    #expect(machine.handle(.start, jitter: 0) == .none)
    #expect(machine.handle(.retryTimeReached, jitter: 0) == .none)
    #expect(machine.handle(.closed(lost, openFor: .zero), jitter: 0) == .none)
    #expect(machine.state == .connecting(endpointIndex: 0))
  }

  private var everyEvent: [AMQPConnectionMachine.Event] {
    [
      .start, .opened, .openFailed(lost), .closed(lost, openFor: .zero), .closed(nil, openFor: .zero),
      .retryTimeReached, .stop,
    ]
  }
}
