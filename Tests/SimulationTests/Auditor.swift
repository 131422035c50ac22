import TaskBridgeCore

/// Reads the store's file after each operation and checks the invariants, knowing nothing of the model but what was
/// handed in.
///
/// Of three the store is only one half, and that half is checked: I10 (each unresolved dead letter has its mirror message
/// published or in the outbox; the queue itself is the broker's), I11 (what the publisher was given belongs to stored
/// rows; what the broker got is its), I15 (no lease ends while the sweeps are told that the broker is away; whether they
/// are told is the engine's).
struct Auditor {
  struct Violation: Error { let text: String }

  private var lastAudit: Int64 = 0
  private var lastReport: Int64 = 0
  /// Each run's last state and when it entered it, by the audit.
  private var open: [Int64: (state: RunState, since: Int64)] = [:]
  /// How often each run left a terminal state.
  private var revivals: [Int64: Int64] = [:]
  /// Then no order of times is asked for.
  var clockWentBack = false
  /// States of newest attempts after the operation before.
  private var attempts: [AttemptKey: AttemptState] = [:]
  /// Which run has each number: those of deleted runs are given again.
  private var ids: [Int64: Int] = [:]

  private struct AttemptKey: Hashable {
    var run: Int64
    var number: Int64
  }

  /// - Parameters:
  ///   - reports: how many were delivered that belong to a stored run.
  ///   - mirrored: how many dead-letter messages were published, by run.
  mutating func check(_ image: StoreImage, reports: Int, endsNoLease: Bool) throws {
    try forgetDeleted(image)
    try checkAudit(image)
    try checkReports(image, delivered: reports)
    try checkAttempts(image, endsNoLease: endsNoLease)
    for (name, sql) in Self.violations {
      let found = try image.texts(sql)
      if !found.isEmpty { throw Violation(text: "\(name): \(found.prefix(5))") }
    }
  }

  private mutating func forgetDeleted(_ image: StoreImage) throws {
    for (run, id) in try image.rows("SELECT seq, id FROM runs", map: { ($0.int(0) ?? 0, $0.digest()) })
    where ids.updateValue(id, forKey: run) != id {
      open[run] = nil
      revivals[run] = nil
      attempts = attempts.filter { $0.key.run != run }
    }
    lastAudit = min(lastAudit, try image.rows("SELECT max(id) FROM audit") { $0.int(0) ?? 0 }.first ?? 0)
  }

  /// I3 (pairs), I13, I16 (rows follow one another without gap, the last one is the run's state), I5, I2.
  private mutating func checkAudit(_ image: StoreImage) throws {
    struct Row {
      var id, run: Int64
      var from, to: RunState?
      var at: Int64
    }
    let rows = try image.rows(
      "SELECT id, run_seq, previous_state, new_state, entered_at FROM audit WHERE id > ? ORDER BY id", [lastAudit]
    ) {
      Row(
        id: $0.int(0) ?? 0, run: $0.int(1) ?? 0, from: $0.word(2, RunState.self), to: $0.word(3, RunState.self),
        at: $0.int(4) ?? 0)
    }
    for row in rows {
      guard let to = row.to, Rules.mayMove(row.from, to: to) else {
        throw Violation(text: "I3: run \(row.run) \(row.from?.rawValue ?? "new") → \(row.to?.rawValue ?? "?")")
      }
      let before = open[row.run]
      guard before?.state == row.from else {
        throw Violation(
          text:
            "I16: run \(row.run) was \(before?.state.rawValue ?? "new"), its audit goes on from \(row.from?.rawValue ?? "new")"
        )
      }
      if let before, before.since > row.at, !clockWentBack {
        throw Violation(text: "I16: run \(row.run) enters before it left")
      }
      if let from = row.from, Rules.terminal.contains(from) { revivals[row.run, default: 0] += 1 }
      if row.from == .blocked, to == .ready || to == .scheduled {
        let missing = try image.texts(
          "SELECT prerequisite FROM dependencies WHERE dependent = ? AND satisfied = 0", [row.run])
        if !missing.isEmpty { throw Violation(text: "I5: run \(row.run) released before \(missing)") }
      }
      open[row.run] = (to, row.at)
      lastAudit = row.id
    }
    for (run, state, replays) in try image.rows(
      "SELECT seq, state, replays FROM runs",
      map: { ($0.int(0) ?? 0, $0.word(1, RunState.self), $0.int(2) ?? 0) })
    {
      if open[run]?.state != state {
        throw Violation(
          text: "I16: run \(run) is \(state?.rawValue ?? "?"), its open row says \(open[run]?.state.rawValue ?? "none")"
        )
      }
      if revivals[run, default: 0] != replays { throw Violation(text: "I2: run \(run) left an end without a replay") }
    }
  }

  /// I6 (an applied report's token is the newest), I9.
  private mutating func checkReports(_ image: StoreImage, delivered: Int) throws {
    let stale = try image.texts(
      """
      SELECT p.id FROM reports p JOIN runs r ON r.seq = p.run_seq WHERE p.id > ? AND p.code = 'applied'
        AND (p.attempt <> r.attempt OR p.dispatch <> r.dispatch)
      """, [lastReport])
    if !stale.isEmpty { throw Violation(text: "I6: reports \(stale) of older dispatches were applied") }
    let stored = try image.rows("SELECT count(*), coalesce(max(id), 0) FROM reports") {
      ($0.int(0) ?? 0, $0.int(1) ?? 0)
    }
    lastReport = stored.first?.1 ?? 0
    if stored.first?.0 != Int64(delivered) {
      throw Violation(text: "I9: \(stored.first?.0 ?? 0) reports stored of \(delivered)")
    }
  }

  /// I3 for attempts: from one look to the next each must have gone a way that the table has; I15.
  private mutating func checkAttempts(_ image: StoreImage, endsNoLease: Bool) throws {
    let rows = try image.rows("SELECT run_seq, number, state FROM attempts") {
      (AttemptKey(run: $0.int(0) ?? 0, number: $0.int(1) ?? 0), $0.word(2, AttemptState.self))
    }
    for (key, state) in rows {
      guard let state else { throw Violation(text: "I3: attempt \(key) has no known state") }
      let before = attempts[key] ?? .queued
      if before == state { continue }
      if !Self.reachable(from: before).contains(state) {
        throw Violation(text: "I3: attempt \(key.number) of run \(key.run) went \(before.rawValue) → \(state.rawValue)")
      }
      if endsNoLease, state == .triaging || state == .lost && before == .triaging {
        throw Violation(text: "I15: a lease of run \(key.run) ended while the broker was away")
      }
      attempts[key] = state
    }
  }

  private static let ways: [AttemptState: Set<AttemptState>] = Dictionary(
    uniqueKeysWithValues: AttemptState.allCases.map { start in
      var found: Set<AttemptState> = []
      var open = [start]
      while let state = open.popLast() {
        for next in Rules.attempts[state, default: []] where found.insert(next).inserted { open.append(next) }
      }
      return (start, found)
    })

  private static func reachable(from state: AttemptState) -> Set<AttemptState> { ways[state] ?? [] }

  private static let active = "finished_at IS NULL"
  private static let endedAttempt =
    "a.state IN ('done','error','fatal','lost','resource_error','unpublished','snoozed')"

  /// Each finds nothing.
  private static let violations: [(String, String)] = [
    (
      "I2: one accepted end an attempt",
      """
      SELECT run_seq || '.' || attempt FROM reports WHERE code = 'applied'
        AND state IN ('completed','failed','resource_error','snoozed','cancelled')
        GROUP BY run_seq, attempt HAVING count(*) > 1
      """
    ),
    (
      "I4: one active run a dedup key",
      "SELECT dedup_key FROM runs WHERE dedup_key IS NOT NULL AND \(active) GROUP BY home_task, dedup_key HAVING count(*) > 1"
    ),
    (
      "I5: nothing satisfied is counted as open",
      """
      SELECT seq FROM runs r WHERE open_dependencies
        <> (SELECT count(*) FROM dependencies d WHERE d.dependent = r.seq AND d.satisfied = 0) AND \(active)
      """
    ),
    (
      "I5: nobody stays blocked by nothing",
      """
      SELECT seq FROM runs r WHERE state = 'blocked' AND open_dependencies = 0
        AND NOT EXISTS (SELECT 1 FROM runs f WHERE f.follow_up = r.id AND f.finished_at IS NULL)
      """
    ),
    (
      "I7: budgets",
      """
      SELECT seq FROM runs WHERE failures > coalesce(max_attempts, 4) OR losses > max(1, coalesce(max_lost, 3))
        OR (\(active) AND (failures >= coalesce(max_attempts, 4) OR losses >= max(1, coalesce(max_lost, 3))))
      """
    ),
    (
      "I12: a deadline for each attempt",
      "SELECT run_seq FROM attempts WHERE report_by IS NULL"
    ),
    (
      "I12: nothing but the newest attempt is open",
      "SELECT a.run_seq FROM attempts a JOIN runs r ON r.seq = a.run_seq WHERE a.number < r.attempt AND NOT \(endedAttempt)"
    ),
    (
      "I14: one run a nominal time",
      """
      SELECT schedule FROM runs WHERE nominal_at IS NOT NULL GROUP BY schedule, nominal_at HAVING count(*) > 1
      UNION ALL SELECT schedule FROM schedule_times WHERE run IS NOT NULL GROUP BY run HAVING count(*) > 1
      """
    ),
    (
      "a job starts no run twice",
      """
      SELECT run_seq FROM audit WHERE actor LIKE 'job %'
        AND previous_state IN ('completed','failed','dead_lettered','cancelled','expired','dependency_failed')
        GROUP BY run_seq, actor HAVING count(*) > 1
      """
    ),
    (
      "I17: counts",
      """
      SELECT task || ' ' || state FROM (
        SELECT task, state, count(*) AS runs FROM runs GROUP BY task, state
        EXCEPT SELECT task, state, runs FROM counts)
      UNION ALL SELECT task || ' ' || state FROM (
        SELECT task, state, runs FROM counts WHERE runs <> 0
        EXCEPT SELECT task, state, count(*) FROM runs GROUP BY task, state)
      """
    ),
    (
      "I17: group counts",
      """
      SELECT g || ' ' || task || ' ' || state FROM (
        SELECT group_name AS g, task, state, count(*) AS runs FROM runs WHERE group_name IS NOT NULL
          AND state IN ('ready','queued','launched','running','cancelling') GROUP BY group_name, task, state
        EXCEPT SELECT group_name, task, state, runs FROM group_counts)
      UNION ALL SELECT g || ' ' || task || ' ' || state FROM (
        SELECT group_name AS g, task, state, runs FROM group_counts WHERE state <> 'waiting'
        EXCEPT SELECT group_name, task, state, count(*) FROM runs WHERE group_name IS NOT NULL
          AND state IN ('ready','queued','launched','running','cancelling') GROUP BY group_name, task, state)
      """
    ),
    (
      "I17: open children",
      """
      SELECT seq FROM runs r WHERE open_children
        <> (SELECT count(*) FROM runs c WHERE c.parent = r.id AND c.finished_at IS NULL)
      """
    ),
    (
      "nothing is left of deleted runs",
      """
      SELECT 'edge ' || dependent FROM dependencies WHERE dependent NOT IN (SELECT seq FROM runs)
        OR prerequisite NOT IN (SELECT seq FROM runs)
      UNION ALL SELECT 'attempt ' || run_seq FROM attempts WHERE run_seq NOT IN (SELECT seq FROM runs)
      UNION ALL SELECT 'dead letter ' || run_seq FROM dead_letters WHERE run_seq NOT IN (SELECT seq FROM runs)
      UNION ALL SELECT 'key ' || key FROM idempotency_keys WHERE run_seq NOT IN (SELECT seq FROM runs)
      UNION ALL SELECT 'payload ' || run_seq FROM payloads WHERE run_seq NOT IN (SELECT seq FROM runs)
      """
    ),
    (
      "I18: no run waits for an attempt that is over",
      """
      SELECT r.seq FROM runs r LEFT JOIN attempts a ON a.run_seq = r.seq AND a.number = r.attempt
        WHERE r.state IN ('queued','launched','running') AND (a.state IS NULL OR \(endedAttempt))
          OR r.state IN ('cancelling','waiting') AND r.open_children = 0 AND \(endedAttempt)
          OR r.finished_at IS NOT NULL AND a.state IN ('queued','instantiated','launched')
          OR r.state = 'queued' AND a.state NOT IN ('queued','instantiated')
          OR r.state = 'launched' AND a.state <> 'launched'
          OR r.state = 'running' AND a.state NOT IN ('running','triaging')
          OR r.state IN ('ready','scheduled','blocked','paused') AND a.state <> 'queued' AND NOT \(endedAttempt)
      """
    ),
    (
      "I3: nothing rests in a state that is passed through", "SELECT seq FROM runs WHERE state IN ('error','adjusting')"
    ),
    (
      "I10: a dead letter for each run that is one",
      """
      SELECT seq FROM runs r WHERE state IN ('failed','dead_lettered')
        AND NOT EXISTS (SELECT 1 FROM dead_letters d WHERE d.run_seq = r.seq)
        OR state NOT IN ('failed','dead_lettered')
        AND EXISTS (SELECT 1 FROM dead_letters d WHERE d.run_seq = r.seq AND d.resolution IS NULL)
      """
    ),
  ]

  /// I1, I8 and I10's half once faults have stopped and all was driven to rest.
  ///
  /// - Parameter mirrored: ids of the runs whose dead letter was published and not resolved since.
  static func checkRest(_ image: StoreImage, mirrored: Set<String>) throws {
    let open = try image.texts("SELECT seq || ' ' || state FROM runs WHERE finished_at IS NULL")
    if !open.isEmpty { throw Violation(text: "I1: still open at rest: \(open)") }
    let waiting = try image.texts("SELECT kind || ' ' || run_seq FROM outbox")
    if !waiting.isEmpty { throw Violation(text: "I8: the outbox has \(waiting) at rest") }
    let letters = Set(
      try image.texts(
        "SELECT lower(hex(r.id)) FROM dead_letters d JOIN runs r ON r.seq = d.run_seq WHERE d.resolution IS NULL"))
    if letters != mirrored {
      throw Violation(text: "I10: \(letters.sorted()) are dead letters, \(mirrored.sorted()) were mirrored")
    }
  }
}
