import TaskBridgeCore
import TaskBridgeStore

/// The store against the model, and to rest at the end.
extension Player {
  func compare(endsNoLease: Bool) async throws {
    let waiting: Set<RunState> = [.blocked, .scheduled, .ready, .paused]
    try expect(store.backlog, model.runs.count { waiting.contains($0.state) }, "backlog")
    let version = try image.version()
    if version == seen.version, model.runs == seen.runs, model.notices == seen.notices,
      model.schedules == seen.schedules, model.jobs == seen.jobs
    {
      return
    }
    let places = try compareRuns()
    let edges = try image.rows("SELECT dependent, prerequisite, satisfied FROM dependencies ORDER BY 1, 2") {
      [places[$0.int(0)] ?? -1, places[$0.int(1)] ?? -1, Int($0.int(2) ?? 0)]
    }
    var expected: [[Int]] = []
    for (place, run) in model.runs.enumerated() {
      for edge in run.prerequisites.sorted(by: { $0.run < $1.run }) {
        expected.append([place, edge.run, edge.isSatisfied ? 1 : 0])
      }
    }
    try expect(edges, expected, "dependencies")
    let notices = try image.rows("SELECT kind = 'dead', run_seq FROM outbox ORDER BY id") {
      Model.Notice(isDeadLetter: $0.int(0) == 1, run: places[$0.int(1)] ?? -1)
    }
    try expect(notices, model.notices, "outbox")
    try compareSchedules()
    try compareJobs()
    try auditor.check(
      image, reports: model.runs.reduce(0) { $1.isDeleted ? $0 : $0 + $1.reports }, endsNoLease: endsNoLease)
    seen.version = version
    seen.runs = model.runs
    seen.notices = model.notices
    seen.schedules = model.schedules
    seen.jobs = model.jobs
  }

  /// What a comparison found, so that the next one looks at what has changed since.
  struct Seen {
    /// Of the file; nil: look at everything.
    var version: Int64?
    var runs: [Model.Run] = []
    var notices: [Model.Notice] = []
    var schedules: [String: Model.Schedule] = [:]
    var jobs: [Model.Job] = []
    var times = 0
    /// Of the rows that were compared.
    var digests: [Model.Place: Int] = [:]
  }

  /// - Returns: the place of each run by its number in the store; a number may be used again after a delete.
  private func compareRuns() throws -> [Int64?: Model.Place] {
    let live = model.runs.indices.filter { !model.runs[$0].isDeleted }
    var (places, position): ([Int64?: Model.Place], Int) = ([:], 0)
    let changed = try image.rows(RunImage.sql) { row -> (Model.Place, RunImage)? in
      guard position < live.count else { return (-1, RunImage(row)) }
      let place = live[position]
      position += 1
      places[row.int(RunImage.sequenceColumn)] = place
      let digest = row.digest()
      let isSame = seen.digests.updateValue(digest, forKey: place) == digest
      return isSame && place < seen.runs.count && seen.runs[place] == model.runs[place] ? nil : (place, RunImage(row))
    }
    for (place, row) in changed.compactMap(\.self) where place >= 0 {
      let expected = RunImage(model.runs[place], in: model)
      if row != expected { throw Difference(text: "run \(place): \(row.difference(from: expected))") }
    }
    try expect(changed.count, live.count, "number of runs")
    return places
  }

  /// What is still ready is held by the gates that the model has closed, and by others not.
  func compareHolds() async throws {
    let held = model.runs.indices.filter { model.runs[$0].state == .ready }
    if held.isEmpty { return }
    let (controls, now) = (store.controls, now)
    let places = Set(held.map { Place(task: model.runs[$0].task, group: model.runs[$0].request.group) })
    let occupancy = try await read { tx throws(StoreError) in
      try places.map { place throws(StoreError) in
        (place, try tx.occupancy(task: Request.key(place.task), group: place.group))
      }
    }
    for (place, occupancy) in occupancy {
      let key = Request.key(place.task)
      let gates = Gate.closed(
        task: key, group: place.group, policy: controls.policy(Self.policy(key), for: key), controls: controls,
        occupancy: occupancy, now: now)
      for run in held where model.runs[run].task == place.task && model.runs[run].request.group == place.group {
        try expect(Set(gates.map(\.hold)), model.holds(run), "held_by of run \(run)")
      }
    }
  }

  private struct Place: Hashable {
    var task: String
    var group: String?
  }

  func compareControls() throws {
    let found = store.controls.pauses.mapValues { $0.until?.milliseconds }
    try expect(found, model.gates.pauses, "pauses")
    // How long each was paused before; where the clock was set back the same time may be paused twice.
    for subject in Self.subjects where !auditor.clockWentBack {
      let found = (store.controls.pastPauses[subject] ?? []).reduce(0) { $0 + $1.milliseconds }
      let expected = model.gates.past.reduce(Int64(0)) { $1.subject == subject ? $0 + $1.end - $1.start : $0 }
      try expect(found, expected, "pauses of \(subject) that are over")
    }
    for (subject, bucket) in model.gates.buckets {
      let parts = (store.controls.buckets[subject]?.tokens ?? -1) * Double(Gates.token)
      try expect(Int64(parts.rounded()), bucket.parts, "tokens of \(subject)")
    }
  }

  // MARK: To rest

  /// Rounds after which what is not at rest never will be.
  static let roundsMax = 60

  /// Faults stop: every gate is opened, and honest workers do what there is to do.
  func driveToRest() async throws {
    if keepsLog { log.append("to rest") }
    isAborting = false
    try await reconnect()
    for pick in Self.subjects.indices { try await resume(UInt32(pick)) }
    for name in HistoryGenerator.schedules where model.schedules[name] != nil { try await removeSchedule(name) }
    for task in HistoryGenerator.tasks { try await set(task: task, Gates.Settings()) }
    for group in HistoryGenerator.groups { try await set(group: group, Gates.Settings()) }
    for round in 0..<Self.roundsMax
    where model.runs.contains(where: { !$0.isEnded }) || model.jobs.contains(where: { $0.state.isOpen }) {
      try await workOffJobs()
      for run in model.runs.indices where model.runs[run].state == .paused {
        let (id, now) = (model.runs[run].id, now)
        _ = try await write { tx throws(StoreError) in try tx.resume(id, reason: nil, now: now, actor: "test") }
        _ = model.resume(run)
      }
      try await tick()
      try await release(max: 1_000)
      try await confirm(inFlight)
      try await compare(endsNoLease: false)
      let open = model.runs.indices.filter {
        model.runs[$0].attempts.last.map { $0.isOpen && $0.state != .queued } ?? false
      }
      var words = ReportWords(state: .completed)
      // Now and then some more die first, so that jobs come upon them.
      if round < 3, submissions % 3 == 0 { (words.state, words.isRetryable) = (.failed, false) }
      try await report(
        open.indices.map { ReportPick(target: .open, token: UInt32($0), holder: .right, words: words) }, together: true)
      advance(to: model.nextDue ?? 0)
      try await compare(endsNoLease: false)
    }
    try await publishNotices()
    try await compare(endsNoLease: false)
    let resolved = model.runs.indices.filter { !model.isDeadLetter($0) }
    try Auditor.checkRest(image, mirrored: Set(mirrored.subtracting(resolved).map { model.runs[$0].id.hex }))
    let leftovers = try image.rows("SELECT task, letters FROM mirror_leftovers") {
      ($0.text(0) ?? "", Int($0.int(1) ?? 0))
    }
    try expect(Dictionary(leftovers, uniquingKeysWith: +), model.leftovers, "deleted dead letters")
    try expect(model.jobs.filter { $0.state.isOpen }.map(\.id), [], "open jobs at rest")
    try await checkCounts()
    reached.moves.formUnion(model.moves)
    reached.count("released by age", model.releasedByAge)
    reached.count("released by share", model.releasedByShare)
  }

  /// I17: what the store tells is what is in its rows.
  func checkCounts() async throws {
    let now = now
    let (snapshot, counted) = try await read { tx throws(StoreError) in
      (try tx.snapshot(domain: nil, now: now), try tx.count(RunFilter()).byState)
    }
    let expected = Dictionary(grouping: model.runs.filter { !$0.isDeleted }, by: \.state).mapValues(\.count)
    try expect(counted.filter { $0.value > 0 }, expected, "I17: count")
    let lines = snapshot.tasks.reduce(into: [:] as [RunState: Int]) { $0.merge($1.counts, uniquingKeysWith: +) }
    try expect(lines.filter { $0.value > 0 }, expected, "I17: snapshot")
    try expect(
      snapshot.tasks.reduce(0) { $0 + $1.dead },
      model.runs.count { $0.deadLetter.map { $0.resolution == nil } ?? false }, "I17: dead letters")
    try expect(snapshot.outboxPending, 0, "I17: outbox")
  }
}
