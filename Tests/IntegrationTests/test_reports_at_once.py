"""Reports of two who hold one message, sent at the same instant, a thousand times; and a store that cannot take them."""

import json
import sqlite3
import threading

import pika
import pytest

from support.amqp import DIRECT_REPLY, Worker
from support.api import API
from support.waiting import until

COUNT, STEP = 1_000, 50


@pytest.fixture(scope="module")
def bridge(broker, tmp_path_factory):
    """Of this file alone: thousands of runs are looked through at the end of any other."""
    from support.bridge import Bridge
    bridge = Bridge(tmp_path_factory.mktemp("bridge"), broker.vhost_url(broker.new_vhost()))
    bridge.start()
    yield bridge
    bridge.close()


def hold(api, worker, task, count=COUNT):
    """The messages of `count` runs, acknowledged and claimed by nobody."""
    answer = api.post("/v1/runs/batch", {"defaults": {"task": task, "lease_seconds": 3600},
                                         "runs": [{"payload": n} for n in range(count)]})
    assert answer.status == 200, answer
    until(lambda: worker.message_count(f"taskbridge.run.{task}") == count, what="they are there")
    taken = []
    for method, properties, _ in worker.channel.consume(f"taskbridge.run.{task}", inactivity_timeout=30):
        assert method is not None, f"{len(taken)} of {count} came"
        taken.append((properties.headers["tb-run-id"], properties.correlation_id))
        if len(taken) == count:
            break
    worker.channel.basic_ack(0, multiple=True)
    worker.channel.cancel()
    return taken


def say_over_amqp(url, tokens, report, barrier, answers):
    """Reports `report(index)` for each token, in steps that begin together with the other's; keeps the answers."""
    peer = Worker(url)
    try:
        for start in range(0, len(tokens), STEP):
            barrier.wait(60)
            for index in range(start, start + STEP):
                peer.asking.basic_publish("", "taskbridge.events", json.dumps(report(index)), pika.BasicProperties(
                    reply_to=DIRECT_REPLY, correlation_id=tokens[index], delivery_mode=2))
            until(lambda: peer.connection.process_data_events(time_limit=0.01) or len(peer.replies) == start + STEP,
                  30, "an answer for each report", every=0)
        answers.update({properties.correlation_id: json.loads(body) for properties, body in peer.replies})
    finally:
        peer.close()


def say_over_http(port, tokens, report, barrier, answers):
    api = API(port, keep=True)
    try:
        for start in range(0, len(tokens), STEP):
            barrier.wait(60)
            for index in range(start, start + STEP):
                answers[tokens[index]] = api.report(tokens[index], **report(index))
    finally:
        api.close()


def together(*speakers):
    threads = [threading.Thread(target=speaker[0], args=speaker[1:]) for speaker in speakers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()


def test_of_two_ends_one_is_recorded(bridge, api, worker, task):
    """J30, N10: completed and failed with one token; result, error and state are the winner's."""
    held, barrier, ends, failures = hold(api, worker, task), threading.Barrier(2), {}, {}
    tokens = [token for _, token in held]

    together((say_over_amqp, bridge.amqp_url, tokens, lambda n: {"state": "completed", "result": n}, barrier, ends),
             (say_over_amqp, bridge.amqp_url, tokens,
              lambda n: {"state": "failed", "error": {"type": "Boom", "message": str(n), "retryable": False}}, barrier,
              failures))

    runs = {run["id"]: run for run in api.items("/v1/runs", task=task, limit=1000)}
    for index, (run_id, token) in enumerate(held):
        run, end, failure = runs[run_id], ends[token], failures[token]
        assert sorted([end["code"], failure["code"]]) == ["applied", "conflict"]
        if end["code"] == "applied":
            assert (run["state"], run["result"], run["last_error"]) == ("completed", index, None)
        else:
            assert (run["state"], run["result"], run["last_error"]["message"]) == ("failed", None, str(index))
        loser = failure if end["code"] == "applied" else end
        assert (loser["verdict"], loser["action"]) == ("abort", "stop")
    assert len(runs) == COUNT
    won = sum(end["code"] == "applied" for end in ends.values())
    assert api.post("/v1/runs/count", {"task": task}).json["by_state"]["completed"] == won


def test_of_two_holders_one_starts(bridge, api, worker, task):
    """N9: each waits for the answer to its own claim, one over AMQP, one over HTTP."""
    held, barrier, ours, theirs = hold(api, worker, task), threading.Barrier(2), {}, {}
    tokens = [token for _, token in held]

    together((say_over_amqp, bridge.amqp_url, tokens, lambda n: {"state": "running", "claim": f"amqp-{n}"}, barrier,
              ours),
             (say_over_http, bridge.port, tokens, lambda n: {"state": "running", "claim": f"http-{n}"}, barrier, theirs))

    for index, (run_id, token) in enumerate(held):
        answers = {"amqp": ours[token], "http": theirs[token]}
        (winner, goes), (_, stays) = sorted(answers.items(), key=lambda item: item[1]["code"] != "applied")
        assert (goes["code"], goes["action"]) == ("applied", "continue")
        assert (stays["verdict"], stays["code"], stays["action"]) == ("abort", "already_claimed", "stop")
        if index % 50 == 0:
            assert api.attempts(run_id)[0]["claim"] == f"{winner}-{index}"
    assert api.post("/v1/runs/count", {"task": task}).json["by_state"]["running"] == COUNT


def test_a_locked_store_loses_no_report(bridge, api, worker, task):
    """J32: over HTTP 503 with Retry-After; over AMQP it waits unacknowledged and is applied once."""
    (http_id, http_token), (amqp_id, amqp_token) = hold(api, worker, task, count=2)
    store = sqlite3.connect(f"{bridge.data}/taskbridge.db", isolation_level=None)
    store.execute("BEGIN IMMEDIATE")
    try:
        worker.publish("", "taskbridge.events", b'{"state":"completed","result":2}', correlation_id=amqp_token)
        refused = api.post("/v1/attempts/report", {"token": http_token, "state": "completed", "result": 1})
        assert (refused.status, refused.code) == (503, "store_busy")
        assert int(refused.headers["Retry-After"]) >= 1
        assert {api.run(run)["state"] for run in (http_id, amqp_id)} <= {"queued", "launched"}
        until(lambda: api.get("/readyz").status == 503, what="the bridge says that it cannot write")
    finally:
        store.execute("ROLLBACK")
        store.close()

    done = api.wait_state(amqp_id, "completed")
    assert api.report(http_token, "completed", result=1)["code"] == "applied"

    assert (done["result"], api.run(http_id)["result"]) == (2, 1)
    assert [[report["code"] for report in api.reports(run)] for run in (amqp_id, http_id)] == [["applied"]] * 2
    until(lambda: api.get("/readyz").status == 200, what="ready again")
    assert worker.message_count("taskbridge.events") == 0
