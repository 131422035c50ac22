import TaskBridgeCore

/// The runs with all that is said of one in a submission or a report.
extension Schema {
  /// For task keys whose waiting runs grow more urgent: inside a level whoever waits longest is the most urgent.
  ///
  /// Made by the first release of such a task key, once in a file (a quarter of a second for a million runs), because
  /// keeping it is 2 % of the work for every run.
  static let waitingIndex = """
    CREATE INDEX IF NOT EXISTS runs_waiting ON runs (task, group_name, priority, release_class, \(waitsSince()), seq)
      WHERE state = 'ready'
    """

  static var runs: String {
    """
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
    """
  }
}
