"""Messages that could not be understood or were not allowed: kept with their bytes and the reason, taken once the
cause is gone, or given up (N30)."""

import base64
import json
import shutil

import pytest

from support.amqp import Worker
from support.waiting import until

BYTES = b"\x00\xff not text\r\n"


def only(api, **query):
    row, = api.quarantine(body="true", **query)
    return row


def act(api, row, verb):
    return api.post(f"/v1/quarantine/{row['id']}/{verb}")


def disabled(api, task, producer, body=BYTES, **properties):
    """A submission that was refused because its task key is disabled; its row."""
    assert api.call("PATCH", f"/v1/tasks/{task}", {"disabled": True}).status == 200
    known = {row["id"] for row in api.quarantine(limit=1000)}
    assert producer.submit(task, body, **properties)["code"] == "task_disabled"
    row, = [row for row in api.quarantine(body="true", limit=1000) if row["id"] not in known]
    return row


def enable(api, task):
    assert api.call("PATCH", f"/v1/tasks/{task}", {"disabled": None}).status == 200


def test_a_submission_is_taken_once_its_cause_is_gone(bridge, api, worker, producer, task):
    """N30: as if it came now, with its bytes, options and key; once."""
    row = disabled(api, task, producer, message_id=task, content_type="application/x-test", content_encoding="odd",
                   headers={"tb-priority": 7, "tb-tags": {"k": "v"}, "tb-timeout-seconds": 5, "traceparent": "00-a"})
    assert (row["source"], row["kind"], row["code"], row["size_bytes"]) == ("submit", "invalid", "task_disabled",
                                                                            len(BYTES))
    assert base64.b64decode(row["body_base64"]) == BYTES and "disabled" in row["detail"]
    assert set(row["properties"]["headers"]) == {"tb-priority", "tb-tags", "tb-timeout-seconds", "traceparent"}
    assert (row["properties"]["message_id"], row["routing_key"]) == (task, task)

    still = act(api, row, "release")
    enable(api, task)
    taken = act(api, row, "release")
    again = act(api, row, "release")

    assert (still.status, still.code) == (422, "task_disabled")
    assert (taken.status, taken.json["outcome"]) == (201, "inserted")
    assert (again.status, again.code) == (404, "quarantine_not_found")
    run = api.run(taken.json["run"]["id"])
    assert (run["priority"], run["tags"], run["idempotency_key"]) == (7, {"k": "v"}, task)
    held, _ = worker.work(task)
    assert (held.run_id, held.body, held.properties.content_type, held.properties.content_encoding) == \
        (run["id"], BYTES, "application/x-test", "odd")
    assert (held.headers["tb-timeout-seconds"], held.headers["traceparent"]) == (5, "00-a")
    # Sent again by its producer it is the same run.
    assert producer.submit(task, BYTES, message_id=task)["run"]["id"] == run["id"]
    assert row["id"] not in {item["id"] for item in api.quarantine(limit=1000)}


def test_a_message_is_given_up_or_taken_from_the_command_line(bridge, api, producer, task):
    """N30: with the exit statuses of what is not there and what is not allowed."""
    first = disabled(api, task, producer)
    second = disabled(api, task, producer)

    def run(*arguments):
        done = bridge.cli("quarantine", *arguments, "--output", "json")
        return done.returncode, json.loads(done.stdout or "null")

    assert run("discard", str(first["id"])) == (0, {"id": first["id"], "outcome": "discarded"})
    assert run("discard", str(first["id"]))[0] == 3
    assert run("release", str(second["id"]))[0] == 1
    enable(api, task)
    status, answer = run("release", str(second["id"]))
    assert (status, answer["outcome"], answer["run"]["task"]) == (0, "inserted", task)
    assert {first["id"], second["id"]}.isdisjoint(item["id"] for item in api.quarantine(limit=1000))


def test_a_number_is_not_given_twice(api, producer, task):
    """N30: a second release never meets another message."""
    first = disabled(api, task, producer)
    assert act(api, first, "discard").status == 200

    second = disabled(api, task, producer)

    assert second["id"] > first["id"]
    assert act(api, first, "discard").status == act(api, first, "release").status == 404
    assert act(api, second, "discard").status == 200
    assert api.post("/v1/quarantine/x/release").status == 422


def test_a_duplicate_that_was_refused_is_taken_after_its_holder(api, producer, task):
    """N30: kind `rejected`: refused for as long as the key is held."""
    holder = api.submit_run(task, 1, dedup_key="k", delay_seconds=3600)
    producer.publish("taskbridge.submit", task, b"2", headers={"tb-dedup-key": "k", "tb-on-duplicate": "reject",
                                                               "tb-delay-seconds": 3600})
    row = until(lambda: next((row for row in api.quarantine(kind="rejected") if row["routing_key"] == task), None))

    refused = act(api, row, "release")
    api.post(f"/v1/runs/{holder['id']}/cancel")
    taken = act(api, row, "release")

    assert (refused.status, refused.code) == (409, "rejected")
    assert (taken.status, taken.json["run"]["dedup_key"]) == (201, "k")


def test_what_was_cut_is_not_taken(api, producer, task):
    """N30: of a large message the beginning is kept."""
    row = disabled(api, task, producer, body=b"x" * 100_000)
    enable(api, task)

    answer = act(api, row, "release")

    assert row["size_bytes"] == 100_000 and len(base64.b64decode(row["body_base64"])) == 65_536
    assert (answer.status, answer.code) == (409, "quarantine_truncated")
    assert act(api, row, "discard").status == 200


@pytest.mark.parametrize("body, properties", [
    (b"", {"content_type": "application/vnd.taskbridge.submission+json"}),
    (b"x" * 3_000_000, {}),
    (b"[" * 20_000 + b"]" * 20_000, {"content_type": "application/vnd.taskbridge.submission+json"}),
    (b"1", {"headers": {"tb-priority": {"not": "a number"}, "tb-tags": [1, 2]}}),
    (b"1", {"headers": {"tb-run-at": b"\xff\xfe"}})],
    ids=["empty", "huge", "deeply nested", "wrongly typed", "not text"])
def test_what_means_nothing_is_kept_and_stops_nobody(bridge, api, producer, task, body, properties):
    """N30: it cannot be taken as it is, and can be given up."""
    known = {row["id"] for row in api.quarantine(limit=1000)}

    answer = producer.submit(task, body, **properties)

    row, = [row for row in api.quarantine(limit=1000) if row["id"] not in known]
    assert row["code"] == answer["code"] and row["detail"] == answer["detail"] and row["size_bytes"] == len(body)
    assert act(api, row, "release").status in (400, 409, 413, 422)
    assert act(api, row, "discard").status == 200
    assert producer.submit(task, b"1")["outcome"] == "inserted" and bridge.process.poll() is None


def test_a_malformed_report_stays_so(api, worker, task):
    """N30: its bytes cannot mean anything else later."""
    run = api.submit_run(task, 1)
    held = worker.next(task, run_id=run["id"])
    worker.report(held, "nonsense")
    row = api.quarantine(code="malformed", limit=1)[0]

    answer = act(api, row, "release")

    assert (answer.status, answer.code) == (422, "malformed") and "nonsense" in answer.json["detail"]
    assert act(api, row, "discard").status == 200
    worker.report(held, "completed")
    held.ack()


def test_a_report_is_applied_once_its_run_has_caught_up(new_bridge, connect, task):
    """N30: it came while the store was a restored backup that had not yet handed the run out again."""
    bridge = new_bridge()
    run = bridge.api.submit_run(task, 1)
    bridge.api.wait_state(run["id"], "launched")
    bridge.stop()
    shutil.copytree(bridge.data, bridge.data + ".backup")
    bridge.start()
    connect(Worker, bridge.amqp_url).channel.queue_delete(f"taskbridge.run.{task}")
    worker = connect(Worker, bridge.amqp_url)
    held = worker.next(task, seconds=40, run_id=run["id"])
    assert held.properties.message_id == f"{run['id']}.1.2"
    held.ack()
    bridge.stop()
    shutil.rmtree(bridge.data)
    shutil.move(bridge.data + ".backup", bridge.data)
    worker.tell(held, "completed", result="done before the restore")
    bridge.start("--accept-rollback")

    row = until(lambda: next(iter(bridge.api.quarantine(code="unknown_token")), None))
    assert held.token not in json.dumps(row)
    until(lambda: bridge.api.attempts(run["id"])[0]["dispatches"] == 2, what="it is handed out again")
    taken = act(bridge.api, row, "release")

    assert (taken.status, taken.json["code"], taken.json["run_state"]) == (200, "applied", "completed")
    assert bridge.api.run(run["id"])["result"] == "done before the restore"
    assert act(bridge.api, row, "release").status == 404
