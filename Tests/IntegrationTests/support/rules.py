"""The table of run states of the state machine, and what must hold for the audit of every run."""

RUN_TRANSITIONS = {
    None: {"blocked", "scheduled", "ready", "paused"},
    "blocked": {"scheduled", "ready", "paused", "cancelled", "expired", "superseded", "dependency_failed"},
    "scheduled": {"ready", "paused", "cancelled", "expired", "superseded"},
    "ready": {"queued", "scheduled", "paused", "cancelled", "expired", "superseded"},
    "paused": {"ready", "scheduled", "blocked", "cancelled", "expired", "superseded", "dependency_failed"},
    "queued": {"launched", "running", "ready", "error", "cancelling", "cancelled", "superseded", "expired"},
    "launched": {"running", "ready", "error", "cancelling", "cancelled", "superseded", "expired"},
    "running": {"completed", "waiting", "error", "scheduled", "cancelling"},
    "waiting": {"completed", "error", "failed", "cancelling"},
    "cancelling": {"cancelled", "completed", "superseded", "error"},
    "error": {"scheduled", "ready", "adjusting", "failed", "dead_lettered", "cancelled"},
    "adjusting": {"scheduled", "ready", "dead_lettered"},
    "failed": {"ready", "scheduled", "blocked"},
    "dead_lettered": {"ready", "scheduled", "blocked"},
    "cancelled": {"ready", "scheduled", "blocked"},
    "expired": {"ready", "scheduled", "blocked"},
    "dependency_failed": {"ready", "scheduled", "blocked"},
    "completed": {"ready", "scheduled"},
    "superseded": set(),
}


def check_audit(run, rows):
    """`rows` oldest first: they tile time, only follow the table, and end in the run's state."""
    told = f"run {run['id']}: {[(row['previous_state'], row['new_state']) for row in rows]}"
    assert rows, told
    assert rows[0]["previous_state"] is None, told
    for row in rows:
        assert row["run_id"] == run["id"], told
        assert row["new_state"] in RUN_TRANSITIONS[row["previous_state"]], \
            f"{row['previous_state']} -> {row['new_state']} is not in the table; {told}"
    for before, after in zip(rows, rows[1:]):
        assert before["exited_at"] == after["entered_at"], f"a gap or an overlap after {before}; {told}"
        assert before["new_state"] == after["previous_state"], told
    assert rows[-1]["exited_at"] is None, told
    assert rows[-1]["new_state"] == run["state"], told


def check_store(api, limit=None):
    """Checks the audit of every run the bridge has (or of `limit` of them, evenly spread); returns how many."""
    runs = api.items("/v1/runs", limit=1000)
    nominal = [(run["schedule"], run["nominal_at"]) for run in runs if run["nominal_at"]]
    assert len(set(nominal)) == len(nominal), "a schedule ran twice at one nominal time"
    if limit and len(runs) > limit:
        step = len(runs) / limit
        runs = [runs[int(index * step)] for index in range(limit)]
    for run in runs:
        rows = api.audit(run["id"])
        # The run may have moved between the two reads: read it again then.
        if rows[-1]["new_state"] != run["state"]:
            run, rows = api.run(run["id"]), api.audit(run["id"])
        check_audit(run, rows)
    return len(runs)
