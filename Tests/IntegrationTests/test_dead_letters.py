"""Dead letters: why, grouped, mirrored to a queue, replayed by any way, discarded."""

import json
import uuid

import pika
import pytest

from support.waiting import until

BOOM = {"type": "Boom", "message": "order 4711 of 'bob' broke", "retryable": False}


def die(api, worker, task, payload=1, error=None, **fields):
    """A run that ended as a dead letter."""
    run = api.submit_run(task, payload, **fields)
    worker.work(task, "failed", error=error or BOOM)
    api.wait_state(run["id"], "failed", "dead_lettered")
    return run


def mirrored(worker, task, count):
    until(lambda: (worker.message_count(f"taskbridge.dead.{task}") or 0) == count, what=f"{count} mirror messages")


def move(worker, task, **changes):
    """What a shovel does: takes one message of the dead queue and publishes it to taskbridge.submit, headers kept."""
    letter = worker.take(f"taskbridge.dead.{task}")
    publish_again(worker, letter, task, **changes)
    letter.ack()
    return letter


def publish_again(worker, letter, task, body=None):
    properties = letter.properties
    worker.channel.basic_publish("taskbridge.submit", task, letter.body if body is None else body,
                                 pika.BasicProperties(headers=properties.headers, delivery_mode=2,
                                                      content_type=properties.content_type,
                                                      message_id=properties.message_id))


def test_a_dead_letter_has_its_run_and_its_reason(api, worker, task):
    run = die(api, worker, task)

    row = api.dead_letter(run["id"])

    assert (row["run"]["id"], row["reason"], row["resolution"], row["replays"]) == (run["id"], "permanent", None, 0)
    assert row["dead_at"] and row["fingerprint"]
    assert [item["run"]["id"] for item in api.items("/v1/dead-letters", task=task)] == [run["id"]]


def test_equal_failures_are_one_group(api, worker, task):
    """N14: errors that differ in numbers and quoted parts are one group, other types never."""
    die(api, worker, task, error=BOOM)
    die(api, worker, task, error={**BOOM, "message": "order 815 of 'eve' broke"})
    die(api, worker, task, error={**BOOM, "type": "Other"})

    groups = [group for group in api.items("/v1/dead-letters/groups") if group["task"] == task]

    assert sorted(group["count"] for group in groups) == [1, 2]
    assert all(group["fingerprint"] and group["first_seen"] and group["last_seen"] for group in groups)


def test_the_table_is_filtered(bridge, api, worker, task):
    """N13, N14: by task key, fingerprint, reason, time and payload, over HTTP and from the command line; the groups add
    up to the table, each with a sample and its first and last time; looking changes nothing in the broker."""
    first = die(api, worker, task, {"user": {"id": 42}})
    second = die(api, worker, task, {"user": {"id": 7}},
                 error={**BOOM, "message": "order 12 of \"01936a3e-0000-7000-8000-000000000000\" broke"})
    other = die(api, worker, task, max_attempts=1, error={"type": "Other", "message": "order 4711 of 'bob' broke"})
    mirrored(worker, task, 3)
    rows = {row["run"]["id"]: row for row in api.items("/v1/dead-letters", task=task)}
    middle, last = (rows[run["id"]]["dead_at"] for run in (second, other))
    boom = rows[first["id"]]["fingerprint"]

    for query, expected in [
            ({}, [first, second, other]), ({"fingerprint": boom}, [first, second]), ({"reason": "exhausted"}, [other]),
            ({"reason": "permanent"}, [first, second]), ({"since": middle}, [second, other]),
            ({"until": middle}, [first]), ({"since": middle, "until": last}, [second]),
            ({"payload": '{"user.id":42}'}, [first]), ({"payload": '{"user.id":7}', "reason": "exhausted"}, [])]:
        found = api.items("/v1/dead-letters", task=task, **query)
        assert {row["run"]["id"] for row in found} == {run["id"] for run in expected}, query
        options = [word for name, value in query.items() for word in (f"--{name}", value)]
        if "payload" in query:
            options[options.index("--payload") + 1] = query["payload"][2:-1].replace('":', "=")
        printed = bridge.cli("dead-letters", "list", "--task", task, "--output", "json", *options)
        assert json.loads(printed.stdout)["items"] == found, (query, printed)

    groups = api.items("/v1/dead-letters/groups", task=task)
    assert {group["fingerprint"]: group["count"] for group in groups} == {boom: 2, rows[other["id"]]["fingerprint"]: 1}
    of_boom = next(group for group in groups if group["fingerprint"] == boom)
    assert (of_boom["first_seen"], of_boom["last_seen"]) == (rows[first["id"]]["dead_at"], middle)
    assert "broke" in json.dumps(of_boom["sample"])
    printed = bridge.cli("dead-letters", "groups", "--task", task, "--output", "json")
    assert json.loads(printed.stdout)["items"] == groups
    assert worker.message_count(f"taskbridge.dead.{task}") == 3


def test_the_mirror_carries_payload_properties_and_reason(api, worker, producer, task):
    """N20."""
    producer.publish("taskbridge.submit", task, b"\xffraw", content_type="image/png", content_encoding="x-own")
    worker.work(task, "failed", error=BOOM)

    letter = worker.take(f"taskbridge.dead.{task}")

    headers = letter.headers
    assert (letter.body, letter.properties.content_type, letter.properties.content_encoding) == \
        (b"\xffraw", "image/png", "x-own")
    run = api.items("/v1/runs", task=task)[0]
    assert (headers["tb-run-id"], headers["tb-task"], headers["tb-reason"], headers["tb-attempt"],
            headers["tb-error-type"], headers["tb-error-message"]) == \
        (run["id"], task, "permanent", 1, "Boom", BOOM["message"])
    assert headers["tb-fingerprint"] and headers["tb-dead-at"]
    assert not any("token" in key for key in headers)
    letter.requeue()


def test_replay_over_http_keeps_the_id_and_starts_a_new_series(api, worker, task):
    """T69."""
    run = die(api, worker, task, {"n": 1}, max_attempts=1)
    mirrored(worker, task, 1)

    answer = api.post("/v1/dead-letters/replay", {"ids": [run["id"]]})

    assert answer.status in (200, 202), answer
    again, _ = worker.work(task)
    assert (again.run_id, again.attempt, json.loads(again.body)) == (run["id"], 2, {"n": 1})
    done = api.wait_state(run["id"], "completed")
    assert done["replays"] == 1
    mirrored(worker, task, 0)
    assert api.items("/v1/dead-letters", task=task) == []
    assert api.dead_letter(run["id"])["resolution"] == "replayed"


def test_replay_by_filter_and_dry_run(api, worker, task):
    first = die(api, worker, task)
    die(api, worker, task, error={**BOOM, "type": "Other"})
    fingerprint = api.dead_letter(first["id"])["fingerprint"]
    chosen = {"filter": {"task": task, "fingerprint": fingerprint}}

    dry = api.post("/v1/dead-letters/replay", {**chosen, "dry_run": True}).json
    assert (dry["matched"], len(api.items("/v1/dead-letters", task=task))) == (1, 2)
    api.post("/v1/dead-letters/replay", chosen)

    assert worker.work(task)[0].run_id == first["id"]
    until(lambda: len(api.items("/v1/dead-letters", task=task)) == 1, what="one is left")


def test_replaying_one_twice_replays_it_once(api, worker, task):
    """S9, N20."""
    run = die(api, worker, task)

    one = api.post("/v1/dead-letters/replay", {"ids": [run["id"]]}).json
    two = api.post("/v1/dead-letters/replay", {"ids": [run["id"]]}).json

    assert (one["changed"], two["changed"]) == (1, 0)
    assert two["skipped"][0]["id"] == run["id"] and two["skipped"][0]["reason"]
    worker.work(task)
    assert api.wait_state(run["id"], "completed")["replays"] == 1


def test_retry_of_the_run_replays_its_dead_letter(api, worker, task):
    """T69."""
    run = die(api, worker, task)

    assert api.post(f"/v1/runs/{run['id']}/retry", {"reason": "mended"}).status == 200

    worker.work(task)
    api.wait_state(run["id"], "completed")
    mirrored(worker, task, 0)


def test_moving_the_message_back_replays_the_run(api, worker, task):
    """N20."""
    run = die(api, worker, task, {"n": 1})

    move(worker, task)

    again, _ = worker.work(task)
    assert (again.run_id, again.attempt) == (run["id"], 2)
    assert api.wait_state(run["id"], "completed")["replays"] == 1
    mirrored(worker, task, 0)


def test_moving_it_twice_replays_once(api, worker, task):
    """S9, N20: nor a third time."""
    run = die(api, worker, task)
    letter = worker.take(f"taskbridge.dead.{task}")

    publish_again(worker, letter, task)
    publish_again(worker, letter, task)
    letter.ack()

    worker.work(task)
    until(lambda: worker.message_count("taskbridge.submit") == 0, what="both are taken")
    assert api.wait_state(run["id"], "completed")["replays"] == 1
    publish_again(worker, letter, task)
    until(lambda: worker.message_count("taskbridge.submit") == 0, what="the third is taken")
    assert api.run(run["id"])["replays"] == 1
    assert len(api.items("/v1/runs", task=task)) == 1


def test_the_answer_to_a_moved_dead_letter(api, worker, producer, task):
    """S9: the second answer says that it replayed nothing."""
    run = die(api, worker, task)
    letter = worker.take(f"taskbridge.dead.{task}")

    first = producer.submit(task, letter.body, headers=letter.headers)
    second = producer.submit(task, letter.body, headers=letter.headers)
    letter.ack()

    assert (first["outcome"], first["run"]["id"]) == ("replayed", run["id"])
    assert second["outcome"] == "duplicate"
    worker.work(task)


def test_the_stored_payload_wins_over_an_altered_body(api, worker, task):
    die(api, worker, task, {"n": 1})

    move(worker, task, body=b'{"n": 666}')

    assert json.loads(worker.work(task)[0].body) == {"n": 1}


@pytest.mark.parametrize("case", ["unknown run", "other task"])
def test_a_moved_message_that_fits_no_run_is_quarantined(api, worker, producer, task, case):
    run = die(api, worker, task)
    headers = {"tb-run-id": run["id"] if case == "other task" else str(uuid.uuid4())}
    key = task + ".other" if case == "other task" else task

    problem = producer.submit(key, b"1", headers=headers)

    assert problem["code"] == ("task_mismatch" if case == "other task" else "unknown_run"), problem
    assert any(problem["code"] in json.dumps(row) for row in api.quarantine(limit=1000))
    assert api.run(run["id"])["state"] == "failed"


def test_a_moved_message_of_a_live_run_is_a_duplicate(api, producer, task):
    run = api.submit_run(task, 1, delay_seconds=3600)

    answer = producer.submit(task, b"1", headers={"tb-run-id": run["id"]})

    assert answer["outcome"] == "duplicate"
    assert api.run(run["id"])["replays"] == 0


def test_discard_resolves_and_empties_the_mirror(api, worker, task):
    """N19, N20."""
    run = die(api, worker, task)
    mirrored(worker, task, 1)

    answer = api.post("/v1/dead-letters/discard", {"ids": [run["id"]]})

    assert answer.status == 200, answer
    assert api.items("/v1/dead-letters", task=task) == []
    assert api.dead_letter(run["id"])["resolution"] == "discarded"
    mirrored(worker, task, 0)
    assert api.run(run["id"])["state"] == "failed"


def test_a_run_that_dies_again_is_a_dead_letter_again(api, worker, task):
    run = die(api, worker, task)
    api.post("/v1/dead-letters/replay", {"ids": [run["id"]]})

    worker.work(task, "failed", error=BOOM)

    api.wait_state(run["id"], "failed")
    assert len(api.items("/v1/dead-letters", task=task)) == 1
    mirrored(worker, task, 1)


@pytest.mark.parametrize("body", [{}, {"ids": []}, {"ids": ["nope"]}, {"filter": {}}, {"filter": {"nonsense": 1}}])
def test_a_replay_without_a_choice_is_refused(api, body):
    assert api.post("/v1/dead-letters/replay", body).status == 422
