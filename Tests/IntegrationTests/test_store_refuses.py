"""Messages and requests that the store will not take: set aside at once, and whatever is behind them moves."""

import contextlib
import json
import os
import sqlite3
import uuid

import pytest

from support.amqp import Producer, Worker
from support.waiting import until

OPEN = {"pending", "running", "waiting"}


def execute(bridge, sql, *values):
    """From beside the bridge."""
    with sqlite3.connect(os.path.join(bridge.data, "taskbridge.db"), timeout=10) as store:
        store.execute(sql, values)
    store.close()


@contextlib.contextmanager
def refusing(bridge, when):
    """While it lasts, the store refuses what `when` says, as it would what it cannot take."""
    execute(bridge, f"CREATE TRIGGER refuse {when} BEGIN SELECT RAISE(ABORT, 'refused by test'); END")
    try:
        yield
    finally:
        execute(bridge, "DROP TRIGGER refuse")


@pytest.fixture
def own(new_bridge):
    return new_bridge()


def test_a_bad_message_holds_up_nobody(own, connect, task):
    """S35: what cannot be understood, and what the store refuses, is set aside at once and answered; the rest is taken."""
    api, producer = own.api, connect(Producer, own.amqp_url)
    headers = {"tb-delay-seconds": 3600}
    with refusing(own, "BEFORE INSERT ON runs WHEN NEW.name = 'poison'"):
        producer.publish("taskbridge.submit", task, b"1", headers={"tb-nonsense": 1})
        producer.publish("taskbridge.submit", task, b"2", headers={**headers, "tb-name": "poison"})
        answer = producer.submit(task, b"3", headers={**headers, "tb-name": "poison"})
        for number in range(4, 24):
            producer.publish("taskbridge.submit", task, b"%d" % number, headers=headers)
        runs = until(lambda: len(api.items("/v1/runs", task=task)) == 20 and api.items("/v1/runs", task=task),
                     what="those behind it are stored")

    assert (answer["status"], answer["code"]) == (500, "store_refused"), answer
    assert {run["name"] for run in runs} == {None}
    held = api.quarantine()
    assert sorted(row["code"] for row in held) == ["store_refused", "store_refused", "unknown_field"]
    assert any("refused by test" in row["detail"] for row in held)
    assert producer.message_count("taskbridge.submit") == 0


def test_a_report_the_store_refuses_holds_up_nobody(own, connect, task):
    """S35: it is set aside at once and answered; the worker's next one counts."""
    api, worker = own.api, connect(Worker, own.amqp_url)
    run = api.submit_run(task, 1)
    held = worker.next(task)
    with refusing(own, "BEFORE UPDATE ON attempts WHEN NEW.worker = 'poison'"):
        refused = worker.report(held, "running", worker="poison")
        taken = worker.report(held, "running", worker="w")
        held.ack()

    assert (refused["verdict"], refused["code"]) == ("reject", "malformed")
    assert taken["code"] == "applied"
    assert [row["code"] for row in api.quarantine()] == ["malformed"]
    worker.report(held, "completed")
    assert api.attempts(run["id"])[0]["worker"] == "w"


def test_a_returned_message_the_store_refuses_holds_up_nobody(own, connect, task):
    """S35: a rejection is set aside at once, the next one counts; the run comes back by the orphan rule."""
    api, worker = own.api, connect(Worker, own.amqp_url)
    runs = [api.submit_run(task, n, retry={"strategy": "constant", "initial_seconds": 0}) for n in range(2)]
    poison, other = worker.next(task, run_id=runs[0]["id"]), worker.next(task, run_id=runs[1]["id"])
    with refusing(own, f"BEFORE UPDATE ON runs WHEN NEW.failures = 1 AND NEW.id = x'{runs[0]['id'].replace('-', '')}'"):
        poison.reject()
        until(lambda: api.quarantine(), what="it should be set aside")
        other.reject()
        assert worker.work(task)[0].run_id == runs[1]["id"]

    assert [(row["source"], row["code"]) for row in api.quarantine()] == [("returned", "store_refused")]
    again, _ = worker.work(task, seconds=30)
    assert (again.run_id, again.attempt) == (runs[0]["id"], 2)


def test_a_rule_that_breaks_writes_nothing(own, task):
    """P37: the answer says so, the log names it, and the next call works."""
    api = own.api
    run = api.submit_run(task, 1, delay_seconds=3600)
    before = api.audit(run["id"])
    with refusing(own, "BEFORE INSERT ON audit WHEN NEW.new_state = 'paused'"):
        broken = api.post(f"/v1/runs/{run['id']}/state", {"state": "paused", "transition_id": "t"})
        batch = api.post("/v1/runs/pause", {"filter": {"task": task}})
    unchanged = api.run(run["id"]), api.audit(run["id"])
    again = api.post(f"/v1/runs/{run['id']}/state", {"state": "paused", "transition_id": "t"})

    assert (broken.status, batch.status) == (503, 503), (broken, batch)
    assert "refused by test" in broken.json["detail"] or broken.code
    assert (unchanged[0]["state"], unchanged[1]) == ("scheduled", before)
    with open(own.log_path, errors="replace") as log:
        assert "refused by test" in log.read()
    assert (again.json["status"], again.json["state"]) == ("accept", "paused")


def add_job(bridge, request):
    """A job as another version might have left it; its id."""
    job = uuid.uuid4()
    execute(bridge, """
        INSERT INTO jobs (id, kind, state, request, as_of, actor, created_at, matched, phase)
          VALUES (?, 'cancel', 'pending', ?, 0, 'test', 0, 5, 1)""", job.bytes, request)
    return str(job)


def test_a_job_that_cannot_be_read_stops_no_other(own, task):
    """S10: it ends as failed and says why; others go on; while it waits it can be looked at and cancelled."""
    api, request = own.api, json.dumps({"filter": {"colour": "red"}})
    cancelled = add_job(own, request)
    waiting = api.get(f"/v1/jobs/{cancelled}")
    answer = api.post(f"/v1/jobs/{cancelled}/cancel")
    failed, garbled = add_job(own, request), add_job(own, "{")
    runs = [{"task": task, "payload": 1, "delay_seconds": 3600}] * 1_001
    assert api.post("/v1/runs/batch", {"runs": runs}).status == 200

    job = api.post("/v1/runs/cancel", {"filter": {"task": task}}).json["job_id"]
    until(lambda: not OPEN & {item["state"] for item in api.items("/v1/jobs")}, what="all jobs have ended")

    jobs = {item["id"]: item for item in api.items("/v1/jobs")}
    assert (waiting.status, waiting.json["state"], waiting.json["request"]) == (200, "pending", request)
    assert (answer.status, jobs[cancelled]["state"]) == (200, "cancelled")
    assert (jobs[job]["state"], jobs[job]["changed"]) == ("completed", 1_001)
    for one in (failed, garbled):
        assert (jobs[one]["state"], jobs[one]["error"]["code"]) == ("failed", "unreadable_request")
        assert jobs[one]["changed"] == 0 and one in jobs[one]["error"]["detail"]
    assert api.get(f"/v1/jobs/{garbled}").json["request"] == "{"
