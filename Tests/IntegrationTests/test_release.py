"""Release: pauses, limits, rates, order, and why a run is not running, on a real broker."""

import json
import threading
import time

import pytest

from support.amqp import Worker
from support.waiting import until

FOREVER = "2099-01-01T00:00:00Z"


def patch(api, path, fields, expect=200):
    answer = api.call("PATCH", path, fields)
    assert answer.status == expect, answer
    return answer.json


def explain(api, run):
    answer = api.get(f"/v1/runs/{run['id']}/explain")
    assert answer.status == 200, answer
    return answer.json


def held_by(api, run):
    return api.run(run["id"])["held_by"]


PAUSES = {"task": "task_paused", "domain": "task_paused", "group": "group_paused"}


@pytest.mark.parametrize("kind", PAUSES)
def test_what_is_paused_waits_and_goes_on_in_order(api, worker, task, kind):
    """T73, T75: a task key, its domain, its group."""
    group = "g-" + task
    path = {"task": f"/v1/tasks/{task}", "domain": f"/v1/domains/{task.split('.')[0]}", "group": f"/v1/groups/{group}"}
    api.posted(path[kind] + "/pause", {"reason": "test"})
    try:
        runs = [api.submit_run(task, n, group=group, priority=priority) for n, priority in [(0, 200), (1, 0), (2, 128)]]
        until(lambda: held_by(api, runs[0]) == [PAUSES[kind]])
        time.sleep(1.2)
        assert {api.run(run["id"])["state"] for run in runs} == {"ready"}
        assert worker.get(f"taskbridge.run.{task}") is None
    finally:
        api.posted(path[kind] + "/resume")

    assert [worker.work(task)[0].run_id for _ in runs] == [runs[n]["id"] for n in (1, 2, 0)]


def test_the_whole_bridge_is_paused_over_a_restart(new_bridge, connect, task):
    """T73, T75: nothing new leaves the store, running work reports as usual, a restart changes nothing, neither for the
    pause of a group."""
    bridge = new_bridge()
    api, worker = bridge.api, connect(Worker, bridge.amqp_url)
    running = api.submit_run(task, 1)
    held = worker.next(task)
    worker.report(held, "running")
    api.posted("/v1/pause")
    api.posted("/v1/groups/g/pause", {"until": FOREVER})
    run, grouped = api.submit_run(task, 2), api.submit_run(task, 3, group="g")
    assert worker.report(held, "completed")["code"] == "applied"
    held.ack()

    bridge.restart()

    assert api.get("/v1/snapshot").json["paused"] is True
    assert api.run(running["id"])["state"] == "completed"
    assert "paused" in held_by(api, run)
    api.posted("/v1/resume")
    worker.work(task)
    api.wait_state(run["id"], "completed")
    assert (api.run(grouped["id"])["state"], held_by(api, grouped)) == ("ready", ["group_paused"])
    group, = api.items("/v1/groups")
    assert (group["name"], group["paused"], group["paused_until"][:19], group["ready"]) == ("g", True, FOREVER[:19], 1)


def test_a_pause_ends_by_itself_within_a_second(api, task):
    """T73: `until`."""
    group = "g-" + task
    end = time.time() + 2
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(end)) + ".%03dZ" % (end % 1 * 1000)
    paused = api.posted(f"/v1/groups/{group}/pause", {"until": text})
    run = api.submit_run(task, 1, group=group)

    assert paused["paused_until"] == text
    until(lambda: held_by(api, run) == ["group_paused"])
    api.wait_state(run["id"], "launched", seconds=4)

    assert end <= time.time() <= end + 1.5
    assert [group["paused"] for group in api.items("/v1/groups") if group["name"] == "g-" + task] in ([], [False])


def test_a_dispatched_run_cannot_be_paused(api, task):
    """N27."""
    run = api.submit_run(task, 1)
    api.wait_state(run["id"], "launched")

    answer = api.post(f"/v1/runs/{run['id']}/pause")

    assert (answer.status, answer.code) == (409, "dispatched")
    assert f"/v1/tasks/{task}/pause" in answer.json["detail"]


@pytest.mark.parametrize("kind,hold,workers", [("tasks", "task_limit", 10), ("groups", "group_limit", 50)])
def test_a_limit_is_kept_under_load(bridge, api, connect, task, kind, hold, workers):
    """T71, T75: many workers, never more than the limit dispatched or at work; the change works at once."""
    group = "g-" + task
    patch(api, f"/v1/{kind}/{task if kind == 'tasks' else group}", {"concurrency_limit": 3})
    runs = [api.submit_run(task, n, group=group) for n in range(60)]
    until(lambda: any(hold in held_by(api, run) for run in runs[:5]))
    lock, at_work, most, done = threading.Lock(), [0], [0], []

    def slots():
        views = [api.get(f"/v1/tasks/{task}").json] if kind == "tasks" else api.items("/v1/groups")
        view = next(view for view in views if view.get("name", group) == group)
        return view["queued"] + view["launched"] + view["running"]

    def work():
        worker = Worker(bridge.amqp_url)
        try:
            while len(done) < len(runs):
                held = worker.get(f"taskbridge.run.{task}")
                if held is None:
                    time.sleep(0.002 * workers)
                    continue
                with lock:
                    at_work[0] += 1
                    most[0] = max(most[0], at_work[0])
                worker.report(held, "running")
                time.sleep(0.03)
                with lock:
                    at_work[0] -= 1
                worker.report(held, "completed")
                held.ack()
                done.append(held.run_id)
        finally:
            worker.close()

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    taken = []
    for thread in threads:
        while thread.is_alive():
            taken.append(slots())
            thread.join(0.05)

    assert 1 <= max(taken) <= 3
    assert sorted(done) == sorted(run["id"] for run in runs)
    assert 2 <= most[0] <= 3


def test_a_full_group_holds_back_no_other(api, worker, task):
    """T71, S4."""
    group = "g-" + task
    patch(api, f"/v1/groups/{group}", {"concurrency_limit": 0})
    full = api.submit_run(task, 1, group=group, priority=0)
    free = api.submit_run(task, 2)

    assert worker.next(task).run_id == free["id"]
    reason = explain(api, full)["reasons"][0]
    assert (reason["code"], reason["limit"], reason["used"]) == ("group_limit", 0, 0)
    assert group in [item["name"] for item in api.items("/v1/groups")]


@pytest.mark.parametrize("kind", ["tasks", "groups"])
def test_a_rate_is_kept_and_says_when(api, worker, task, kind):
    """T74: of a task key and of a group."""
    patch(api, f"/v1/{kind}/{task}", {"rate_per_second": 5, "rate_burst": 2})
    runs = [api.submit_run(task, n, group=task) for n in range(12)]
    reason = until(lambda: next((r for r in explain(api, runs[-1])["reasons"] if r["code"] == "rate_limit"), None))

    for run in runs:
        api.wait_state(run["id"], "launched")

    assert reason["at"]
    times = sorted(api.run(run["id"])["queued_at"] for run in runs)
    seconds = [float(text[17:23]) + 60 * int(text[14:16]) for text in times]
    assert (seconds[-1] - seconds[0]) % 3600 >= 1.7


def test_the_newest_first_with_lifo(new_bridge, connect, task):
    """S1, S2."""
    bridge = new_bridge({"queue_bound": 1, "tasks": {task: {"order": "lifo"}}})
    api, worker = bridge.api, connect(Worker, bridge.amqp_url)
    api.posted(f"/v1/tasks/{task}/pause")
    for n, priority in [(0, 128), (1, 128), (2, 0), (3, 128)]:
        api.submit_run(task, n, priority=priority)
    api.posted(f"/v1/tasks/{task}/resume")

    assert [json.loads(worker.work(task)[0].body) for _ in range(4)] == [2, 3, 1, 0]


def test_explain_names_the_queue_bound_and_the_launched_run(new_bridge, task):
    """N11, N12."""
    bridge = new_bridge({"queue_bound": 1})
    first = bridge.api.submit_run(task, 1)
    bridge.api.wait_state(first["id"], "launched")
    second = bridge.api.submit_run(task, 2)

    waits = explain(bridge.api, second)
    launched = explain(bridge.api, first)

    assert waits["held_by"] == ["queue_bound"]
    assert [reason["code"] for reason in waits["reasons"]] == ["queue_bound"]
    assert (waits["reasons"][0]["limit"], waits["reasons"][0]["used"]) == (1, 1)
    assert launched["reasons"][0]["code"] == "launched"
    assert [run["id"] for run in bridge.api.items("/v1/runs", held_by="queue_bound")] == [second["id"]]


def test_explain_says_that_the_broker_is_away(new_bridge, new_broker, task):
    """N11 `broker_down`."""
    broker = new_broker()
    broker.start()
    bridge = new_bridge(amqp_url=broker.url, check=False)
    broker.stop()
    until(lambda: bridge.readyz().status == 503, 30)
    run = bridge.api.submit_run(task, 1)

    answer = explain(bridge.api, run)
    told = json.loads(bridge.cli("explain", run["id"], "--output", "json").stdout)

    assert answer["held_by"] == told["held_by"] == ["broker_down"]
    assert all(reason["unblocked_by"] for reason in answer["reasons"])
    broker.start()
    bridge.api.wait_state(run["id"], "launched", seconds=60)


def test_the_verbs_work_against_a_running_bridge(bridge, api, task):
    """Issue of the command line: each with `--output json`."""
    group = "g-" + task

    def run(*arguments):
        done = bridge.cli(*arguments, "--output", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert run("pause", "--task", task, "--reason", "r")["paused"] is True
    held = api.submit_run(task, 1, group=group)
    assert run("explain", held["id"])["held_by"] == ["task_paused"]
    assert run("pause", held["id"])["state"] == "paused"
    assert run("resume", held["id"])["state"] == "ready"
    assert run("pause", "--group", group, "--until", FOREVER)["paused_until"].startswith("2099")
    assert run("resume", "--task", task)["paused"] is False
    assert run("explain", held["id"])["held_by"] == ["group_paused"]
    assert run("tasks", "set", task, "concurrency_limit=1")["settings"]["concurrency_limit"] == 1
    assert task in [item["key"] for item in run("tasks", "--limit", "1000")["items"]]
    assert run("tasks", "show", task)["ready"] == 1
    assert run("groups", "set", group, "concurrency_limit=4")["settings"]["concurrency_limit"] == 4
    assert group in [item["name"] for item in run("groups", "--limit", "1000")["items"]]
    assert run("resume", "--group", group)["paused"] is False
    api.wait_state(held["id"], "launched")
    refused = bridge.cli("pause", held["id"], "--output", "json")
    assert (refused.returncode, json.loads(refused.stdout)["code"]) == (4, "dispatched")
