import Synchronization
public import TaskBridgeCore

/// What one pass over the mirror queue of a task key has found.
public struct MirrorReport: Sendable, Equatable, JSONWritable {
  public var task: TaskKey
  /// Unresolved dead letters.
  public var table: Int
  /// Messages before the pass.
  public var queue: Int
  /// Messages of no unresolved dead letter, or a second one of the same; taken out.
  public var removed: Int
  /// Dead letters without a message; published again.
  public var added: Int

  public func write(to json: inout JSONWriter) {
    json.object { json in
      json.member("task", task.rawValue)
      json.member("table", table)
      json.member("queue", queue)
      json.member("removed", removed)
      json.member("added", added)
    }
  }
}

/// Where those wait who have asked for the mirror to be brought in line.
final class MirrorDesk: Sendable {
  typealias Answer = Result<[MirrorReport], Problem>

  private struct State {
    var isServed = false
    var waiting: [CheckedContinuation<Answer, Never>] = []
  }

  private let state = Mutex(State())
  private let asked = Signal()

  static let unserved = Problem(
    503, "broker_unreachable", "the bridge has no connection to its broker now: nothing was compared; try again",
    retryAfterSeconds: 5)

  /// Waits for the next pass that begins after this call.
  /// - Parameter wake: called once the request is in.
  func ask(wake: () -> Void) async -> Answer {
    await withCheckedContinuation { continuation in
      let isIn = state.withLock { state in
        if state.isServed { state.waiting.append(continuation) }
        return state.isServed
      }
      guard isIn else { return continuation.resume(returning: .failure(Self.unserved)) }
      asked.raise()
      wake()
    }
  }

  /// Nothing until somebody asks, or `seconds` have passed.
  func rest(atMost seconds: Double) async { await asked.wait(atMost: seconds) }

  /// Whether somebody waits for a pass.
  var isAsked: Bool { state.withLock { !$0.waiting.isEmpty } }

  func open() { state.withLock { $0.isServed = true } }

  /// Those whose pass begins now.
  func take() -> [CheckedContinuation<Answer, Never>] {
    state.withLock { state in
      defer { state.waiting = [] }
      return state.waiting
    }
  }

  /// Nobody serves any more.
  func close() {
    let rest = state.withLock { state in
      defer { state = State() }
      return state.waiting
    }
    for continuation in rest { continuation.resume(returning: .failure(Self.unserved)) }
  }
}

extension TaskBridge {
  /// Brings the mirror queues in line with the table at once: what is missing is published, what is too much is taken out.
  /// - Throws: 503 `broker_unreachable`.
  public func syncMirror() async throws(Problem) -> Page<MirrorReport> {
    let context = context
    let reports = try await context.mirrorDesk.ask { context.mirror.raise() }.get()
    return Page(items: reports, nextCursor: nil)
  }
}
