"""The store meets another broker, another store's broker, a broker that is ahead of it, and one that stalls."""

import os
import shutil
import signal
import sqlite3
import subprocess

import pytest

from support.amqp import Worker
from support.bridge import Bridge
from support.waiting import until


def test_an_empty_broker_gets_everything_by_itself(new_bridge, broker, connect, task):
    """N2, J51: the same store, another URL: queued and launched runs go out again free, the running one goes on."""
    bridge = new_bridge()
    api = bridge.api
    running = api.submit_run(task, 0, max_lost=1)
    held = connect(Worker, bridge.amqp_url).next(task, run_id=running["id"])
    assert api.report(held.token, "running", claim="c")["code"] == "applied"
    runs = [api.submit_run(task, n, max_lost=1, max_attempts=1)["id"] for n in range(20)]
    for run in runs:
        api.wait_state(run, "launched")
    bridge.stop()

    bridge.amqp_url = broker.vhost_url(broker.new_vhost())
    bridge.start()

    worker = connect(Worker, bridge.amqp_url)
    assert worker.report(held, "completed", claim="c")["code"] == "applied"
    done = [worker.work(task)[0] for _ in runs]
    assert [held.properties.message_id for held in done] == [f"{run}.1.2" for run in runs]
    for run in runs:
        attempt, = api.attempts(run)
        assert (api.run(run)["state"], attempt["number"], attempt["dispatches"]) == ("completed", 1, 2)
    assert worker.message_count(f"taskbridge.run.{task}") == 0


def test_what_another_store_left_is_left_alone(new_bridge, tmp_path, connect, task):
    """N2: refused with what was found; adopted, its messages stay, and its workers' reports are quarantined."""
    first = new_bridge()
    run = first.api.submit_run(task, 1)
    first.api.wait_state(run["id"], "launched")
    first.stop()
    second = Bridge(tmp_path / "second", first.amqp_url)
    try:
        refused = subprocess.run(second.command(), capture_output=True, text=True, timeout=60)
        assert refused.returncode == 5
        assert "--adopt-broker" in refused.stderr and "marker of another store" in refused.stderr

        second.start("--adopt-broker")
        worker = connect(Worker, second.amqp_url)
        assert worker.message_count(f"taskbridge.run.{task}") == 1
        held = worker.next(task, run_id=run["id"])
        answer = worker.report(held, "completed")
        held.ack()

        assert (answer["verdict"], answer["code"], answer["action"]) == ("reject", "unknown_token", "stop")
        assert [row["code"] for row in second.api.quarantine()] == ["unknown_token"]
        mine = second.api.submit_run(task, 2)
        assert worker.work(task)[0].run_id == mine["id"]
    finally:
        second.close()


def test_a_restored_backup_is_refused_unless_accepted(new_bridge, connect, task):
    """N2: the broker is ahead of the store, which is a backup; reports of runs it does not know are quarantined."""
    bridge = new_bridge()
    bridge.stop()
    shutil.copytree(bridge.data, bridge.data + ".backup")
    bridge.start()
    run = bridge.api.submit_run(task, 1)
    bridge.api.wait_state(run["id"], "launched")
    bridge.stop()
    shutil.rmtree(bridge.data)
    shutil.move(bridge.data + ".backup", bridge.data)

    refused = subprocess.run(bridge.command(), capture_output=True, text=True, timeout=60)

    assert refused.returncode == 5
    assert "restored backup" in refused.stderr and "--accept-rollback" in refused.stderr
    bridge.start("--accept-rollback")
    worker = connect(Worker, bridge.amqp_url)
    held, verdict = worker.work(task)
    assert (held.run_id, verdict["code"]) == (run["id"], "unknown_token")
    assert bridge.api.get(f"/v1/runs/{run['id']}").status == 404
    bridge.stop()
    # Once is enough: the numbers have met.
    bridge.start()


def test_what_was_committed_and_not_confirmed_is_published_again(new_bridge, new_broker, connect, task):
    """J48, N8, J26: under the same message ids and tokens, whether the broker had it or not."""
    broker = new_broker()
    broker.start()
    bridge = new_bridge(amqp_url=broker.url)
    api = bridge.api
    api.submit_run(task, 0)
    connect(Worker, broker.url).work(task)

    os.kill(broker.process.pid, signal.SIGSTOP)
    try:
        answer = api.post("/v1/runs/batch", {"runs": [{"task": task, "payload": n} for n in range(1_000)]})
        runs = [item["run"]["id"] for item in answer.json["items"]]
        # More than one slice is stored as handed over, and no confirm can come.
        handed = until(lambda: api.counts().get("queued", 0) >= 500 and api.counts()["queued"], what="a window is full")
        bridge.kill()
    finally:
        os.kill(broker.process.pid, signal.SIGCONT)
    bridge.start()

    assert 500 <= handed < 1_000
    until(lambda: api.post("/v1/runs/count", {"task": task}).json["by_state"]["launched"] >= 1_000, 60, "they are there")
    worker, tokens = connect(Worker, broker.url), {}
    while len(tokens) < len(runs):
        held = worker.next(task)
        # Those that the broker had got come twice: the same message.
        assert tokens.setdefault(held.properties.message_id, held.token) == held.token
        if worker.report(held, "completed")["code"] == "applied":
            assert len([token for token in tokens.values() if token == held.token]) == 1
        held.ack()
    assert set(tokens) == {f"{run}.1.1" for run in runs}
    until(lambda: api.counts() == {"completed": 1_001}, what="all are done")


@pytest.mark.parametrize("is_purged", [False, True])
def test_a_purge_that_was_broken_off_is_finished(new_bridge, connect, task, is_purged):
    """N4: killed between the note that a purge begins and its end, messages gone or not: the next start finishes it, each
    run is delivered once."""
    bridge = new_bridge()
    runs = [bridge.api.submit_run(task, n, max_lost=1, max_attempts=1)["id"] for n in range(30)]
    for run in runs:
        bridge.api.wait_state(run, "launched")
    bridge.stop()
    with sqlite3.connect(f"{bridge.data}/taskbridge.db") as store:
        assert store.execute("UPDATE queues SET phase = 'purging' WHERE task = ?", [task]).rowcount == 1
    store.close()
    if is_purged:
        connect(Worker, bridge.amqp_url).channel.queue_purge(f"taskbridge.run.{task}")

    bridge.start()

    worker = connect(Worker, bridge.amqp_url)
    assert [worker.work(task)[0].properties.message_id for _ in runs] == [f"{run}.1.2" for run in runs]
    assert worker.message_count(f"taskbridge.run.{task}") == 0
    with sqlite3.connect(f"file:{bridge.data}/taskbridge.db?mode=ro", uri=True) as store:
        assert store.execute("SELECT phase, stale FROM queues WHERE task = ?", [task]).fetchall() == [(None, 0)]
