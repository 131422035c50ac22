import TaskBridgeCore

@testable import TaskBridgeStore

/// Jobs, worked off as the bridge does it: what was looked up is kept between slices, and gone after a crash.
extension Player {
  /// A job looked up this many runs at once; few, so that its cursor is tried.
  static let jobLookupMax = 4

  func startJob(_ asked: Model.BulkWish) async throws {
    var wish = asked
    wish.asOf = wish.asOf(model.now)
    wish.options.runAt = wish.options.time(model.now)
    let request = try wish.request(model.now)
    let id = Self.id(submissions + 1)
    let (asOf, now) = (Timestamp(milliseconds: wish.asOf(model.now)), now)
    let cutoff = Cutoff(asOf: asOf, now: now)
    note("job \(model.jobs.count): \(wish)")
    let matched = try await read { tx throws(StoreError) in
      try tx.bulkCount(request, cutoff, held: HeldSet())
    }
    let actor = "job \(model.jobs.count)"
    guard
      try await write({ tx throws(StoreError) in
        try tx.addJob(id, request, asOf: asOf, matched: matched, now: now, actor: actor)
      }) != nil
    else { return }
    submissions += 1
    model.addJob(id, wish)
    reached.count("job \(wish.verb)")
    // Begun later than it was asked for: a run that starts again in the very millisecond of `as_of` is not newer than that.
    advance(to: model.now)
  }

  func cancelJob(_ pick: UInt32) async throws {
    guard let job = one(of: Array(model.jobs.indices), pick) else { return }
    let (id, now) = (model.jobs[job].id, now)
    note("cancel job \(job)")
    guard let result = try await write({ tx throws(StoreError) in try tx.cancelJob(id, now: now) }) else { return }
    let refusal = model.cancelJob(job)
    switch result {
    case .success: try expect(nil, refusal, "cancel of job \(job)")
    case .failure(let problem): try expect(problem.code, refusal, "cancel of job \(job)")
    }
  }

  /// One turn of one job.
  ///
  /// - Returns: whether there may be more to do at once.
  @discardableResult
  func workJob(_ pick: UInt32, slice: Int) async throws -> Bool {
    let open = try await read { tx throws(StoreError) in try tx.openJobs() }
    try expect(open.map(\.id), model.jobs.filter { $0.state.isOpen }.map(\.id), "open jobs")
    guard let job = one(of: open, pick), let place = model.jobs.firstIndex(where: { $0.id == job.id }) else {
      return false
    }
    try expect(job.canaryMissing, model.jobs[place].canaryMissing, "canary of job \(place)")
    if job.state == .waiting { return try await lookAtCanary(of: job, place) }
    if job.canaryMissing == 0 { return try await watchCanary(of: job, place) }
    let room = min(slice, job.canaryMissing ?? .max)
    var desk = desks[job.id] ?? []
    if desk.isEmpty { desk = try await candidates(of: job, place) }
    desks[job.id] = desk
    if desk.isEmpty { return try await endPass(of: job, place) }
    try await step(job, place, Array(desk.prefix(room)))
    return true
  }

  private func candidates(of job: Job, _ place: Int) async throws -> [BulkCandidate] {
    guard let phase = BulkPhase(rawValue: job.phase) else { throw Difference(text: "job \(place): phase \(job.phase)") }
    let cutoff = Cutoff(asOf: job.asOf, now: now)
    let found = try await read { tx throws(StoreError) in
      try tx.bulkCandidates(
        job.request, cutoff, phase: phase, after: job.cursor, limit: Self.jobLookupMax, held: HeldSet())
    }
    try expect(
      found.map(candidate), model.candidates(of: place, limit: Self.jobLookupMax), "runs that job \(place) means")
    return found
  }

  func candidate(_ found: BulkCandidate) -> Model.Candidate {
    Model.Candidate(run: place(found.id), state: found.state ?? .error)
  }

  private func step(_ job: Job, _ place: Int, _ candidates: [BulkCandidate]) async throws {
    let now = now
    let cutoff = Cutoff(asOf: job.asOf, now: now)
    let slice = BulkSlice(job.request, cutoff, candidates: candidates, begun: job.createdAt) { _ in 1_000 }
    let meant = candidates.map(candidate)
    note("job \(place): \(meant.map { "\($0.run) \($0.state)" })")
    guard let stepped = try await write({ tx throws(StoreError) in try tx.step(job, slice, now: now) }) else { return }
    guard let outcome = stepped else { throw Difference(text: "job \(place) is not where it was") }
    desks[job.id]?.removeFirst(candidates.count)
    let reply = reply(outcome)
    note("  → \(reply)")
    try expect(reply, model.step(place, meant), "slice of job \(place)")
    reached.count("job \(job.request.verb) changed", outcome.changed.count)
    // Whoever comes with the same slice again, because he does not know of this commit, changes nothing.
    let again = try await write { tx throws(StoreError) in try tx.step(job, slice, now: now) }
    if again??.changed != nil { throw Difference(text: "job \(place) takes one slice twice") }
  }

  private func endPass(of job: Job, _ place: Int) async throws -> Bool {
    let (now, phase) = (now, BulkPhase(rawValue: job.phase)?.next)
    if phase == nil, job.canaryMissing != nil, job.changed > 0 { return try await watchCanary(of: job, place) }
    note("job \(place): end of pass \(job.phase)")
    guard
      try await write({ tx throws(StoreError) in
        if let phase { try tx.enter(phase, job) } else { try tx.end(job, .completed, now: now) }
      }) != nil
    else { return false }
    try expect(model.endPass(of: place), false, "canary of job \(place)")
    if phase == nil { reached.count("job ended") }
    return true
  }

  private func watchCanary(of job: Job, _ place: Int) async throws -> Bool {
    let until = now.adding(seconds: job.request.options.canaryWaitSeconds)
    note("job \(place): its canary is out")
    guard try await write({ tx throws(StoreError) in try tx.watchCanary(of: job, until: until) }) != nil else {
      return false
    }
    model.watchCanary(of: place)
    return true
  }

  private func lookAtCanary(of job: Job, _ place: Int) async throws -> Bool {
    let now = now
    let state = try await read { tx throws(StoreError) in try tx.canary(of: job) }
    note("job \(place): its canary is \(state)")
    let end: JobState?
    switch state {
    case .died: end = .stopped
    case .open where job.canaryUntil.map { now < $0 } ?? false: return false
    case .open, .ended: end = nil
    }
    guard
      try await write({ tx throws(StoreError) in
        if let end { try tx.end(job, end, now: now) } else { try tx.goOn(job) }
      }) != nil
    else { return false }
    model.lookAtCanary(of: place)
    reached.count("canary \(end == nil ? "well" : "died")")
    return true
  }

  /// Goes on with all jobs until each has ended or waits for its canary.
  func workOffJobs() async throws {
    while let job = model.jobs.firstIndex(where: { $0.state.isOpen && $0.state != .waiting }) {
      let open = model.jobs[..<job].count { $0.state.isOpen }
      try await workJob(UInt32(open), slice: 3)
      try await compare(endsNoLease: false)
    }
    for job in model.jobs.indices where model.jobs[job].state == .waiting {
      try await workJob(UInt32(model.jobs[..<job].count { $0.state.isOpen }), slice: 3)
    }
  }

  func compareJobs() throws {
    if model.jobs.isEmpty { return }
    let rows = try image.rows(
      """
      SELECT lower(hex(id)), kind, state, matched, changed, skipped, phase, cursor IS NULL, canary_until,
        finished_at IS NULL FROM jobs ORDER BY seq
      """
    ) { row in
      "\((0...2).map { row.text($0) ?? "" }) \((3...9).map { row.int($0).map { "\($0)" } ?? "-" })"
    }
    let expected = model.jobs.map { job in
      let numbers: [Int64?] = [
        Int64(job.matched), Int64(job.changed), Int64(job.skipped.values.reduce(0, +)), Int64(job.phase.rawValue),
        job.cursor == nil ? 1 : 0, job.canaryUntil, job.state.isOpen ? 1 : 0,
      ]
      return "\([job.id.hex, job.wish.verb.rawValue, job.state.rawValue]) \(numbers.map { $0.map { "\($0)" } ?? "-" })"
    }
    try expect(rows, expected, "jobs")
    let skips = try image.texts("SELECT job || ' ' || reason || ' ' || runs FROM job_skips ORDER BY job, reason")
    let expectedSkips = model.jobs.enumerated().flatMap { index, job in
      job.skipped.sorted { $0.key < $1.key }.map { "\(index + 1) \($0.key) \($0.value)" }
    }
    try expect(skips, expectedSkips, "what jobs left alone")
    let canaries = try image.texts("SELECT job || ' ' || lower(hex(run)) FROM job_runs WHERE reason IS NULL ORDER BY 1")
    let expectedCanaries = model.jobs.enumerated().flatMap { index, job in
      job.canary.map { "\(index + 1) \(model.runs[$0].id.hex)" }
    }
    try expect(canaries, expectedCanaries.sorted(), "canaries of jobs")
  }
}
