"""Retries, losses, snoozes, resources, time limits and expiry, as workers and submitters meet them."""

import time

import pytest

from support.amqp import Worker
from support.times import seconds
from support.waiting import until

LATER = {"delay_seconds": 3600}
HOUR = {"strategy": "constant", "initial_seconds": 3600, "max_seconds": 3600}
QUICK = {"strategy": "constant", "initial_seconds": 0.1}
BROKEN = {"type": "T", "message": "broken"}


def fail(api, worker, run, **fields):
    """One failed attempt; seconds until the next, which is then made ready at once."""
    held = worker.next(run["task"], run_id=run["id"])
    verdict = worker.report(held, "failed", error=BROKEN, **fields)
    held.ack()
    if verdict["run_state"] == "scheduled":
        assert api.post(f"/v1/runs/{run['id']}/state", {"state": "ready"}).json["status"] == "accept"
    return verdict.get("retry_after_seconds")


@pytest.mark.parametrize("retry, delays", [
    ({"strategy": "constant", "initial_seconds": 7}, [7, 7, 7, 7]),
    ({"strategy": "linear", "initial_seconds": 10, "increment_seconds": 5, "max_seconds": 22}, [10, 15, 20, 22]),
    ({"strategy": "exponential", "initial_seconds": 10, "multiplier": 3, "max_seconds": 200}, [10, 30, 90, 200]),
    ({"delays_seconds": [1, 5]}, [1, 5, 5, 5])], ids=["constant", "linear", "exponential", "delays"])
def test_the_strategies(api, worker, task, retry, delays):
    """T65: n counts from 0, nothing above max_seconds, the last of delays_seconds is used again."""
    run = api.submit_run(task, 1, max_attempts=9, retry=retry)

    assert [fail(api, worker, run) for _ in delays] == delays

    worker.work(task)


def test_full_jitter_stays_below_the_exponential(api, worker, task):
    """T65."""
    run = api.submit_run(task, 1, max_attempts=9, retry={
        "strategy": "full_jitter", "initial_seconds": 100, "multiplier": 2, "max_seconds": 300})

    waits = [fail(api, worker, run) for _ in range(4)]

    assert all(0 <= wait <= most for wait, most in zip(waits, [100, 200, 300, 300])), waits
    assert len(set(waits)) > 1
    worker.work(task)


def test_retry_after_is_not_bounded_by_max_seconds(api, worker, task):
    """T66: longer than max_seconds wins, too; a negative one is malformed and changes nothing."""
    run = api.submit_run(task, 1, retry={"strategy": "constant", "initial_seconds": 1, "max_seconds": 2})
    held = worker.next(task)
    negative = worker.report(held, "failed", error=BROKEN, retry_after_seconds=-1)
    assert (negative["verdict"], negative["code"]) == ("reject", "malformed")

    verdict = worker.report(held, "failed", error=BROKEN, retry_after_seconds=1000)
    held.ack()

    assert verdict["retry_after_seconds"] == 1000
    assert api.run(run["id"])["state"] == "scheduled"


def test_one_attempt_is_never_retried_and_none_is_refused(api, worker, task):
    """T67."""
    run = api.submit_run(task, 1, max_attempts=1)
    refused = api.post("/v1/runs", {"task": task, "payload": 1, "max_attempts": 0})

    _, verdict = worker.work(task, "failed", error=BROKEN)

    assert verdict["run_state"] == "dead_lettered" and api.dead_letter(run["id"])["reason"] == "exhausted"
    assert refused.status == 422 and refused.json["errors"][0]["pointer"] == "/max_attempts"


def test_a_replay_begins_anew(api, worker, task):
    """T69: same id, payload, tags, dependencies, priority; run_at and time to live count anew; a busy key is 409."""
    one = api.submit_run(task + ".one", 1)
    worker.work(task + ".one")
    run = api.submit_run(task, {"n": 1}, tags={"a": "b"}, depends_on=[one["id"]], priority=7, max_attempts=1,
                         ttl_seconds=600, dedup_key="k")
    worker.work(task, "failed", error=BROKEN)
    before = api.wait_state(run["id"], "dead_lettered")
    busy = api.submit_run(task, 2, dedup_key="k", **LATER)

    refused = api.post(f"/v1/runs/{run['id']}/retry")
    unchanged = api.run(run["id"])
    api.post(f"/v1/runs/{busy['id']}/cancel")
    replayed = api.post(f"/v1/runs/{run['id']}/retry", {"run_at": "2099-01-01T00:00:00Z"}).json

    assert (refused.status, refused.code, refused.json["run_id"]) == (409, "dedup_busy", busy["id"])
    assert unchanged == before
    assert [replayed[name] for name in ("id", "tags", "depends_on", "priority", "state", "replays", "run_at")] == \
        [run["id"], {"a": "b"}, [one["id"]], 7, "scheduled", 1, "2099-01-01T00:00:00.000Z"]
    assert replayed["expires_at"] > before["expires_at"]
    api.call("PATCH", f"/v1/runs/{run['id']}", {"run_at": None})
    held, verdict = worker.work(task, "failed", error=BROKEN)
    assert (held.attempt, verdict["run_state"]) == (2, "dead_lettered")


def test_a_snooze_without_a_time_takes_the_first_delay(api, worker, task):
    """T70: it uses up no attempt; past its expiry the run is expired."""
    run = api.submit_run(task, 1, max_attempts=1, ttl_seconds=1.5, retry=HOUR)

    _, verdict = worker.work(task, "snoozed")

    assert (verdict["run_state"], verdict["retry_after_seconds"]) == ("scheduled", 3600)
    api.wait_state(run["id"], "expired")


def test_a_waiting_consumer_sees_a_retry(bridge, api, worker, task):
    """P6: a consumer that waits on its empty queue gets the retry when it is due; nothing else is polled."""
    run = api.submit_run(task, 1, retry={"strategy": "constant", "initial_seconds": 1})
    worker.work(task, "failed", error=BROKEN)
    due = seconds(api.run(run["id"])["run_at"])
    arrived = []
    channel = worker.connection.channel()
    channel.basic_consume(f"taskbridge.run.{task}", lambda *delivery: arrived.append((time.time(), delivery)))

    deadline = time.monotonic() + 20
    while not arrived and time.monotonic() < deadline:
        worker.connection.process_data_events(time_limit=0.2)

    (at, (_, method, properties, _)), = arrived
    print(f"lateness of a retry {at - due:.3f} s")
    assert at >= due and properties.headers["tb-attempt"] == 2
    worker.report(properties.correlation_id, "completed")
    channel.basic_ack(method.delivery_tag)


def test_due_runs_come_first_after_a_restart(new_bridge, connect, task):
    """P10: oldest first; one that is due later is not delivered before its time."""
    bridge = new_bridge({"queue_bound": 1})
    later = bridge.api.submit_run(task, "later", **LATER)
    runs = [bridge.api.submit_run(task, n, delay_seconds=1)["id"] for n in range(4)]
    bridge.kill()
    time_of_last = time.time() + 1.2
    until(lambda: time.time() > time_of_last, what="they come due while the bridge is down")

    bridge.start()
    new = bridge.api.submit_run(task, "new")["id"]

    worker = connect(Worker, bridge.amqp_url)
    assert [worker.work(task)[0].run_id for _ in range(5)] == [*runs, new]
    assert worker.message_count(f"taskbridge.run.{task}") == 0
    assert bridge.api.run(later["id"])["state"] == "scheduled"


def test_a_time_and_a_delay_exclude_each_other(api, task):
    """T62."""
    answer = api.post("/v1/runs", {"task": task, "payload": 1, "delay_seconds": 1, "run_at": "2099-01-01T00:00:00Z"})

    assert answer.status == 422, answer
    assert api.items("/v1/runs", task=task) == []


def test_five_years_ahead_is_kept_and_can_be_changed(new_bridge, task):
    """T62: it survives restarts, is listed and editable meanwhile."""
    bridge = new_bridge()
    run = bridge.api.submit_run(task, 1, delay_seconds=5 * 365 * 86_400)

    bridge.restart()

    listed = bridge.api.items("/v1/runs", task=task, state="scheduled")
    assert [(found["id"], found["run_at"]) for found in listed] == [(run["id"], run["run_at"])]
    changed = bridge.api.call("PATCH", f"/v1/runs/{run['id']}", {"run_at": "2098-05-05T00:00:00Z"})
    assert (changed.status, changed.json["run_at"]) == (200, "2098-05-05T00:00:00.000Z")


def test_expiry_by_state(api, worker, task):
    """T63: not claimed in time: expired, message stale; running: left alone; pause does not stop it."""
    claimed = api.submit_run(task + ".claimed", 1, ttl_seconds=1.5)
    held = worker.next(task + ".claimed")
    worker.report(held, "running")
    launched = api.submit_run(task, 1, ttl_seconds=1.5, dedup_key="k")
    paused = api.submit_run(task, 1, ttl_seconds=1.0, **LATER)
    assert api.post(f"/v1/runs/{paused['id']}/pause").status == 200
    at = launched["expires_at"]
    absolute = api.submit_run(task, 1, expires_at=at, **LATER)
    assert absolute["expires_at"] == at

    for run in (launched, paused, absolute):
        api.wait_state(run["id"], "expired")

    stale = worker.next(task)
    verdict = worker.report(stale, "running")
    stale.ack()
    assert (verdict["verdict"], verdict["code"]) == ("abort", "terminal_run")
    assert api.submit(task, 1, dedup_key="k", **LATER)["outcome"] == "inserted"
    assert api.run(claimed["id"])["state"] == "running"
    assert worker.report(held, "completed")["run_state"] == "completed"
    held.ack()


def test_a_retry_does_not_get_past_the_expiry(api, worker, task):
    """T63: also with the time to live counted from the first attempt."""
    runs = [api.submit_run(f"{task}.{origin}", 1, ttl_seconds=2, ttl_from=origin, retry=HOUR)
            for origin in ("submission", "first_attempt")]

    for run in runs:
        worker.work(run["task"], "failed", error=BROKEN)

    for run in runs:
        api.wait_state(run["id"], "expired")


def test_an_attempt_longer_than_its_time_limit(api, worker, task):
    """S25: heartbeats or not it ends resource_error, type timeout; its worker is told to stop and is fenced."""
    queue = worker.bound_queue("taskbridge.control", f"cancel.{task}")
    run = api.submit_run(task, 1, timeout_seconds=1, max_attempts=1)
    held = worker.next(task)
    assert held.headers["tb-timeout-seconds"] == 1
    worker.report(held, "running")
    worker.report(held, "heartbeat", next_report_seconds=1000)

    api.wait_state(run["id"], "dead_lettered")

    assert api.attempts(run["id"])[0]["state"] == "resource_error"
    assert (api.errors(run["id"])[0]["type"], api.dead_letter(run["id"])["reason"]) == ("timeout", "resources")
    worker.take(queue)
    late = worker.report(held, "completed")
    held.ack()
    assert (late["verdict"], late["action"]) == ("abort", "stop")


def test_a_payload_that_kills_its_workers_ends(api, worker, task):
    """N28: after max_lost losses, with the workers' names; honest errors are counted apart."""
    run = api.submit_run(task, 1, lease_seconds=1, max_lost=2, max_attempts=2, retry=QUICK)
    worker.work(task, "failed", error=BROKEN)
    for name in ("w1", "w2"):
        held = worker.next(task, seconds=30)
        worker.report(held, "running", worker=name)
        held.ack()

    api.wait_state(run["id"], "dead_lettered", seconds=30)

    assert api.dead_letter(run["id"])["reason"] == "lost"
    assert [(attempt["state"], attempt["worker"]) for attempt in api.attempts(run["id"])] == \
        [("error", None), ("lost", "w1"), ("lost", "w2")]


def test_resources_scale_from_the_next_attempt_on(api, worker, task):
    """N31: a factor, a list whose last value stays, and one without scale; each attempt shows its own."""
    run = api.submit_run(task, 1, resources={"f": 3, "l": 2, "same": 1}, resource_scales={"f": 0.5, "l": [4, 8]},
                         retry=QUICK, max_attempts=4)

    seen = [worker.work(task, "resource_error", error={"type": "oom"})[0].headers["tb-resources"] for _ in range(4)]

    assert seen == [{"f": 3, "l": 2, "same": 1}, {"f": 5, "l": 4, "same": 1}, {"f": 8, "l": 8, "same": 1},
                    {"f": 12, "l": 8, "same": 1}]
    assert [attempt["resources"] for attempt in api.attempts(run["id"])] == seen
    assert api.wait_state(run["id"], "dead_lettered") and api.dead_letter(run["id"])["reason"] == "resources"


def test_a_request_goes_to_the_first_key_that_takes_it(new_bridge, connect):
    """N32: none takes it: clipped to the last one's limits; used up: dead letter, reason resources."""
    bridge = new_bridge({"tasks": {"m.small": {"resource_limits": {"mb": 10}}, "m.big": {"resource_limits": {"mb": 30}},
                                   "m.last": {"resource_limits": {"mb": 25}}}})
    api, worker = bridge.api, connect(Worker, bridge.amqp_url)
    run = api.submit_run("m.small", 1, resources={"mb": 10}, resource_scales={"mb": 1}, retry=QUICK, max_attempts=3,
                         fallback_tasks=["m.big", "m.last"])

    seen = [worker.work(key, "resource_error", error={"type": "oom"})[0].headers["tb-resources"]["mb"]
            for key in ("m.small", "m.big", "m.last")]

    assert seen == [10, 20, 25]
    api.wait_state(run["id"], "dead_lettered")
    assert api.dead_letter(run["id"])["reason"] == "resources"
    assert any("m.last" in (row["reason"] or "") for row in api.audit(run["id"])), "clipping is said in the audit"
