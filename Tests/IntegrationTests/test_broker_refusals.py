"""What a broker may do to a message: refuse it, give it back, give it up, run short of room, lose its patience."""

import subprocess

from support.amqp import Worker
from support.proxy import Proxy
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


def short(text):
    """A short string of AMQP."""
    return bytes([len(text)]) + text.encode()


def test_what_no_queue_takes_is_unpublished_after_five_returns(broker, new_bridge, connect, task):
    """J44, J25: one error row with the broker's text, a loss; retried with back-off, in the end a dead letter. On the way to
    the broker the binding of the run queue is given another key, however often the bridge makes it."""
    url, proxy = broker.vhost_url(broker.new_vhost()), Proxy(broker.port)
    queue = short(f"taskbridge.run.{task}") + short("taskbridge.runs")
    proxy.replaced = (queue + short(task), queue + short("x" * len(task)))
    try:
        bridge = new_bridge(amqp_url=url.replace(f":{broker.port}/", f":{proxy.port}/"))
        api, worker = bridge.api, connect(Worker, url)
        lost = api.submit_run(task, 1, max_lost=1, **QUICK)["id"]
        retried = api.submit_run(task, 2, **QUICK)["id"]
        api.wait_state(lost, "dead_lettered", seconds=60)
        until(lambda: api.run(retried)["attempt"] > 1, 60, "the other one is tried again")
        proxy.replaced = None

        attempt, = api.attempts(lost)
        error, = api.errors(lost)
        assert api.dead_letter(lost)["reason"] == "undeliverable"
        assert (attempt["state"], attempt["dispatches"], error["type"]) == ("unpublished", 1, "unpublished")
        assert "NO_ROUTE" in error["message"]
        assert [row["new_state"] for row in api.audit(lost)] == ["ready", "queued", "error", "dead_lettered"]
        assert [row["new_state"] for row in api.audit(retried)][:5] == ["ready", "queued", "error", "scheduled", "ready"]
        # With the right key it gets through.
        assert worker.work(task, seconds=60)[0].run_id == retried
    finally:
        proxy.close()


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
