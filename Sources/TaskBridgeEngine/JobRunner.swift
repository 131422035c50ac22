import Logging
import Synchronization
import TaskBridgeCore
import TaskBridgeStore

/// Works off jobs: a slice of each in turn, with a rest after each turn (``BridgeContext/giveWay(since:)``), or as their
/// rate allows.
struct JobRunner: Sendable {
  /// How often a canary is looked at, in seconds.
  static let canaryLookSeconds = 0.25
  /// The rest between looks for jobs; a new one wakes the loop.
  static let idleSeconds = 60.0

  let bridge: BridgeContext

  /// What is known of a job beside its row.
  struct Desk {
    var pace = Pace()
    /// Looked up and not worked off yet; each is behind the job's cursor.
    var candidates: [BulkCandidate] = []
  }

  func run() async throws {
    var desks: [RunID: Desk] = [:]
    while !Task.isCancelled {
      let begun = bridge.clock.uptimeSeconds()
      let seconds = try await runOnce(&desks)
      bridge.isWorkingOff.store(seconds == 0, ordering: .relaxed)
      if seconds > 0 { await bridge.jobs.wait(atMost: seconds) } else { try await bridge.giveWay(since: begun) }
    }
  }

  /// One slice of each job.
  /// - Returns: seconds until there is more to do.
  func runOnce(_ desks: inout [RunID: Desk]) async throws -> Double {
    let jobs = try await bridge.store.read { transaction throws(StoreError) in try transaction.openJobs() }
    var rest: [RunID: Desk] = [:]
    var seconds = Self.idleSeconds
    for job in jobs {
      if let problem = job.unreadable?.problem {
        bridge.logger.error("a job cannot be read", metadata: ["job": "\(job.id)", "error": "\(problem.detail)"])
        try await end(job, .failed, problem)
        continue
      }
      var desk = desks[job.id] ?? Desk(pace: Pace(since: bridge.clock.uptimeSeconds()))
      do {
        seconds = min(seconds, try await advance(job, &desk))
      } catch let error as StoreError where error.kind == .other || error.kind == .tooExpensive {
        bridge.logger.error("a job cannot go on", metadata: ["job": "\(job.id)", "error": "\(error)"])
        try await end(job, .failed, Problem(error))
        seconds = 0
      }
      rest[job.id] = desk
    }
    desks = rest
    return seconds
  }

  private func advance(_ job: Job, _ desk: inout Desk) async throws -> Double {
    if job.state == .waiting { return try await lookAtCanary(of: job) }
    if job.canaryMissing == 0 { return try await watchCanary(of: job) }
    let room = room(for: job, &desk)
    if room == 0 { return desk.pace.wait(job.request.options.ratePerSecond ?? 1, at: bridge.clock.uptimeSeconds()) }
    if desk.candidates.isEmpty { desk.candidates = try await candidates(of: job) }
    guard !desk.candidates.isEmpty else { return try await endPhase(of: job) }
    let now = bridge.clock.now()
    let slice = BulkSlice(
      job.request, Cutoff(asOf: job.asOf, now: now), candidates: Array(desk.candidates.prefix(room)),
      begun: job.createdAt, payloadBytesMax: bridge.payloadBytesMax)
    let outcome = try await bridge.writing { transaction throws(StoreError) in
      try transaction.step(job, slice, now: now)
    }
    guard let outcome else {
      // Somebody else has moved or ended it.
      desk.candidates = []
      return 0
    }
    desk.candidates.removeFirst(slice.candidates.count)
    desk.pace.done += outcome.changed.count
    return 0
  }

  /// Most runs of the next slice.
  private func room(for job: Job, _ desk: inout Desk) -> Int {
    var room = min(TaskBridge.bulkSlice, job.canaryMissing ?? .max)
    if let rate = job.request.options.ratePerSecond {
      room = min(room, desk.pace.room(rate, at: bridge.clock.uptimeSeconds()))
    }
    return room
  }

  private func candidates(of job: Job) async throws -> [BulkCandidate] {
    guard let phase = BulkPhase(rawValue: job.phase) else { return [] }
    let hold = TaskBridge(context: bridge).holdLookup(job.request.heldBy)
    let cutoff = Cutoff(asOf: job.asOf, now: bridge.clock.now())
    return try await bridge.store.read { transaction throws(StoreError) in
      try transaction.bulkCandidates(
        job.request, cutoff, phase: phase, after: job.cursor, limit: TaskBridge.chunk,
        held: try hold(transaction))
    }
  }

  private func endPhase(of job: Job) async throws -> Double {
    if let next = BulkPhase(rawValue: job.phase)?.next {
      try await bridge.writing { transaction throws(StoreError) in try transaction.enter(next, job) }
    } else if job.canaryMissing != nil, job.changed > 0 {
      return try await watchCanary(of: job)
    } else {
      try await end(job, .completed)
    }
    return 0
  }

  private func end(_ job: Job, _ state: JobState, _ problem: Problem? = nil) async throws {
    let now = bridge.clock.now()
    try await bridge.writing { transaction throws(StoreError) in try transaction.end(job, state, problem, now: now) }
    bridge.logger.info(
      "job ended", metadata: ["job": "\(job.id)", "kind": "\(job.request.verb.rawValue)", "state": "\(state.rawValue)"])
  }

  // MARK: The canary

  private func watchCanary(of job: Job) async throws -> Double {
    let until = bridge.clock.now().adding(seconds: job.request.options.canaryWaitSeconds)
    try await bridge.writing { transaction throws(StoreError) in try transaction.watchCanary(of: job, until: until) }
    return 0
  }

  private func lookAtCanary(of job: Job) async throws -> Double {
    let state = try await bridge.store.read { transaction throws(StoreError) in try transaction.canary(of: job) }
    switch state {
    case .died(let run):
      let problem = Problem(
        409, "canary_died",
        "run \(run) of the canary died again; \(max(0, job.matched - job.changed - job.skipped)) dead letters were left untouched",
        runID: run)
      try await end(job, .stopped, problem)
      return 0
    case .open:
      if let until = job.canaryUntil, bridge.clock.now() < until { return Self.canaryLookSeconds }
    case .ended: break
    }
    try await bridge.writing { transaction throws(StoreError) in try transaction.goOn(job) }
    return 0
  }
}

/// How many replays a rate allows, by the clock that no one sets. A process that begins or was held up makes up for at most
/// a second of them.
struct Pace {
  /// Slices are as many replays as come due in this time, or one.
  static let tickSeconds = 0.1

  /// Seconds since boot.
  var since = 0.0
  /// Since then.
  var done = 0

  /// How many are due at `uptime`; 0 until a tick's worth is.
  mutating func room(_ rate: Double, at uptime: Double) -> Int {
    let most = max(1, rate)
    if (uptime - since) * rate - Double(done) > most { since = uptime - (Double(done) + most) / rate }
    // What is that near to a whole number is meant to be it.
    let due = Int((uptime - since) * rate + 1e-6) - done
    return due >= tick(rate) ? due : 0
  }

  /// Seconds until there is room.
  func wait(_ rate: Double, at uptime: Double) -> Double {
    max(0.001, since + Double(done + tick(rate)) / rate - uptime)
  }

  private func tick(_ rate: Double) -> Int { max(1, Int(rate * Self.tickSeconds)) }
}
