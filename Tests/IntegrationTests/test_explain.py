"""Why a run is not running: every hold and every state, over HTTP and from the command line, on a real broker."""

import json
import time

import pika
import pytest

from support.amqp import Worker
from support.waiting import until

LATER = "2099-01-01T00:00:00.000Z"


def patch(api, path, **settings):
    answer = api.call("PATCH", path, settings)
    assert answer.status == 200, answer


def explain(bridge, run):
    """The explanation over HTTP, which the command line must give as well; never without a reason."""
    def both():
        over_http = bridge.api.get(f"/v1/runs/{run['id']}/explain")
        assert over_http.status == 200, over_http
        done = bridge.cli("explain", run["id"], "--output", "json")
        assert done.returncode == 0, done.stderr
        found, told = over_http.json, json.loads(done.stdout)
        # Its own time apart, and whatever moved between the two calls.
        return found if {**told, "at": None} == {**found, "at": None} else None

    found = until(both)
    assert found["run_id"] == run["id"]
    assert found["reasons"], found
    assert all(reason["code"] and reason["detail"] for reason in found["reasons"])
    return found


def held(bridge, run, *holds):
    """Waits until the run is held by exactly these, and checks that list and explanation agree."""
    until(lambda: bridge.api.run(run["id"])["held_by"] == list(holds), what=f"held by {holds}")
    found = explain(bridge, run)
    assert found["held_by"] == list(holds)
    assert [reason["code"] for reason in found["reasons"]] == list(holds)
    assert all(reason["unblocked_by"] for reason in found["reasons"])
    for hold in set(holds):
        listed = bridge.api.items("/v1/runs", held_by=hold, task=run["task"])
        assert run["id"] in [item["id"] for item in listed]
    return found["reasons"]


def leaves(api, run):
    api.wait_state(run["id"], "launched", "running")


# N11: what holds a ready run.


@pytest.mark.parametrize("hold,path", [
    ("paused", "/v1"), ("task_paused", "/v1/tasks/{task}"), ("task_paused", "/v1/domains/test"),
    ("group_paused", "/v1/groups/{group}"),
])
def test_a_pause_is_named_with_its_end(bridge, api, task, hold, path):
    """N11 `paused`, `task_paused`, `group_paused`: who, why, until when; the resume lets it go."""
    path = path.format(task=task, group="g-" + task)
    api.posted(path + "/pause", {"reason": "provider is down", "until": LATER})
    try:
        run = api.submit_run(task, 1, group="g-" + task)
        reason = held(bridge, run, hold)[0]
        assert reason["at"] == LATER
        assert "provider is down" in reason["detail"]
        assert "resume" in reason["unblocked_by"]
    finally:
        api.posted(path + "/resume")
    leaves(api, run)


@pytest.mark.parametrize("hold,path", [("group_limit", "/v1/groups/{group}"), ("task_limit", "/v1/tasks/{task}")])
def test_a_limit_is_named_with_its_numbers(bridge, api, worker, task, hold, path):
    """N11 `group_limit`, `task_limit`: the end of one of those at work lets it go."""
    patch(api, path.format(task=task, group="g-" + task), concurrency_limit=1)
    first = api.submit_run(task, 1, group="g-" + task)
    leaves(api, first)
    run = api.submit_run(task, 2, group="g-" + task)

    reason = held(bridge, run, hold)[0]

    assert (reason["limit"], reason["used"]) == (1, 1)
    worker.work(task)
    leaves(api, run)


def test_the_queue_bound_is_named_with_its_numbers(bridge, api, worker, task):
    """N11 `queue_bound`: a claim lets it go."""
    patch(api, f"/v1/tasks/{task}", queue_bound=1)
    first = api.submit_run(task, 1)
    leaves(api, first)
    run = api.submit_run(task, 2)

    reason = held(bridge, run, "queue_bound")[0]

    assert (reason["limit"], reason["used"]) == (1, 1)
    worker.report(worker.next(task), "running")
    leaves(api, run)


def test_a_rate_limit_is_named_with_its_time(bridge, api, task):
    """N11 `rate_limit`: when the next one may go; a higher rate lets it go at once."""
    patch(api, f"/v1/tasks/{task}", rate_per_second=0.001, rate_burst=1)
    leaves(api, api.submit_run(task, 1))
    run = api.submit_run(task, 2)

    reason = held(bridge, run, "rate_limit")[0]

    assert reason["at"] > api.run(run["id"])["created_at"]
    assert reason["at"] in reason["unblocked_by"]
    patch(api, f"/v1/tasks/{task}", rate_per_second=None, rate_burst=None)
    leaves(api, run)


def test_a_queue_that_cannot_be_used_is_named(bridge, api, connect, task):
    """N11 `queue_degraded`: here somebody else's connection owns the queue; the end of that lets it go."""
    connection = pika.BlockingConnection(pika.URLParameters(bridge.amqp_url))
    connection.channel().queue_declare(f"taskbridge.run.{task}", durable=True, exclusive=True)
    run = api.submit_run(task, 1)

    reason = held(bridge, run, "queue_degraded")[0]

    assert "405" in reason["detail"] or "LOCKED" in reason["detail"].upper()
    connection.close()
    leaves(api, run)
    assert connect(Worker, bridge.amqp_url).next(task).run_id == run["id"]


def test_a_queue_somebody_else_owns_stops_nobody_else(bridge, api, worker, connect, task):
    """T18, S4: a queue that may not even be looked at has no `consumers`; the session goes on, and so do the others."""
    api.submit_run(task, 1)
    worker.work(task)
    until(lambda: api.get(f"/v1/tasks/{task}").json["consumers"] == 0)
    worker.channel.queue_delete(f"taskbridge.run.{task}")
    connection = pika.BlockingConnection(pika.URLParameters(bridge.amqp_url))
    connection.channel().queue_declare(f"taskbridge.run.{task}", durable=True, exclusive=True)
    until(lambda: api.get(f"/v1/tasks/{task}").json["consumers"] is None)
    begun, seen = time.monotonic(), []

    until(lambda: seen.append(bridge.readyz().status) or time.monotonic() > begun + 2.5)

    assert set(seen) == {200}
    other = api.submit_run(task + ".b", 1)
    assert worker.next(task + ".b").run_id == other["id"]
    connection.close()


def test_every_hold_is_listed(bridge, api, task):
    """N11, T5: in the order of the gates; with one of them gone the others still hold."""
    group = "g-" + task
    patch(api, f"/v1/tasks/{task}", concurrency_limit=0)
    patch(api, f"/v1/groups/{group}", concurrency_limit=0)
    api.posted(f"/v1/tasks/{task}/pause")
    api.posted(f"/v1/groups/{group}/pause")
    run = api.submit_run(task, 1, group=group)

    held(bridge, run, "task_paused", "group_paused", "group_limit", "task_limit")
    api.posted(f"/v1/tasks/{task}/resume")
    held(bridge, run, "group_paused", "group_limit", "task_limit")
    patch(api, f"/v1/groups/{group}", concurrency_limit=1)
    held(bridge, run, "group_paused", "task_limit")
    api.posted(f"/v1/groups/{group}/resume")
    held(bridge, run, "task_limit")
    patch(api, f"/v1/tasks/{task}", concurrency_limit=None)
    leaves(api, run)


# N12: what a run in any other state waits for.


def only(bridge, run, *codes):
    found = explain(bridge, run)
    assert found["held_by"] == []
    assert [reason["code"] for reason in found["reasons"]] == list(codes), found
    return found["reasons"]


def test_blocked_names_the_runs_and_what_holds_them(bridge, api, worker, task):
    """N12: which runs, in which state, held by what."""
    api.posted(f"/v1/tasks/{task}.held/pause")
    ready = api.submit_run(task + ".held", 1)
    timed = api.submit_run(task, 2, run_at=LATER)
    run = api.submit_run(task, 3, depends_on=[ready["id"], timed["id"]])

    reason = only(bridge, run, "dependencies")[0]

    assert [(item["id"], item["state"], item["held_by"]) for item in reason["runs"]] == [
        (ready["id"], "ready", ["task_paused"]), (timed["id"], "scheduled", [])]
    api.posted(f"/v1/tasks/{task}.held/resume")
    worker.work(task + ".held")
    until(lambda: [item["id"] for item in only(bridge, run, "dependencies")[0]["runs"]] == [timed["id"]])


def test_scheduled_says_until_when_and_why(bridge, api, worker, task):
    """N12: by `run_at`, by a retry, by a snooze, by a retry with more resources (`adjusting` is left at once)."""
    timed = api.submit_run(task, 1, run_at=LATER)
    assert only(bridge, timed, "run_at")[0]["at"] == LATER
    retry = {"strategy": "constant", "initial_seconds": 3600, "max_seconds": 3600}
    for state, code, word in [("failed", "retry", "failed"), ("snoozed", "snooze", "gave it back"),
                              ("resource_error", "retry", "resources")]:
        run = api.submit_run(task, 1, retry=retry, resources={"memory_mb": 10}, resource_scales={"memory_mb": 1})
        worker.work(task, state)
        until(lambda: api.run(run["id"])["state"] == "scheduled")

        reason = only(bridge, run, code)[0]

        assert reason["at"] == api.run(run["id"])["run_at"]
        assert word in reason["detail"]


def test_launched_says_who_could_take_it(bridge, api, connect, task):
    """N12, T18: how many are before it at most, and that nobody listens; `consumers` agrees with the broker."""
    runs = [api.submit_run(task, n) for n in range(3)]
    leaves(api, runs[2])
    until(lambda: api.get(f"/v1/tasks/{task}").json["consumers"] == 0)

    reasons = only(bridge, runs[2], "launched", "no_consumers")

    assert "at most 2 other" in reasons[0]["detail"]
    worker = connect(Worker, bridge.amqp_url)
    worker.channel.basic_qos(prefetch_count=1)
    worker.channel.basic_consume(f"taskbridge.run.{task}", lambda *message: None)
    until(lambda: api.get(f"/v1/tasks/{task}").json["consumers"] == 1)
    assert [item["consumers"] for item in api.get("/v1/snapshot").json["tasks"] if item["key"] == task] == [1]
    only(bridge, runs[2], "launched")


def test_running_cancelling_and_waiting_name_the_lease_and_the_children(bridge, api, worker, task):
    """N12: until which lease, and which children."""
    run = api.submit_run(task, 1, lease_seconds=600)
    message = worker.next(task)
    worker.report(message, "running", worker="w1")
    lease = api.attempts(run["id"])[0]["report_by"]
    reason = only(bridge, run, "running")[0]
    assert (reason["at"], "w1" in reason["detail"]) == (lease, True)
    child = api.submit_run(task, 2, parent_id=run["id"], run_at=LATER)
    worker.report(message, "completed")
    message.ack()
    reason = only(bridge, run, "children")[0]
    assert [item["id"] for item in reason["runs"]] == [child["id"]]

    other = api.submit_run(task, 3, lease_seconds=600)
    message = worker.next(task, run_id=other["id"])
    worker.report(message, "running")
    api.posted(f"/v1/runs/{other['id']}/cancel")
    reason = only(bridge, other, "cancelling")[0]
    assert reason["at"] == api.attempts(other["id"])[0]["report_by"]
    worker.report(message, "cancelled")
    message.ack()
    assert "cancelled" in only(bridge, other, "ended")[0]["detail"]


def test_a_paused_run_says_so(bridge, api, task):
    """N12, T5: with the reason, and how to resume it."""
    run = api.submit_run(task, 1, run_at=LATER)
    api.posted(f"/v1/runs/{run['id']}/pause", {"reason": "look first"})

    reason = only(bridge, run, "run_paused")[0]

    assert "look first" in reason["detail"]
    assert "resume" in reason["unblocked_by"]


def test_ended_says_why_and_how_to_replay(bridge, api, worker, task):
    """N12: each end; what cannot be replayed names what took its place."""
    ended = {}
    for state, fields, options in [("completed", {}, {}), ("failed", {"error": {"type": "t", "retryable": False}}, {}),
                                   ("failed", {"error": {"type": "t"}}, {"max_attempts": 1})]:
        run = api.submit_run(task, 1, **options)
        worker.work(task, state, **fields)
        final = api.wait_state(run["id"], "completed", "failed", "dead_lettered")
        ended[final["state"]] = run
    ended["cancelled"] = api.submit_run(task, 1, run_at=LATER)
    api.posted(f"/v1/runs/{ended['cancelled']['id']}/cancel", {"reason": "not needed"})
    dependent = api.submit_run(task, 1, run_at=LATER)
    ended["dependency_failed"] = api.submit_run(task, 1, depends_on=[dependent["id"]])
    api.posted(f"/v1/runs/{dependent['id']}/cancel")
    ended["expired"] = api.submit_run(task, 1, run_at=LATER, ttl_seconds=0.1)
    ended["superseded"] = api.submit_run(task, 1, run_at=LATER, dedup_key=task)
    heir = api.submit_run(task, 1, run_at=LATER, dedup_key=task, on_duplicate="supersede")
    assert set(ended) == {"completed", "failed", "dead_lettered", "cancelled", "dependency_failed", "expired",
                          "superseded"}

    for state, run in ended.items():
        api.wait_state(run["id"], state)
        reason = only(bridge, run, "ended")[0]
        assert state in reason["detail"]
        if state == "superseded":
            assert heir["id"] in reason["detail"] and reason["unblocked_by"] is None
        else:
            assert f"taskbridge retry {run['id']}" in reason["unblocked_by"]
            assert ("--force" in reason["unblocked_by"]) == (state == "completed")
    assert "not needed" in only(bridge, ended["cancelled"], "ended")[0]["detail"]
    assert dependent["id"] in only(bridge, ended["dependency_failed"], "ended")[0]["detail"]
