"""What a broker may do to a message: refuse it, give it back, give it up, run short of room, lose its patience."""

import subprocess
import threading

import pika

from support.amqp import Worker
from support.waiting import until

QUICK = {"retry": {"strategy": "constant", "initial_seconds": 0.1}}
CONTROL = "/usr/lib/rabbitmq/bin/rabbitmqctl"


def declare(worker, task, **arguments):
    """The run queue of `task` as an operator might have made it; the bridge takes it as it is."""
    worker.channel.queue_declare(f"taskbridge.run.{task}", durable=True, arguments={
        "x-dead-letter-exchange": "taskbridge.returned", **{"x-" + name.replace("_", "-"): value
                                                            for name, value in arguments.items()}})


def test_what_the_broker_nacks_is_published_again(api, worker, task):
    """J44, N23: the same dispatch, the attempt unchanged, as often as it takes."""
    declare(worker, task, queue_type="classic", max_length=1, overflow="reject-publish")
    runs = [api.submit_run(task, n) for n in range(4)]
    ids = []

    for _ in runs:
        held, verdict = worker.work(task)
        ids.append(held.properties.message_id)
        assert verdict["code"] == "applied"

    assert sorted(ids) == sorted(f"{run['id']}.1.1" for run in runs)
    for run in runs:
        attempt, = api.attempts(run["id"])
        assert (attempt["number"], attempt["dispatches"], attempt["state"]) == (1, 1, "done")
        assert [row["new_state"] for row in api.audit(run["id"])] == \
            ["ready", "queued", "launched", "running", "completed"]


class Unbinder(threading.Thread):
    """Takes the binding of a run queue away again and again, faster than anybody needs it."""

    def __init__(self, url, task):
        super().__init__()
        self.url, self.task, self.ending = url, task, threading.Event()

    def run(self):
        connection = pika.BlockingConnection(pika.URLParameters(self.url))
        channel = connection.channel()
        while not self.ending.is_set():
            channel.queue_unbind(f"taskbridge.run.{self.task}", "taskbridge.runs", self.task)
        connection.close()


def test_what_no_queue_takes_is_unpublished_after_five_returns(bridge, api, worker, task):
    """J44, J25: one error row with the broker's text, a loss; retried with back-off, in the end a dead letter."""
    declare(worker, task, queue_type="classic")
    unbinders = [Unbinder(bridge.amqp_url, task) for _ in range(4)]
    for unbinder in unbinders:
        unbinder.start()
    try:
        answer = api.post("/v1/runs/batch", {
            "defaults": {"task": task, **QUICK}, "runs": [{"payload": n, "max_lost": 1 + n % 2 * 99} for n in range(40)]})
        runs = [item["run"]["id"] for item in answer.json["items"]]
        dead = until(lambda: api.items("/v1/dead-letters", task=task), 60, "one is given up")[0]
        retried = until(lambda: next((run for run in runs[1::2] if api.run(run)["attempt"] > 1), None), 60,
                        "one is tried again")
    finally:
        for unbinder in unbinders:
            unbinder.ending.set()
        for unbinder in unbinders:
            unbinder.join()

    assert dead["reason"] == "undeliverable" and dead["run"]["id"] in runs[::2]
    attempt, = api.attempts(dead["run"]["id"])
    error, = api.errors(dead["run"]["id"])
    assert (attempt["state"], attempt["dispatches"], error["type"]) == ("unpublished", 1, "unpublished")
    assert "NO_ROUTE" in error["message"]
    assert [row["new_state"] for row in api.audit(dead["run"]["id"])] == ["ready", "queued", "error", "dead_lettered"]
    assert [row["new_state"] for row in api.audit(retried)][:5] == ["ready", "queued", "error", "scheduled", "ready"]
    # With the binding left alone each of the others gets through.
    gone = {item["run"]["id"] for item in api.items("/v1/dead-letters", task=task, limit=1000)}
    done = {worker.work(task, seconds=60)[0].run_id for _ in set(runs) - gone}
    assert done == set(runs) - gone


def test_a_message_that_kills_its_workers_is_given_up_by_the_broker(bridge, api, worker, connect, task):
    """N29, J25: by the queue's delivery limit; a loss each time, in the end a dead letter with that reason."""
    declare(worker, task, queue_type="quorum", delivery_limit=1)
    run = api.submit_run(task, 1, max_lost=2, max_attempts=1, **QUICK)

    for attempt in (1, 2):
        for _ in range(2):
            victim = connect(Worker, bridge.amqp_url)
            held = victim.next(task, run_id=run["id"])
            assert held.attempt == attempt
            victim.close()

    api.wait_state(run["id"], "dead_lettered")
    assert api.dead_letter(run["id"])["reason"] == "delivery_limit"
    assert [attempt["state"] for attempt in api.attempts(run["id"])] == ["lost", "lost"]
    assert [error["type"] for error in api.errors(run["id"])] == ["delivery_limit"] * 2


def control(broker, *arguments):
    done = subprocess.run([CONTROL, *arguments], env=broker._environment(), cwd=broker.directory, capture_output=True,
                          text=True, timeout=60, **broker._identity)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_broker_short_of_memory_stops_releases_and_not_submissions(new_bridge, new_broker, connect, task):
    """N23: until the backlog's bound; what was accepted is delivered once there is room, each once."""
    broker = new_broker()
    broker.start()
    bridge = new_bridge({"backlog_limit": 5}, amqp_url=broker.url)
    api = bridge.api
    control(broker, "set_vm_memory_high_watermark", "absolute", "1")

    runs = [api.submit_run(task, n)["id"] for n in range(5)]
    full = api.post("/v1/runs", {"task": task, "payload": 9})
    until(lambda: api.get("/v1/snapshot").json["broker"]["blocked"], what="the bridge is told")

    assert (full.status, full.code) == (429, "backlog_full") and int(full.headers["Retry-After"]) >= 1
    assert {api.run(run)["state"] for run in runs} <= {"ready", "queued"}
    assert not [run for run in runs if "launched" in [row["new_state"] for row in api.audit(run)]]
    control(broker, "set_vm_memory_high_watermark", "0.8")
    worker = connect(Worker, broker.url)
    assert [worker.work(task, seconds=30)[0].properties.message_id for _ in runs] == [f"{run}.1.1" for run in runs]
    assert worker.message_count(f"taskbridge.run.{task}") == 0


def test_a_broker_that_loses_patience_with_consumers(new_bridge, new_broker, connect, task):
    """N21: it closes the channel of a worker that acknowledges late, and one that acknowledged after `running` never
    notices: one attempt, one delivery, its channel open."""
    broker = new_broker(arguments="-rabbit consumer_timeout 2000 -rabbit channel_tick_interval 500")
    broker.start()
    bridge = new_bridge(amqp_url=broker.url)
    api = bridge.api
    run, other = api.submit_run(task, 1), api.submit_run(task + ".late", 2)
    worker, late = connect(Worker, broker.url), connect(Worker, broker.url)
    held = worker.next(task)
    worker.report(held, "running", claim="c")
    held.ack()

    late.next(task + ".late", run_id=other["id"])
    until(lambda: late.connection.process_data_events(time_limit=0.1) or late.channel.is_closed, 30,
          "its channel is closed", every=0)
    assert late.get(f"taskbridge.run.{task}.late").run_id == other["id"]

    assert worker.report(held, "heartbeat", claim="c")["code"] == "applied"
    assert worker.report(held, "completed", claim="c")["code"] == "applied"
    assert worker.channel.is_open and worker.message_count(f"taskbridge.run.{task}") == 0
    attempt, = api.attempts(run["id"])
    assert (attempt["number"], attempt["dispatches"], attempt["state"]) == (1, 1, "done")
