import TaskBridgeCore

/// The schedules and their times.
extension Schema {
  static var schedules: String {
    """
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
    """
  }
}
