import TaskBridgeCore

/// Calls on many runs that go on in the background. A job means what its filter means each time it looks, of the runs
/// there were when it was asked for; each run is counted once.
extension Model {
  struct Job: Equatable {
    let id: RunID
    let wish: BulkWish
    let matched: Int
    var state = JobState.pending
    var changed = 0
    var skipped: [String: Int] = [:]
    var phase: BulkPass
    /// The last run it has looked at in this pass.
    var cursor: Place?
    /// The runs that it replayed first.
    var canary: Set<Place> = []
    var canaryUntil: Int64?
    /// Runs that stopped, or were told to, by what it did; and those of them that it has counted.
    var cancelled: Set<Place> = []
    var counted: Set<Place> = []

    var canaryMissing: Int? { canaryUntil == nil ? wish.canary.map { max(0, $0 - changed) } : nil }
  }

  /// A cancel goes through the parents that wait for their children first.
  enum BulkPass: Int, Sendable { case only = 0, waitingParents, others }

  mutating func addJob(_ id: RunID, _ wish: BulkWish) {
    jobs.append(
      Job(
        id: id, wish: wish, matched: candidates(wish).count, phase: wish.verb == .cancel ? .waitingParents : .only))
  }

  /// What the job looks at next.
  func candidates(of job: Int, limit: Int) -> [Candidate] {
    let (wish, phase) = (jobs[job].wish, jobs[job].phase)
    var meant = candidates(wish)
    switch phase {
    case .only: break
    case .waitingParents: meant = meant.filter { $0.state == .waiting }
    case .others: meant = meant.filter { $0.state != .waiting }
    }
    if let cursor = jobs[job].cursor { meant = meant.filter { phase == .others ? $0.run < cursor : $0.run > cursor } }
    return Array(meant.prefix(limit))
  }

  /// One slice of it.
  mutating func step(_ job: Int, _ slice: [Candidate]) -> BulkReply {
    let isCanary = jobs[job].canaryMissing != nil
    workingJob = job
    let reply = bulk(jobs[job].wish, slice)
    workingJob = nil
    jobs[job].state = .running
    jobs[job].cursor = slice.last?.run
    jobs[job].changed += reply.changed.count
    jobs[job].counted.formUnion(reply.changed)
    if isCanary { jobs[job].canary.formUnion(reply.changed) }
    for skipped in reply.skipped {
      jobs[job].skipped[String(skipped.drop { $0 != " " }.dropFirst()), default: 0] += 1
    }
    return reply
  }

  /// Nothing is left of its pass.
  ///
  /// - Returns: whether its canary is to be watched.
  mutating func endPass(of job: Int) -> Bool {
    if jobs[job].phase == .waitingParents {
      jobs[job].phase = .others
      jobs[job].cursor = nil
    } else if jobs[job].canaryMissing != nil, jobs[job].changed > 0 {
      return true
    } else {
      jobs[job].state = .completed
    }
    return false
  }

  mutating func watchCanary(of job: Int) {
    jobs[job].state = .waiting
    jobs[job].canaryUntil = now + Int64(jobs[job].wish.canaryWaitSeconds) * 1_000
  }

  /// One that died again stops the job; it goes on once all have ended, or enough time has passed.
  mutating func lookAtCanary(of job: Int) {
    let canary = jobs[job].canary.filter { !runs[$0].isDeleted }
    if canary.contains(where: { isDeadLetter($0) }) {
      jobs[job].state = .stopped
    } else if canary.allSatisfy({ runs[$0].isEnded }) || jobs[job].canaryUntil ?? 0 <= now {
      jobs[job].state = .running
    }
  }

  /// - Returns: nil, or the code of the refusal.
  mutating func cancelJob(_ job: Int) -> String? {
    guard jobs[job].state.isOpen else { return "job_ended" }
    jobs[job].state = .cancelled
    return nil
  }
}
