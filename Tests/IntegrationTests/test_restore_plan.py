"""`taskbridge restore --plan`: what a start would do with the broker's queues, told without doing it."""

import hashlib
import json
import os
import re

import pytest

from support.amqp import Worker
from support.bridge import cli, data
from support.waiting import until


def plan(bridge, output="json"):
    return cli("restore", "--plan", *bridge.settings, "--output", output)


def queues(answer):
    """By the last word of the queue's name."""
    return {item["queue"].rsplit(".", 1)[1]: item for item in answer["items"]}


def contents(bridge):
    with open(os.path.join(bridge.data, "taskbridge.db"), "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def objects(broker, vhost):
    """Every queue of the virtual host with its messages."""
    return sorted((queue["name"], queue.get("messages")) for queue in json.loads(broker.manage("GET", f"queues/{vhost}")))


def letters(bridge):
    """The cases of the last restore, by the log: {"A": 1, …}."""
    with open(bridge.log_path, errors="replace") as log:
        cases = [re.search(r'cases="([^"]*)"', line)[1] for line in log if "restore done" in line][-1]
    return {case[0]: int(case[2:]) for case in cases.split()}


def test_each_case_is_told_and_then_done(broker, new_bridge, connect, task):
    """N3, N4: queue gone (A), all there (B), messages missing (C, D), stale ones counted, an unfinished end seen first."""
    vhost = broker.new_vhost()
    bridge = new_bridge({"queue_type": "classic"}, amqp_url=broker.vhost_url(vhost))
    api = bridge.api
    runs = {name: [api.submit_run(f"{task}.{name}", n) for n in range(3)] for name in ("a", "b", "c", "d", "done", "stale")}
    for run in sum(runs.values(), []):
        api.wait_state(run["id"], "launched")
    worker = connect(Worker, bridge.amqp_url)
    for _ in runs["done"]:
        worker.work(f"{task}.done")
    assert api.call("POST", f"/v1/runs/{runs['stale'][0]['id']}/cancel").status == 200
    bridge.stop()

    worker.channel.queue_delete(f"taskbridge.run.{task}.a")
    for name in ("c", "d"):
        worker.next(f"{task}.{name}").ack()
    worker.channel.basic_qos(prefetch_count=1)
    worker.channel.basic_consume(f"taskbridge.run.{task}.d", lambda *_: None)
    until(lambda: worker.message_count(f"taskbridge.run.{task}.d") == 1, what="one of the two is with the consumer")
    worker.publish("", "taskbridge.events", "{}")
    until(lambda: worker.message_count("taskbridge.events") == 1, what="the report is there")

    before = contents(bridge)
    there = [name for name, _ in objects(broker, vhost)]
    answer = data(plan(bridge))

    assert (answer["broker"], answer["events"], answer["returned"]) == ("same", 1, 0)
    told = {name: [item[key] for key in ("case", "expected", "stale", "unknown", "ready", "consumers")]
            for name, item in queues(answer).items()}
    assert told == {
        "a": ["A", 3, 0, 0, None, 0], "b": ["B", 3, 0, 0, 3, 0], "c": ["C", 3, 0, 0, 2, 0], "d": ["D", 3, 0, 0, 1, 1],
        "done": [None, 0, 0, 0, 0, 0], "stale": ["B", 2, 1, 0, 3, 0]}
    assert queues(answer)["c"]["action"].startswith("purge it and send out the 3 again")
    table = plan(bridge, output="table")
    assert table.returncode == 0 and f"taskbridge.run.{task}.c" in table.stdout
    assert "1 report(s) and 0 returned message(s) wait there" in table.stderr

    assert contents(bridge) == before
    assert [name for name, _ in objects(broker, vhost)] == there
    assert worker.message_count("taskbridge.events") == 1

    bridge.start()
    assert letters(bridge) == {"A": 1, "B": 2, "C": 1, "D": 1}
    until(lambda: all(item["case"] in (None, "B") for name, item in queues(data(plan(bridge))).items() if name != "d"),
          30, "nothing is left to be done")


@pytest.mark.parametrize("fault", ["fresh", "other store", "no store", "no broker", "not asked for"])
def test_what_keeps_a_plan_from_the_usual(broker, new_bridge, tmp_path, fault, task):
    """N3: a broker that is new or another's, a missing store or broker: named, with the exit status."""
    bridge = new_bridge()
    run = bridge.api.submit_run(task)
    bridge.api.wait_state(run["id"], "launched")
    bridge.stop()
    if fault == "fresh":
        bridge.amqp_url = broker.vhost_url(broker.new_vhost())
        answer = data(plan(bridge))
        assert answer["broker"] == "fresh" and queues(answer)[task.split(".")[1]]["case"] == "A"
    elif fault == "other store":
        other = new_bridge()
        other.stop()
        bridge.amqp_url = other.amqp_url
        assert data(plan(bridge))["broker"] == "other_store"
        assert "--adopt-broker" in plan(bridge, output="table").stderr
    elif fault == "no store":
        bridge.data = str(tmp_path / "nothing")
        done = plan(bridge)
        assert done.returncode == 5 and "there is no store in" in done.stdout
    elif fault == "no broker":
        bridge.amqp_url = "amqp://guest:guest@127.0.0.1:1/"
        done = plan(bridge)
        assert done.returncode == 5 and "is the broker running?" in done.stdout
    else:
        done = cli("restore", "--data", bridge.data)
        assert done.returncode == 64 and "restore --plan" in done.stderr
