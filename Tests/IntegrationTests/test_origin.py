"""Where a run comes from and what is kept with it: one transaction, who asked, each attempt, and its states."""

import json
import os
import sqlite3

import pytest

from support.amqp import Producer, Worker

LATER = {"delay_seconds": 3600}
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def stored(bridge, sql, *values):
    """What the store of a bridge that is down says."""
    with sqlite3.connect(os.path.join(bridge.data, "taskbridge.db")) as store:
        rows = store.execute(sql, values).fetchall()
    store.close()
    return rows


@pytest.mark.parametrize("way", ["http", "amqp"])
def test_a_run_is_stored_with_all_that_belongs_to_it(new_bridge, connect, task, way):
    """S12, P16: killed at once after the answer: run, payload, tags, keys and first audit row are there, and it is queued."""
    bridge = new_bridge()
    first = bridge.api.submit_run(task, 0, **LATER)
    if way == "http":
        run = bridge.api.submit_run(task, 1, tags={"a": "1"}, idempotency_key="i", dedup_key="d")
    else:
        headers = {"tb-tags": {"a": "1"}, "tb-dedup-key": "d"}
        run = connect(Producer, bridge.amqp_url).submit(task, b"1", headers=headers, message_id="i")["run"]
    bridge.kill()

    sequence, key, dedup, digest = stored(
        bridge, "SELECT seq, idempotency_key, dedup_key, hex(id) FROM runs WHERE tags IS NOT NULL")[0]
    assert (key, dedup, digest.lower()) == ("i", "d", run["id"].replace("-", ""))
    assert stored(bridge, "SELECT body FROM payloads WHERE run_seq = ?", sequence) == [(b"1",)]
    assert stored(bridge, "SELECT key, value FROM tags WHERE run_seq = ?", sequence) == [("a", "1")]
    audit = stored(bridge, "SELECT previous_state, new_state, actor FROM audit WHERE run_seq = ? ORDER BY id", sequence)
    assert audit[0] == (None, "ready", "local" if way == "http" else "amqp")
    bridge.start()
    assert connect(Worker, bridge.amqp_url).work(task)[0].run_id == run["id"]
    if way == "http":
        again = bridge.api.submit(task, 1, idempotency_key="i")
        assert (again["outcome"], again["run"]["id"], again["run"]["state"]) == ("duplicate", run["id"], "completed")
    assert bridge.api.run(first["id"])["state"] == "scheduled"


def test_why_it_was_created_stays_with_it(api, worker, producer, task):
    """S14: name, tags and parent are kept and filterable, the first audit row names who asked, the trace travels."""
    parent = api.submit_run(task + ".parent", 1, **LATER)
    run = api.submit_run(task, 1, name="Käse", tags={"why": task}, parent_id=parent["id"], traceparent=TRACE)
    other = producer.submit(task, b"2", headers={"tb-delay-seconds": 3600})["run"]

    for query in ({"name": "Käse"}, {"tag.why": task}, {"parent_id": parent["id"]}):
        assert [found["id"] for found in api.items("/v1/runs", task=task, **query)] == [run["id"]]
    shown = api.run(run["id"])
    assert (shown["name"], shown["tags"], shown["parent_id"]) == ("Käse", {"why": task}, parent["id"])
    assert [api.audit(one["id"])[0]["actor"] for one in (run, other)] == ["local", "amqp"]
    assert worker.work(task)[0].headers["traceparent"].split("-")[1] == TRACE.split("-")[1]


def test_what_is_written_at_dispatch_and_claim_stays(api, worker, task):
    """S32: number, dispatch, token id, resources and time; worker, node and start; none of it changes later."""
    run = api.submit_run(task, 1, resources={"cpu": 2}, resource_scales={"cpu": 1},
                         retry={"strategy": "constant", "initial_seconds": 0})
    held = worker.next(task)
    api.wait_state(run["id"], "launched")
    dispatched = api.attempts(run["id"])[0]
    worker.report(held, "running", worker="w1", node="n1", claim="c")
    claimed = api.attempts(run["id"])[0]
    worker.report(held, "progress", claim="c", worker="w2", node="n2", progress={"percent": 5})
    worker.report(held, "resource_error", claim="c", error={"type": "oom", "message": "no"})
    held.ack()
    second = worker.next(task)
    worker.report(second, "completed", worker="w3")
    second.ack()

    at_dispatch = ("number", "dispatches", "token_id", "resources", "dispatched_at")
    assert [dispatched[name] for name in at_dispatch[:2]] == [1, 1]
    assert (dispatched["resources"], dispatched["worker"], dispatched["started_at"]) == ({"cpu": 2}, None, None)
    assert dispatched["token_id"] and dispatched["dispatched_at"]
    assert (claimed["worker"], claimed["node"]) == ("w1", "n1") and claimed["started_at"]
    ended, after = api.attempts(run["id"])
    at_claim = ("worker", "node", "claim", "started_at")
    assert [ended[name] for name in at_dispatch] == [dispatched[name] for name in at_dispatch]
    assert [ended[name] for name in at_claim] == [claimed[name] for name in at_claim]
    assert (after["number"], after["resources"], after["worker"]) == (2, {"cpu": 4}, "w3")
    assert after["token_id"] != ended["token_id"]
    assert held.token not in json.dumps([dispatched, claimed, ended])


def test_each_state_of_a_job_has_its_counterpart(api, worker, task):
    """S34: running only after dispatch, completed from launched through running."""
    pending = api.submit_run(task, 1, **LATER)
    blocked = api.submit_run(task, 1, depends_on=[pending["id"]])
    failing = api.submit_run(task + ".f", 1)
    behind = api.submit_run(task + ".f", 1, depends_on=[failing["id"]])
    worker.work(task + ".f", "failed", error={"type": "T", "retryable": False})
    dead = api.submit_run(task + ".d", 1, max_attempts=1)
    worker.work(task + ".d", "failed")
    queued = api.submit_run(task, 1)
    api.wait_state(queued["id"], "launched")
    early = api.post(f"/v1/runs/{pending['id']}/state", {"state": "running"}).json
    done, _ = worker.work(task)
    running = api.submit_run(task, 1)
    held = worker.next(task)
    worker.report(held, "running")
    cancelled = api.submit_run(task, 1, **LATER)
    api.post(f"/v1/runs/{cancelled['id']}/cancel")

    states = [api.run(run["id"])["state"] for run in (pending, blocked, behind, running, failing, dead, cancelled)]
    assert states == ["scheduled", "blocked", "dependency_failed", "running", "failed", "dead_lettered", "cancelled"]
    assert (early["status"], early["state"]) == ("wait", "scheduled")
    assert done.run_id == queued["id"]
    assert [row["new_state"] for row in api.audit(queued["id"])] == \
        ["ready", "queued", "launched", "running", "completed"]
    worker.report(held, "completed")
    held.ack()
