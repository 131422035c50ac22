import AMQPClient
import Synchronization

/// Which runs this worker holds, and when their messages are acknowledged.
///
/// A message is acknowledged once its claim was accepted, except that enough of them are held back while all places are
/// taken: the broker sends the next message for each acknowledged one, and a message that nobody can start must stay
/// where another worker can have it.
final class RunLedger: Sendable {
  enum Admission: Sendable, Equatable {
    /// To be claimed with this identity.
    case new(claim: String)
    /// The same dispatch is being worked on here already; its message came again after a cut.
    case known
  }

  private struct Active {
    var runID: String
    var attempt: Int
    var command: ExecutedCommand?
    var isAccepted = false
  }

  private struct Held {
    var token: String
    var tag: UInt64
    var connection: AMQPConnection
  }

  private struct State {
    var active: [String: Active] = [:]
    var held: [Held] = []
    /// Identities of claims whose answer never came, for when the message comes again.
    var openClaims: [String: String] = [:]
    var isDraining = false
  }

  /// Most claims remembered without an answer.
  private static let openClaimsMax = 10_000

  private let slots: Int
  private let prefetch: Int
  private let state = Mutex(State())

  /// - Parameters:
  ///   - slots: runs worked on at once.
  ///   - prefetch: unacknowledged messages the broker sends at most, over all queues.
  init(slots: Int, prefetch: Int) {
    self.slots = slots
    self.prefetch = prefetch
  }

  func admit(_ message: RunMessage, tag: UInt64, connection: AMQPConnection, newClaim: String) -> Admission {
    let (admission, due) = state.withLock { state -> (Admission, [Held]) in
      if state.active[message.token] != nil {
        state.held.removeAll { $0.token == message.token }
        state.held.append(Held(token: message.token, tag: tag, connection: connection))
        return (.known, balance(&state))
      }
      state.active[message.token] = Active(runID: message.runID, attempt: message.attempt)
      return (.new(claim: state.openClaims[message.token] ?? newClaim), [])
    }
    settle(due)
    return admission
  }

  /// The claim was accepted: from now on the store's lease watches over the run.
  func accepted(_ message: RunMessage, tag: UInt64, connection: AMQPConnection, command: ExecutedCommand) {
    let due = state.withLock { state in
      state.openClaims[message.token] = nil
      state.active[message.token] = Active(
        runID: message.runID, attempt: message.attempt, command: command, isAccepted: true)
      if !state.held.contains(where: { $0.token == message.token }) {
        state.held.append(Held(token: message.token, tag: tag, connection: connection))
      }
      return balance(&state)
    }
    settle(due)
  }

  /// Somebody else has the run, or nobody wants it any more.
  func refused(_ message: RunMessage, tag: UInt64, connection: AMQPConnection) {
    let due = state.withLock { state in
      state.openClaims[message.token] = nil
      state.active[message.token] = nil
      let again = state.held.filter { $0.token == message.token }
      state.held.removeAll { $0.token == message.token }
      return again + balance(&state)
    }
    connection.settle(acknowledged: [tag])
    settle(due)
  }

  /// No answer came to the claim: its message goes back to the broker.
  func unanswered(_ message: RunMessage, tag: UInt64, connection: AMQPConnection, claim: String) {
    let again = state.withLock { state in
      state.active[message.token] = nil
      if state.openClaims.count >= Self.openClaimsMax { state.openClaims.removeAll() }
      state.openClaims[message.token] = claim
      let again = state.held.filter { $0.token == message.token }
      state.held.removeAll { $0.token == message.token }
      return again
    }
    connection.reject(tag, requeue: true)
    for held in again { held.connection.reject(held.tag, requeue: true) }
  }

  /// The work is over, however it ended.
  func finished(_ message: RunMessage) {
    let due = state.withLock { state in
      state.active[message.token] = nil
      let own = state.held.filter { $0.token == message.token }
      state.held.removeAll { $0.token == message.token }
      return own + balance(&state)
    }
    settle(due)
  }

  /// No more messages will come: nothing is held back any more.
  func drain() {
    let due = state.withLock { state in
      state.isDraining = true
      return balance(&state)
    }
    settle(due)
  }

  /// Runs that were accepted and are not finished.
  var runningCount: Int { state.withLock { $0.active.values.count { $0.isAccepted } } }

  /// Tells the command of a run to stop.
  /// - Parameter attempt: only this attempt; nil means any.
  func stop(runID: String, attempt: Int?) {
    for active in state.withLock({ Array($0.active.values) })
    where active.runID == runID && (attempt ?? active.attempt) == active.attempt {
      active.command?.stop()
    }
  }

  /// Ends every command at once.
  func killAll() {
    for active in state.withLock({ Array($0.active.values) }) { active.command?.kill() }
  }

  /// Takes the messages that may be acknowledged now out of `held`.
  private func balance(_ state: inout State) -> [Held] {
    let running = state.active.values.count { $0.isAccepted }
    // The broker may still send prefetch − held; no more than slots − running of them could be started.
    let kept = state.isDraining ? 0 : max(0, prefetch - slots + running)
    guard state.held.count > kept else { return [] }
    let due = Array(state.held.prefix(state.held.count - kept))
    state.held.removeFirst(due.count)
    return due
  }

  /// Tags of a connection that has ended are passed over by it.
  private func settle(_ due: [Held]) {
    for held in due { held.connection.settle(acknowledged: [held.tag]) }
  }
}
