"""Restarts, outages, fresh brokers, and everything that keeps a bridge from starting."""

import os
import shutil
import socket
import sqlite3
import stat
import subprocess
import time

import pytest

from support.amqp import Producer, Worker
from support.bridge import Bridge
from support.times import seconds
from support.waiting import until

QUICK = {"retry": {"strategy": "constant", "initial_seconds": 0.1}}


def refused(bridge, *extra, seconds=30):
    """Starts a bridge that must not start; returns (exit status, what it said)."""
    done = subprocess.run(bridge.command(*extra), capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          timeout=seconds)
    said = done.stderr + done.stdout
    assert "Fatal error" not in said and "Traceback" not in said
    return done.returncode, said


# Kill -9 of the bridge.

def test_scheduled_runs_survive_kill_9_and_come_due(new_bridge, connect, task):
    """T62, P10, P13: nothing is lost, nothing comes early."""
    bridge = new_bridge()
    runs = [bridge.api.submit_run(task, n, delay_seconds=3) for n in range(20)]
    worker = connect(Worker, bridge.amqp_url)

    bridge.kill()
    until(lambda: time.time() > seconds(runs[-1]["run_at"]), what="the runs come due while the bridge is down")
    bridge.start()

    done = [worker.work(task)[0].run_id for _ in runs]
    assert sorted(done) == sorted(run["id"] for run in runs)


def test_kill_9_costs_a_running_worker_nothing(new_bridge, connect, task):
    """T79, N5: the lease stands still, the end that was sent meanwhile counts."""
    bridge = new_bridge()
    worker = connect(Worker, bridge.amqp_url)
    run = bridge.api.submit_run(task, 1, lease_seconds=2, max_lost=0)
    held = worker.next(task)
    worker.report(held, "running", claim="c")
    held.ack()

    bridge.kill()
    worker.tell(held, "completed", claim="c", result="said while it was down")
    until(lambda: time.time() > seconds(run["created_at"]) + 5, what="the lease passes while the bridge is down")
    bridge.start()

    done = bridge.api.wait_state(run["id"], "completed")
    assert (done["result"], done["attempt"]) == ("said while it was down", 1)


def test_a_launched_run_is_not_doubled_by_a_restart(new_bridge, connect, task):
    """J26, J48: the same dispatch, once."""
    bridge = new_bridge()
    worker = connect(Worker, bridge.amqp_url)
    run = bridge.api.submit_run(task, 1)
    bridge.api.wait_state(run["id"], "launched")

    for _ in range(3):
        bridge.restart()

    assert worker.message_count(f"taskbridge.run.{task}") == 1
    held, verdict = worker.work(task)
    assert (held.properties.message_id, verdict["code"]) == (f"{run['id']}.1.1", "applied")


def test_sigterm_ends_in_an_orderly_way(new_bridge, task):
    bridge = new_bridge()
    bridge.api.submit_run(task, 1)

    assert bridge.stop() == 0

    with sqlite3.connect(f"file:{bridge.data}/taskbridge.db?mode=ro", uri=True) as store:
        assert store.execute("PRAGMA quick_check").fetchone() == ("ok",)


def test_the_store_is_private(new_bridge):
    bridge = new_bridge()

    mode = os.stat(os.path.join(bridge.data, "taskbridge.db")).st_mode

    assert stat.S_IMODE(mode) == 0o600


# The broker away, or back empty.

def test_a_broker_down_at_start_is_no_reason_not_to_serve(new_bridge, new_broker, connect, task):
    """P3, N6: submissions wait in the store."""
    broker = new_broker()
    bridge = new_bridge(amqp_url=broker.url, wait_ready=False)
    api = bridge.api

    ready = bridge.readyz()
    assert ready.status == 503
    assert "broker" in ready.body.decode().lower()
    assert "guest:guest" not in ready.body.decode()
    runs = [api.submit_run(task, n) for n in range(30)]
    assert api.get("/livez").status == 200
    held_by = api.run(runs[0]["id"])["held_by"]
    assert held_by and ("broker_down" in held_by or "restoring" in held_by)

    broker.start()
    until(lambda: bridge.readyz().status == 200, 60, "ready once the broker is there")
    worker = connect(Worker, broker.url)
    done = [worker.work(task)[0].run_id for _ in runs]
    assert done == [run["id"] for run in runs]


def test_an_outage_costs_no_attempt_and_ends_no_lease(new_bridge, new_broker, connect, task):
    """N5, T68: I15."""
    broker = new_broker()
    broker.start()
    bridge = new_bridge(amqp_url=broker.url)
    api = bridge.api
    run = api.submit_run(task, 1, lease_seconds=2, max_lost=0)
    waiting = api.submit_run(task + ".b", 2)
    worker = connect(Worker, broker.url)
    held = worker.next(task)
    worker.report(held, "running", claim="c")
    held.ack()
    api.wait_state(waiting["id"], "launched")
    worker.close()
    # RabbitMQ 3.10 loses a quorum queue for good when it is killed within 0.1 s of the declaration.
    until(lambda: time.time() > seconds(api.run(waiting["id"])["launched_at"]) + 1, what="the queue is a second old")

    broker.kill()
    until(lambda: bridge.readyz().status == 503, what="the bridge notices")
    late = api.submit_run(task + ".c", 3)
    until(lambda: time.time() > seconds(late["created_at"]) + 5, what="the lease passes during the outage")
    assert api.run(run["id"])["state"] == "running"
    broker.start()
    until(lambda: bridge.readyz().status == 200, 60, "ready again")

    worker = connect(Worker, broker.url)
    assert worker.report(held, "completed", claim="c")["code"] == "applied"
    assert worker.work(task + ".b")[0].properties.message_id == f"{waiting['id']}.1.1"
    assert worker.work(task + ".c")[0].run_id == late["id"]
    assert [attempt["number"] for attempt in api.attempts(waiting["id"])] == [1]


@pytest.mark.parametrize("bridge_dies_too", [False, True])
def test_a_fresh_broker_gets_everything_again(new_bridge, new_broker, connect, task, bridge_dies_too):
    """N1, N2: the same attempt, next dispatch, free."""
    broker = new_broker()
    broker.start()
    bridge = new_bridge(amqp_url=broker.url)
    api = bridge.api
    runs = [item["run"] for item in api.post("/v1/runs/batch", {"runs": [
        {"task": task, "payload": n} for n in range(50)]}).json["items"]]
    for run in runs:
        api.wait_state(run["id"], "launched")
    worker = connect(Worker, broker.url)
    old = worker.next(task)
    worker.close()

    if bridge_dies_too:
        bridge.kill()
    broker.kill()
    broker.wipe()
    broker.start()
    if bridge_dies_too:
        bridge.start()
    until(lambda: bridge.readyz().status == 200, 60, "ready again")

    worker = connect(Worker, broker.url)
    stale = worker.report(old, "completed", result="from before the wipe")
    assert stale["code"] in ("stale_attempt", "applied")
    expected = {run["id"] for run in runs} - ({old.run_id} if stale["code"] == "applied" else set())
    done = [worker.work(task, seconds=30)[0] for _ in expected]
    assert {held.run_id for held in done} == expected
    for held in done:
        # The same attempt, the next dispatch, a new token: an outage is nobody's fault.
        assert held.properties.message_id == f"{held.run_id}.1.2"
    assert worker.message_count(f"taskbridge.run.{task}") == 0


def test_deleted_queues_come_back(new_bridge, broker, connect, task):
    """N1, N23."""
    vhost = broker.new_vhost()
    bridge = new_bridge(amqp_url=broker.vhost_url(vhost))
    api = bridge.api
    run = api.submit_run(task, 1)
    api.wait_state(run["id"], "launched")
    worker = connect(Worker, bridge.amqp_url)

    for queue in (f"taskbridge.run.{task}", "taskbridge.events", "taskbridge.submit", "taskbridge.returned"):
        worker.connection.channel().queue_delete(queue)

    held = worker.next(task, seconds=40)
    assert held.run_id == run["id"]
    assert worker.report(held, "completed")["code"] == "applied"
    held.ack()
    producer = connect(Producer, bridge.amqp_url)
    assert producer.submit(task, b"1")["outcome"] == "inserted"
    assert api.attempts(run["id"])[0]["number"] == 1


def test_a_deleted_exchange_comes_back(new_bridge, connect, task):
    """N1."""
    bridge = new_bridge()
    worker = connect(Worker, bridge.amqp_url)
    first = bridge.api.submit_run(task, 1)
    worker.work(task)
    bridge.api.wait_state(first["id"], "completed")

    worker.connection.channel().exchange_delete("taskbridge.runs")
    run = bridge.api.submit_run(task, 2)

    assert worker.work(task, seconds=40)[0].run_id == run["id"]


def test_a_broker_of_another_store_is_refused_unless_adopted(new_bridge, tmp_path, task):
    """N2."""
    first = new_bridge()
    first.stop()
    second = Bridge(tmp_path / "second", first.amqp_url)

    try:
        second.start(wait_ready=False, seconds=20)
        until(lambda: "--adopt-broker" in second.log_tail(50) or second.process.poll() is not None,
              what="the second store is refused")
        ended = second.process.poll() is not None
        assert ended or second.readyz().status == 503
    except AssertionError:
        # Ending at once with one clear message is as good as waiting unready.
        assert second.process.poll() is not None
    finally:
        second.close()
    assert "--adopt-broker" in second.log_tail(50)

    second.start("--adopt-broker")
    second.close()


# What keeps a bridge from starting: one clear message, the next step, the exit status of the contract.

def test_a_second_bridge_on_one_store_is_refused(new_bridge, tmp_path):
    """N36: exit 5 with pid and host."""
    first = new_bridge()
    second = Bridge(tmp_path / "second", first.amqp_url)
    second.data = first.data

    status, said = refused(second)

    assert status == 5
    assert str(first.process.pid) in said and socket.gethostname() in said
    assert first.readyz().status == 200


def test_a_copied_store_on_one_broker_is_refused(new_bridge, tmp_path):
    """N36: nor does it fire a schedule that is due all the time."""
    first = new_bridge()
    schedule = {"name": "s", "task": "a", "every_seconds": 1, "catch_up": "all"}
    assert first.api.post("/v1/schedules", schedule).status == 201
    copy = Bridge(tmp_path / "copy", first.amqp_url)
    os.makedirs(copy.data, mode=0o700)
    with sqlite3.connect(f"file:{first.data}/taskbridge.db?mode=ro", uri=True) as source, \
            sqlite3.connect(f"{copy.data}/taskbridge.db") as target:
        source.backup(target)

        before = target.execute("SELECT count(*) FROM schedule_times").fetchone()[0]

    status, said = refused(copy, seconds=120)

    assert status == 5, said
    with sqlite3.connect(f"file:{copy.data}/taskbridge.db?mode=ro", uri=True) as store:
        assert store.execute("SELECT count(*) FROM schedule_times").fetchone()[0] == before
    assert first.readyz().status == 200


@pytest.mark.parametrize("damage", ["not a database", "truncated", "overwritten middle"])
def test_a_corrupt_store_is_refused_and_left_alone(new_bridge, task, damage):
    bridge = new_bridge()
    for n in range(300):
        bridge.api.submit_run(task, "x" * 500, delay_seconds=3600)
    bridge.stop()
    path = os.path.join(bridge.data, "taskbridge.db")
    with open(path, "r+b") as file:
        if damage == "not a database":
            file.write(b"this is no database at all" * 10)
        elif damage == "truncated":
            file.truncate(os.path.getsize(path) // 2 + 100)
        else:
            file.seek(os.path.getsize(path) // 3)
            file.write(os.urandom(100_000))
    with open(path, "rb") as file:
        before = file.read()

    status, said = refused(bridge)

    assert status == 5
    assert "taskbridge.db" in said
    with open(path, "rb") as file:
        assert file.read() == before


def test_a_newer_store_is_refused_and_left_alone(new_bridge):
    """S36."""
    bridge = new_bridge()
    bridge.stop()
    path = os.path.join(bridge.data, "taskbridge.db")
    with sqlite3.connect(path) as store:
        tables = {name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        version, = store.execute("PRAGMA user_version").fetchone()
        if "grdb_migrations" in tables:
            store.execute("INSERT INTO grdb_migrations VALUES ('v9999-from-the-future')")
        store.execute(f"PRAGMA user_version = {version + 1000}")
    store.close()

    status, said = refused(bridge)

    assert status == 5
    assert "newer" in said.lower()


def test_a_data_folder_that_cannot_be_made_is_refused(new_bridge):
    bridge = new_bridge(start=False)
    bridge.data = "/proc/nowhere/data"

    status, said = refused(bridge)

    assert status == 5
    assert "/proc/nowhere" in said


@pytest.mark.parametrize("text, named", [
    ("lease_secconds: 5\n", ["1:", "lease_seconds"]),
    ("queue_bound: 10\nqueue_bound: 20\n", ["2:", "queue_bound"]),
    ("queue_bound: many\n", ["1:", "queue_bound"]),
    ("tasks:\n  a.b:\n    wire: telegraph\n", ["3:", "wire"]),
    ("tasks:\n\ta: {}\n", ["2:"]),
    ("max_attempts: 0\n", ["max_attempts"]),
    ("[broken\n", [])],
    ids=["unknown", "repeated", "wrong type", "wrong value", "tab", "out of range", "not YAML"])
def test_a_bad_configuration_is_refused_by_line(new_bridge, text, named):
    bridge = new_bridge(start=False)
    with open(bridge.config_path, "w") as file:
        file.write(text)

    status, said = refused(bridge)

    assert status == 64, said
    for word in [os.path.basename(bridge.config_path), *named]:
        assert word in said, said


@pytest.mark.parametrize("url", ["amqp://", "amqp://127.0.0.1:99999/", "amqp://guest:%zz@127.0.0.1/", "http://a/"])
def test_a_bad_broker_url_is_refused(new_bridge, url):
    bridge = new_bridge(start=False)
    bridge.amqp_url = url

    assert refused(bridge)[0] == 64


def test_a_password_of_a_remote_broker_in_an_argument_is_refused(new_bridge):
    bridge = new_bridge(start=False)
    bridge.amqp_url = "amqp://user:s3cret-word@broker.example.com/"

    status, said = refused(bridge)

    assert status == 64
    assert "TASKBRIDGE_AMQP_PASSWORD_FILE" in said and "s3cret-word" not in said


def test_listening_for_everybody_without_tokens_is_refused(new_bridge):
    bridge = new_bridge(start=False)
    command = [word.replace("127.0.0.1:", "0.0.0.0:") if word.endswith(str(bridge.port)) else word
               for word in bridge.command()]

    done = subprocess.run(command, capture_output=True, text=True, timeout=30)

    assert done.returncode == 64


def test_a_wrong_password_at_start_is_told_with_the_next_step(new_bridge, broker):
    bridge = new_bridge(amqp_url=broker.url.replace("guest:guest", "guest:wrong-word"), start=False)

    done = subprocess.run(bridge.command(), capture_output=True, text=True, timeout=60)

    assert done.returncode == 5
    assert "refused the login" in done.stderr and "TASKBRIDGE_AMQP_PASSWORD_FILE" in done.stderr
    assert "wrong-word" not in done.stderr + done.stdout


def test_odd_surroundings_change_nothing(new_bridge, connect, task, monkeypatch):
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    monkeypatch.setenv("LANG", "C")
    monkeypatch.delenv("HOME", raising=False)
    before = os.umask(0)
    try:
        bridge = new_bridge()
    finally:
        os.umask(before)
    worker = connect(Worker, bridge.amqp_url)

    run = bridge.api.submit_run(task, 1)
    worker.work(task)

    assert bridge.api.wait_state(run["id"], "completed")["created_at"].endswith("Z")
    for name in os.listdir(bridge.data):
        path = os.path.join(bridge.data, name)
        if os.path.isfile(path):
            assert stat.S_IMODE(os.stat(path).st_mode) & 0o077 == 0, name


def test_a_store_moved_elsewhere_goes_on(new_bridge, connect, task):
    """P13: all state is in the store."""
    bridge = new_bridge()
    run = bridge.api.submit_run(task, 1)
    bridge.api.wait_state(run["id"], "launched")
    bridge.stop()

    shutil.move(bridge.data, bridge.data + ".moved")
    bridge.data += ".moved"
    bridge.start()

    assert connect(Worker, bridge.amqp_url).work(task)[0].run_id == run["id"]
