import TaskBridgeCore

/// What operators ask for and set, what the broker is known to have, and the counters.
extension Schema {
  static var operation: String {
    """
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

    CREATE TABLE queues (
      name TEXT PRIMARY KEY NOT NULL,
      task TEXT NOT NULL,
      declared_at INTEGER NOT NULL,
      broker TEXT NOT NULL,
      stale INTEGER NOT NULL DEFAULT 0,
      phase TEXT CHECK (phase IN ('purging'))
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX queues_task ON queues (task);

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
