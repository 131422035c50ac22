"""Cancelling: waiting, in the broker, running."""

import json

import pytest

LATER = {"delay_seconds": 3600}


def cancel(api, run, expect=200):
    answer = api.post(f"/v1/runs/{run['id']}/cancel", {"reason": "no longer wanted"})
    assert answer.status == expect, answer
    return answer


@pytest.mark.parametrize("waiting", ["scheduled", "blocked", "ready", "paused"])
def test_a_waiting_run_is_cancelled_at_once(api, worker, task, waiting):
    """T24: its dedup key is free, and nothing is published for it afterwards."""
    assert api.post(f"/v1/tasks/{task}/pause").status == 200
    first = api.submit_run(task, 0, **LATER)
    fields = {"blocked": {"depends_on": [first["id"]]}, "scheduled": LATER}.get(waiting, {})
    run = api.submit_run(task, 1, dedup_key="k", **fields)
    if waiting == "paused":
        assert api.post(f"/v1/runs/{run['id']}/pause").status == 200
    assert api.run(run["id"])["state"] == waiting

    cancel(api, run)

    ended = api.run(run["id"])
    assert ended["state"] == "cancelled" and ended["finished_at"]
    assert api.audit(run["id"])[-1]["reason"] == "no longer wanted"
    other = api.submit(task, 2, dedup_key="k")
    assert other["outcome"] == "inserted"
    assert api.post(f"/v1/tasks/{task}/resume").status == 200
    assert api.post(f"/v1/runs/{first['id']}/state", {"state": "ready"}).json["status"] == "accept"
    assert {worker.work(task)[0].run_id for _ in range(2)} == {first["id"], other["run"]["id"]}
    assert worker.get(f"taskbridge.run.{task}") is None and api.attempts(run["id"]) == []


def claimed(api, worker, task):
    api.submit_run(task, 1)
    held = worker.next(task)
    worker.report(held, "running")
    return held


def test_cancelling_twice_is_the_same_answer_and_one_row(api, worker, task):
    """T20: also while its worker has not answered yet."""
    held = claimed(api, worker, task)
    for run in (api.submit_run(task, 1, **LATER), api.run(held.run_id)):
        first = cancel(api, run).json
        rows = api.audit(run["id"])

        again = cancel(api, run).json

        assert again == first and first["id"] == run["id"]
        assert api.audit(run["id"]) == rows
    worker.report(held, "cancelled")
    held.ack()


def test_the_message_of_a_cancelled_run_is_answered_abort(api, worker, task):
    """N26."""
    run = api.submit_run(task, 1)
    api.wait_state(run["id"], "launched")

    cancel(api, run)
    held = worker.next(task)
    verdict = worker.report(held, "running", claim="c")
    end = worker.report(held, "completed", result=1)
    held.ack()

    assert api.run(run["id"])["state"] == "cancelled"
    assert (verdict["verdict"], verdict["code"], verdict["action"]) == ("abort", "terminal_run", "stop")
    assert end["verdict"] == "abort" and end["action"] == "stop"
    assert api.run(run["id"])["result"] is None


def test_a_running_run_is_told_twice_and_ends_by_the_workers_answer(api, worker, task):
    """J52, T25."""
    queue = worker.bound_queue("taskbridge.control", f"cancel.{task}")
    run = api.submit_run(task, 1)
    held = worker.next(task)
    worker.report(held, "running")

    cancel(api, run)
    control = worker.take(queue)
    beat = worker.report(held, "heartbeat")
    end = worker.report(held, "cancelled")
    held.ack()

    assert run["id"] in control.body.decode() + json.dumps(control.headers) + str(control.properties)
    assert held.token.rsplit(".", 1)[1] not in control.body.decode()
    assert (beat["action"], beat["run_state"], beat["attempt_state"]) == ("stop", "cancelling", "stopping")
    assert (end["code"], end["run_state"], end["attempt_state"]) == ("applied", "cancelled", "fatal")
    states = [row["new_state"] for row in api.audit(run["id"])]
    assert states[-3:] == ["running", "cancelling", "cancelled"]


def test_any_end_but_completed_is_the_answer_to_a_cancel(api, worker, task):
    """J52."""
    run = api.submit_run(task, 1)
    held = worker.next(task)
    worker.report(held, "running")
    cancel(api, run)

    end = worker.report(held, "failed", error={"type": "Interrupted", "message": "told to stop"})
    held.ack()

    assert (end["code"], end["run_state"], end["attempt_state"]) == ("applied", "cancelled", "fatal")
    assert api.get("/v1/dead-letters", task=task).json["items"] == []


def test_a_worker_that_finished_first_is_believed(api, worker, task):
    """J52, N26."""
    run = api.submit_run(task, 1)
    held = worker.next(task)
    worker.report(held, "running")
    cancel(api, run)

    end = worker.report(held, "completed", result="done anyway")
    held.ack()

    assert (end["code"], end["run_state"]) == ("applied", "completed")


def test_without_an_answer_the_lease_decides(api, worker, task):
    """T25."""
    run = api.submit_run(task, 1, lease_seconds=1)
    held = worker.next(task)
    worker.report(held, "running")
    held.ack()

    cancel(api, run)

    api.wait_state(run["id"], "cancelled", seconds=30)
    assert api.attempts(run["id"])[0]["state"] == "fatal"
    assert worker.report(held, "completed")["verdict"] == "abort"


def test_a_heartbeat_does_not_keep_a_cancelled_run_alive(api, worker, task):
    run = api.submit_run(task, 1, lease_seconds=2)
    held = worker.next(task)
    worker.report(held, "running")
    cancel(api, run)
    before = api.attempts(run["id"])[0]["report_by"]

    worker.report(held, "heartbeat", next_report_seconds=1000)
    held.ack()

    assert api.attempts(run["id"])[0]["report_by"] <= before
    api.wait_state(run["id"], "cancelled", seconds=30)


def test_a_run_that_ended_otherwise_cannot_be_cancelled(api, worker, task):
    """T20."""
    run = api.submit_run(task, 1)
    worker.work(task)

    answer = cancel(api, run, expect=409)

    assert answer.code == "terminal_run"
    assert "completed" in answer.json["detail"]


def test_a_retry_that_waits_can_be_cancelled(api, worker, task):
    """T24."""
    run = api.submit_run(task, 1, retry={"strategy": "constant", "initial_seconds": 3600, "max_seconds": 3600})
    worker.work(task, "failed", error={"type": "T", "message": "m"})

    cancel(api, run)

    assert api.run(run["id"])["state"] == "cancelled"


def test_a_live_run_cannot_be_replayed(api, task):
    run = api.submit_run(task, 1, **LATER)

    assert api.post(f"/v1/runs/{run['id']}/retry").status == 409


def test_a_cancelled_run_can_be_replayed(api, worker, task):
    run = api.submit_run(task, 1, **LATER)
    cancel(api, run)

    assert api.post(f"/v1/runs/{run['id']}/retry").status == 200

    assert worker.work(task)[0].run_id == run["id"]
    assert api.run(run["id"])["replays"] == 1
