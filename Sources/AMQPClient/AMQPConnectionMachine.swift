/// Decides when to open which endpoint, without doing it: the caller opens connections and keeps time.
///
/// One `AMQPConnection` lives once. Whoever wants to stay connected feeds what happens to it into `handle` and carries
/// out the action it gets back.
public struct AMQPConnectionMachine: Sendable, Equatable {
  public enum State: Sendable, Equatable {
    /// Nothing was started. Can move to: `connecting`, `stopped`.
    case idle
    /// The caller is opening this endpoint. Can move to: `open`, `waiting`, `stopped`.
    case connecting(endpointIndex: Int)
    /// A connection to this endpoint is in use. Can move to: `waiting`, `stopped`.
    case open(endpointIndex: Int)
    /// Until the next attempt, which goes to this endpoint. Can move to: `connecting`, `stopped`.
    case waiting(endpointIndex: Int)
    /// The last state.
    case stopped
  }

  public enum Event: Sendable, Equatable {
    case start
    case opened
    case openFailed(AMQPError)
    /// The open connection ended; `nil` after an orderly close by ourselves.
    case closed(AMQPError?, openFor: Duration)
    /// The time of `.wait` is over.
    case retryTimeReached
    case stop
  }

  public enum Action: Sendable, Equatable {
    case none
    case open(endpointIndex: Int)
    case wait(Duration)
    case close
  }

  public let endpointCount: Int
  public private(set) var state = State.idle
  public private(set) var backoff = ReconnectBackoff()

  public init(endpointCount: Int) {
    self.endpointCount = max(1, endpointCount)
  }

  /// Takes one event. An event that does not fit the state, for example a late one, changes nothing.
  /// - Parameter jitter: 0 up to 1, used only when a wait begins.
  public mutating func handle(_ event: Event, jitter: Double) -> Action {
    switch (state, event) {
    case (.stopped, _):
      return .none
    case (.open, .stop), (.connecting, .stop):
      state = .stopped
      return .close
    case (.idle, .stop), (.waiting, .stop):
      state = .stopped
      return .none
    case (.idle, .start):
      state = .connecting(endpointIndex: 0)
      return .open(endpointIndex: 0)
    case (.waiting(let index), .retryTimeReached):
      state = .connecting(endpointIndex: index)
      return .open(endpointIndex: index)
    case (.connecting(let index), .opened):
      state = .open(endpointIndex: index)
      return .none
    case (.connecting(let index), .openFailed(let error)):
      return wait(after: error, at: index, jitter: jitter)
    case (.open(let index), .closed(let error, let openFor)):
      // A connection that breaks again and again right after opening must not be retried as if it were the first time.
      if openFor >= ReconnectBackoff.stableAfter { backoff.reset() }
      let reason = error ?? AMQPError(.connectionLost, "the connection was closed")
      return wait(after: reason, at: index, jitter: jitter)
    case (.idle, _), (.connecting, _), (.open, _), (.waiting, _):
      return .none
    }
  }

  private mutating func wait(after error: AMQPError, at index: Int, jitter: Double) -> Action {
    state = .waiting(endpointIndex: (index + 1) % endpointCount)
    return .wait(backoff.next(after: error, jitter: jitter))
  }
}
