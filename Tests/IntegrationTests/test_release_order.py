"""The order of release as a worker sees it, on a real broker."""

import json
import random
import time

import pytest

from support.amqp import Producer, Worker
from support.waiting import until


def batch(api, runs, **defaults):
    answer = api.post("/v1/runs/batch", {"runs": runs, "defaults": defaults})
    assert answer.status == 200, answer
    return [item["run"] for item in answer.json["items"]]


def paused(api, task, runs, **defaults):
    """Stores runs while their task key is paused, so that the release finds all of them at once."""
    assert api.post(f"/v1/tasks/{task}/pause").status == 200
    return batch(api, [{"task": task, "payload": n, **fields} for n, fields in enumerate(runs)], **defaults)


def resume(api, task):
    assert api.post(f"/v1/tasks/{task}/resume").status == 200


def patch(api, task, **settings):
    answer = api.call("PATCH", f"/v1/tasks/{task}", settings)
    assert answer.status == 200, answer
    return answer.json["settings"]


def worked(worker, task, count):
    """The payloads of the next runs, each completed."""
    found = []
    for _ in range(count):
        held = worker.next(task)
        worker.tell(held, "completed")
        held.ack()
        found.append(json.loads(held.body))
    return found


def test_the_list_by_release_leaves_keys_out(api, task):
    """S3: `exclude_task`, repeatable; a wrong one is named."""
    keys = [f"{task}.{name}" for name in "abc"]
    runs = [paused(api, key, [{"tags": {"of": task}}])[0]["id"] for key in keys]

    listed = api.items("/v1/runs", state="ready", sort="release", exclude_task=keys[:2], **{"tag.of": task})

    assert [run["id"] for run in listed] == runs[2:]
    assert api.get("/v1/runs", exclude_task="No!").status == 422


def test_priorities_and_the_property(api, worker, task):
    """T59: 0 first and 0 real, default 128, older before newer; the AMQP property is 9 - floor(p * 10 / 256)."""
    given = [255, 26, 0, None, 25, 128, 0]
    runs = paused(api, task, [{} if priority is None else {"priority": priority} for priority in given])
    resume(api, task)

    held = [worker.next(task) for _ in runs]

    assert [json.loads(message.body) for message in held] == [2, 6, 4, 1, 3, 5, 0]
    assert [message.properties.priority for message in held] == [9, 9, 9, 8, 4, 4, 0]
    assert [run["priority"] for run in runs] == [255, 26, 0, 128, 25, 128, 0]
    for priority in (-1, 256, 1.5, "high"):
        answer = api.post("/v1/runs", {"task": task, "payload": 1, "priority": priority})
        assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/priority")


@pytest.mark.parametrize("order", ["fifo", "lifo"])
def test_a_thousand_runs_come_out_in_order(api, worker, task, order):
    """S1, S2, S3: by priority, then by the task key's order, a batch in its own; the list by release says so before."""
    patch(api, task, order=order)
    chance = random.Random(11)
    given = [chance.choice([0, 1, 127, 128, 255]) for _ in range(1_000)]
    runs = paused(api, task, [{"priority": priority} for priority in given])
    listed = [run["id"] for run in api.items("/v1/runs", state="ready", sort="release", task=task, limit=300)]
    resume(api, task)

    out = worked(worker, task, len(given))

    expected = sorted(range(1_000), key=lambda n: (given[n], n if order == "fifo" else -n))
    assert out == expected
    assert listed == [runs[n]["id"] for n in expected]
    wrong = api.call("PATCH", f"/v1/tasks/{task}", {"order": "random"})
    assert wrong.status == 422
    assert api.get(f"/v1/tasks/{task}").json["settings"]["order"] == order


def test_the_order_can_be_changed_until_the_last_moment(api, worker, task):
    """S1, N25: from the next release on; what is more urgent by then goes first, what is cancelled or paused never."""
    patch(api, task, queue_bound=1)
    runs = paused(api, task, [{} for _ in range(6)])
    patch(api, task, order="lifo")
    assert api.call("PATCH", f"/v1/runs/{runs[2]['id']}", {"priority": 0}).status == 200
    assert api.post(f"/v1/runs/{runs[4]['id']}/cancel").status == 200
    assert api.post(f"/v1/runs/{runs[3]['id']}/pause").status == 200
    resume(api, task)

    assert worked(worker, task, 4) == [2, 5, 1, 0]
    assert api.post(f"/v1/runs/{runs[3]['id']}/resume").status == 200
    assert worked(worker, task, 1) == [3]


def test_the_ready_runs_by_priority_with_what_holds_them(api, task):
    """T3: most urgent first, older first inside a priority; counts by the same filters, states add up."""
    runs = paused(api, task, [{"priority": 9}, {"priority": 3}, {"priority": 9}, {"delay_seconds": 3600},
                              {"depends_on": ["#3"]}, {"depends_on": ["#3"]}, {}])
    assert api.post(f"/v1/runs/{runs[6]['id']}/pause").status == 200

    page = api.get("/v1/runs", state="ready", sort="priority", task=task, limit=2).json
    rest = api.get("/v1/runs", state="ready", sort="priority", task=task, limit=2, cursor=page["next_cursor"]).json

    assert [run["id"] for run in page["items"] + rest["items"]] == [runs[n]["id"] for n in (1, 0, 2)]
    assert all("task_paused" in run["held_by"] for run in page["items"] + rest["items"])
    counted = api.post("/v1/runs/count", {"task": task, "state": ["ready", "scheduled"]}).json
    assert counted["count"] == 4
    assert {state: count for state, count in counted["by_state"].items() if count} == {"ready": 3, "scheduled": 1}
    for state, number in [("ready", 3), ("scheduled", 1), ("blocked", 2), ("paused", 1)]:
        assert api.post("/v1/runs/count", {"task": task, "state": state}).json["count"] == number
        assert len(api.items("/v1/runs", task=task, state=state)) == number


def test_retries_go_first_among_equals(api, worker, task):
    """P5: a retry before new runs of its priority, a more urgent new run before it."""
    first = api.submit_run(task, "retry", retry={"strategy": "constant", "initial_seconds": 0})
    held = worker.next(task)
    assert api.post(f"/v1/tasks/{task}/pause").status == 200
    batch(api, [{"task": task, "payload": "new"}, {"task": task, "payload": "urgent", "priority": 100},
                {"task": task, "payload": "late", "priority": 129}])
    worker.report(held, "failed")
    held.ack()
    api.wait_state(first["id"], "ready")
    resume(api, task)

    assert worked(worker, task, 4) == ["urgent", "retry", "new", "late"]


def test_restored_runs_go_first_among_equals(bridge, api, worker, connect, task):
    """P5, S3: what the broker lost goes before new runs of its priority, after more urgent ones; the list says so."""
    lost = [api.submit_run(task, f"lost{n}") for n in range(2)]
    for run in lost:
        api.wait_state(run["id"], "launched")
    assert api.post(f"/v1/tasks/{task}/pause").status == 200
    batch(api, [{"task": task, "payload": "new"}, {"task": task, "payload": "urgent", "priority": 100}])
    connect(Worker, bridge.amqp_url).channel.queue_delete(f"taskbridge.run.{task}")
    for run in lost:
        api.wait_state(run["id"], "ready")

    listed = api.items("/v1/runs", state="ready", sort="release", task=task, payload="true")
    resume(api, task)

    assert [run["payload"] for run in listed] == ["urgent", "lost0", "lost1", "new"]
    assert worked(worker, task, 4) == ["urgent", "lost0", "lost1", "new"]
    assert [api.run(run["id"])["attempt"] for run in lost] == [1, 1]


def test_a_waiting_consumer_gets_the_retry(bridge, api, connect, task):
    """P6, P7: the same queue, nothing to poll; an empty queue says so."""
    run = api.submit_run(task, 1, retry={"strategy": "constant", "initial_seconds": 0.5})
    worker = connect(Worker, bridge.amqp_url)
    worker.work(task, "failed")
    assert worker.get(f"taskbridge.run.{task}") is None
    got = []
    worker.channel.basic_consume(f"taskbridge.run.{task}", lambda *message: got.append(message))

    deadline = time.monotonic() + 20
    while not got and time.monotonic() < deadline:
        worker.connection.process_data_events(time_limit=0.2)

    _, method, properties, _ = got[0]
    assert (properties.headers["tb-run-id"], properties.headers["tb-attempt"]) == (run["id"], 2)
    worker.report(properties.correlation_id, "completed")
    worker.channel.basic_ack(method.delivery_tag)


def test_one_worker_with_two_keys(new_bridge, connect, task):
    """P8, P7, S4: with 10,000 runs in one key, one that arrives in the other does not wait for them."""
    bridge = new_bridge(check=False)
    api, worker, other = bridge.api, connect(Worker, bridge.amqp_url), task + ".other"
    batch(api, [{"task": task, "payload": n} for n in range(10_000)])
    assert worked(worker, task, 3) == [0, 1, 2]

    api.submit_run(other, "now")

    assert worked(worker, other, 1) == ["now"]
    assert api.get(f"/v1/tasks/{task}").json["ready"] > 8_000
    assert worked(worker, task, 2) == [3, 4]


def test_what_came_due_while_the_bridge_was_away_goes_oldest_first(new_bridge, connect, task):
    """P10: and what is not due is not delivered."""
    bridge = new_bridge({"queue_bound": 2})
    api = bridge.api
    now = time.time()

    def at(seconds):
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now + seconds)) + ".000Z"

    for n, seconds in enumerate([2, 1, 3600, 1]):
        api.submit_run(task, n, run_at=at(seconds))
    bridge.kill()
    until(lambda: time.time() > now + 2.2)
    bridge.start()
    worker = connect(Worker, bridge.amqp_url)

    assert worked(worker, task, 3) == [0, 1, 3]
    assert worker.get(f"taskbridge.run.{task}") is None
    until(lambda: api.counts() == {"completed": 3, "scheduled": 1})


def test_waiting_makes_more_urgent(api, worker, task):
    """T60, T61: the effective priority goes down while a run waits, its priority does not; the release follows."""
    patch(api, task, queue_bound=1, aging={"grace_seconds": 0, "interval_seconds": 1, "ceiling": 200})
    first = api.submit_run(task, "first")
    api.wait_state(first["id"], "launched")
    old = api.submit_run(task, "old", priority=255)
    until(lambda: api.run(old["id"])["effective_priority"] <= 253)
    new = api.submit_run(task, "new", priority=254)

    assert api.run(old["id"])["priority"] == 255
    listed = [run["id"] for run in api.items("/v1/runs", state="ready", sort="release", task=task)]
    assert listed == [old["id"], new["id"]]
    assert worked(worker, task, 3) == ["first", "old", "new"]
    # It keeps what it left with.
    left = api.run(old["id"])["effective_priority"]
    assert 200 <= left <= 253
    assert patch(api, task, aging=None)["aging"] is None
    assert api.run(old["id"])["effective_priority"] == 255


def test_who_waits_longest_goes_first_whoever_came_first(api, worker, task):
    """S3, T60: a run that was due late stands in the line before those that wait longer, and goes after them."""
    patch(api, task, queue_bound=1, aging={"grace_seconds": 0, "interval_seconds": 1, "ceiling": 0})
    first = api.submit_run(task, "first")
    api.wait_state(first["id"], "launched")
    late = api.submit_run(task, "late", priority=200, delay_seconds=1.5)
    old = api.submit_run(task, "old", priority=200)
    api.wait_state(late["id"], "ready")

    listed = [run["id"] for run in api.items("/v1/runs", state="ready", sort="release", task=task)]

    assert api.run(old["id"])["effective_priority"] < api.run(late["id"])["effective_priority"]
    assert listed == [old["id"], late["id"]]
    assert worked(worker, task, 3) == ["first", "old", "late"]


def test_paused_time_does_not_age(api, task):
    """T60: neither a pause of the run nor one of its task key."""
    patch(api, task, aging={"grace_seconds": 0, "interval_seconds": 1, "ceiling": 0})
    held = api.submit_run(task, 1, priority=200)
    alone = api.submit_run(task, 2, priority=200, run_at="2099-01-01T00:00:00Z")
    assert api.post(f"/v1/runs/{alone['id']}/pause").status == 200
    api.wait_state(held["id"], "launched")
    assert api.post(f"/v1/tasks/{task}/pause").status == 200
    run = api.submit_run(task, 3, priority=200)
    begun = time.monotonic()
    until(lambda: time.monotonic() > begun + 1.3)

    assert [api.run(one["id"])["effective_priority"] for one in (held, alone, run)] == [200, 200, 200]


def test_the_urgent_one_waits_behind_the_bound_at_most(new_bridge, connect, task):
    """T61, N24: with `queue_bound: 1` at most one run is claimed before it."""
    bridge = new_bridge({"queue_bound": 1})
    worker = connect(Worker, bridge.amqp_url)
    runs = batch(bridge.api, [{"task": task, "payload": n, "priority": 200} for n in range(50)])
    bridge.api.wait_state(runs[0]["id"], "launched")

    producer = connect(Producer, bridge.amqp_url)
    assert producer.submit(task, b'"urgent"', headers={"tb-priority": 0})["outcome"] == "inserted"

    assert worked(worker, task, 3) == [0, "urgent", 1]
