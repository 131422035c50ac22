"""What may leave the store, and how much of it: queues, bounds and shares, on a real broker."""

import json
import urllib.parse

from support.amqp import Worker
from support.waiting import until


def batch(api, runs, **defaults):
    answer = api.post("/v1/runs/batch", {"runs": runs, "defaults": defaults}, timeout=60)
    assert answer.status == 200, answer
    return [item["run"] for item in answer.json["items"]]


def patch(api, path, expect=200, **settings):
    answer = api.call("PATCH", path, settings)
    assert answer.status == expect, answer
    return answer.json


def line(api, task):
    return api.get(f"/v1/tasks/{task}").json


def unclaimed(api, task):
    return line(api, task)["queued"] + line(api, task)["launched"]


def done(worker, task, state="completed"):
    held = worker.next(task)
    worker.report(held, "running")
    worker.report(held, state)
    held.ack()
    return held


def test_a_queue_for_each_task_key(bridge, broker, api, worker, task):
    """P1: durable, bound to `taskbridge.runs`, with the arguments of the contract and no others; once."""
    tasks = [task, task + ".b"]
    for key in tasks + tasks:
        api.submit_run(key, 1)
    for key in tasks + tasks:
        done(worker, key)

    vhost = urllib.parse.quote(bridge.amqp_url.rsplit("/", 1)[1], safe="%")
    queues = {queue["name"]: queue for queue in json.loads(broker.manage("GET", f"queues/{vhost}"))}
    for key in tasks:
        queue = queues[f"taskbridge.run.{key}"]
        assert queue["durable"] and not queue["auto_delete"] and not queue["exclusive"]
        assert queue["arguments"] == {"x-queue-type": "quorum", "x-dead-letter-exchange": "taskbridge.returned"}
        bindings = json.loads(broker.manage("GET", f"queues/{vhost}/taskbridge.run.{key}/bindings"))
        assert [(one["source"], one["routing_key"]) for one in bindings if one["source"]] == [("taskbridge.runs", key)]


def test_a_queue_with_other_arguments_is_used_as_it_is(bridge, api, worker, task):
    """P1: and `doctor` names it with what differs; a queue of the bridge's own it does not name."""
    name = f"taskbridge.run.{task}"
    worker.channel.queue_declare(name, durable=True, arguments={"x-queue-type": "classic", "x-max-priority": 9})
    run = api.submit_run(task, 1)
    api.submit_run(task + ".own", 1)
    done(worker, task + ".own")

    assert done(worker, task).run_id == run["id"]
    doctor = bridge.cli("doctor", *bridge.settings, "--output", "json")
    named = [item for item in json.loads(doctor.stdout)["items"] if item["name"] == "broker_arguments"]
    assert [(item["status"], item["detail"].split(":")[0]) for item in named] == [("warning", name)], doctor.stdout
    assert "inequivalent arg" in named[0]["detail"]
    assert worker.message_count(f"taskbridge.dead.{task}") is None, "doctor makes no queue"


def test_a_queue_is_the_same_after_a_restart(new_bridge, broker, connect, task):
    """P1: restart and repeated dispatch change nothing."""
    bridge = new_bridge()
    worker = connect(Worker, bridge.amqp_url)
    vhost = urllib.parse.quote(bridge.amqp_url.rsplit("/", 1)[1], safe="%")

    def look():
        found = json.loads(broker.manage("GET", f"queues/{vhost}/taskbridge.run.{task}"))
        bindings = json.loads(broker.manage("GET", f"queues/{vhost}/taskbridge.run.{task}/bindings"))
        return found["arguments"], found["durable"], sorted((one["source"], one["routing_key"]) for one in bindings)

    seen = []
    for _ in range(2):
        for _ in range(2):
            bridge.api.submit_run(task, 1)
            done(worker, task)
            seen.append(look())
        bridge.restart()
    assert seen == seen[:1] * 4


def test_the_bound_holds_and_can_be_changed(api, worker, task):
    """P2: at once, also after the first use; null goes back; 0 says what to do instead."""
    patch(api, f"/v1/tasks/{task}", queue_bound=3)
    batch(api, [{"task": task, "payload": n} for n in range(20)])
    until(lambda: unclaimed(api, task) == 3)
    done(worker, task)
    until(lambda: unclaimed(api, task) == 3)
    patch(api, f"/v1/tasks/{task}", queue_bound=5)
    until(lambda: unclaimed(api, task) == 5)
    patch(api, f"/v1/tasks/{task}", queue_bound=2)
    for left in (4, 3, 2, 2):
        done(worker, task)
        until(lambda: unclaimed(api, task) == left)
    refused = patch(api, f"/v1/tasks/{task}", expect=422, queue_bound=0)
    assert "pause" in refused["errors"][0]["detail"]
    assert patch(api, f"/v1/tasks/{task}", queue_bound=None)["settings"]["queue_bound"] == 1_000
    until(lambda: line(api, task)["ready"] == 0)


def test_submitting_never_waits_for_the_queue(new_bridge, task):
    """P3: with the bound reached 100,000 more are taken, and wait with their reason."""
    bridge = new_bridge({"queue_bound": 10}, check=False)
    api = bridge.api
    first = batch(api, [{"task": task, "payload": 0} for _ in range(10)])
    api.wait_state(first[-1]["id"], "launched")

    for _ in range(10):
        answer = api.post("/v1/runs/batch", {"runs": [{"task": task, "payload": 1}] * 10_000}, timeout=60)
        assert answer.status == 200
        assert {item["outcome"] for item in answer.json["items"]} == {"inserted"}
    last = api.submit_run(task, 2)

    assert api.run(last["id"])["held_by"] == ["queue_bound"]
    assert line(api, task)["ready"] == 100_001
    assert unclaimed(api, task) == 10
    assert api.post("/v1/runs/count", {"task": task, "held_by": "queue_bound"}).json["count"] == 100_001


def test_groups_share_a_limit_by_weight(api, worker, task):
    """T72: 8 slots by weights 3 and 1 with a minimum of 2 are 6 and 2, whoever ends; what one leaves the other takes."""
    large, small = "large-" + task, "small-" + task
    patch(api, f"/v1/tasks/{task}", concurrency_limit=8)
    patch(api, f"/v1/groups/{large}", weight=3)
    settings = patch(api, f"/v1/groups/{small}", weight=1, minimum_slots=2)["settings"]
    assert (settings["weight"], settings["minimum_slots"]) == (1, 2)
    api.post(f"/v1/tasks/{task}/pause")
    batch(api, [{"task": task, "payload": 0, "group": group} for group in (large, small) for _ in range(12)])
    api.post(f"/v1/tasks/{task}/resume")

    def slots():
        groups = {group["name"]: group for group in api.items("/v1/groups")}
        return [sum(groups[name][state] for state in ("queued", "launched", "running")) for name in (large, small)]

    until(lambda: slots() == [6, 2])
    for _ in range(6):
        done(worker, task)
        until(lambda: slots() == [6, 2])
    while line(api, task)["ready"] or unclaimed(api, task):
        done(worker, task)


def test_a_full_key_does_not_slow_another(api, worker, task):
    """S4: keys that are full, paused or at their limit are passed over; the others flow."""
    full, held, limited, free = (f"{task}.{name}" for name in ("full", "held", "limited", "free"))
    patch(api, f"/v1/tasks/{full}", queue_bound=1)
    patch(api, f"/v1/tasks/{limited}", concurrency_limit=0)
    api.post(f"/v1/tasks/{held}/pause")
    for key in (full, held, limited):
        batch(api, [{"task": key, "payload": n} for n in range(200)])
    runs = batch(api, [{"task": free, "payload": n} for n in range(200)])

    out = [done(worker, free).run_id for _ in runs]

    assert out == [run["id"] for run in runs]
    assert [line(api, key)["ready"] for key in (full, held, limited)] == [199, 200, 200]


def test_runs_are_queued_once(api, worker, task):
    """S6: not before their prerequisites, not while paused, and only once, however often it is asked."""
    first = api.submit_run(task, "first")
    second = api.submit_run(task, "second", depends_on=[first["id"]])
    third = api.submit_run(task, "third", delay_seconds=3600)
    api.post(f"/v1/runs/{third['id']}/pause")
    assert done(worker, task).run_id == first["id"]
    held = worker.next(task, run_id=second["id"])
    assert worker.get(f"taskbridge.run.{task}") is None

    for _ in range(3):
        api.post(f"/v1/runs/{third['id']}/resume")
        api.post(f"/v1/runs/{third['id']}/state", {"state": "ready"})
        api.post(f"/v1/tasks/{task}/resume")
    worker.report(held, "completed")
    held.ack()

    assert done(worker, task).run_id == third["id"]
    assert worker.get(f"taskbridge.run.{task}") is None
    for run in (second, third):
        attempts = api.attempts(run["id"])
        assert [(attempt["number"], attempt["dispatches"]) for attempt in attempts] == [(1, 1)]


def test_slots_are_freed_by_every_end(api, worker, task):
    """P34, T71: whatever ends a run gives its slot back."""
    group = "g-" + task
    patch(api, f"/v1/groups/{group}", concurrency_limit=1)
    options = {"group": group, "max_attempts": 1}
    runs = batch(api, [{"task": task, "payload": n, **options} for n in range(6)])
    for state in ("completed", "failed", "cancelled"):
        done(worker, task, state)
    # Cancelled in the queue, cancelled while it runs, ended by force.
    api.wait_state(runs[3]["id"], "launched")
    assert api.post(f"/v1/runs/{runs[3]['id']}/cancel").status == 200
    stale = worker.next(task, run_id=runs[3]["id"])
    assert worker.report(stale, "running")["code"] == "terminal_run"
    stale.ack()
    held = worker.next(task, run_id=runs[4]["id"])
    worker.report(held, "running")
    assert api.post(f"/v1/runs/{runs[4]['id']}/cancel").status == 200
    worker.report(held, "cancelled")
    held.ack()
    held = worker.next(task, run_id=runs[5]["id"])
    worker.report(held, "running")
    assert api.post(f"/v1/runs/{runs[5]['id']}/state", {"state": "failed", "force": True}).json["status"] == "accept"
    held.ack()

    assert [item for item in api.items("/v1/groups") if item["name"] == group][0]["running"] == 0
    last = api.submit_run(task, "last", **options)
    assert done(worker, task).run_id == last["id"]


def test_what_the_submission_named_stays(api, worker, task):
    """S24: a changed setting holds for what waits and did not name it; limits act at the release."""
    api.post(f"/v1/tasks/{task}/pause")
    named = api.submit_run(task, 1, max_attempts=2, lease_seconds=77, retry={"initial_seconds": 3600,
                                                                             "max_seconds": 3600})
    plain = api.submit_run(task, 2)
    patch(api, f"/v1/tasks/{task}", max_attempts=7, lease_seconds=33, queue_bound=1, retry={"initial_seconds": 1800,
                                                                                           "max_seconds": 1800})
    assert [api.run(run["id"])["max_attempts"] for run in (named, plain)] == [2, 7]
    api.post(f"/v1/tasks/{task}/resume")

    for run, attempts, lease, seconds in ((named, 2, 77, 3600), (plain, 7, 33, 1800)):
        held = worker.next(task, run_id=run["id"])
        assert unclaimed(api, task) == 1
        assert (held.headers["tb-max-attempts"], held.headers["tb-lease-seconds"]) == (attempts, lease)
        answer = worker.report(held, "failed")
        held.ack()
        assert seconds - 60 < answer["retry_after_seconds"] <= seconds


def test_an_unbound_queue_is_bound_again(api, connect, bridge, task):
    """N23: the broker gives the message back, the queue is bound again, the run is delivered."""
    worker = connect(Worker, bridge.amqp_url)
    api.submit_run(task, 1)
    done(worker, task)
    worker.channel.queue_unbind(f"taskbridge.run.{task}", "taskbridge.runs", task)

    run = api.submit_run(task, 2)

    assert done(worker, task).run_id == run["id"]
    assert api.wait_state(run["id"], "completed")["attempt"] == 1


def test_a_deleted_queue_is_declared_again(api, connect, bridge, task):
    """N23: with a run in the store only, and with one in the queue."""
    worker = connect(Worker, bridge.amqp_url)
    lost = api.submit_run(task, 1)
    api.wait_state(lost["id"], "launched")
    worker.channel.queue_delete(f"taskbridge.run.{task}")

    run = api.submit_run(task, 2)

    assert {done(worker, task).run_id for _ in range(2)} == {lost["id"], run["id"]}
    for one in (lost, run):
        assert api.wait_state(one["id"], "completed")["attempt"] == 1
