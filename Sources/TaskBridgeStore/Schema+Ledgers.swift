import TaskBridgeCore

/// What happened, and what is to be told: audit, reports, messages, dead letters, quarantine.
extension Schema {
  static var ledgers: String {
    """
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
    """
  }
}
