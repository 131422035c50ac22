"""A million runs wait, and one more urgent than all of them arrives."""

import json

import pika

from support.amqp import Producer, Worker
from support.api import API
from support.waiting import until

RUNS = 1_000_000
BATCH = 10_000
BOUND = 1_000


def test_the_urgent_one_of_a_million_goes_first(new_bridge, connect, task):
    """N24, T61: with 1,000,000 ready runs of priority 200, one of priority 0 is claimed after at most `queue_bound`
    others, on a queue that is full and a worker that takes what comes."""
    bridge = new_bridge({"queue_bound": BOUND}, check=False)
    api = API(bridge.port, keep=True)
    assert api.post(f"/v1/tasks/{task}/pause").status == 200
    body = json.dumps({"runs": [{"task": task, "payload": 1}] * BATCH, "defaults": {"priority": 200}}).encode()
    for _ in range(RUNS // BATCH):
        assert api.post("/v1/runs/batch", body=body, timeout=60).status == 200
    assert api.post(f"/v1/tasks/{task}/resume").status == 200
    until(lambda: api.get(f"/v1/tasks/{task}").json["launched"] == BOUND, 60)
    producer = connect(Producer, bridge.amqp_url)

    urgent = producer.submit(task, b'"urgent"', headers={"tb-priority": 0})["run"]

    worker = connect(Worker, bridge.amqp_url)
    worker.channel.basic_qos(prefetch_count=100)
    before = 0
    for method, properties, _ in worker.channel.consume(f"taskbridge.run.{task}", inactivity_timeout=20):
        assert method is not None, f"nothing more came after {before} runs"
        worker.channel.basic_publish(
            "", properties.reply_to, b'{"state":"completed"}',
            pika.BasicProperties(correlation_id=properties.correlation_id, delivery_mode=2))
        worker.channel.basic_ack(method.delivery_tag)
        if properties.headers["tb-run-id"] == urgent["id"]:
            break
        before += 1

    assert before <= BOUND
    worker.channel.cancel()
    api.wait_state(urgent["id"], "completed")
