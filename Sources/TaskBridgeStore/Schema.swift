import TaskBridgeCore

/// The tables, as a growing list of migrations: a released one is history, the next one mends it.
///
/// Times are milliseconds since 1970 UTC. The lists of legal states and pairs are made from `TaskBridgeCore`, so that
/// schema and code cannot drift apart.
///
/// The columns of a primary key without rowid stand first and in its order: else `quick_check` of SQLite 3.40 reports
/// NULL values that are not there.
enum Schema {
  /// Migrations in order; the name is stored in the file.
  static var migrations: [(name: String, sql: String)] { [("1", first)] }

  static func list(_ states: some Sequence<RunState>) -> String {
    states.map { "'\($0.rawValue)'" }.joined(separator: ",")
  }

  static let active = RunState.allCases.filter { !$0.isTerminal }

  /// `(state = 'a' OR state = 'b' …)`. Constraints and partial indexes use this form: for a list of more than two SQLite
  /// builds a temporary table with every single INSERT and UPDATE. A query may use a partial index when it has the
  /// index's chain word for word, or one of its terms.
  static func isRun(_ states: RunState..., column: String = "state") -> String { isAny(states, column) }

  static func isAttempt(_ states: AttemptState..., column: String = "state") -> String { isAny(states, column) }

  static func isAny<Word: RawRepresentable<String>>(_ words: [Word], _ column: String = "state") -> String {
    "(\(words.map { "\(column) = '\($0.rawValue)'" }.joined(separator: " OR ")))"
  }

  /// The states every run goes through first: a chain is left at its first match.
  private static let common: [RunState] = [.completed, .running, .launched, .queued, .ready]

  private static func commonFirst(_ states: some Collection<RunState>) -> [RunState] {
    common.filter { states.contains($0) } + states.filter { !common.contains($0) }
  }

  /// Since when a run waits, as `Run.waitsSince` has it.
  static func waitsSince(column prefix: String = "") -> String {
    "coalesce(\(prefix)ages_from, max(\(prefix)created_at, coalesce(\(prefix)run_at, \(prefix)created_at)))"
  }

  /// Every run that ended without success: two looks instead of six.
  static func endedBadly(column prefix: String = "") -> String {
    "(\(prefix)finished_at IS NOT NULL AND \(prefix)state <> 'completed')"
  }

  /// `CASE previous_state WHEN … THEN new_state IN (…)`, with OR chains, which SQLite tests without building a list.
  static var auditPairs: String {
    let birth = Transitions.runBirth.map { "new_state = '\($0.rawValue)'" }.joined(separator: " OR ")
    let moves = commonFirst(RunState.allCases).compactMap { from -> String? in
      guard let targets = Transitions.run[from] else { return nil }
      return
        "WHEN '\(from.rawValue)' THEN \(commonFirst(targets).map { "new_state = '\($0.rawValue)'" }.joined(separator: " OR "))"
    }
    return
      "CASE WHEN previous_state IS NULL THEN (\(birth)) ELSE CASE previous_state \(moves.joined(separator: " ")) ELSE 0 END END"
  }

  private static var first: String {
    """
    CREATE TABLE meta (
      key TEXT PRIMARY KEY NOT NULL,
      value ANY NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE runs (
      seq INTEGER PRIMARY KEY,
      id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
      task TEXT NOT NULL CHECK (length(task) BETWEEN 1 AND 120),
      home_task TEXT NOT NULL,
      state TEXT NOT NULL,
      attempt INTEGER NOT NULL DEFAULT 0 CHECK (attempt >= 0),
      dispatch INTEGER NOT NULL DEFAULT 0 CHECK (dispatch >= 0),
      failures INTEGER NOT NULL DEFAULT 0 CHECK (failures >= 0),
      losses INTEGER NOT NULL DEFAULT 0 CHECK (losses >= 0),
      priority INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 255),
      release_class INTEGER NOT NULL DEFAULT 1 CHECK (release_class IN (0, 1)),
      created_at INTEGER NOT NULL,
      series_at INTEGER NOT NULL,
      run_at INTEGER CHECK (run_at IS NOT NULL OR state <> 'scheduled'),
      queued_at INTEGER,
      launched_at INTEGER,
      started_at INTEGER,
      finished_at INTEGER CHECK (CASE WHEN finished_at IS NULL THEN \(isAny(commonFirst(active)))
        ELSE \(isAny(commonFirst(RunState.allCases.filter(\.isTerminal)))) END),
      expires_at INTEGER,
      dedup_key TEXT CHECK (length(dedup_key) BETWEEN 1 AND 512),
      idempotency_key TEXT CHECK (length(idempotency_key) BETWEEN 1 AND 512),
      group_name TEXT,
      name TEXT,
      workflow_id TEXT,
      template TEXT,
      array_name TEXT,
      array_index INTEGER,
      parent BLOB,
      parent_series INTEGER,
      fail_fast INTEGER NOT NULL DEFAULT 1 CHECK (fail_fast IN (0, 1)),
      on_dependency_failure TEXT NOT NULL DEFAULT 'cancel' CHECK \(isAny(OnDependencyFailure.allCases, "on_dependency_failure")),
      open_dependencies INTEGER NOT NULL DEFAULT 0 CHECK (open_dependencies >= 0),
      open_children INTEGER NOT NULL DEFAULT 0 CHECK (open_children >= 0),
      max_attempts INTEGER CHECK (max_attempts >= 1),
      max_lost INTEGER CHECK (max_lost >= 0),
      lease_seconds INTEGER CHECK (lease_seconds >= 1),
      timeout_seconds REAL,
      ttl_seconds REAL,
      ttl_from TEXT NOT NULL DEFAULT 'submission' CHECK (ttl_from IN ('submission', 'first_attempt')),
      retry TEXT,
      resources TEXT,
      resource_scales TEXT,
      fallback_tasks TEXT,
      traceparent TEXT,
      tracestate TEXT,
      tags TEXT,
      depends_on TEXT,
      replays INTEGER NOT NULL DEFAULT 0,
      superseded_by BLOB,
      follow_up BLOB,
      ages_from INTEGER,
      paused_at INTEGER,
      schedule TEXT,
      nominal_at INTEGER CHECK (nominal_at IS NULL OR schedule IS NOT NULL)
    ) STRICT;

    -- By the task key of the submission: a fallback may have moved the run to another one.
    CREATE UNIQUE INDEX runs_dedup ON runs (home_task, dedup_key)
      WHERE dedup_key IS NOT NULL AND \(isAny(active));
    CREATE UNIQUE INDEX runs_idempotency ON runs (home_task, idempotency_key) WHERE idempotency_key IS NOT NULL;
    CREATE INDEX runs_dedup_history ON runs (dedup_key, seq) WHERE dedup_key IS NOT NULL;
    CREATE UNIQUE INDEX runs_array ON runs (workflow_id, array_name, array_index)
      WHERE array_index IS NOT NULL AND state <> 'superseded';
    CREATE INDEX runs_ready ON runs (task, group_name, priority, release_class, seq) WHERE state = 'ready';
    -- For task keys whose waiting runs grow more urgent: inside a level whoever waits longest is the most urgent.
    CREATE INDEX runs_waiting ON runs (task, group_name, priority, release_class, \(waitsSince()), seq)
      WHERE state = 'ready';
    CREATE INDEX runs_due ON runs (run_at) WHERE state = 'scheduled';
    CREATE INDEX runs_unclaimed ON runs (task, launched_at) WHERE \(Schema.isRun(.queued, .launched));
    CREATE INDEX runs_held ON runs (state, seq) WHERE \(Schema.isRun(.running, .waiting, .cancelling, .blocked, .paused));
    CREATE INDEX runs_ended_badly ON runs (state, seq)
      WHERE \(endedBadly());
    CREATE INDEX runs_expiry ON runs (expires_at)
      WHERE expires_at IS NOT NULL AND \(Schema.isRun(.blocked, .scheduled, .ready, .paused, .queued, .launched));
    CREATE INDEX runs_task ON runs (task, seq);
    CREATE INDEX runs_workflow ON runs (workflow_id, seq) WHERE workflow_id IS NOT NULL;
    CREATE INDEX runs_group ON runs (group_name, seq) WHERE group_name IS NOT NULL;
    CREATE INDEX runs_follow_up ON runs (follow_up) WHERE follow_up IS NOT NULL;
    CREATE INDEX runs_parent ON runs (parent, seq) WHERE parent IS NOT NULL;
    CREATE INDEX runs_schedule ON runs (schedule, finished_at) WHERE schedule IS NOT NULL;

    -- Keys of submissions that stored no run of their own, because another one held their dedup key or was kept. The run
    -- carries the request; `answered` is the run the first answer named when it is another one.
    CREATE TABLE idempotency_keys (
      task TEXT NOT NULL,
      key TEXT NOT NULL CHECK (length(key) BETWEEN 1 AND 512),
      run_seq INTEGER NOT NULL REFERENCES runs (seq),
      answered BLOB,
      payload_digest TEXT NOT NULL,
      PRIMARY KEY (task, key)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX idempotency_keys_run ON idempotency_keys (run_seq);

    -- Completed runs that a workflow took over from the one it superseded.
    CREATE TABLE kept_runs (
      workflow_id TEXT NOT NULL,
      run_seq INTEGER NOT NULL REFERENCES runs (seq),
      PRIMARY KEY (workflow_id, run_seq)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX kept_runs_run ON kept_runs (run_seq);

    CREATE TABLE payloads (
      run_seq INTEGER PRIMARY KEY REFERENCES runs (seq),
      body BLOB NOT NULL,
      content_type TEXT,
      content_encoding TEXT
    ) STRICT;

    -- Payloads that a patch has replaced; `replay` is the number of the replay that did.
    CREATE TABLE payload_history (
      id INTEGER PRIMARY KEY,
      run_seq INTEGER NOT NULL REFERENCES runs (seq),
      replay INTEGER NOT NULL,
      replaced_at INTEGER NOT NULL,
      actor TEXT NOT NULL,
      body BLOB NOT NULL,
      content_type TEXT,
      content_encoding TEXT,
      UNIQUE (run_seq, replay)
    ) STRICT;

    CREATE TABLE outcomes (
      run_seq INTEGER PRIMARY KEY REFERENCES runs (seq),
      result BLOB,
      last_error TEXT,
      progress TEXT,
      usage TEXT
    ) STRICT;

    CREATE TABLE attempts (
      run_seq INTEGER NOT NULL REFERENCES runs (seq),
      number INTEGER NOT NULL CHECK (number >= 1),
      dispatches INTEGER NOT NULL CHECK (dispatches >= 1),
      state TEXT NOT NULL CHECK \(isAny(AttemptState.allCases, "state")),
      worker TEXT,
      node TEXT,
      claim TEXT,
      dispatched_at INTEGER NOT NULL,
      launched_at INTEGER,
      started_at INTEGER,
      finished_at INTEGER,
      report_by INTEGER NOT NULL,
      timeout_at INTEGER,
      reported_end TEXT,
      returns INTEGER NOT NULL DEFAULT 0,
      error TEXT,
      usage TEXT,
      resources TEXT,
      stdout TEXT,
      stderr TEXT,
      PRIMARY KEY (run_seq, number)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX attempts_lease ON attempts (report_by) WHERE \(Schema.isAttempt(.running, .triaging, .stopping));
    CREATE INDEX attempts_timeout ON attempts (timeout_at)
      WHERE timeout_at IS NOT NULL AND \(Schema.isAttempt(.running, .triaging));

    CREATE TABLE dependencies (
      dependent INTEGER NOT NULL REFERENCES runs (seq),
      prerequisite INTEGER NOT NULL REFERENCES runs (seq),
      satisfied INTEGER NOT NULL DEFAULT 0 CHECK (satisfied IN (0, 1)),
      PRIMARY KEY (dependent, prerequisite)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX dependencies_prerequisite ON dependencies (prerequisite, dependent);

    CREATE TABLE tags (
      key TEXT NOT NULL,
      value TEXT NOT NULL,
      run_seq INTEGER NOT NULL REFERENCES runs (seq),
      PRIMARY KEY (key, value, run_seq)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX tags_run ON tags (run_seq);

    CREATE TABLE audit (
      id INTEGER PRIMARY KEY,
      run_seq INTEGER NOT NULL REFERENCES runs (seq),
      previous_state TEXT,
      new_state TEXT NOT NULL,
      attempt INTEGER NOT NULL,
      entered_at INTEGER NOT NULL,
      reason TEXT,
      actor TEXT NOT NULL,
      CHECK (\(auditPairs))
    ) STRICT;
    CREATE INDEX audit_run ON audit (run_seq, id);

    CREATE TABLE reports (
      id INTEGER PRIMARY KEY,
      run_seq INTEGER NOT NULL REFERENCES runs (seq),
      received_at INTEGER NOT NULL,
      attempt INTEGER NOT NULL,
      dispatch INTEGER NOT NULL,
      state TEXT NOT NULL CHECK \(isAny(ReportedState.allCases, "state")),
      code TEXT NOT NULL CHECK \(isAny(VerdictCode.allCases, "code")),
      worker TEXT,
      via TEXT NOT NULL CHECK (via IN ('amqp', 'http')),
      detail TEXT
    ) STRICT;
    CREATE INDEX reports_run ON reports (run_seq, id);

    -- The first answer to each transition id.
    CREATE TABLE transitions (
      run_seq INTEGER NOT NULL REFERENCES runs (seq),
      transition_id TEXT NOT NULL,
      asked TEXT NOT NULL,
      answer TEXT NOT NULL,
      PRIMARY KEY (run_seq, transition_id)
    ) STRICT, WITHOUT ROWID;

    -- Messages beside those of the runs: a run in `queued` is its own entry.
    CREATE TABLE outbox (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      kind TEXT NOT NULL CHECK (kind = 'dead' OR kind = 'control'),
      run_seq INTEGER NOT NULL REFERENCES runs (seq),
      attempt INTEGER NOT NULL,
      dispatch INTEGER NOT NULL,
      created_at INTEGER NOT NULL,
      reason TEXT
    ) STRICT;
    CREATE INDEX outbox_run ON outbox (run_seq);

    CREATE TABLE dead_letters (
      run_seq INTEGER PRIMARY KEY REFERENCES runs (seq),
      reason TEXT NOT NULL CHECK \(isAny(DeadLetterReason.allCases, "reason")),
      task TEXT NOT NULL,
      fingerprint TEXT NOT NULL,
      error_type TEXT,
      error_message TEXT,
      attempt INTEGER NOT NULL,
      dead_at INTEGER NOT NULL,
      resolution TEXT CHECK (resolution IN ('replayed', 'discarded')),
      resolved_at INTEGER,
      resolved_by TEXT,
      resolved_reason TEXT
    ) STRICT;
    CREATE INDEX dead_letters_open ON dead_letters (task, fingerprint, run_seq) WHERE resolution IS NULL;

    -- Task keys of deleted dead letters whose messages may still lie in the mirror.
    CREATE TABLE mirror_leftovers (
      task TEXT PRIMARY KEY NOT NULL,
      letters INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    -- Calls on many runs that go on in the background. `phase` and `cursor` say where they are.
    CREATE TABLE jobs (
      seq INTEGER PRIMARY KEY,
      id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
      kind TEXT NOT NULL CHECK \(isAny(BulkVerb.allCases, "kind")),
      state TEXT NOT NULL CHECK \(isAny(JobState.allCases)),
      request TEXT NOT NULL,
      as_of INTEGER NOT NULL,
      actor TEXT NOT NULL,
      created_at INTEGER NOT NULL,
      started_at INTEGER,
      finished_at INTEGER CHECK ((finished_at IS NULL) = \(isAny(JobState.allCases.filter(\.isOpen)))),
      matched INTEGER NOT NULL,
      changed INTEGER NOT NULL DEFAULT 0,
      skipped INTEGER NOT NULL DEFAULT 0,
      phase INTEGER NOT NULL,
      cursor INTEGER,
      canary_until INTEGER,
      error TEXT
    ) STRICT;
    CREATE INDEX jobs_open ON jobs (seq) WHERE finished_at IS NULL;

    -- The runs of a job's canary, without a reason, and the first it left alone. Runs may be deleted meanwhile.
    CREATE TABLE job_runs (
      job INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
      run BLOB NOT NULL,
      reason TEXT,
      PRIMARY KEY (job, run)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE job_skips (
      job INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
      reason TEXT NOT NULL,
      runs INTEGER NOT NULL,
      PRIMARY KEY (job, reason)
    ) STRICT, WITHOUT ROWID;

    -- The numbers of messages that are gone are not given again: a second release must not meet another message.
    CREATE TABLE quarantine (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      received_at INTEGER NOT NULL,
      source TEXT NOT NULL CHECK (source IN ('submit', 'events', 'returned')),
      kind TEXT NOT NULL CHECK (kind IN ('invalid', 'rejected')),
      code TEXT NOT NULL,
      detail TEXT NOT NULL,
      routing_key TEXT,
      properties TEXT,
      headers TEXT,
      correlation_id TEXT,
      body BLOB NOT NULL,
      body_bytes INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX quarantine_rejected ON quarantine (received_at) WHERE kind = 'rejected';

    CREATE TABLE queues (
      name TEXT PRIMARY KEY NOT NULL,
      task TEXT NOT NULL,
      declared_at INTEGER NOT NULL,
      broker TEXT NOT NULL,
      stale INTEGER NOT NULL DEFAULT 0,
      phase TEXT CHECK (phase IN ('purging'))
    ) STRICT, WITHOUT ROWID;

    -- The key is empty for an instant at which no task key had active runs.
    CREATE TABLE load_samples (
      measured INTEGER NOT NULL,
      task TEXT NOT NULL,
      pending INTEGER NOT NULL,
      queued INTEGER NOT NULL,
      running INTEGER NOT NULL,
      PRIMARY KEY (measured, task)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE counts (
      task TEXT NOT NULL,
      state TEXT NOT NULL,
      runs INTEGER NOT NULL,
      PRIMARY KEY (task, state)
    ) STRICT, WITHOUT ROWID;

    -- Only ready runs and those that hold a slot of a limit; rows that would be 0 are deleted.
    CREATE TABLE group_counts (
      group_name TEXT NOT NULL,
      task TEXT NOT NULL,
      state TEXT NOT NULL,
      runs INTEGER NOT NULL,
      PRIMARY KEY (group_name, task, state)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE pauses (
      kind TEXT NOT NULL CHECK (kind = 'bridge' OR kind = 'domain' OR kind = 'task' OR kind = 'group'),
      name TEXT NOT NULL,
      since INTEGER NOT NULL,
      until INTEGER,
      reason TEXT,
      actor TEXT NOT NULL,
      PRIMARY KEY (kind, name)
    ) STRICT, WITHOUT ROWID;

    -- Pauses that have ended: they count in no run's age.
    CREATE TABLE past_pauses (
      kind TEXT NOT NULL CHECK (kind = 'bridge' OR kind = 'domain' OR kind = 'task' OR kind = 'group'),
      name TEXT NOT NULL,
      since INTEGER NOT NULL,
      ended INTEGER NOT NULL CHECK (ended > since),
      PRIMARY KEY (kind, name, since)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE settings (
      kind TEXT NOT NULL CHECK (kind = 'task' OR kind = 'group'),
      name TEXT NOT NULL,
      body TEXT NOT NULL,
      PRIMARY KEY (kind, name)
    ) STRICT, WITHOUT ROWID;

    -- `due_at` is when it is to be looked at next: its next nominal time; NULL while it is paused, when it has ended, and
    -- while a fixed delay waits for the end of a run.
    CREATE TABLE schedules (
      name TEXT NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 120),
      task TEXT NOT NULL,
      body TEXT NOT NULL,
      created_at INTEGER NOT NULL,
      updated_at INTEGER NOT NULL,
      decided_through INTEGER NOT NULL,
      missed_through INTEGER NOT NULL,
      runs_made INTEGER NOT NULL DEFAULT 0,
      times INTEGER NOT NULL DEFAULT 0,
      ended INTEGER NOT NULL DEFAULT 0 CHECK (ended IN (0, 1)),
      due_at INTEGER CHECK (due_at IS NULL OR ended = 0 AND paused_since IS NULL),
      paused_since INTEGER,
      paused_by TEXT,
      pause_reason TEXT,
      last_at INTEGER,
      last_run BLOB,
      last_end INTEGER,
      payload BLOB NOT NULL,
      content_type TEXT,
      content_encoding TEXT
    ) STRICT;
    CREATE INDEX schedules_due ON schedules (due_at, name) WHERE due_at IS NOT NULL;

    -- What became of each nominal time: one run at most. Neighbours that did not run, for one reason, share a row.
    CREATE TABLE schedule_times (
      schedule TEXT NOT NULL,
      nominal_at INTEGER NOT NULL,
      last_nominal_at INTEGER NOT NULL CHECK (last_nominal_at >= nominal_at),
      count INTEGER NOT NULL CHECK (count >= 1),
      decided_at INTEGER NOT NULL,
      run BLOB,
      reason TEXT CHECK ((reason IS NULL) = (run IS NOT NULL)
        AND (reason IS NULL OR \(isAny(ScheduleView.Time.Reason.allCases, "reason")))),
      note TEXT,
      PRIMARY KEY (schedule, nominal_at)
    ) STRICT, WITHOUT ROWID;

    -- What is left of the rate limits.
    CREATE TABLE buckets (
      kind TEXT NOT NULL CHECK (kind = 'task' OR kind = 'group'),
      name TEXT NOT NULL,
      tokens REAL NOT NULL,
      at INTEGER NOT NULL,
      PRIMARY KEY (kind, name)
    ) STRICT, WITHOUT ROWID;
    """
  }
}
