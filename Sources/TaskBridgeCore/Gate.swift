/// One gate that is closed to a ready run: what it is, its numbers, and what opens it.
public struct Gate: Sendable, Equatable {
  public var hold: Hold
  /// What is the matter, with its numbers.
  public var detail: String
  /// What ends it, in words.
  public var unblockedBy: String
  /// When it ends, where that can be known.
  public var at: Timestamp?
  public var limit: Int?
  public var used: Int?

  public init(
    _ hold: Hold, _ detail: String, unblockedBy: String, at: Timestamp? = nil, limit: Int? = nil, used: Int? = nil
  ) {
    self.hold = hold
    self.detail = detail
    self.unblockedBy = unblockedBy
    self.at = at
    self.limit = limit
    self.used = used
  }
}

/// How much of the limits is in use, of one instant.
public struct Occupancy: Sendable, Equatable {
  /// Runs of the task key that are dispatched and not claimed.
  public var taskUnclaimed = 0
  /// Runs of the task key that are queued, launched, running or cancelling.
  public var taskInUse = 0
  /// The same of the run's group; 0 without one.
  public var groupInUse = 0

  public init() {}
}

extension Gate {
  /// The store's own gates that are closed to ready runs of `task` and `group`, in the order of `fsm.md` §3 rule 11.
  ///
  /// - Parameter policy: of the task key, with what was set while the bridge runs.
  public static func closed(
    task: TaskKey, group: String?, policy: TaskPolicy, controls: Controls, occupancy: Occupancy, now: Timestamp
  ) -> [Gate] {
    var gates: [Gate] = []
    if let pause = controls.pause(of: .bridge, at: now) { gates.append(Gate(.paused, pause, of: .bridge)) }
    for subject in [ControlSubject.task(task), .domain(String(task.domain))] {
      if let pause = controls.pause(of: subject, at: now) { gates.append(Gate(.taskPaused, pause, of: subject)) }
    }
    if let group {
      if let pause = controls.pause(of: .group(group), at: now) {
        gates.append(Gate(.groupPaused, pause, of: .group(group)))
      }
      if let limit = controls.groups[group]?.concurrencyLimit, occupancy.groupInUse >= limit {
        gates.append(Gate(.groupLimit, of: .group(group), limit: limit, used: occupancy.groupInUse))
      }
    }
    if let limit = policy.concurrencyLimit, occupancy.taskInUse >= limit {
      gates.append(Gate(.taskLimit, of: .task(task), limit: limit, used: occupancy.taskInUse))
    }
    if occupancy.taskUnclaimed >= policy.queueBound {
      gates.append(
        Gate(
          .queueBound,
          "\(occupancy.taskUnclaimed) runs of task \(task) are dispatched and not claimed, its queue_bound is \(policy.queueBound)",
          unblockedBy: "a worker that claims one of them; start workers, or raise queue_bound",
          limit: policy.queueBound,
          used: occupancy.taskUnclaimed))
    }
    if let rate = policy.rate, let gate = Gate(.task(task), rate, controls, now: now) { gates.append(gate) }
    if let group, let rate = controls.groups[group]?.rate, let gate = Gate(.group(group), rate, controls, now: now) {
      gates.append(gate)
    }
    return gates
  }

  private init(_ hold: Hold, _ pause: Pause, of subject: ControlSubject) {
    let why = pause.reason.map { ": \($0)" } ?? ""
    let resume = "a resume of \(subject)"
    self.init(
      hold, "\(subject) is paused since \(pause.since) by \(pause.actor)\(why)",
      unblockedBy: pause.until.map { "\($0), or \(resume) before that" } ?? resume, at: pause.until)
  }

  private init(_ hold: Hold, of subject: ControlSubject, limit: Int, used: Int) {
    self.init(
      hold, "\(used) runs of \(subject) are queued, launched, running or cancelling, its concurrency_limit is \(limit)",
      unblockedBy: limit == 0 ? "a higher concurrency_limit: 0 holds all" : "the end of one of them, or a higher limit",
      limit: limit, used: used)
  }

  /// Nil when a token is there.
  private init?(_ subject: ControlSubject, _ rate: RateLimit, _ controls: Controls, now: Timestamp) {
    let bucket = controls.bucket(of: subject, limit: rate, at: now)
    guard bucket.whole < 1 else { return nil }
    let at = bucket.nextToken(by: rate)
    self.init(
      .rateLimit,
      "\(subject) releases \(rate.perSecond.jsonText) runs per second, at most \(Int(rate.burst)) at once, and has used them up",
      unblockedBy: "the next token, at \(at)", at: at)
  }
}
