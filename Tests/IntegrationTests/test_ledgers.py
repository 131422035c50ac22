"""The ledgers: whatever was accepted ends once, as submitted, through kill -9 of the bridge, loss of all queues, and
a broker that comes back empty. Each prints one line with its counts."""

import collections
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse

import pytest

from support import ROOT
from support.api import TERMINAL, Unreachable
from support.rules import check_store
from support.waiting import until

LOAD = os.path.join(os.path.dirname(__file__), "support/load.py")
RATE = float(os.environ.get("TASKBRIDGE_LEDGER_RATE", "200"))
KILLS = int(os.environ.get("TASKBRIDGE_LEDGER_KILLS", "20"))
DELETIONS = int(os.environ.get("TASKBRIDGE_LEDGER_DELETIONS", "5"))
ACTIVE = int(os.environ.get("TASKBRIDGE_LEDGER_ACTIVE", "10000"))
CONFIG = {"claim_latency_max_seconds": 2, "heartbeat_seconds": 5,
          "retry": {"strategy": "constant", "initial_seconds": 0.2}}


class Load:
    """Producers and workers as processes, and the ledger of what was accepted."""

    def __init__(self, bridge, task, folder):
        self.bridge, self.task, self.folder = bridge, task, folder
        self.producers, self.workers, self.files = [], [], []

    def _start(self, *arguments):
        return subprocess.Popen([sys.executable, LOAD, *map(str, arguments)], stdin=subprocess.DEVNULL)

    def start_workers(self, count=2):
        self.workers += [self._start("work", self.bridge.amqp_url, self.task) for _ in range(count)]

    def start_producers(self):
        for role, address in [("http", self.bridge.port), ("amqp", self.bridge.amqp_url)]:
            path = os.path.join(self.folder, f"accepted-{len(self.files)}")
            self.files.append(path)
            self.producers.append(self._start(role, address, self.task, RATE / 2, path))

    def finish_producers(self):
        for process in self.producers:
            process.send_signal(signal.SIGTERM)
        for process in self.producers:
            assert process.wait(150) == 0, "a producer was left without an answer"
        self.producers = []

    def accepted(self):
        """Payload hash by key."""
        found = {}
        for path in self.files:
            if os.path.exists(path):
                with open(path) as file:
                    found.update(line.split() for line in file)
        return found

    def is_flowing(self, more_than):
        return lambda: len(self.accepted()) > more_than

    def close(self):
        for process in self.producers + self.workers:
            process.kill()
            process.wait()


@pytest.fixture
def new_load(task, tmp_path):
    made = []

    def make(bridge):
        made.append(Load(bridge, task, str(tmp_path)))
        return made[-1]

    yield make
    for load in made:
        load.close()


def balance(load, seconds=120):
    """Waits until nothing is open, then holds the ledger of what was accepted against the store; returns the counts."""
    api, accepted = load.bridge.api, load.accepted()

    def at_rest():
        try:
            return not set(api.counts()) - TERMINAL
        except Unreachable:
            return False
    until(at_rest, seconds, "every run should have ended", every=0.5)

    runs = api.items("/v1/runs", task=load.task, limit=1000)
    by_key = collections.defaultdict(list)
    for run in runs:
        by_key[run["idempotency_key"]].append(run)
    doubled = [key for key, found in by_key.items() if len(found) > 1]
    lost = [key for key in accepted if key not in by_key]
    not_completed = [(run["id"], run["state"], run["last_error"]) for run in runs if run["state"] != "completed"]
    altered = [key for key, digest in accepted.items() if key in by_key and by_key[key][0]["result"] != digest]
    assert not lost, f"{len(lost)} accepted runs are not in the store: {lost[:5]}"
    assert not doubled, f"{len(doubled)} keys have more than one run: {doubled[:5]}"
    assert not not_completed, f"{len(not_completed)} runs did not complete: {not_completed[:5]}"
    assert not altered, f"{len(altered)} payloads arrived altered: {altered[:5]}"
    snapshot = api.get("/v1/snapshot").json
    assert snapshot["outbox"]["pending"] == 0
    return {"accepted": len(accepted), "runs": len(runs), "completed": len(runs),
            "retried": sum(run["attempt"] > 1 for run in runs), "lost": len(lost)}


def tell(capsys, name, **counts):
    with capsys.disabled():
        print(f"\nledger {name}: " + " ".join(f"{key}={value}" for key, value in counts.items()), flush=True)


def test_kill_9_of_the_bridge_loses_nothing(new_bridge, new_load, capsys):
    """P4, P18, S12: every accepted run is delivered, no message without a run."""

    bridge = new_bridge(CONFIG)
    load, slowest, chance = new_load(bridge), 0.0, random.Random(20)
    load.start_workers()
    load.start_producers()

    for _ in range(KILLS):
        until(load.is_flowing(len(load.accepted()) + 100), 60, "submissions should be accepted")
        _let_pass(chance.uniform(0, 1.5))
        bridge.kill()
        begun = time.monotonic()
        bridge.start()
        slowest = max(slowest, time.monotonic() - begun)
    until(load.is_flowing(len(load.accepted()) + 100), 60, "submissions should be accepted")
    load.finish_producers()

    counts = balance(load)
    checked = check_store(bridge.api, limit=500)
    tell(capsys, "kill-9", kills=KILLS, rate=int(RATE), **counts, audits_checked=checked,
         slowest_restore_seconds=f"{slowest:.1f}")


def _let_pass(seconds):
    """Load at random lengths, so that the kill meets any step; nothing is waited for here."""
    time.sleep(seconds)


def test_deleting_every_queue_loses_nothing(new_bridge, new_load, broker, capsys):
    """N1: and every exchange, with thousands of runs in every state."""

    vhost = broker.new_vhost()
    bridge = new_bridge(CONFIG, amqp_url=broker.vhost_url(vhost))
    load = new_load(bridge)
    active = submit_active_runs(load)
    load.start_workers()

    for round_number in range(1, DELETIONS + 1):
        load.start_producers()
        until(load.is_flowing(len(load.accepted()) + 300), 60, "submissions should be accepted")
        deleted = {kind: delete_all(broker, vhost, kind) for kind in ("queues", "exchanges")}
        assert deleted["queues"] >= 4 and deleted["exchanges"] == 7
        until(load.is_flowing(len(load.accepted()) + 200), 60, "submissions should be accepted again")
        load.finish_producers()
        if round_number == 1:
            bridge.api.post("/v1/runs/resume", {"filter": {"task": [load.task]}})
        tell(capsys, f"queues-deleted {round_number}/{DELETIONS}", **deleted, active=active, **balance(load, 240))
    check_store(bridge.api, limit=500)


def submit_active_runs(load, count=ACTIVE):
    """A quarter each of ready, scheduled, blocked and paused; they are in the ledger as if a producer had made them."""
    api, path = load.bridge.api, os.path.join(load.folder, "accepted-active")
    load.files.append(path)
    options = {"lease_seconds": 5, "max_lost": 50, "max_attempts": 8}
    assert api.post(f"/v1/tasks/{load.task}/pause").status == 200
    with open(path, "w") as ledger:
        for start in range(0, count, 1_000):
            runs = []
            for n in range(start, start + 1_000):
                more = [{}, {"delay_seconds": 5 + n % 20}, {"depends_on": [f"#{n - start - 2}"]}, {}][n % 4]
                runs.append({"payload": n, "idempotency_key": f"active-{n}", **options, **more})
                ledger.write(f"active-{n} {hashlib.sha256(str(n).encode()).hexdigest()}\n")
            answer = api.call("POST", "/v1/runs/batch", {"defaults": {"task": load.task}, "runs": runs}, timeout=60)
            assert answer.status == 200, answer
            ids = [item["run"]["id"] for item in answer.json["items"]][3::4]
            paused = api.post("/v1/runs/pause", {"filter": {"id": ids}})
            assert (paused.status, paused.json["changed"]) == (200, 250), paused
    assert api.post(f"/v1/tasks/{load.task}/resume").status == 200
    return count


def delete_all(broker, vhost, kind):
    """Deletes every queue (or exchange) of the virtual host that is its users' and not held exclusively; how many."""
    deleted = 0
    for found in json.loads(broker.manage("GET", f"{kind}/{vhost}?disable_stats=true&enable_queue_totals=true")):
        if kind == "exchanges" and not found["name"].startswith("taskbridge."):
            continue
        try:
            broker.manage("DELETE", f"{kind}/{vhost}/{urllib.parse.quote(found['name'], safe='')}")
            deleted += 1
        except urllib.error.HTTPError as error:
            assert error.code in (400, 404, 405), error
    return deleted


def test_a_wiped_broker_loses_nothing(new_bridge, new_broker, new_load, capsys):
    """N1, N10."""

    broker = new_broker()
    broker.start()
    bridge = new_bridge(CONFIG, amqp_url=broker.url)
    load = new_load(bridge)
    load.start_workers()
    load.start_producers()
    until(load.is_flowing(500), 60, "submissions should be accepted")

    broker.kill()
    broker.wipe()
    broker.start()
    until(lambda: bridge.readyz().status == 200, 60, "ready again")
    until(load.is_flowing(len(load.accepted()) + 500), 60, "submissions should be accepted again")
    load.finish_producers()

    counts = balance(load)
    again = sum(attempt["dispatches"] - 1 for run in _some(bridge.api.items("/v1/runs", limit=1000), 300)
                for attempt in bridge.api.attempts(run["id"]))
    check_store(bridge.api, limit=300)
    tell(capsys, "broker-wiped", wipes=1, **counts, dispatched_again_in_sample=again)


def _some(values, count):
    return random.Random(1).sample(values, min(count, len(values)))


def test_the_ledgers_are_not_weakened():
    if os.environ.get("CI"):
        assert (RATE, KILLS, DELETIONS, ACTIVE) == (200, 20, 5, 10_000), f"weakened in {ROOT}"
