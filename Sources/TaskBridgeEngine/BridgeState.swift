import Synchronization
import TaskBridgeCore

/// What the services tell each other about the broker; small, and read on every request.
final class BridgeState: Sendable {
  enum Phase: Equatable {
    /// Nothing was connected yet.
    case starting
    /// No connection; says why.
    case brokerDown(String)
    /// Connected; the store and the broker are being brought in line.
    case restoring
    /// Releasing.
    case running
  }

  /// Why the queue of a task key cannot be used.
  struct Degradation: Equatable {
    var reason: String
    /// It exists and does not answer: only its deletion helps. Else it was refused, and is asked for again.
    var isSilent: Bool
  }

  private struct Facts {
    var phase = Phase.starting
    var isBlocked = false
    var blockedReason = ""
    var brokerVersion: String?
    /// Task keys whose queue cannot be used, with the broker's words.
    var degraded: [TaskKey: Degradation] = [:]
    /// Workers that listen on the queue of a task key, as the broker said last.
    var consumers: [TaskKey: Int] = [:]
    /// Task keys whose queue was not there when the broker was asked last.
    var missing: Set<TaskKey> = []
    var storeProblem: String?
    /// The first restore is done.
    var hasRestored = false
    var firesSchedules = false
  }

  private let facts = Mutex(Facts())

  var phase: Phase { facts.withLock { $0.phase } }
  var isBlocked: Bool { facts.withLock { $0.isBlocked } }
  /// Why the broker has blocked publishing; nil while it has not.
  var blockedReason: String? { facts.withLock { $0.isBlocked ? $0.blockedReason : nil } }
  var degraded: [TaskKey: Degradation] { facts.withLock { $0.degraded } }

  var consumers: [TaskKey: Int] { facts.withLock { $0.consumers } }

  func isQueueMissing(_ task: TaskKey) -> Bool { facts.withLock { $0.missing.contains(task) } }

  /// - Parameter count: nil when the queue does not exist.
  func setConsumers(_ task: TaskKey, _ count: Int?) {
    facts.withLock { facts in
      facts.consumers[task] = count
      if count == nil { facts.missing.insert(task) } else { facts.missing.remove(task) }
    }
  }

  /// The broker did not say.
  func forgetConsumers(_ task: TaskKey) { facts.withLock { $0.consumers[task] = nil } }

  func enter(_ phase: Phase, brokerVersion: String? = nil) {
    facts.withLock { facts in
      facts.phase = phase
      if phase == .running { facts.hasRestored = true }
      if let brokerVersion { facts.brokerVersion = brokerVersion }
      if case .brokerDown = phase {
        facts.isBlocked = false
        facts.consumers = [:]
        facts.missing = []
      }
    }
  }

  func setBlocked(_ reason: String?) {
    facts.withLock { facts in
      facts.isBlocked = reason != nil
      facts.blockedReason = reason ?? ""
    }
  }

  func setDegraded(_ task: TaskKey, because reason: String?, isSilent: Bool = false) {
    facts.withLock { $0.degraded[task] = reason.map { Degradation(reason: $0, isSilent: isSilent) } }
  }

  func setStoreProblem(_ problem: String?) { facts.withLock { $0.storeProblem = problem } }

  /// No lease ends unless reports can come in: while the broker is away, and until what waited there was read.
  var leasesFrozen: Bool { phase != .running }

  /// Whether broker and store were brought in line once since the start: before, no schedule is fired.
  var hasRestored: Bool { facts.withLock { $0.hasRestored } }

  /// Whether schedules are fired. While they are not, their nominal times are missed.
  var firesSchedules: Bool { facts.withLock { $0.firesSchedules } }

  func setFiresSchedules(_ fires: Bool) { facts.withLock { $0.firesSchedules = fires } }

  var readiness: Readiness {
    facts.withLock { facts in
      var reasons: [String] = []
      switch facts.phase {
      case .starting: reasons.append("starting")
      case .brokerDown(let why): reasons.append("broker: \(why)")
      case .restoring: reasons.append("restoring")
      case .running: break
      }
      if facts.isBlocked { reasons.append("broker has blocked publishing: \(facts.blockedReason)") }
      if let problem = facts.storeProblem { reasons.append(problem) }
      for (task, degradation) in facts.degraded.sorted(by: { $0.key < $1.key }) {
        reasons.append("task \(task) is held: \(degradation.reason)")
      }
      let isConnected = facts.phase == .running || facts.phase == .restoring
      return Readiness(
        isReady: facts.phase == .running && facts.storeProblem == nil, reasons: reasons, brokerConnected: isConnected,
        brokerBlocked: facts.isBlocked, brokerVersion: isConnected ? facts.brokerVersion : nil)
    }
  }
}

/// Whether the bridge does its whole work, and why not.
public struct Readiness: Sendable, Equatable {
  public let isReady: Bool
  /// In words, one each; empty when ready and unblocked.
  public let reasons: [String]
  public let brokerConnected: Bool
  public let brokerBlocked: Bool
  public let brokerVersion: String?
}
