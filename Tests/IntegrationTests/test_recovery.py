"""What a restart, a restore and an outage must not cost, beyond the single faults of test_restore.py."""

import json
import threading
import time

import pika
import pytest

from support.amqp import Worker
from support.api import API, Unreachable
from support.waiting import until

KILLS_OF_BRIDGE, KILLS_OF_BROKER = 16, 4


def submit_batch(api, task, count, **fields):
    """The ids of `count` runs of one batch, in order."""
    answer = api.call("POST", "/v1/runs/batch", {"defaults": {"task": task, **fields},
                                                 "runs": [{"payload": n} for n in range(count)]}, timeout=60)
    assert answer.status == 200, answer
    return [item["run"]["id"] for item in answer.json["items"]]


def restores(bridge):
    """How many restores came to their end, by the log."""
    with open(bridge.log_path, errors="replace") as log:
        return sum("restore done" in line for line in log)


def test_a_broker_lost_in_the_middle_of_restore(new_bridge, new_broker, connect, task):
    """P9: not ready with the reason, starts over by itself, leaves nothing out, is never taken for done half-way."""
    tasks = [f"{task}.{n}" for n in range(150)]
    broker = new_broker()
    broker.start()
    # RabbitMQ 3.10 may lose the leader of a quorum queue for good when it is killed soon after a start.
    bridge = new_bridge({"queue_type": "classic"}, amqp_url=broker.url)
    api = bridge.api
    runs = [api.submit_run(key) for key in tasks]
    for run in runs:
        api.wait_state(run["id"], "launched", seconds=60)

    broken_off = 0
    for _ in range(10):
        broker.kill()
        until(lambda: bridge.readyz().status == 503, what="the bridge notices")
        done = restores(bridge)
        broker.start()
        until(lambda: bridge.readyz().status == 200 or b"restor" in bridge.readyz().body, 60, "a restore", every=0.002)
        broker.kill()
        until(lambda: bridge.readyz().status == 503 and b"restor" not in bridge.readyz().body, 30, "it notices")
        if restores(bridge) == done:
            broken_off += 1
        broker.start()
        until(lambda: bridge.readyz().status == 200, 60, "ready again")
        if broken_off:
            break

    assert broken_off, "no restore was broken off in its middle"
    worker = connect(Worker, broker.url)
    for key, run in zip(tasks, runs):
        assert worker.work(key)[0].properties.message_id == f"{run['id']}.1.1"
        assert worker.message_count(f"taskbridge.run.{key}") == 0


def test_fifty_thousand_restored_runs_each_once(new_bridge, new_broker, task):
    """P11, P2: a fresh broker while submissions go on: at most `queue_bound` in the queue, each run once."""
    broker = new_broker()
    broker.start()
    bridge = new_bridge(amqp_url=broker.url, config={"queue_bound": 700})
    expected = [run for _ in range(5) for run in submit_batch(bridge.api, task, 10_000)]
    until(lambda: bridge.api.get("/v1/queue/status").json["items"][0]["ready"] == 50_000 - 700, 30, "the queue is full")
    more, stop = [], threading.Event()

    def submit_on():
        api = API(bridge.port, keep=True)
        while not stop.is_set():
            try:
                more.append(api.submit_run(task, 0)["id"])
            except Unreachable:
                continue

    broker.kill()
    broker.wipe()
    submitter = threading.Thread(target=submit_on)
    submitter.start()
    try:
        broker.start()
        until(lambda: bridge.readyz().status == 200, 60, "ready again")
        delivered, deepest = consume(broker.url, task, 50_000)
    finally:
        stop.set()
        submitter.join(30)
    rest, _ = consume(broker.url, task, len(expected) + len(more) - len(delivered))

    found = [message.rsplit(".", 2)[0] for message in delivered + rest]
    assert len(found) == len(set(found)) and set(found) == set(expected + more)
    assert deepest <= 700


def consume(url, task, count):
    """Completes `count` runs without waiting for answers; their message ids, and the deepest queue seen."""
    worker, queue = Worker(url), f"taskbridge.run.{task}"
    worker.channel.basic_qos(prefetch_count=300)
    taken, deepest = [], 0
    try:
        for method, properties, _ in worker.channel.consume(queue, inactivity_timeout=30):
            assert method is not None, f"{len(taken)} of {count} came"
            if len(taken) % 2_000 == 0:
                deepest = max(deepest, worker.message_count(queue))
            taken.append(properties.message_id)
            worker.channel.basic_publish("", properties.reply_to, b'{"state":"completed"}', pika.BasicProperties(
                correlation_id=properties.correlation_id, delivery_mode=2))
            worker.channel.basic_ack(method.delivery_tag)
            if len(taken) == count:
                break
        worker.channel.cancel()
    finally:
        worker.close()
    return taken, deepest


def test_twenty_kills_cost_a_run_nothing(new_bridge, new_broker, connect, task):
    """T68, T79: of the bridge and of the broker, while a worker works on; what others scheduled stays as it was."""
    broker = new_broker()
    broker.start()
    bridge = new_bridge(amqp_url=broker.url)
    api = bridge.api
    run = api.submit_run(task, 1, lease_seconds=30, max_lost=1, max_attempts=1)
    later = api.submit_run(task, 2, run_at="2099-01-01T00:00:00Z", priority=7)
    worker = connect(Worker, broker.url)
    held = worker.next(task)
    worker.report(held, "running", claim="c")
    held.ack()
    started = api.run(run["id"])["started_at"]
    # RabbitMQ 3.10 loses a quorum queue for good when it is killed within 0.1 s of its declaration.
    until(lambda: worker.report(held, "heartbeat", claim="c")["code"] == "applied", every=1)

    for kill in range(KILLS_OF_BRIDGE + KILLS_OF_BROKER):
        if kill % 5 == 4:
            worker.close()
            broker.kill()
            until(lambda: bridge.readyz().status == 503, what="the bridge notices")
            broker.start()
            until(lambda: bridge.readyz().status == 200, 60, "ready again")
            worker = connect(Worker, broker.url)
        else:
            bridge.restart()
        assert worker.report(held, "heartbeat", claim="c")["code"] == "applied"

    assert worker.report(held, "completed", claim="c", result=42)["code"] == "applied"
    done = api.run(run["id"])
    assert (done["state"], done["attempt"], done["started_at"], done["result"]) == ("completed", 1, started, 42)
    assert [row["new_state"] for row in api.audit(run["id"])] == ["ready", "queued", "launched", "running", "completed"]
    kept = api.run(later["id"])
    assert (kept["state"], kept["run_at"], kept["priority"]) == ("scheduled", "2099-01-01T00:00:00.000Z", 7)


def test_what_came_due_meanwhile_goes_first_and_oldest_first(new_bridge, connect, task):
    """P10, T79: after a restart; what is due later is not delivered before its time."""
    bridge = new_bridge({"queue_bound": 1})
    api = bridge.api
    due = [api.submit_run(task, n, delay_seconds=1 + n / 10) for n in range(5)]
    later = api.submit_run(task, 9, delay_seconds=3600)
    bridge.kill()
    end = time.time() + 2
    until(lambda: time.time() > end, what="they come due while the bridge is down")
    bridge.start()
    new = api.submit_run(task, 10)
    worker = connect(Worker, bridge.amqp_url)

    order = [worker.work(task)[0].run_id for _ in range(6)]

    assert order == [run["id"] for run in due] + [new["id"]]
    assert api.run(later["id"])["state"] == "scheduled"
    assert worker.get(f"taskbridge.run.{task}") is None


def test_a_worker_that_comes_back_late_is_fenced(new_bridge, connect, task):
    """T79, S33: its end is not recorded twice."""
    bridge = new_bridge()
    api = bridge.api
    run = api.submit_run(task, 1, lease_seconds=1, retry={"initial_seconds": 0.1})
    worker = connect(Worker, bridge.amqp_url)
    late = worker.next(task)
    worker.report(late, "running", claim="late")
    late.ack()
    bridge.restart()
    second = worker.next(task, 30)
    assert second.attempt == 2
    verdict = worker.report(second, "completed", result="second")
    second.ack()

    refused = worker.report(late, "completed", claim="late", result="first")

    assert (verdict["code"], refused["code"], refused["action"]) == ("applied", "stale_attempt", "stop")
    assert api.run(run["id"])["result"] == "second"
    assert "stale_attempt" in [report["code"] for report in api.reports(run["id"])]


def test_a_waiting_consumer_gets_a_retry(new_bridge, task):
    """P6: blocked on an empty queue, within a second of its due time; there is no second queue to poll."""
    bridge = new_bridge()
    run = bridge.api.submit_run(task, 1, retry={"initial_seconds": 1})
    worker, taken = Worker(bridge.amqp_url), []
    try:
        bridge.api.wait_state(run["id"], "launched")
        for method, properties, body in worker.channel.consume(f"taskbridge.run.{task}", inactivity_timeout=20):
            assert method is not None, "the retry did not come"
            taken.append((time.time(), properties.headers["tb-attempt"], json.loads(body)))
            state = "failed" if len(taken) == 1 else "completed"
            worker.channel.basic_publish("", properties.reply_to, json.dumps({"state": state}), pika.BasicProperties(
                correlation_id=properties.correlation_id))
            worker.channel.basic_ack(method.delivery_tag)
            if len(taken) == 2:
                break
    finally:
        worker.close()

    audit = bridge.api.audit(run["id"])
    due = next(row for row in audit if row["new_state"] == "ready" and row["previous_state"] == "scheduled")
    assert [(attempt, body) for _, attempt, body in taken] == [(1, 1), (2, 1)]
    assert due["reason"] == "due"


@pytest.mark.parametrize("state", ["running", "completed"])
def test_the_bridge_dies_between_commit_and_answer(new_bridge, connect, task, state):
    """N7, P18: told again, the report is a duplicate; nothing is recorded twice."""
    bridge = new_bridge()
    run = bridge.api.submit_run(task, 1)
    worker = connect(Worker, bridge.amqp_url)
    held = worker.next(task)
    worker.tell(held, state, claim="c")
    bridge.api.wait_state(run["id"], state)

    bridge.restart()

    assert worker.report(held, state, claim="c")["code"] == "duplicate"
    assert [row["new_state"] for row in bridge.api.audit(run["id"])].count(state) == 1
