"""Deleting what has ended: one run, by prune, by retention."""

import json
import os
import sqlite3

import pytest

from support.waiting import until

PERMANENT = {"error": {"type": "T", "message": "no", "retryable": False}}
LATER = {"delay_seconds": 3600}


def prune(api, expect=200, **body):
    answer = api.post("/v1/prune", body)
    assert answer.status == expect, answer
    return answer.json


def finish(api, worker, task, count):
    runs = [api.submit_run(task, n)["id"] for n in range(count)]
    for _ in runs:
        worker.work(task)
    return [api.wait_state(run, "completed")["id"] for run in runs]


def gone(api, run):
    return api.get(f"/v1/runs/{run}").status == 404


def test_keep_last_keeps_the_most_recently_finished(api, worker, task):
    """T49: the exact number, a dry run tells the same; active runs stay."""
    runs = finish(api, worker, task, 5)
    active = api.submit_run(task, 1, **LATER)["id"]

    told = prune(api, keep_last=2, task=task, dry_run=True)
    assert not any(gone(api, run) for run in runs)
    done = prune(api, keep_last=2, task=task)

    assert told == done == {"deleted": 3, "remaining": 0, "mirror_pending": 0}
    assert [gone(api, run) for run in runs] == [True] * 3 + [False] * 2
    assert prune(api, older_than_days=1, task=task)["deleted"] == 0
    assert prune(api, older_than_days=0, task=task)["deleted"] == 2
    assert api.run(active)["state"] == "scheduled"


def test_nothing_is_left_of_a_pruned_dead_letter(api, worker, task):
    """T49, T50: it goes only when its state is named; its message leaves the mirror; kept runs still name it."""
    dead = api.submit_run(task, 1, tags={"t": "1"})["id"]
    worker.work(task, "failed", **PERMANENT)
    after = api.submit_run(task + ".after", 1, depends_on=[dead], on_dependency_failure="ignore")["id"]
    until(lambda: worker.message_count(f"taskbridge.dead.{task}") == 1, what="the mirror should have it")
    assert prune(api, keep_last=0, task=task)["deleted"] == 0

    assert prune(api, keep_last=0, task=task, states=["failed", "dead_lettered"])["deleted"] == 1

    assert gone(api, dead)
    for part in ("attempts", "errors", "reports", "audit", "dependents"):
        assert api.get(f"/v1/runs/{dead}/{part}").status == 404
    assert api.get(f"/v1/dead-letters/{dead}").status == 404
    assert api.items("/v1/runs", **{"tag.t": "1", "task": task}) == []
    assert api.run(after)["depends_on"] == [dead]
    assert api.items(f"/v1/runs/{after}/dependencies") == []
    until(lambda: worker.message_count(f"taskbridge.dead.{task}") == 0, what="the mirror should be in line")


def test_a_key_is_free_only_after_prune_or_delete(api, worker, task):
    """P16, P23, T56: in between the key gives the first run, whatever state it is in."""
    for free in (lambda run: prune(api, keep_last=0, task=task),
                 lambda run: api.call("DELETE", f"/v1/runs/{run}")):
        first = api.submit_run(task, 1, idempotency_key="k", dedup_key="d")["id"]
        worker.work(task)
        api.wait_state(first, "completed")
        again = api.submit(task, 1, idempotency_key="k", dedup_key="d")
        assert (again["outcome"], again["run"]["id"]) == ("duplicate", first)

        free(first)

        assert gone(api, first)
    assert api.submit(task, 1, idempotency_key="k", dedup_key="d", **LATER)["outcome"] == "inserted"


@pytest.mark.parametrize("body", [
    {}, {"keep_last": 1, "older_than_days": 1}, {"keep_last": -1}, {"older_than_days": -0.5}, {"keep_last": 1.5},
    {"keep_last": "1"}, {"keep_last": 1, "states": ["running"]}, {"keep_last": 1, "states": []},
    {"keep_last": 1, "states": "failed"}, {"keep_last": 1, "task": "Bad Key"}, {"keep_last": 1, "dry_run": "yes"},
    {"keep_last": 1, "older": 1}], ids=json.dumps)
def test_a_prune_that_makes_no_sense_is_refused(api, body):
    """T49."""
    answer = api.post("/v1/prune", body)

    assert answer.status == 422, answer
    assert answer.json["errors"]


def test_one_run_is_deleted(api, worker, task):
    """P23: ended: 204 and gone with its mirror message; active: 409; again: 404."""
    dead = api.submit_run(task, 1)["id"]
    worker.work(task, "failed", **PERMANENT)
    until(lambda: worker.message_count(f"taskbridge.dead.{task}") == 1, what="the mirror should have it")
    active = api.submit_run(task, 1, **LATER)["id"]

    ended = api.call("DELETE", f"/v1/runs/{dead}")
    refused = api.call("DELETE", f"/v1/runs/{active}")
    again = api.call("DELETE", f"/v1/runs/{dead}")

    assert (ended.status, ended.body) == (204, b"")
    assert (refused.status, refused.code, again.status, again.code) == (409, "active", 404, "run_not_found")
    until(lambda: worker.message_count(f"taskbridge.dead.{task}") == 0, what="the mirror should be in line")


def test_a_dead_letter_that_the_broker_has_not_seen(new_bridge, new_broker, connect, task):
    """T49, P23: while the broker is down it stays, and both answers say so; once it is back it can go."""
    from support.amqp import Worker
    broker = new_broker()
    broker.start()
    bridge = new_bridge(amqp_url=broker.url, check=False)
    api, worker = bridge.api, connect(Worker, broker.url)
    run = api.submit_run(task, 1)["id"]
    held = worker.next(task)
    worker.report(held, "running")
    held.ack()
    worker.close()
    broker.stop()
    until(lambda: bridge.readyz().status == 503, 30)
    assert api.report(held.token, "failed", **PERMANENT)["run_state"] == "failed"
    named = {"keep_last": 0, "states": ["failed"]}

    assert prune(api, **named) == prune(api, dry_run=True, **named) == \
        {"deleted": 0, "remaining": 0, "mirror_pending": 1}
    refused = api.call("DELETE", f"/v1/runs/{run}")
    assert (refused.status, refused.code, refused.headers["Retry-After"]) == (409, "mirror_pending", "1")
    assert f"taskbridge.dead.{task}" in refused.json["detail"] and "once it is back" in refused.json["detail"]

    broker.start()
    until(lambda: prune(api, dry_run=True, **named)["deleted"] == 1, 60)
    assert prune(api, **named) == {"deleted": 1, "remaining": 0, "mirror_pending": 0}
    assert gone(api, run)


def test_the_late_worker_of_a_deleted_run_is_answered(api, worker, task):
    """P23, N26: the message of a run that is gone is of no use to whoever holds it."""
    run = api.submit_run(task, 1)["id"]
    held = worker.next(task)
    api.post(f"/v1/runs/{run}/cancel")
    assert api.call("DELETE", f"/v1/runs/{run}").status == 204

    verdict = worker.report(held, "completed")
    held.ack()

    assert (verdict["verdict"], verdict["code"], verdict["action"]) == ("reject", "unknown_token", "stop")


def test_prune_on_the_command_line(bridge, api, worker, task):
    """T49: the same with `--output json`; a command line that makes no sense is usage."""
    finish(api, worker, task, 3)

    told = bridge.cli("prune", "--keep-last", "1", "--task", task, "--dry-run", "--output", "json")
    done = bridge.cli("prune", "--keep-last", "1", "--task", task, "--output", "json")
    table = bridge.cli("prune", "--older-than-days", "0", "--state", "completed", "--task", task)

    assert [json.loads(end.stdout)["deleted"] for end in (told, done)] == [2, 2]
    assert "1" in table.stdout and "deleted" in table.stdout.lower()
    for wrong in (["--keep-last", "1", "--older-than-days", "1"], [], ["--keep-last", "1", "--state", "running"],
                  ["--keep-last=-1"]):
        assert bridge.cli("prune", *wrong).returncode == 64


def test_retention_goes_on_by_itself(new_bridge, connect, task):
    """T51: the configured number is kept, the rest goes while the bridge is idle; unresolved dead letters stay."""
    from support.amqp import Worker
    bridge = new_bridge({"retention_runs": 3, "retention_days": 1})
    api, worker = bridge.api, connect(Worker, bridge.amqp_url)
    dead = api.submit_run(task + ".dead", 1)["id"]
    worker.work(task + ".dead", "failed", **PERMANENT)
    runs = finish(api, worker, task, 6)

    until(lambda: len(api.items("/v1/runs")) == 4, what="three runs and the dead letter should be left")

    assert [gone(api, run) for run in runs] == [True] * 3 + [False] * 3
    assert api.run(dead)["state"] == "failed"


def test_a_slice_that_fails_is_reported(new_bridge, connect, task):
    """T50: none of its runs is deleted, what was before stays deleted, and the error says so."""
    from support.amqp import Worker
    bridge = new_bridge()
    api = bridge.api
    runs = finish(api, connect(Worker, bridge.amqp_url), task, 3)
    with sqlite3.connect(os.path.join(bridge.data, "taskbridge.db"), timeout=10) as store:
        sequence, = store.execute("SELECT max(seq) FROM runs").fetchone()
        store.execute("CREATE TABLE holds (run_seq INTEGER REFERENCES runs (seq))")
        store.execute("INSERT INTO holds VALUES (?)", (sequence,))
    store.close()

    failed = prune(api, expect=503, keep_last=0)

    assert "0 runs were deleted before that, none of the next 3" in failed["detail"]
    assert not any(gone(api, run) for run in runs)
    with sqlite3.connect(os.path.join(bridge.data, "taskbridge.db"), timeout=10) as store:
        store.execute("DROP TABLE holds")
    store.close()
    assert prune(api, keep_last=0) == {"deleted": 3, "remaining": 0, "mirror_pending": 0}
