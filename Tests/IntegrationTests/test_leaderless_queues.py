"""Quorum queues that RabbitMQ has left without a leader: they exist, take messages, and answer nothing."""

import os
import subprocess
import sys

import pika

from support.amqp import Worker
from support.waiting import until


def leaderless_queue(broker, queue):
    """A quorum queue that takes messages and confirms none: RabbitMQ 3.10 leaves one when it is killed right after the
    declaration. Tries again until there is one."""
    for _ in range(10):
        connection = pika.BlockingConnection(pika.URLParameters(broker.url))
        connection.channel().queue_declare(queue, durable=True, arguments={
            "x-queue-type": "quorum", "x-dead-letter-exchange": "taskbridge.returned"})
        broker.kill()
        broker.start()
        if not answers(broker, queue):
            return
        connection = pika.BlockingConnection(pika.URLParameters(broker.url))
        connection.channel().queue_delete(queue)
        connection.close()
    raise AssertionError("the broker mended its queue ten times")


PUBLISH = """
import sys, pika
channel = pika.BlockingConnection(pika.URLParameters(sys.argv[1])).channel()
channel.confirm_delivery()
channel.basic_publish("", sys.argv[2], b"?")
"""


def answers(broker, queue):
    """Whether the broker confirms a message to the queue; in a process of its own, since the client would wait for ever."""
    try:
        return subprocess.run([sys.executable, "-c", PUBLISH, broker.url, queue], timeout=3).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def test_a_queue_that_confirms_nothing_holds_its_own_task_key_alone(new_bridge, new_broker, connect, task):
    """S4, N11: `queue_degraded`; the others flow."""
    broker = new_broker()
    broker.start()
    queue = f"taskbridge.run.{task}"
    leaderless_queue(broker, queue)
    bridge = new_bridge({"confirm_timeout_seconds": 2, "claim_latency_max_seconds": 2}, amqp_url=broker.url)
    api = bridge.api
    # More than a publish window of 512: without the watch they would fill it for good.
    swallowed = [item["run"]["id"] for item in api.post("/v1/runs/batch", {"runs": [
        {"task": task, "payload": n} for n in range(600)]}).json["items"]]

    until(lambda: queue in bridge.readyz().body.decode(), 30, "the queue is found out")
    other = api.submit_run(task + ".other", 1)
    api.wait_state(other["id"], "launched")
    assert "queue_degraded" in api.run(swallowed[-1])["held_by"]

    cleaner = connect(Worker, broker.url)
    cleaner.channel.queue_delete(queue)
    worker = connect(Worker, broker.url)
    done = {worker.work(task, seconds=30)[0].run_id for _ in swallowed}
    assert done == set(swallowed)
    assert {attempt["number"] for attempt in api.attempts(swallowed[0])} == {1}


def test_not_ready_while_reports_cannot_be_read(new_bridge, new_broker, connect, task):
    """P9: no lease ends and no run leaves as long as `taskbridge.events` takes no consumer; deleted, all goes on."""
    broker = new_broker()
    broker.start()
    leaderless_queue(broker, "taskbridge.events")
    bridge = new_bridge(amqp_url=broker.url, start=False)
    begin = os.path.getsize(bridge.log_path) if os.path.exists(bridge.log_path) else 0
    bridge.start(wait_ready=False)
    run = bridge.api.submit_run(task)

    until(lambda: b"quorum_status taskbridge.events" in bridge.readyz().body, 30, "it names the queue")
    assert bridge.readyz().status == 503
    assert bridge.api.run(run["id"])["state"] == "ready"
    with open(bridge.log_path, errors="replace") as log:
        log.seek(begin)
        assert " info ready " not in log.read()

    connect(Worker, broker.url).channel.queue_delete("taskbridge.events")
    until(lambda: bridge.readyz().status == 200, 60, "ready")
    assert connect(Worker, broker.url).work(task)[1]["code"] == "applied"
