"""One run as it is shown and as it changes until the last moment, places in arrays, and slots that come free again."""

import base64
import json

from support.amqp import Worker

LATER = {"delay_seconds": 3600}
UNKNOWN_ID = "01936a3e-0000-7000-8000-000000000000"


def patch(api, run, **fields):
    return api.call("PATCH", f"/v1/runs/{run['id']}", fields)


def test_a_change_holds_for_the_next_release(new_bridge, connect, task):
    """P21, N25: priority, time and pause of a backlog take effect until the last moment."""
    bridge = new_bridge({"queue_bound": 1})
    api, worker = bridge.api, connect(Worker, bridge.amqp_url)
    first = api.submit_run(task, "first")
    api.wait_state(first["id"], "launched")
    a, b, c, d, e = [api.submit_run(task, name) for name in "abcde"]

    assert patch(api, c, priority=0).status == 200
    assert patch(api, a, run_at="2099-01-01T00:00:00Z").json["state"] == "scheduled"
    assert api.post(f"/v1/runs/{b['id']}/pause").status == 200
    assert api.post(f"/v1/runs/{d['id']}/cancel").status == 200

    assert [json.loads(worker.work(task)[0].body) for _ in range(3)] == ["first", "c", "e"]
    assert patch(api, a, run_at=None).status == 200
    assert json.loads(worker.work(task)[0].body) == "a"
    assert worker.message_count(f"taskbridge.run.{task}") == 0


def test_attempts_that_are_used_up_stay_so(api, worker, task):
    """P21, T67: fewer attempts than are used up are refused with both numbers; just one more is given and then none."""
    run = api.submit_run(task, 1, retry={"strategy": "constant", "initial_seconds": 3600, "max_seconds": 3600})
    worker.work(task, "failed")
    assert patch(api, run, run_at=None).json["state"] == "ready"
    worker.work(task, "failed")
    before = api.run(run["id"])

    for refused in (1, 2):
        answer = patch(api, run, max_attempts=refused, priority=0)
        assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/max_attempts")
        assert f"max_attempts {refused}" in answer.json["detail"] and "2 are used up" in answer.json["detail"]
    assert api.call("PATCH", f"/v1/tasks/{task}", {"max_attempts": 2}).status == 200
    assert patch(api, run, max_attempts=None).status == 422
    assert api.call("PATCH", f"/v1/tasks/{task}", {"max_attempts": None}).status == 200
    assert api.run(run["id"]) == before
    assert patch(api, run, max_attempts=3, run_at=None).json["max_attempts"] == 3

    assert worker.work(task, "failed")[1]["run_state"] == "dead_lettered"


def test_a_run_is_shown_with_its_payload(api, task):
    """P22: binary payloads as payload_base64 with their content type; an unknown id is named."""
    data = bytes(range(256))
    binary = api.post("/v1/runs", {"task": task, "payload_base64": base64.b64encode(data).decode(),
                                   "content_type": "application/octet-stream", **LATER}).json["run"]

    shown = api.run(binary["id"])
    unknown = api.get(f"/v1/runs/{UNKNOWN_ID}")

    assert (base64.b64decode(shown["payload_base64"]), shown["content_type"], "payload" in shown) == \
        (data, "application/octet-stream", False)
    assert api.run(api.submit_run(task, {"a": 1}, **LATER)["id"])["payload"] == {"a": 1}
    assert (unknown.status, unknown.code) == (404, "run_not_found") and UNKNOWN_ID in unknown.json["detail"]


def test_places_are_unique_within_a_batch(api, task):
    """J43."""
    runs = [{"task": task, "payload": 1, "workflow_id": task, "array": "a", "array_index": index} for index in (0, 1, 0)]

    answer = api.post("/v1/runs/batch", {"runs": runs})

    assert (answer.status, answer.code) == (409, "array_index_taken"), answer
    assert api.items("/v1/runs", task=task) == []



def test_slots_are_freed_by_every_end(api, worker, task):
    """P34: end, refusal, cancel and forced change; the group's counters are those of its rows."""
    assert api.call("PATCH", f"/v1/groups/{task}", {"concurrency_limit": 1}).status == 200

    def ask(api, run, state, **fields):
        answer = api.post(f"/v1/runs/{run['id']}/state", {"state": state, **fields}).json
        return answer["status"], answer["state"]

    def next_one():
        run = api.submit_run(task, 1, group=task, max_attempts=1)
        held = worker.next(task, run_id=run["id"])
        worker.report(held, "running")
        held.ack()
        return run, held

    run, held = next_one()
    worker.report(held, "completed")
    run, held = next_one()
    worker.report(held, "failed", error={"type": "T"})
    run, held = next_one()
    assert ask(api, run, "running") == ("abort", "running")
    assert ask(api, run, "failed", force=True) == ("accept", "dead_lettered")
    run, held = next_one()
    assert ask(api, run, "cancelled")[1] == "cancelling"
    worker.report(held, "cancelled")
    run, held = next_one()
    worker.report(held, "snoozed", retry_after_seconds=3600)
    run, held = next_one()
    assert ask(api, run, "completed") == ("accept", "completed")

    group = next(item for item in api.items("/v1/groups") if item["name"] == task)
    assert (group["ready"], group["queued"], group["launched"], group["running"]) == (0, 0, 0, 0)
    assert len(api.items("/v1/runs", group=task, state=["queued", "launched", "running", "cancelling"])) == 0
