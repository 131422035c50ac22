"""Submitting over AMQP with pika alone: plain, described, CloudEvents, answers, and what cannot be accepted."""

import base64
import decimal
import json
import sys
import uuid

import pika
import pytest

from support.amqp import Producer
from support.waiting import until

DESCRIBED = "application/vnd.taskbridge.submission+json"
CLOUD = "application/cloudevents+json"
LATER = {"tb-delay-seconds": 3600}


@pytest.fixture
def submit(producer):
    """Submits with headers; answers what the bridge said."""
    def call(task, body, headers=None, **properties):
        return producer.submit(task, body, headers=headers, **properties)
    return call


def test_plain_the_body_is_the_payload(producer, worker, api, task):
    producer.publish("taskbridge.submit", task, b"\x00\xff raw bytes", content_type="application/octet-stream",
                     content_encoding="x-own")

    delivery = worker.next(task)
    assert delivery.body == b"\x00\xff raw bytes"
    assert delivery.properties.content_type == "application/octet-stream"
    assert delivery.properties.content_encoding == "x-own"
    assert worker.report(delivery, "completed")["code"] == "applied"
    delivery.ack()
    assert api.run(delivery.run_id)["state"] == "completed"


@pytest.mark.parametrize("body, properties", [
    (b"", {}), (b"\xff\xfe", {"content_type": "text/plain"}), (b"no content type", {}),
    (b"\x1f\x8b\x08\x00", {"content_type": "application/json", "content_encoding": "gzip"})],
    ids=["empty", "not UTF-8", "no content type", "gzip"])
def test_plain_bodies_are_carried_as_they_are(producer, worker, task, body, properties):
    answer = producer.submit(task, body, **properties)

    assert answer["outcome"] == "inserted"
    delivery = worker.next(task)
    assert delivery.body == body
    assert delivery.properties.content_type == properties.get("content_type")
    assert delivery.properties.content_encoding == properties.get("content_encoding")
    worker.report(delivery, "completed")
    delivery.ack()


def test_the_answer_is_the_one_of_http(submit, api, task):
    """P20."""
    answer = submit(task, b"{}", headers=LATER)

    assert answer["outcome"] == "inserted"
    listed = api.run(answer["run"]["id"])
    assert answer["run"].items() <= listed.items() or answer["run"]["id"] == listed["id"]
    assert answer["run"]["task"] == task


def test_an_answer_can_go_to_a_queue_of_ones_own(producer, task):
    """P20: `correlation_id` echoed, `type: taskbridge.reply`."""
    name = producer.channel.queue_declare("", exclusive=True).method.queue

    producer.publish("taskbridge.submit", task, b"1", reply_to=name, correlation_id="mine", headers=LATER)

    reply = producer.take(name)
    assert (reply.properties.correlation_id, reply.properties.type) == ("mine", "taskbridge.reply")
    assert json.loads(reply.body)["outcome"] == "inserted"


def test_many_answers_come_in_order(producer, task):
    """P20: each of three thousand, to the queue that was asked for."""
    name = producer.channel.queue_declare("", exclusive=True).method.queue
    for number in range(3_000):
        producer.publish("taskbridge.submit", task, b"1", reply_to=name, correlation_id=str(number), headers=LATER)

    answers = []
    for _, properties, body in producer.channel.consume(name, auto_ack=True, inactivity_timeout=20):
        assert properties is not None, f"{len(answers)} answers came"
        answers.append((properties.correlation_id, json.loads(body)["outcome"]))
        if len(answers) == 3_000:
            break
    producer.channel.cancel()

    assert answers == [(str(number), "inserted") for number in range(3_000)]


def test_options_are_headers(submit, api, task):
    first = submit(task, b"1", headers={**LATER})["run"]["id"]

    run = submit(task, b"2", headers={
        "tb-priority": 7, "tb-tags": {"env": "test"}, "tb-dedup-key": "k", "tb-max-attempts": 9, "tb-name": "n",
        "tb-workflow-id": "w", "tb-group": "g", "tb-depends-on": [first], "tb-lease-seconds": 33})["run"]

    shown = api.run(run["id"])
    assert (shown["priority"], shown["tags"], shown["dedup_key"], shown["max_attempts"], shown["name"],
            shown["workflow_id"], shown["group"], shown["depends_on"], shown["state"]) == \
        (7, {"env": "test"}, "k", 9, "n", "w", "g", [first], "blocked")


def test_dependencies_may_be_comma_separated(submit, api, task):
    ids = [submit(task, b"1", headers=LATER)["run"]["id"] for _ in range(2)]

    run = submit(task, b"2", headers={"tb-depends-on": ",".join(ids)})["run"]

    assert sorted(api.run(run["id"])["depends_on"]) == sorted(ids)


@pytest.mark.parametrize("value", ["5", 5, 2 ** 40 // 2 ** 40 + 4])
def test_numbers_may_come_as_text_or_integers(submit, task, value):
    assert submit(task, b"1", headers={"tb-priority": value, **LATER})["run"]["priority"] == 5


def test_described_the_body_is_a_submission(submit, worker, task):
    body = '{"task":"%s", "payload": { "a" : 1 }, "priority":3}' % task

    answer = submit(task, body, content_type=DESCRIBED)

    assert answer["run"]["priority"] == 3
    delivery = worker.next(task)
    assert delivery.body == b'{ "a" : 1 }'
    worker.report(delivery, "completed")
    delivery.ack()


def test_cloudevent_structured(submit, worker, task):
    event = {"specversion": "1.0", "id": "e1", "source": "/shop", "type": "order.created", "data": {"n": 1}}

    first = submit(task, json.dumps(event), content_type=CLOUD)
    again = submit(task, json.dumps(event), content_type=CLOUD)

    assert (first["outcome"], again["outcome"]) == ("inserted", "duplicate")
    assert first["run"]["id"] == again["run"]["id"]
    delivery = worker.next(task)
    assert json.loads(delivery.body) == {"n": 1}
    worker.report(delivery, "completed")
    delivery.ack()


def test_cloudevent_in_headers(submit, worker, task):
    headers = {"ce-specversion": "1.0", "ce-id": "e1", "ce-source": "/shop", "ce-type": "order.created"}

    first = submit(task, b'{"n":2}', headers=headers, content_type="application/json")
    again = submit(task, b'{"n":2}', headers=headers, content_type="application/json")

    assert (first["outcome"], again["outcome"]) == ("inserted", "duplicate")
    delivery = worker.next(task)
    assert delivery.body == b'{"n":2}'
    worker.report(delivery, "completed")
    delivery.ack()


TWIN = {"priority": 7, "delay_seconds": 3600, "tags": {"env": "test"}, "name": "n", "workflow_id": "w", "group": "g",
        "max_attempts": 9, "lease_seconds": 33, "template": "t", "ttl_seconds": 7200}
MADE_NEW = {"id", "created_at", "run_at", "expires_at", "idempotency_key"}


@pytest.mark.parametrize("form", ["plain", "described", "structured CloudEvent", "CloudEvent in headers"])
def test_each_form_gives_the_run_of_its_http_twin(submit, api, task, form):
    """P19: the same fields, the same payload."""
    twin = api.submit(task, {"n": 1.50}, **TWIN, idempotency_key="http")["run"]
    headers = {"tb-" + name.replace("_", "-"): value for name, value in TWIN.items()}
    event = {"specversion": "1.0", "id": "e", "source": "/s", "type": "t"}

    if form == "plain":
        answer = submit(task, b'{"n": 1.5}', headers=headers, content_type="application/json", message_id="m")
    elif form == "described":
        answer = submit(task, json.dumps({"payload": {"n": 1.5}, **TWIN}), content_type=DESCRIBED, message_id="m")
    elif form == "structured CloudEvent":
        answer = submit(task, json.dumps({**event, "data": {"n": 1.5}}), content_type=CLOUD, headers=headers)
    else:
        answer = submit(task, b'{"n": 1.5}', content_type="application/json",
                        headers={**headers, **{f"ce-{name}": value for name, value in event.items()}})

    assert answer["outcome"] == "inserted", answer
    run, other = api.run(answer["run"]["id"]), api.run(twin["id"])
    assert {name: run[name] for name in run.keys() - MADE_NEW} == {name: other[name] for name in other.keys() - MADE_NEW}
    assert run["idempotency_key"] not in (None, "http")
    assert run["id"] != other["id"] and run["payload"] == {"n": 1.5}


def test_what_is_refused_keeps_its_bytes_and_its_reason(submit, producer, worker, api, task):
    """P20: refused, it is answered with a problem and kept; the next message flows."""
    body = b"\x00\xff " + task.encode()

    problem = submit(task, body, headers={"tb-nonsense": 1})
    producer.publish("taskbridge.submit", task, b"next")

    kept = next(row for row in api.quarantine(body="true") if row["routing_key"] == task)
    assert worker.work(task)[0].body == b"next"
    assert (kept["source"], kept["kind"], kept["code"], kept["size_bytes"]) == \
        ("submit", "invalid", "unknown_field", len(body))
    assert base64.b64decode(kept["body_base64"]) == body
    assert "tb-nonsense" in kept["detail"] and kept["detail"] == problem["detail"]


def test_message_id_is_the_idempotency_key(submit, api, task):
    """P16."""
    first = submit(task, b"1", message_id="m1", headers=LATER)
    again = submit(task, b"1", message_id="m1", headers=LATER)
    other = submit(task, b"2", message_id="m1", headers=LATER)

    assert (first["outcome"], again["outcome"]) == ("inserted", "duplicate")
    assert again["run"]["id"] == first["run"]["id"]
    assert (other["status"], other["code"]) == (422, "idempotency_mismatch")
    assert len(api.items("/v1/runs", task=task)) == 1


def test_without_a_message_id_nothing_is_deduplicated(submit, api, task):
    for _ in range(2):
        submit(task, b"1", headers=LATER)

    assert len(api.items("/v1/runs", task=task)) == 2


def test_the_same_key_over_http_and_amqp_is_one_run(submit, api, task):
    """P16."""
    over_http = api.submit(task, {"n": 1}, idempotency_key="k", **{"delay_seconds": 3600})
    over_amqp = submit(task, b'{"n": 1}', message_id="k", content_type="application/json", headers=LATER)

    assert over_amqp["outcome"] == "duplicate"
    assert over_amqp["run"]["id"] == over_http["run"]["id"]


def test_a_trace_travels_with_the_run(submit, worker, task):
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    submit(task, b"1", headers={"traceparent": parent, "tracestate": "a=b"})

    delivery = worker.next(task)
    assert delivery.headers["traceparent"].split("-")[1] == parent.split("-")[1]
    worker.report(delivery, "completed")
    delivery.ack()


def test_a_rejected_duplicate_is_answered_409(submit, task):
    submit(task, b"1", headers={"tb-dedup-key": "k", **LATER})

    answer = submit(task, b"2", headers={"tb-dedup-key": "k", "tb-on-duplicate": "reject", **LATER})

    assert answer.get("status") == 409 or answer.get("outcome") == "rejected", answer


def test_a_rejected_duplicate_without_reply_to_is_listed(producer, api, task):
    producer.submit(task, b"1", headers={"tb-dedup-key": "k", **LATER})

    producer.publish("taskbridge.submit", task, b"2",
                     headers={"tb-dedup-key": "k", "tb-on-duplicate": "reject", **LATER})

    until(lambda: any(task in json.dumps(row) for row in api.quarantine(kind="rejected")),
          what="the rejected duplicate should be listed")


# What cannot be accepted is answered, quarantined and acknowledged; it never comes back.

def described(**fields):
    return json.dumps({"payload": 1, **fields})


REFUSED = {
    "empty routing key": ("", b"1", {}, 422, "invalid_task"),
    "routing key no task key": ("Not A Key", b"1", {}, 422, "invalid_task"),
    "task differs from the routing key": ("bad.amqp", described(task="bad.other"), {"content_type": DESCRIBED}, 422,
                                          "task_mismatch"),
    "described body broken": ("bad.amqp", b"{bad", {"content_type": DESCRIBED}, 400, None),
    "described body too deep": ("bad.amqp", b'{"payload":' + b"[" * 9999 + b"]" * 9999 + b"}",
                                {"content_type": DESCRIBED}, 400, "too_deep"),
    "described field wrong": ("bad.amqp", described(priority=-1), {"content_type": DESCRIBED}, 422, None),
    "described field unknown": ("bad.amqp", described(prioritty=1), {"content_type": DESCRIBED}, 422, "unknown_field"),
    "described and gzip": ("bad.amqp", b"\x1f\x8b", {"content_type": DESCRIBED, "content_encoding": "gzip"}, 415, None),
    "priority 5.0": ("bad.amqp", b"1", {"headers": {"tb-priority": decimal.Decimal("5.0")}}, 422, None),
    "priority abc": ("bad.amqp", b"1", {"headers": {"tb-priority": "abc"}}, 422, None),
    "priority a table": ("bad.amqp", b"1", {"headers": {"tb-priority": {"a": 1}}}, 422, None),
    "unknown tb header": ("bad.amqp", b"1", {"headers": {"tb-prio": 1}}, 422, "unknown_field"),
    "run_at and delay": ("bad.amqp", b"1", {"headers": {"tb-run-at": "2030-01-01T00:00:00Z", "tb-delay-seconds": 1}},
                         422, None),
    "time without zone": ("bad.amqp", b"1", {"headers": {"tb-run-at": "2030-01-01T00:00:00"}}, 422,
                          "time_without_zone"),
    "33 tags": ("bad.amqp", b"1", {"headers": {"tb-tags": {f"t{n}": "v" for n in range(33)}}}, 422, None),
    "unknown dependency": ("bad.amqp", b"1", {"headers": {"tb-depends-on": str(uuid.uuid4())}}, 422,
                           "unknown_dependency"),
    "a token without a run": ("bad.amqp", b"1", {"headers": {"tb-token": "x"}}, 422, "reserved_header"),
    "an attempt without a run": ("bad.amqp", b"1", {"headers": {"tb-attempt": 1}}, 422, "reserved_header"),
    "one byte too much": ("bad.amqp", b"x" * 1_048_577, {}, 413, "payload_too_large"),
    "twenty megabytes": ("bad.amqp", b"x" * 20_000_000, {}, 413, "payload_too_large"),
    "cloudevent without id": ("bad.amqp", json.dumps({"specversion": "1.0", "source": "/a", "type": "t"}),
                              {"content_type": CLOUD}, 422, None),
    "cloudevent without source": ("bad.amqp", json.dumps({"specversion": "1.0", "id": "1", "type": "t"}),
                                  {"content_type": CLOUD}, 422, None),
    "cloudevents in batch mode": ("bad.amqp", b"[]", {"content_type": "application/cloudevents-batch+json"}, 422, None),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_submission_is_answered_and_quarantined(bridge, producer, api, name):
    """P20, P19: bad JSON, a bad header or value, too large, a `task` unlike the routing key."""
    routing_key, body, properties, status, code = REFUSED[name]
    runs = len(api.items("/v1/runs", task="bad.amqp"))
    held = len(api.quarantine(limit=1000))

    problem = producer.submit(routing_key, body, **properties)

    assert problem["status"] == status, problem
    assert code is None or problem["code"] == code, problem
    assert {"type", "title", "detail", "code"} <= set(problem)
    until(lambda: len(api.quarantine(limit=1000)) == held + 1, what="it should be in quarantine")
    assert len(api.items("/v1/runs", task="bad.amqp")) == runs
    assert producer.message_count("taskbridge.submit") == 0


def test_hostile_headers_are_survived(bridge, producer, api, task):
    nested = "x"
    for _ in range(16_000):
        nested = {"a": nested}
    held = len(api.quarantine(limit=1000))
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(200_000)
    try:
        producer.publish("taskbridge.submit", "bad.amqp", b"deep", headers={"x": nested})
    finally:
        sys.setrecursionlimit(limit)
    producer.publish("taskbridge.submit", "bad.amqp", b"empty key", headers={"": "x"})
    producer.publish("taskbridge.submit", "bad.amqp", b"much", headers={f"h{n}": "v" * 1000 for n in range(120)})

    # Whatever becomes of the three: the next message is taken, nothing is redelivered for ever, the process lives.
    with_answer = Producer(bridge.amqp_url)
    try:
        assert with_answer.submit(task, b"1", headers=LATER)["outcome"] == "inserted"
    finally:
        with_answer.close()
    until(lambda: len(api.quarantine(limit=1000)) >= held + 2, what="the first two should be in quarantine")
    assert producer.message_count("taskbridge.submit") == 0
    assert bridge.process.poll() is None


@pytest.mark.parametrize("name", [
    "taskbridge.events", "taskbridge.submit", "taskbridge.run.bad.amqp", "amq.rabbitmq.log"])
def test_an_answer_never_goes_to_the_bridges_own_objects(producer, api, task, name):
    before = len(api.quarantine(limit=1000))

    producer.publish("taskbridge.submit", task, b"1", reply_to=name, correlation_id="x", headers=LATER)

    until(lambda: api.items("/v1/runs", task=task), what="the run should be stored")
    producer.submit(task + ".next", b"1", headers=LATER)
    assert len(api.quarantine(limit=1000)) == before


def test_an_answer_to_a_queue_that_is_gone_is_dropped(producer, api, task):
    """P20."""
    producer.publish("taskbridge.submit", task, b"1", reply_to="amq.gen-gone", correlation_id="x", headers=LATER)

    until(lambda: api.items("/v1/runs", task=task), what="the run should be stored")
    assert producer.submit(task, b"2", headers=LATER)["outcome"] == "inserted"


def test_properties_without_meaning_are_ignored(producer, worker, task):
    answer = producer.submit(task, b"1", priority=255, timestamp=2 ** 64 - 1, message_id="m" * 255, app_id="a" * 255,
                             type="t" * 255, correlation_id="c" * 255)

    assert answer["outcome"] == "inserted"
    assert worker.work(task)[0].run_id == answer["run"]["id"]


def test_a_submission_while_the_bridge_is_down_waits_in_the_broker(new_bridge, connect, task):
    bridge = new_bridge()
    producer = connect(Producer, bridge.amqp_url)
    bridge.stop()

    producer.publish("taskbridge.submit", task, b"1", message_id="m1")
    bridge.start()

    runs = until(lambda: bridge.api.items("/v1/runs", task=task), what="the run should be stored")
    assert [run["idempotency_key"] for run in runs] == ["m1"]


def test_a_submission_in_the_hands_of_the_broker_is_persistent(broker, producer):
    # What pika sees when the bridge's exchange is there: mandatory publishing is not returned.
    channel = producer.connection.channel()
    channel.confirm_delivery()
    channel.basic_publish("taskbridge.submit", "bad.amqp", b"1", pika.BasicProperties(
        delivery_mode=2, headers=LATER), mandatory=True)
