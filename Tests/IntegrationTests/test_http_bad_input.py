"""Bad input over HTTP: the right status and code, nothing stored, the process lives (reliability: HTTP 5 to 46)."""

import json
import uuid

import pytest

TASK = "bad.input"


def body(payload="1", **fields):
    """A submission as text; values given as text go in as they are."""
    parts = [f'"task":"{TASK}"', f'"payload":{payload}'] + [f'"{key}":{value}' for key, value in fields.items()]
    return "{" + ",".join(parts) + "}"


UNKNOWN_ID = "01936a3e-0000-7000-8000-000000000000"

# name: (body, status, code or None)
REFUSED = {
    "not json": ("{bad", 400, "invalid_json"),
    "trailing bytes": (body() + "x", 400, "invalid_json"),
    "NaN": (body("NaN"), 400, "invalid_json"),
    "byte order mark": ("\ufeff" + body(), 400, "invalid_json"),
    "single quotes": ("{'task':'a'}", 400, "invalid_json"),
    "empty body": ("", 400, None),
    "an array": ("[]", None, None),
    "a number": ("7", None, None),
    "depth 10,000": (body("[" * 10_000 + "]" * 10_000), 400, "too_deep"),
    "depth 10,000 outside the payload": (body(tags="[" * 10_000 + "]" * 10_000), 400, "too_deep"),
    "duplicate keys": ('{"task":"a.b","task":"a.c","payload":1}', 400, "duplicate_key"),
    "1e400": (body(priority="1e400"), 422, None),
    "two to the 63rd": (body(priority="9223372036854775808"), 422, None),
    "minus one": (body(priority="-1"), 422, None),
    "one and a half": (body(priority="1.5"), 422, None),
    "priority 256": (body(priority="256"), 422, None),
    "priority as text": (body(priority='"5"'), 422, None),
    "lone surrogate": (body(name='"\\ud800"'), 400, None),
    "NUL in a name": (body(name='"a\\u0000b"'), 422, None),
    "NUL in a tag": (body(tags='{"a":"\\u0000"}'), 422, None),
    "NUL in a key": (body(dedup_key='"\\u0000"'), 422, None),
    "unknown field": (body(prioritty="1"), 422, "unknown_field"),
    "task missing": ('{"payload":1}', 422, None),
    "task empty": ('{"task":"","payload":1}', 422, None),
    "task 121 characters": ('{"task":"%s","payload":1}' % ("a" * 121), 422, "invalid_task"),
    "task upper case": ('{"task":"Email","payload":1}', 422, "invalid_task"),
    "task with a path": ('{"task":"../etc","payload":1}', 422, "invalid_task"),
    "task with a line end": ('{"task":"a\\r\\nb","payload":1}', 422, "invalid_task"),
    "task with a space": ('{"task":"a b","payload":1}', 422, "invalid_task"),
    "task with an emoji": ('{"task":"a😀","payload":1}', 422, "invalid_task"),
    "task with a leading dot": ('{"task":".a","payload":1}', 422, "invalid_task"),
    "task like sql": ('{"task":"\'; DROP TABLE runs;--","payload":1}', 422, None),
    "task a number": ('{"task":7,"payload":1}', 422, None),
    "run_at tomorrow": (body(run_at='"tomorrow"'), 422, None),
    "run_at long ago": (body(run_at='"-1000000-01-01T00:00:00Z"'), 422, None),
    "run_at without zone": (body(run_at='"2026-11-20T10:00:00"'), 422, "time_without_zone"),
    "run_at and delay": (body(run_at='"2030-01-01T00:00:00Z"', delay_seconds="5"), 422, None),
    "negative delay": (body(delay_seconds="-5"), 422, None),
    "max_attempts 0": (body(max_attempts="0"), 422, None),
    "max_attempts 10^9": (body(max_attempts="1000000000"), 422, None),
    "lease_seconds 0": (body(lease_seconds="0"), 422, None),
    "negative back-off": (body(retry='{"strategy":"constant","initial_seconds":-1}'), 422, None),
    "unknown strategy": (body(retry='{"strategy":"hope"}'), 422, None),
    "unknown retry field": (body(retry='{"stratgey":"constant"}'), 422, "unknown_field"),
    "unknown on_duplicate": (body(on_duplicate='"maybe"', dedup_key='"k"'), 422, None),
    "depends on 1,001 runs": (body(depends_on=json.dumps([str(uuid.uuid4()) for _ in range(1001)])), 422, "too_many"),
    "depends on an unknown run": (body(depends_on=f'["{UNKNOWN_ID}"]'), 422, "unknown_dependency"),
    "depends on nonsense": (body(depends_on='["x"]'), 422, None),
    "dedup key of 513 bytes": (body(dedup_key='"%s"' % ("k" * 513)), 422, None),
    "idempotency key of 513 bytes": (body(idempotency_key='"%s"' % ("k" * 513)), 422, None),
    "33 tags": (body(tags=json.dumps({f"t{n}": "v" for n in range(33)})), 422, None),
    "tag key of 65 bytes": (body(tags=json.dumps({"t" * 65: "v"})), 422, None),
    "tag value of 257 bytes": (body(tags=json.dumps({"t": "v" * 257})), 422, None),
    "tags as a list": (body(tags='["a"]'), 422, None),
    "payload and payload_base64": (body(payload_base64='"AA=="'), 422, None),
    "payload_base64 broken": ('{"task":"%s","payload_base64":"%%%%"}' % TASK, 422, None),
    "unknown parent": (body(parent_id=f'"{UNKNOWN_ID}"'), 422, None),
}


def rows(bridge):
    return sum(bridge.api.counts().values())


def is_problem(answer):
    problem = answer.json
    return answer.headers["Content-Type"].startswith("application/problem+json") and \
        {"type", "title", "status", "detail", "code"} <= set(problem) and problem["status"] == answer.status


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_submission_is_refused_and_nothing_is_stored(bridge, api, name):
    """T58, T62, P39: each naming limit and field."""
    text, status, code = REFUSED[name]
    before = rows(bridge)

    answer = api.call("POST", "/v1/runs", body=text.encode())

    assert answer.status == status if status else answer.status in (400, 422), answer
    assert is_problem(answer), answer
    assert code is None or answer.code == code, answer
    assert rows(bridge) == before
    assert api.get("/livez").status == 200


@pytest.mark.parametrize("name, pointer, limit", [
    ("33 tags", "/tags", 32), ("tag key of 65 bytes", "/tags", 64), ("tag value of 257 bytes", "/tags/t", 256),
    ("dedup key of 513 bytes", "/dedup_key", 512)])
def test_a_limit_is_named_with_its_field(api, name, pointer, limit):
    """T58."""
    answer = api.call("POST", "/v1/runs", body=REFUSED[name][0].encode())

    error, = answer.json["errors"]
    assert answer.status == 422
    assert error["pointer"].startswith(pointer) and str(limit) in error["detail"], answer


def test_a_wrong_type_has_a_pointer(api):
    answer = api.call("POST", "/v1/runs", body=body(priority='"high"'))

    assert [error["pointer"] for error in answer.json["errors"]] == ["/priority"], answer


def test_an_unknown_field_names_the_nearest(api):
    answer = api.call("POST", "/v1/runs", body=body(prioritty="1"))

    assert "priority" in answer.body.decode().replace("prioritty", "")


def test_invalid_json_has_line_and_column(api):
    answer = api.call("POST", "/v1/runs", body='{"task":"a.b",\n "payload": }')

    assert "line 2" in answer.json["detail"], answer


def test_invalid_utf8_is_400(api):
    answer = api.call("POST", "/v1/runs", body=b'{"task":"bad.input","payload":"\xff\xfe"}')

    assert answer.status == 400, answer


def test_a_wrong_content_type_is_415_with_what_is_allowed(api):
    answer = api.call("POST", "/v1/runs", body=body(), headers={"Content-Type": "text/xml"})

    assert answer.status == 415, answer
    assert "application/json" in json.dumps(answer.json["allowed"])


def test_too_large_a_body_is_413_before_it_is_read(api):
    answer = api.raw(b"POST /v1/runs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                     b"Content-Length: 1073741824\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 413"), answer


def test_too_large_a_chunked_body_is_413(api):
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    head = b"POST /v1/runs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"

    answer = api.raw(head + chunk * 64)

    assert answer.startswith(b"HTTP/1.1 413"), answer


def test_a_length_with_a_transfer_encoding_is_refused(api):
    answer = api.raw(b"POST /v1/runs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
                     b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")

    assert answer == b"" or answer.startswith(b"HTTP/1.1 400"), answer


@pytest.mark.parametrize("query, status, code", [
    ("limit=0", 422, None), ("limit=1000000000", 422, None), ("limit=abc", 422, None),
    ("sort=payload;--", 422, None), ("cursor=forged", 400, "invalid_cursor"), ("nonsense=1", 422, "unknown_field"),
    ("state=sleeping", 422, None), ("task=NOT%20A%20KEY", 422, None), ("created_after=2026-01-01T00:00:00", 422, None),
    ("id=nope", 422, None)])
def test_a_bad_list_query_is_refused(api, query, status, code):
    answer = api.call("GET", "/v1/runs?" + query)

    assert answer.status == status, answer
    assert is_problem(answer)
    assert code is None or answer.code == code, answer


@pytest.mark.parametrize("path, method, status", [
    ("/v1/nothing", "GET", 404), ("/v1/runs/" + UNKNOWN_ID, "GET", 404),
    ("/v1/runs/" + UNKNOWN_ID + "/audit", "GET", 404),
    ("/v1/runs/" + UNKNOWN_ID + "/cancel", "POST", 404), ("/v1/runs/" + UNKNOWN_ID + "/retry", "POST", 404),
    ("/v1/runs/nope", "GET", 422), ("/v1/dead-letters/" + UNKNOWN_ID, "GET", 404), ("/v1/runs", "PUT", 405)])
def test_a_wrong_path_or_method_is_a_problem(api, path, method, status):
    answer = api.call(method, path, json={} if method in ("POST", "PUT") else None)

    assert answer.status == status, answer
    assert is_problem(answer)


# Batches.

@pytest.mark.parametrize("runs, code", [
    ([{"task": TASK, "payload": 1, "depends_on": ["#0"]}], "dependency_cycle"),
    ([{"task": TASK, "payload": 1, "depends_on": ["#1"]}, {"task": TASK, "payload": 1, "depends_on": ["#0"]}],
     "dependency_cycle"),
    ([{"task": TASK, "payload": 1, "depends_on": ["#99"]}], None),
    ([{"task": TASK, "payload": 1}, {"payload": 1}], None),
    ([], None),
    ([7], None)], ids=["itself", "cycle", "out of range", "no task", "empty", "a number"])
def test_a_bad_batch_is_422_and_stores_nothing(bridge, api, runs, code):
    before = rows(bridge)

    answer = api.post("/v1/runs/batch", {"runs": runs})

    assert answer.status == 422, answer
    assert code is None or answer.code == code, answer
    assert rows(bridge) == before


def test_a_broken_ndjson_line_is_named(bridge, api):
    before = rows(bridge)
    lines = [json.dumps({"task": TASK, "payload": n}) for n in range(10)]
    lines[6] = "{bad"

    answer = api.post("/v1/runs/batch", body="\n".join(lines), headers={"Content-Type": "application/x-ndjson"})

    assert answer.status == 400, answer
    assert "7" in answer.json["detail"], answer
    assert rows(bridge) == before


# Reports.

@pytest.mark.parametrize("report", [
    {}, {"state": "running"}, {"token": "x" * 201, "state": "running"}, {"token": 7, "state": "running"}],
    ids=["nothing", "no token", "long token", "a number"])
def test_a_report_without_a_usable_token_is_malformed(api, report):
    answer = api.post("/v1/attempts/report", report)

    assert answer.status == 200, answer
    assert (answer.json["verdict"], answer.json["code"]) == ("reject", "malformed")


def test_a_token_of_another_store_is_unknown(api):
    verdict = api.report(f"{UNKNOWN_ID}.1.1.AAAAAAAAAAAAAAAAAAAAAA", "completed")

    assert (verdict["verdict"], verdict["code"], verdict["action"]) == ("reject", "unknown_token", "stop")


def test_an_unreadable_report_is_a_problem(api):
    assert api.call("POST", "/v1/attempts/report", body="{bad").status == 400


def test_heartbeats_take_one_to_a_thousand_tokens(api):
    unknown = f"{UNKNOWN_ID}.1.1.AAAAAAAAAAAAAAAAAAAAAA"

    assert api.post("/v1/attempts/heartbeat", {"tokens": []}).status == 422
    assert api.post("/v1/attempts/heartbeat", {"tokens": [unknown] * 1001}).status == 422
    answer = api.post("/v1/attempts/heartbeat", {"tokens": [unknown] * 1000})
    assert answer.status == 200, answer
    assert answer.body.count(b"stop") >= 1000
