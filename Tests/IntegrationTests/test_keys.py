"""Dedup and idempotency keys in every state, and cancel and supersede that outlive a kill."""

import threading

import pytest

from support.amqp import Worker
from support.api import API

LATER = {"delay_seconds": 3600}
HOUR = {"retry": {"strategy": "constant", "initial_seconds": 3600, "max_seconds": 3600}}
BROKEN = {"type": "T", "message": "broken"}


def key(api, task, **fields):
    return api.submit(task, 1, dedup_key="k", **fields)


def outcome(api, task, **fields):
    return key(api, task, **{**LATER, **fields})["outcome"]


def ended(api, worker, task, ending):
    """A run with the key that has ended so."""
    if ending == "dependency_failed":
        one = api.submit_run(task + ".one", 1, **LATER)
        run = key(api, task, depends_on=[one["id"]])["run"]
        api.post(f"/v1/runs/{one['id']}/cancel")
    elif ending == "expired":
        run = key(api, task, ttl_seconds=0.2, **LATER)["run"]
    elif ending == "cancelled while it waits":
        run = key(api, task, **LATER)["run"]
    else:
        run = key(api, task, max_attempts=2 if ending == "failed" else 1, max_lost=1, lease_seconds=1)["run"]
        held = worker.next(task, run_id=run["id"])
        worker.report(held, "running")
        held.ack()
        if ending in ("completed", "cancelled by its worker"):
            worker.report(held, ending.split()[0])
        elif ending in ("failed", "dead_lettered"):
            worker.report(held, "failed", error={**BROKEN, "retryable": ending != "failed"})
    if ending == "cancelled while it waits":
        api.post(f"/v1/runs/{run['id']}/cancel")
    return api.wait_state(run["id"], {"lost": "dead_lettered"}.get(ending, ending.split()[0]), seconds=30)


@pytest.mark.parametrize("ending", ["completed", "failed", "dead_lettered", "lost", "cancelled while it waits",
                                    "cancelled by its worker", "expired", "dependency_failed"])
def test_every_end_frees_the_key(api, worker, task, ending):
    """T56: in the transaction of the end, whatever led to it; a superseded run hands its key on."""
    run = ended(api, worker, task, ending)

    new = key(api, task, **LATER)

    assert (new["outcome"], new["run"]["id"] != run["id"]) == ("inserted", True)
    heir = key(api, task, on_duplicate="supersede", **LATER)
    assert (heir["outcome"], heir["replaced_id"]) == ("superseded", new["run"]["id"])
    assert outcome(api, task) == "duplicate"


@pytest.mark.parametrize("holding", ["delayed", "blocked", "paused", "retrying", "snoozed", "launched"])
def test_every_wait_holds_the_key(api, worker, task, holding):
    """T56, T52: one active run for a key; the key spaces of two task keys are apart."""
    if holding == "blocked":
        run = key(api, task, depends_on=[api.submit_run(task + ".one", 1, **LATER)["id"]])["run"]
    else:
        run = key(api, task, **(LATER if holding in ("delayed", "paused") else {}), **HOUR)["run"]
    if holding == "paused":
        assert api.post(f"/v1/runs/{run['id']}/pause").status == 200
    elif holding == "retrying":
        worker.work(task, "failed", error=BROKEN)
    elif holding == "snoozed":
        worker.work(task, "snoozed")
    elif holding == "launched":
        api.wait_state(run["id"], "launched")

    again = key(api, task, priority=200)

    assert (again["outcome"], again["run"]["id"]) == ("duplicate", run["id"])
    assert api.submit(task + ".other", 1, dedup_key="k", **LATER)["outcome"] == "inserted"
    if holding == "launched":
        worker.work(task)


def test_supersede_ends_the_children_too(api, worker, task):
    """T54: children are cancelled, the worker is told by control message, its reports are answered abort."""
    queue = worker.bound_queue("taskbridge.control", f"cancel.{task}")
    old = key(api, task)["run"]
    held = worker.next(task)
    worker.report(held, "running")
    child = api.submit_run(task + ".child", 1, parent_id=old["id"], **LATER)

    new = key(api, task, on_duplicate="supersede", **LATER)

    assert (new["outcome"], new["replaced_id"]) == ("superseded", old["id"])
    assert api.run(child["id"])["state"] == "cancelled"
    assert old["id"] in worker.take(queue).body.decode()
    for state in ("heartbeat", "failed", "completed"):
        verdict = worker.report(held, state)
        assert (verdict["verdict"], verdict["action"]) == ("abort", "stop")
    held.ack()
    assert api.run(old["id"])["superseded_by"] == new["run"]["id"]


def test_a_result_without_work(api, worker, task):
    """P39: the same idempotency key returns the result with no dispatch; a forced retry computes it anew."""
    first = api.submit_run(task, 1, idempotency_key="k")
    worker.work(task, result={"n": 1})

    again = api.submit(task, 1, idempotency_key="k")
    assert (again["outcome"], again["run"]["result"], again["run"]["attempt"]) == ("duplicate", {"n": 1}, 1)
    assert worker.message_count(f"taskbridge.run.{task}") == 0
    assert api.post(f"/v1/runs/{first['id']}/retry").code == "completed_needs_force"
    assert api.post(f"/v1/runs/{first['id']}/retry", {"force": True}).status == 200
    worker.work(task, result={"n": 2})

    assert api.submit(task, 1, idempotency_key="k")["run"]["result"] == {"n": 2}
    assert api.submit(task, 1, idempotency_key="k" * 512, **LATER)["outcome"] == "inserted"
    assert api.post("/v1/runs", {"task": task, "payload": 1, "idempotency_key": "k" * 513}).status == 422


def test_the_idempotency_key_of_a_duplicate(bridge, api, worker, task):
    """P16, P17, T53: settled by the dedup key, sent again it gives the same run for good; 50 at once are one."""
    first = key(api, task)["run"]
    held = worker.next(task)
    worker.report(held, "running")
    answers, barrier = [], threading.Barrier(50)

    def submit():
        client = API(bridge.port)
        barrier.wait()
        answers.append(client.submit(task, 2, dedup_key="k", idempotency_key="i"))

    threads = [threading.Thread(target=submit) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    worker.report(held, "completed")
    held.ack()
    follow_up = worker.work(task)[0].run_id
    late = api.submit(task, 2, dedup_key="k", idempotency_key="i")
    other = api.post("/v1/runs", {"task": task, "payload": 3, "idempotency_key": "i"})

    assert sorted(answer["outcome"] for answer in answers) == ["duplicate"] * 49 + ["requeued"]
    assert {(answer["run"]["id"], answer["follow_up_id"]) for answer in [*answers, late]} == {(first["id"], follow_up)}
    assert (other.status, other.code) == (422, "idempotency_mismatch")
    assert len(api.items("/v1/runs", task=task)) == 2


@pytest.mark.parametrize("how", ["cancel", "supersede"])
@pytest.mark.parametrize("where", ["launched", "prefetched", "running"])
def test_a_stop_outlives_a_kill(new_bridge, connect, task, how, where):
    """N26: the bridge is killed at once; the claim is answered abort, a later end refused, and nothing completes."""
    bridge = new_bridge()
    api, worker = bridge.api, connect(Worker, bridge.amqp_url)
    run = key(api, task)["run"]
    held = None if where == "launched" else worker.next(task)
    if where == "running":
        worker.report(held, "running")
    else:
        api.wait_state(run["id"], "launched")

    if how == "cancel":
        assert api.post(f"/v1/runs/{run['id']}/cancel").status == 200
    else:
        assert outcome(api, task, on_duplicate="supersede") == "superseded"
    bridge.restart()

    held = held or worker.next(task)
    if how == "cancel" and where == "running":
        beat = worker.report(held, "heartbeat")
        assert (beat["action"], beat["run_state"]) == ("stop", "cancelling")
        assert worker.report(held, "cancelled")["run_state"] == "cancelled"
    else:
        for state in ("running", "completed"):
            verdict = worker.report(held, state)
            assert (verdict["verdict"], verdict["code"], verdict["action"]) == ("abort", "terminal_run", "stop")
    held.ack()
    assert api.run(run["id"])["state"] == ("cancelled" if how == "cancel" else "superseded")
