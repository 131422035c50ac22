"""Submitting over HTTP: one, many, twice, later."""

import base64
import json
import re
import threading
import uuid

import pytest

from support.api import API
from support.waiting import until

RUN_FIELDS = {
    "id", "task", "state", "attempt", "max_attempts", "priority", "effective_priority", "created_at", "run_at",
    "queued_at", "launched_at", "started_at", "finished_at", "expires_at", "dedup_key", "idempotency_key", "group",
    "tags", "name", "workflow_id", "template", "parent_id", "depends_on", "held_by", "progress", "result",
    "last_error", "replays", "superseded_by"}
UUID7 = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
LATER = {"delay_seconds": 3600}


def at_once(port, count, submit):
    """Calls `submit(api, index)` from `count` threads at the same moment; returns the answers."""
    barrier, answers, failures = threading.Barrier(count), [None] * count, []

    def run(index):
        api = API(port)
        barrier.wait()
        try:
            answers[index] = submit(api, index)
        except Exception as error:  # seen by the test below
            failures.append(error)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    return answers


def test_the_state_of_a_new_run(api, task):
    """P15: ready, scheduled with a time to come, blocked with open prerequisites; readable at once."""
    assert api.post(f"/v1/tasks/{task}/pause").status == 200
    ready = api.submit_run(task, 1)
    scheduled = api.submit_run(task, 1, **LATER)
    blocked = api.submit_run(task, 1, depends_on=[scheduled["id"]])

    for run, state in ((ready, "ready"), (scheduled, "scheduled"), (blocked, "blocked")):
        assert run["state"] == state == api.run(run["id"])["state"]


def test_a_submission_is_answered_201_with_the_whole_run(api, task):
    """P15."""
    answer = api.post("/v1/runs", {"task": task, "payload": {"to": "a@example.com"}, "tags": {"env": "test"}})

    assert answer.status == 201
    assert answer.json["outcome"] == "inserted"
    run = answer.json["run"]
    assert RUN_FIELDS <= set(run), RUN_FIELDS - set(run)
    assert UUID7.match(run["id"])
    assert TIME.match(run["created_at"])
    assert (run["task"], run["priority"], run["max_attempts"], run["tags"]) == (task, 128, 4, {"env": "test"})


def test_the_payload_reaches_the_worker_byte_for_byte(api, worker, task):
    payload = '{ "b" : 1.50,\n  "a":"\\u00e9 ü", "big":123456789012345678901234567890 }'

    answer = api.post("/v1/runs", body=f'{{"task":"{task}", "payload":  {payload}  }}')

    assert answer.status == 201, answer
    delivery = worker.next(task)
    assert delivery.body.decode() == payload
    assert delivery.properties.content_type == "application/json"
    worker.report(delivery, "completed")
    delivery.ack()


def test_bytes_travel_as_base64(api, worker, task):
    data = bytes(range(256))

    answer = api.post("/v1/runs", {"task": task, "payload_base64": base64.b64encode(data).decode(),
                                   "content_type": "application/octet-stream"})

    assert answer.status == 201, answer
    delivery = worker.next(task)
    assert (delivery.body, delivery.properties.content_type) == (data, "application/octet-stream")
    worker.report(delivery, "completed")
    delivery.ack()


def test_the_payload_is_shown_where_the_contract_says(api, task):
    """P22."""
    run = api.submit_run(task, {"n": 1}, **LATER)

    assert api.run(run["id"])["payload"] == {"n": 1}
    assert "payload" not in api.get("/v1/runs", task=task).json["items"][0]
    assert api.get("/v1/runs", task=task, payload="true").json["items"][0]["payload"] == {"n": 1}


def test_a_batch_answers_in_order_and_defaults_fill_only_what_is_absent(api, task):
    """T57, S20, S8: 0 is a value of a run and of the defaults; 128 stands behind both."""
    zero = api.post("/v1/runs/batch", {"defaults": {"priority": 0, "delay_seconds": 3600}, "runs": [
        {"task": task + ".zero", "payload": 1}, {"task": task + ".zero", "payload": 1, "priority": 5}]}).json["items"]
    plain = api.post("/v1/runs/batch", {"runs": [{"task": task + ".zero", "payload": 1, **LATER}]}).json["items"]
    assert [item["run"]["priority"] for item in zero + plain] == [0, 5, 128]

    answer = api.post("/v1/runs/batch", {
        "defaults": {"tags": {"a": "1", "b": "1"}, "priority": 7, "delay_seconds": 3600},
        "runs": [{"task": task, "payload": 1, "tags": {"b": "2"}},
                 {"task": task, "payload": 2, "priority": 0},
                 {"task": task, "payload": 3, "depends_on": ["#0", "#1"]}]})

    assert answer.status in (200, 201), answer
    first, second, third = [item["run"] for item in answer.json["items"]]
    assert first["tags"] == {"a": "1", "b": "2"}
    assert (first["priority"], second["priority"]) == (7, 0)
    assert sorted(third["depends_on"]) == sorted([first["id"], second["id"]])
    assert third["state"] == "blocked"
    assert [item["outcome"] for item in answer.json["items"]] == ["inserted"] * 3


def test_a_batch_may_be_ndjson(api, task):
    """T57."""
    lines = "".join(json.dumps({"task": task, "payload": n, "delay_seconds": 3600}) + "\n" for n in range(5))

    answer = api.post("/v1/runs/batch", body=lines, headers={"Content-Type": "application/x-ndjson"})

    assert answer.status in (200, 201), answer
    assert len(answer.json["items"]) == 5
    assert len(api.items("/v1/runs", task=task)) == 5


def test_one_bad_item_stores_nothing(api, task):
    """T57."""
    runs = [{"task": task, "payload": n} for n in range(100)]
    runs[41]["priority"] = 256

    answer = api.post("/v1/runs/batch", {"runs": runs})

    assert answer.status == 422
    assert any("41" in error["pointer"] for error in answer.json["errors"]), answer
    assert api.items("/v1/runs", task=task) == []


def test_within_a_batch_the_last_duplicate_wins(api, task):
    """T57."""
    answer = api.post("/v1/runs/batch", {"runs": [
        {"task": task, "payload": n, "dedup_key": "k", "delay_seconds": 3600} for n in (1, 2, 3)]})

    assert answer.status in (200, 201), answer
    assert [item["outcome"] for item in answer.json["items"]] == ["duplicate", "duplicate", "inserted"]
    runs = api.items("/v1/runs", task=task, payload="true")
    assert [run["payload"] for run in runs] == [3]


def test_ten_thousand_and_one_runs_are_too_many(api, task):
    """T57."""
    answer = api.post("/v1/runs/batch", {"runs": [{"task": task, "payload": 1}] * 10_001})

    assert answer.status in (413, 422), answer
    assert api.items("/v1/runs", task=task) == []


def test_an_idempotency_key_gives_its_first_run(api, task):
    """P16, P17."""
    first = api.post("/v1/runs", {"task": task, "payload": {"n": 1}, "idempotency_key": "order-1", **LATER})
    again = api.post("/v1/runs", {"task": task, "payload": {"n": 1}, **LATER}, headers={"Idempotency-Key": "order-1"})
    other = api.post("/v1/runs", {"task": task, "payload": {"n": 2}, "idempotency_key": "order-1", **LATER})
    both = api.post("/v1/runs", {"task": task, "payload": {"n": 1}, "idempotency_key": "order-1"},
                    headers={"Idempotency-Key": "order-2"})

    assert first.status == 201
    assert (again.status, again.json["run"]["id"]) == (200, first.json["run"]["id"])
    assert again.json["outcome"] == "duplicate"
    assert (other.status, other.code) == (422, "idempotency_mismatch")
    assert other.json["run_id"] == first.json["run"]["id"]
    assert (both.status, both.json["errors"][0]["pointer"]) == (422, "/headers/Idempotency-Key"), both
    assert len(api.items("/v1/runs", task=task)) == 1


def test_an_idempotency_key_belongs_to_its_task_key(api, task):
    one = api.submit_run(task, 1, idempotency_key="k", **LATER)
    two = api.submit_run(task + ".b", 1, idempotency_key="k", **LATER)

    assert one["id"] != two["id"]


def test_fifty_equal_idempotency_keys_at_once_are_one_run(bridge, api, task):
    """P17."""
    answers = at_once(bridge.port, 50, lambda client, _: client.post(
        "/v1/runs", {"task": task, "payload": 1, "idempotency_key": "same", **LATER}))

    assert sorted(answer.status for answer in answers) == [200] * 49 + [201]
    assert len({answer.json["run"]["id"] for answer in answers}) == 1
    assert len(api.items("/v1/runs", task=task)) == 1


def test_fifty_equal_dedup_keys_at_once_are_one_run(bridge, api, task):
    """T56."""
    answers = at_once(bridge.port, 50, lambda client, _: client.post(
        "/v1/runs", {"task": task, "payload": 1, "dedup_key": "same", **LATER}))

    assert sorted(answer.status for answer in answers) == [200] * 49 + [201]
    assert len({answer.json["run"]["id"] for answer in answers}) == 1


def test_fifty_rejecting_at_once_are_one_run(bridge, api, task):
    """T55, T56."""
    answers = at_once(bridge.port, 50, lambda client, _: client.post(
        "/v1/runs", {"task": task, "payload": 1, "dedup_key": "same", "on_duplicate": "reject", **LATER}))

    assert sorted(answer.status for answer in answers) == [201] + [409] * 49
    assert len(api.items("/v1/runs", task=task)) == 1


def test_fifty_superseding_at_once_leave_one_active(bridge, api, task):
    """T54, T56."""
    at_once(bridge.port, 50, lambda client, n: client.submit(
        task, n, dedup_key="same", on_duplicate="supersede", **LATER))

    runs = api.items("/v1/runs", task=task)
    assert sorted(run["state"] for run in runs) == ["scheduled"] + ["superseded"] * 49


def test_skip_keeps_the_waiting_run_and_raises_its_priority(api, task):
    """T52."""
    first = api.submit(task, 1, dedup_key="k", priority=100, **LATER)
    same = api.submit(task, 2, dedup_key="k", priority=100, **LATER)
    urgent = api.submit(task, 3, dedup_key="k", priority=10, **LATER)
    less = api.submit(task, 4, dedup_key="k", priority=200, **LATER)

    assert [answer["outcome"] for answer in (first, same, urgent, less)] == \
        ["inserted", "duplicate", "upgraded", "duplicate"]
    run = api.run(first["run"]["id"])
    assert (run["priority"], run["payload"]) == (10, 1)
    assert len(api.items("/v1/runs", task=task)) == 1


def test_skip_on_a_running_run_runs_once_more_with_the_last_payload(api, worker, task):
    """T53."""
    first = api.submit_run(task, {"n": 0}, dedup_key="k")
    held = worker.next(task)
    worker.report(held, "running")

    answers = [api.submit(task, {"n": n}, dedup_key="k") for n in (1, 2, 3, 4, 5)]
    follow_up = answers[0]["follow_up_id"]

    assert [answer["outcome"] for answer in answers] == ["requeued"] * 5
    assert {answer["follow_up_id"] for answer in answers} == {follow_up}
    waiting = api.run(follow_up)
    assert (waiting["state"], waiting["blocked_by"]) == ("blocked", [first["id"]])
    worker.report(held, "completed")
    held.ack()
    again, _ = worker.work(task)
    assert (again.run_id, again.attempt, json.loads(again.body)) == (follow_up, 1, {"n": 5})
    api.wait_state(first["id"], "completed")
    api.wait_state(follow_up, "completed")
    assert len(api.items("/v1/runs", task=task)) == 2


def test_a_follow_up_runs_also_when_the_first_failed(api, worker, task):
    """T53."""
    api.submit_run(task, 0, dedup_key="k")
    held = worker.next(task)
    worker.report(held, "running")
    follow_up = api.submit(task, 1, dedup_key="k")["follow_up_id"]

    worker.report(held, "failed", error={"type": "T", "message": "no", "retryable": False})
    held.ack()

    again, _ = worker.work(task)
    assert again.run_id == follow_up


def test_supersede_ends_the_waiting_run_and_frees_its_key(api, task):
    """T54."""
    old = api.submit_run(task, 1, dedup_key="k", **LATER)
    answer = api.submit(task, 2, dedup_key="k", on_duplicate="supersede", expect=(200,), **LATER)

    assert (answer["outcome"], answer["replaced_id"]) == ("superseded", old["id"])
    old = api.run(old["id"])
    assert (old["state"], old["superseded_by"]) == ("superseded", answer["run"]["id"])


def test_supersede_of_a_running_run_stops_its_worker(api, worker, task):
    """T54, N26."""
    old = api.submit_run(task, 1, dedup_key="k")
    held = worker.next(task)
    worker.report(held, "running")

    answer = api.submit(task, 2, dedup_key="k", on_duplicate="supersede")
    verdict = worker.report(held, "completed", result=1)
    held.ack()

    assert answer["replaced_id"] == old["id"]
    assert (verdict["verdict"], verdict["action"]) == ("abort", "stop")
    assert api.run(old["id"])["state"] == "superseded"
    assert api.attempts(old["id"])[-1]["state"] == "fatal"
    new, _ = worker.work(task)
    assert new.run_id == answer["run"]["id"]


def test_supersede_moves_the_dependents_to_the_new_run(api, worker, task):
    """T54."""
    old = api.submit_run(task, 1, dedup_key="k", **LATER)
    after = api.submit_run(task + ".after", 1, depends_on=[old["id"]])

    new = api.submit(task, 2, dedup_key="k", on_duplicate="supersede")["run"]

    shown = api.run(after["id"])
    assert (shown["state"], shown["blocked_by"]) == ("blocked", [new["id"]])
    assert worker.work(task)[0].run_id == new["id"]
    assert worker.work(task + ".after")[0].run_id == after["id"]


def test_reject_is_409_and_names_the_active_run(api, task):
    """T55."""
    old = api.submit_run(task, 1, dedup_key="k", **LATER)

    answer = api.post("/v1/runs", {"task": task, "payload": 2, "dedup_key": "k", "on_duplicate": "reject"})

    assert answer.status == 409
    assert (answer.json["outcome"], answer.json["run"]["id"], answer.code) == ("rejected", old["id"], "rejected")
    assert old["id"] in answer.json["detail"]
    assert len(api.items("/v1/runs", task=task)) == 1


def test_a_dedup_key_is_free_once_its_run_has_ended(api, worker, task):
    first = api.submit_run(task, 1, dedup_key="k")
    worker.work(task)
    api.wait_state(first["id"], "completed")

    second = api.submit(task, 1, dedup_key="k")

    assert second["outcome"] == "inserted"
    worker.work(task)


def test_the_payload_can_be_its_own_dedup_key(api, task):
    body = '{{"task":"{}","dedup_key":"$payload","delay_seconds":3600,"payload":{}}}'

    one = api.post("/v1/runs", body=body.format(task, '{"a":1,"b":[2]}'))
    two = api.post("/v1/runs", body=body.format(task, '{ "b": [2], "a": 1 }'))

    assert (one.status, two.status) == (201, 200), (one, two)
    assert two.json["run"]["id"] == one.json["run"]["id"]
    assert re.search(r"[0-9a-f]{64}", one.json["run"]["dedup_key"])


def test_a_delayed_run_starts_after_its_time(api, worker, task):
    """T62."""
    run = api.submit_run(task, 1, delay_seconds=1.5)

    assert run["state"] == "scheduled"
    delivery, _ = worker.work(task)
    done = api.wait_state(delivery.run_id, "completed")
    assert done["launched_at"] >= run["run_at"]


def test_run_at_in_the_past_is_due_now(api, worker, task):
    """T62."""
    run = api.submit_run(task, 1, run_at="2020-01-01T01:00:00+01:00")

    assert run["run_at"] == "2020-01-01T00:00:00.000Z"
    assert worker.work(task)[0].run_id == run["id"]


def test_a_run_not_begun_in_time_expires_and_frees_its_key(api, task):
    """T63."""
    run = api.submit_run(task, 1, dedup_key="k", ttl_seconds=0.5, **LATER)

    api.wait_state(run["id"], "expired")
    assert api.submit(task, 1, dedup_key="k", **LATER)["outcome"] == "inserted"


def test_the_most_urgent_run_goes_first_and_ties_by_age(new_bridge, connect, task):
    # With a bound of 1 the store decides the order of release one by one.
    from support.amqp import Worker
    bridge = new_bridge({"queue_bound": 1})
    api, worker = bridge.api, connect(Worker, bridge.amqp_url)
    first = api.submit_run(task, "first")
    api.wait_state(first["id"], "launched")

    for payload, priority in [("c", 200), ("a", 0), ("b1", 128), ("b2", 128)]:
        api.submit_run(task, payload, priority=priority)

    order = [json.loads(worker.work(task)[0].body) for _ in range(5)]
    assert order == ["first", "a", "b1", "b2", "c"]


def test_pages_show_every_run_once(api, task):
    for n in range(7):
        api.submit_run(task, n, **LATER)

    first = api.get("/v1/runs", task=task, limit=3).json
    api.submit_run(task, 99, **LATER)
    second = api.get("/v1/runs", task=task, limit=3, cursor=first["next_cursor"]).json
    third = api.get("/v1/runs", task=task, limit=3, cursor=second["next_cursor"]).json

    ids = [run["id"] for page in (first, second, third) for run in page["items"]]
    assert len(ids) == 7 and len(set(ids)) == 7
    assert ids == sorted(ids, reverse=True)
    assert third["next_cursor"] is None


def test_filters_are_anded(api, task):
    one = api.submit_run(task, 1, tags={"tenant": "42", "env": "prod"}, workflow_id="w1", group="g", name="n1", **LATER)
    api.submit_run(task, 2, tags={"tenant": "42", "env": "test"}, **LATER)
    api.submit_run(task, 3, depends_on=[one["id"]], tags={"tenant": "42", "env": "prod"})

    def found(**query):
        return [run["id"] for run in api.items("/v1/runs", task=task, **query)]

    assert found(**{"tag.tenant": "42", "tag.env": "prod", "state": "scheduled"}) == [one["id"]]
    assert len(found(state=["scheduled", "blocked"])) == 3
    assert found(workflow_id="w1") == [one["id"]]
    assert found(group="g") == [one["id"]]
    assert found(name="n1") == [one["id"]]
    assert found(id=one["id"]) == [one["id"]]
    assert found(created_after="2999-01-01T00:00:00Z") == []
    assert api.items("/v1/runs", domain="nothing-here") == []


def test_a_payload_of_exactly_one_mebibyte_is_taken(api, task):
    """T58."""
    def submit(size):
        return api.post("/v1/runs", body='{"task":"%s","delay_seconds":3600,"payload":"%s"}' % (task, "x" * (size - 2)))

    assert submit(1_048_576).status == 201
    over = submit(1_048_577)
    assert (over.status, over.code) == (413, "payload_too_large")


def test_the_snapshot_counts_agree_with_the_list(api, task):
    api.submit_run(task, 1, **LATER)

    def agree():
        counts = api.counts()
        listed = {}
        for run in api.items("/v1/runs", limit=1000):
            listed[run["state"]] = listed.get(run["state"], 0) + 1
        return counts == listed
    until(agree, what="snapshot and list should agree")


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_health_is_open(api, path):
    assert api.get(path).status == 200


def test_a_name_like_sql_is_stored_as_it_is(api, task):
    evil = "'; DROP TABLE runs;--"

    run = api.submit_run(task, evil, name=evil, tags={"x": evil}, dedup_key=evil, **LATER)

    assert api.run(run["id"])["name"] == evil
    assert [found["id"] for found in api.items("/v1/runs", dedup_key=evil, task=task)] == [run["id"]]
    assert [found["id"] for found in api.items("/v1/runs", **{"tag.x": evil})] == [run["id"]]


def test_markup_and_direction_marks_are_data(api, task):
    text = "<script>alert(1)</script> javascript:x \u202e\u200f"

    run = api.submit_run(task, text, name=text, tags={"x": text}, **LATER)

    shown = api.run(run["id"])
    assert (shown["name"], shown["tags"]["x"], shown["payload"]) == (text, text, text)


def test_an_unknown_run_is_404_and_a_malformed_id_422(api):
    unknown = api.get(f"/v1/runs/{str(uuid.uuid4())}")
    malformed = api.get("/v1/runs/not-a-uuid")

    assert (unknown.status, unknown.code) == (404, "run_not_found")
    assert malformed.status == 422
