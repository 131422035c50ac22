"""Workers with pika alone: what they receive, what they say, and what they are answered."""

import base64
import json
import re

import pytest

from support.amqp import Worker
from support.waiting import until

TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
QUICK = {"retry": {"strategy": "constant", "initial_seconds": 0.1}}
FAILURE = {"type": "Boom", "message": "it broke", "details": {"at": 7}, "traceback": "line 1"}


def test_a_run_message_is_what_the_contract_says(api, worker, task):
    run = api.submit_run(task, {"n": 1}, priority=0, max_attempts=5, lease_seconds=30, timeout_seconds=9,
                         workflow_id="w", ttl_seconds=600, resources={"memory": 100})

    delivery = worker.next(task, run_id=run["id"])

    properties = delivery.properties
    assert properties.reply_to == "taskbridge.events"
    assert properties.message_id == f"{run['id']}.1.1"
    assert (properties.type, properties.app_id, properties.delivery_mode) == ("taskbridge.run", "taskbridge", 2)
    assert properties.priority == 9
    assert properties.timestamp is not None
    assert delivery.token.startswith(f"{run['id']}.1.1.") and len(delivery.token) <= 200
    headers = delivery.headers
    assert (headers["tb-run-id"], headers["tb-task"], headers["tb-attempt"], headers["tb-max-attempts"],
            headers["tb-lease-seconds"], headers["tb-timeout-seconds"], headers["tb-workflow-id"]) == \
        (run["id"], task, 1, 5, 30, 9, "w")
    assert headers["tb-resources"] == {"memory": 100}
    assert TIME.match(headers["tb-deadline"])
    assert "tb-parent-id" not in headers
    worker.report(delivery, "completed")
    delivery.ack()


@pytest.mark.parametrize("priority, expected", [(0, 9), (128, 4), (255, 0)])
def test_the_priority_property_is_derived(api, worker, task, priority, expected):
    api.submit_run(task, 1, priority=priority)

    assert worker.work(task)[0].properties.priority == expected


def test_the_envelope_carries_all_in_the_body(api, worker):
    api.submit_run("wire.envelope", {"n": [1, 2]})
    delivery = worker.next("wire.envelope")

    envelope = json.loads(delivery.body)

    assert set(envelope) == {"run_id", "task", "attempt", "max_attempts", "token", "reply_to", "lease_seconds",
                             "payload"}
    assert (envelope["token"], envelope["reply_to"], envelope["attempt"], envelope["payload"]) == \
        (delivery.token, "taskbridge.events", 1, {"n": [1, 2]})
    worker.report(delivery, "completed")
    delivery.ack()


def test_the_envelope_carries_bytes_as_base64(api, worker):
    data = b"\x00\xff"
    api.post("/v1/runs", {"task": "wire.envelope", "payload_base64": base64.b64encode(data).decode(),
                          "content_type": "application/octet-stream"})
    delivery = worker.next("wire.envelope")

    envelope = json.loads(delivery.body)

    assert base64.b64decode(envelope["payload_base64"]) == data and "payload" not in envelope
    worker.report(delivery, "completed")
    delivery.ack()


def test_the_token_may_come_in_the_body_or_in_a_header(api, worker, task):
    for where in ("body", "header"):
        run = api.submit_run(task, 1)
        delivery = worker.next(task, run_id=run["id"])
        if where == "body":
            worker.publish("taskbridge.events", "any.key",
                           json.dumps({"token": delivery.token, "state": "completed", "result": where}))
        else:
            worker.publish("taskbridge.events", "any.key", b"",
                           headers={"tb-token": delivery.token, "tb-state": "completed"})
        delivery.ack()
        api.wait_state(run["id"], "completed")


def test_the_state_may_be_the_type_property(api, worker, task):
    run = api.submit_run(task, 1)
    delivery = worker.next(task)

    worker.publish("", "taskbridge.events", b"", correlation_id=delivery.token, type="completed")
    delivery.ack()

    api.wait_state(run["id"], "completed")


def test_completed_alone_is_a_whole_worker(api, worker, task):
    """J25, J45, J38: each implied step is in the audit, in order."""
    run = api.submit_run(task, 1)
    delivery = worker.next(task)

    verdict = worker.report(delivery, "completed", result={"answer": 42},
                            usage={"wallclock_seconds": 1.5, "read_bytes": 10})
    delivery.ack()

    assert (verdict["verdict"], verdict["code"], verdict["run_state"], verdict["attempt_state"]) == \
        ("accept", "applied", "completed", "done")
    assert verdict["action"] == "stop"
    done = api.run(run["id"])
    assert (done["state"], done["result"]) == ("completed", {"answer": 42})
    assert done["started_at"] and done["finished_at"]
    states = [row["new_state"] for row in api.audit(run["id"])]
    assert states == ["ready", "queued", "launched", "running", "completed"]
    attempt = api.attempts(run["id"])[0]
    assert (attempt["number"], attempt["state"], attempt["dispatches"]) == (1, "done", 1)
    assert attempt["usage"]["wallclock_seconds"] == 1.5
    assert delivery.token not in json.dumps(attempt)


def test_a_claim_shows_who_works(api, worker, task):
    """J33."""

    run = api.submit_run(task, 1)
    delivery = worker.next(task)

    verdict = worker.report(delivery, "running", worker="w1", node="host1", claim="c1")

    assert (verdict["verdict"], verdict["code"], verdict["action"], verdict["run_state"],
            verdict["attempt_state"]) == ("accept", "applied", "continue", "running", "running")
    attempt = api.attempts(run["id"])[0]
    assert (attempt["worker"], attempt["node"], attempt["claim"]) == ("w1", "host1", "c1")
    worker.report(delivery, "completed", claim="c1")
    delivery.ack()
    assert api.attempts(run["id"])[0]["worker"] == "w1"


def test_of_two_holders_of_one_message_only_one_goes_on(bridge, api, connect, task):
    """J34, N9: the fenced start."""

    run = api.submit_run(task, 1)
    first, second = connect(Worker, bridge.amqp_url), connect(Worker, bridge.amqp_url)
    held = first.next(task)
    held.requeue()
    again = second.next(task)
    assert again.token == held.token

    yes = first.report(held, "running", claim="first")
    no = second.report(again, "running", claim="second")
    intruder = second.report(again, "completed", claim="second", result="wrong")
    nameless = second.report(again, "completed", result="wrong")
    repeated = first.report(held, "running", claim="first")
    end = first.report(held, "completed", claim="first", result="right")
    again.ack()

    assert (yes["code"], yes["action"]) == ("applied", "continue")
    assert (no["verdict"], no["code"], no["action"]) == ("abort", "already_claimed", "stop")
    assert (intruder["verdict"], intruder["code"], intruder["action"]) == ("abort", "not_owner", "stop")
    assert nameless["code"] == "not_owner"
    assert (repeated["verdict"], repeated["code"], repeated["action"]) == ("accept", "duplicate", "continue")
    assert end["code"] == "applied"
    assert api.run(run["id"])["result"] == "right"
    codes = [report["code"] for report in api.reports(run["id"])]
    assert sorted(codes) == ["already_claimed", "applied", "applied", "duplicate", "not_owner", "not_owner"]


def test_the_worker_is_its_identity_when_it_gives_no_claim(api, worker, task):
    """J34."""

    api.submit_run(task, 1)
    held = worker.next(task)

    assert worker.report(held, "running", worker="a")["code"] == "applied"
    assert worker.report(held, "running", worker="b")["code"] == "already_claimed"
    assert worker.report(held, "completed")["code"] in ("applied", "not_owner")
    worker.report(held, "completed", worker="a")
    held.ack()


def test_a_second_running_without_identity_is_a_duplicate(api, worker, task):
    """J34."""

    api.submit_run(task, 1)
    held = worker.next(task)

    assert worker.report(held, "running")["code"] == "applied"
    assert worker.report(held, "running")["code"] == "duplicate"
    worker.report(held, "completed")
    held.ack()


def test_a_heartbeat_extends_the_lease(api, worker, task):
    """J35."""

    run = api.submit_run(task, 1, lease_seconds=10)
    held = worker.next(task)
    worker.report(held, "running")
    before = api.attempts(run["id"])[0]["report_by"]

    verdict = worker.report(held, "heartbeat", next_report_seconds=1000)

    assert (verdict["code"], verdict["action"]) == ("applied", "continue")
    assert api.attempts(run["id"])[0]["report_by"] > before
    worker.report(held, "completed")
    held.ack()


def test_a_lease_too_long_or_too_short_is_clamped(api, worker, task):
    api.submit_run(task, 1)
    held = worker.next(task)

    for value in (0, -1, 10 ** 9):
        verdict = worker.report(held, "heartbeat", next_report_seconds=value)
        assert verdict["code"] == "applied"
        assert re.search(r"86,?400|clamp", verdict["detail"]), verdict
    worker.report(held, "completed")
    held.ack()


def test_progress_is_shown_and_absent_fields_erase_nothing(api, worker, task):
    """J36."""

    run = api.submit_run(task, 1)
    held = worker.next(task)

    worker.report(held, "progress", progress={"percent": 40, "message": "half", "bytes_done": 4, "bytes_total": 10},
                  stdout="so far")
    worker.report(held, "heartbeat")

    progress = api.run(run["id"])["progress"]
    assert (progress["percent"], progress["message"], progress["bytes_done"], progress["bytes_total"]) == \
        (40, "half", 4, 10)
    assert api.attempts(run["id"])[0]["stdout"] == "so far"
    worker.report(held, "heartbeat", stdout="", worker="", node="")
    attempt = api.attempts(run["id"])[0]
    assert (attempt["stdout"], attempt["worker"], attempt["node"]) == ("", "", "")
    worker.report(held, "completed")
    held.ack()


def test_the_last_ten_thousand_characters_are_kept(api, worker, task):
    run = api.submit_run(task, 1)
    held = worker.next(task)

    worker.report(held, "completed", stdout="a" * 50_000 + "ü" * 9_999 + "z")
    held.ack()

    assert api.attempts(run["id"])[0]["stdout"] == "ü" * 9_999 + "z"


def test_odd_progress_is_clamped_or_dropped_and_the_report_applied(api, worker, task):
    api.submit_run(task, 1)
    held = worker.next(task)

    verdict = worker.report(held, "progress", progress={"percent": 250, "bytes_done": 11, "bytes_total": 10})

    assert verdict["code"] == "applied"
    worker.report(held, "completed")
    held.ack()


def test_a_failed_attempt_is_retried_and_its_late_report_refused(api, worker, task):
    """J25, J39, S33."""
    run = api.submit_run(task, 1, **QUICK)
    first = worker.next(task)
    worker.report(first, "running")

    failed = worker.report(first, "failed", error=FAILURE)
    first.ack()
    second = worker.next(task)
    stale = worker.report(first, "completed", result="too late")

    assert (failed["code"], failed["attempt_state"]) == ("applied", "error")
    assert second.run_id == run["id"] and second.attempt == 2
    assert second.token != first.token and second.properties.message_id == f"{run['id']}.2.1"
    assert (stale["verdict"], stale["code"], stale["action"]) == ("abort", "stale_attempt", "stop")
    worker.report(second, "completed", result="in time")
    second.ack()
    done = api.run(run["id"])
    assert (done["state"], done["result"], done["attempt"]) == ("completed", "in time", 2)
    refused = [report for report in api.reports(run["id"]) if report["code"] == "stale_attempt"]
    assert [(report["attempt"], report["state"], report["verdict"], report["via"]) for report in refused] == \
        [(1, "completed", "abort", "amqp")]
    error = api.errors(run["id"])[0]
    assert (error["attempt"], error["type"], error["message"], error["details"]) == \
        (1, "Boom", "it broke", {"at": 7})
    pairs = [(row["previous_state"], row["new_state"]) for row in api.audit(run["id"])]
    assert ("running", "error") in pairs and ("error", "scheduled") in pairs


def test_another_end_while_the_retry_waits_is_an_invalid_transition(api, worker, task):
    """J35, J27: after the end of its attempt."""

    api.submit_run(task, 1, retry={"strategy": "constant", "initial_seconds": 3600, "max_seconds": 3600})
    held = worker.next(task)
    worker.report(held, "failed", error=FAILURE)

    late = worker.report(held, "completed")
    held.ack()

    assert (late["verdict"], late["code"], late["action"]) == ("reject", "invalid_transition", "stop")


def test_retry_after_wins_over_the_strategy(api, worker, task):
    """T66."""
    run = api.submit_run(task, 1, retry={"strategy": "constant", "initial_seconds": 3600, "max_seconds": 3600})
    held = worker.next(task)

    worker.report(held, "failed", error=FAILURE, retry_after_seconds=0.1)
    held.ack()

    assert worker.work(task)[0].attempt == 2
    api.wait_state(run["id"], "completed")


def test_delays_are_taken_in_order(api, worker, task):
    """T65."""
    run = api.submit_run(task, 1, retry={"strategy": "constant", "delays_seconds": [0.1, 3600], "max_seconds": 3600})
    worker.work(task, "failed", error=FAILURE)
    worker.work(task, "failed", error=FAILURE)

    waiting = api.wait_state(run["id"], "scheduled")

    assert waiting["attempt"] == 2
    api.post(f"/v1/runs/{run['id']}/cancel")


def test_a_permanent_failure_ends_at_once(api, worker, task):
    """J25, T67."""
    run = api.submit_run(task, 1)

    _, verdict = worker.work(task, "failed", error={**FAILURE, "retryable": False})

    assert verdict["run_state"] == "failed"
    assert api.attempts(run["id"])[0]["state"] == "error"
    assert api.dead_letter(run["id"])["reason"] == "permanent"


def test_attempts_used_up_are_a_dead_letter(api, worker, task):
    """J25, T67."""
    run = api.submit_run(task, 1, max_attempts=2, **QUICK)
    worker.work(task, "failed", error=FAILURE)

    _, verdict = worker.work(task, "failed", error=FAILURE)

    assert verdict["run_state"] == "dead_lettered"
    assert api.dead_letter(run["id"])["reason"] == "exhausted"
    assert len(api.errors(run["id"])) == 2


def test_a_snoozed_run_comes_back_and_does_not_count(api, worker, task):
    """J25, J26, T70."""
    run = api.submit_run(task, 1, max_attempts=1, **QUICK)
    for _ in range(3):
        _, verdict = worker.work(task, "snoozed", retry_after_seconds=0.05)
        assert (verdict["code"], verdict["attempt_state"]) == ("applied", "snoozed")

    worker.work(task)

    assert api.run(run["id"])["state"] == "completed"
    assert [attempt["state"] for attempt in api.attempts(run["id"])] == ["snoozed"] * 3 + ["done"]


def test_a_worker_may_cancel_of_its_own(api, worker, task):
    """N27."""
    run = api.submit_run(task, 1)

    _, verdict = worker.work(task, "cancelled")

    assert (verdict["run_state"], verdict["attempt_state"]) == ("cancelled", "fatal")
    states = [row["new_state"] for row in api.audit(run["id"])]
    assert states[-2:] == ["cancelling", "cancelled"]


def test_a_resource_error_comes_back_with_more(api, worker, task):
    """J25, N31."""
    run = api.submit_run(task, 1, resources={"memory": 100, "seconds": 10},
                         resource_scales={"memory": 0.5, "seconds": [20, 40]}, **QUICK)
    first, _ = worker.work(task, "resource_error", error={"type": "oom", "message": "killed"})

    second, _ = worker.work(task)

    assert first.headers["tb-resources"] == {"memory": 100, "seconds": 10}
    assert second.headers["tb-resources"] == {"memory": 150, "seconds": 20}
    pairs = [(row["previous_state"], row["new_state"]) for row in api.audit(run["id"])]
    assert ("error", "adjusting") in pairs and ("adjusting", "scheduled") in pairs


def test_a_rejected_message_is_a_failed_attempt(api, worker, task):
    """P14, J25."""

    run = api.submit_run(task, 1, max_attempts=2, **QUICK)
    worker.next(task).reject()
    second = worker.next(task)

    second.reject()

    assert (second.run_id, second.attempt) == (run["id"], 2)
    api.wait_state(run["id"], "dead_lettered")
    assert api.dead_letter(run["id"])["reason"] in ("exhausted", "rejected")
    assert [error["type"] for error in api.errors(run["id"])] == ["rejected", "rejected"]


def test_a_worker_that_vanishes_gives_its_message_back(bridge, connect, api, worker, task):
    """P14: without an ack it is delivered again, same id, marked; acknowledged after `running` it is gone for good."""
    run = api.submit_run(task, 1)
    gone = connect(type(worker), bridge.amqp_url)
    first = gone.next(task)
    gone.close()

    second = worker.next(task, run_id=run["id"])
    worker.report(second, "running")
    second.ack()

    assert (first.method.redelivered, second.method.redelivered) == (False, True)
    assert second.properties.message_id == first.properties.message_id == f"{run['id']}.1.1"
    last = connect(type(worker), bridge.amqp_url)
    assert last.get(f"taskbridge.run.{task}") is None
    assert worker.report(second, "completed")["run_state"] == "completed"
    assert len(api.attempts(run["id"])) == 1


def test_a_message_given_back_is_the_same_attempt(api, worker, task):
    """J26, P14."""
    run = api.submit_run(task, 1)
    first = worker.next(task)
    first.requeue()

    second = worker.next(task)

    assert second.token == first.token
    worker.report(second, "completed")
    second.ack()
    assert len(api.attempts(run["id"])) == 1


def test_a_worker_that_falls_silent_loses_its_attempt(api, worker, task):
    """J25, J47: overdue, triage, one lease of grace, then lost."""
    run = api.submit_run(task, 1, lease_seconds=1, max_attempts=1, **QUICK)
    first = worker.next(task)
    worker.report(first, "running", worker="silent")
    first.ack()

    second = worker.next(task, seconds=30)
    late = worker.report(first, "completed", worker="silent")

    # A loss has its own budget: max_attempts 1 still allows the next attempt.
    assert (second.run_id, second.attempt) == (run["id"], 2)
    assert late["code"] == "stale_attempt"
    worker.report(second, "completed")
    second.ack()
    assert [attempt["state"] for attempt in api.attempts(run["id"])] == ["lost", "done"]


def test_losses_used_up_are_a_dead_letter(api, worker, task):
    """J25, N28."""
    run = api.submit_run(task, 1, lease_seconds=1, max_lost=0)
    held = worker.next(task)
    worker.report(held, "running")
    held.ack()

    api.wait_state(run["id"], "dead_lettered", seconds=30)

    assert api.dead_letter(run["id"])["reason"] == "lost"
    late = worker.report(held, "completed")
    assert late["action"] == "stop" and late["verdict"] in ("abort", "reject")


def test_a_heartbeat_in_triage_saves_the_attempt(api, worker, task):
    """J47, J28."""

    run = api.submit_run(task, 1, lease_seconds=3)
    held = worker.next(task)
    worker.report(held, "running")
    until(lambda: api.attempts(run["id"])[0]["state"] == "triaging", what="the overdue attempt is looked up")

    verdict = worker.report(held, "heartbeat", next_report_seconds=60)

    assert (verdict["code"], verdict["attempt_state"]) == ("applied", "running")
    worker.report(held, "completed")
    held.ack()
    assert [attempt["state"] for attempt in api.attempts(run["id"])] == ["done"]


def test_a_worker_that_acknowledges_and_never_reports_is_given_up(api, worker, task):
    """J51, N29: by the orphan rule; a message that merely waits is not, however long."""

    waiting = api.submit_run(task + ".waits", 0)
    api.wait_state(waiting["id"], "launched")
    run = api.submit_run(task, 1, **QUICK)
    first = worker.next(task)
    first.ack()

    second = worker.next(task, seconds=40)

    assert (second.run_id, second.attempt) == (run["id"], 2)
    worker.report(second, "completed")
    second.ack()
    assert api.attempts(run["id"])[0]["state"] == "error"
    assert [error["type"] for error in api.errors(run["id"])] == ["no_heartbeat"]
    assert worker.work(task + ".waits")[0].properties.message_id == f"{waiting['id']}.1.1"


def test_ends_after_the_end(api, worker, task):
    """N10, J27: one recorded end; another one is a conflict."""

    run = api.submit_run(task, 1)
    held, _ = worker.work(task, "completed", result=1)

    same = worker.report(held, "completed", result=2)
    other = worker.report(held, "failed", error=FAILURE)
    running = worker.report(held, "running")
    beat = worker.report(held, "heartbeat")

    assert (same["verdict"], same["code"], same["action"]) == ("accept", "duplicate", "stop")
    assert (other["verdict"], other["code"], other["action"]) == ("abort", "conflict", "stop")
    assert (running["verdict"], running["code"]) == ("abort", "terminal_run")
    assert (beat["verdict"], beat["code"]) == ("abort", "terminal_run")
    assert api.run(run["id"])["result"] == 1


def test_http_and_amqp_reports_are_the_same(api, worker, task):
    run = api.submit_run(task, 1)
    held = worker.next(task)

    running = api.report(held.token, "running", claim="c")
    beats = api.post("/v1/attempts/heartbeat", {"tokens": [held.token], "next_report_seconds": 100}).json
    stranger = api.report(held.token, "heartbeat", claim="d")
    end = worker.report(held, "completed", claim="c")
    held.ack()

    assert set(running) == set(end)
    assert (running["code"], stranger["code"], end["code"]) == ("applied", "not_owner", "applied")
    assert "continue" in json.dumps(beats)
    assert [report["via"] for report in api.reports(run["id"])].count("http") >= 2


# Reports that mean nothing are answered, kept in quarantine, acknowledged.

@pytest.mark.parametrize("body, properties", [
    (b"", {}),
    (b'{"state":"completed"}', {}),
    (b"not json", {"type": "completed"}),
    (b"\x1f\x8b\x08", {"content_encoding": "gzip", "type": "completed"}),
    (b'{"state":"completed"}', {"headers": {"tb-token": "x" * 201}}),
    (b"[" * 9999 + b"]" * 9999, {"type": "completed"}),
    (b'{"state":"completed","stdout":"' + b"x" * 5_000_000 + b'"}', {})],
    ids=["nothing", "no token", "not json", "gzip", "long token", "too deep", "too large"])
def test_a_malformed_report_is_quarantined(bridge, worker, api, body, properties):
    held = len(api.quarantine(limit=1000))

    worker.publish("", "taskbridge.events", body, **properties)

    until(lambda: len(api.quarantine(limit=1000)) > held, what="it should be in quarantine")
    until(lambda: worker.message_count("taskbridge.events") == 0, what="it should be acknowledged")
    assert bridge.process.poll() is None


@pytest.mark.parametrize("state", ["succeeded", "lost", "done", "D", "launched", 7, None])
def test_an_unknown_state_is_malformed_with_the_list(api, worker, task, state):
    """J40."""

    run = api.submit_run(task, 1)
    held = worker.next(task)
    kept = len(api.quarantine(code="malformed", limit=1000))

    verdict = worker.report(held, state)

    assert (verdict["verdict"], verdict["code"]) == ("reject", "malformed")
    assert "completed" in verdict["detail"] and "resource_error" in verdict["detail"]
    assert api.run(run["id"])["state"] in ("launched", "queued")
    assert len(api.quarantine(code="malformed", limit=1000)) == kept + 1
    worker.report(held, "completed")
    held.ack()


def test_a_made_up_token_is_unknown(api, worker, task):
    """J49."""

    api.submit_run(task, 1)
    held = worker.next(task)
    run_id, attempt, dispatch, code = held.token.split(".", 3)

    assert worker.report(f"{run_id}.2.{dispatch}.{code}", "completed")["code"] == "unknown_token"
    assert worker.report(f"{run_id}.{attempt}.{dispatch}.{code[::-1]}", "completed")["code"] == "unknown_token"
    worker.report(held, "completed")
    held.ack()


def test_a_forged_return_is_dropped(bridge, api, worker, task):
    run = api.submit_run(task, 1)
    held = worker.next(task)

    worker.publish("taskbridge.returned", "", b"x", correlation_id="forged", headers={
        "tb-run-id": run["id"], "x-first-death-reason": "rejected",
        "x-death": [{"reason": "rejected", "count": 1, "queue": f"taskbridge.run.{task}"}]})

    until(lambda: worker.message_count("taskbridge.returned") == 0, what="it should be consumed")
    assert worker.report(held, "completed")["code"] == "applied"
    held.ack()


def test_two_ends_at_once_have_one_winner(bridge, api, connect, task):
    """J30."""

    one, two = connect(Worker, bridge.amqp_url), connect(Worker, bridge.amqp_url)
    for n in range(20):
        run = api.submit_run(task, n)
        held = one.next(task)
        one.asking.basic_publish("", "taskbridge.events", json.dumps({"state": "completed"}), _asking(held))
        two.asking.basic_publish("", "taskbridge.events", json.dumps(
            {"state": "failed", "error": {**FAILURE, "retryable": False}}), _asking(held))
        answers = [_answer(peer) for peer in (one, two)]
        held.ack()

        codes = sorted(answer["code"] for answer in answers)
        assert codes in (["applied", "conflict"], ["applied", "invalid_transition"]), answers
        assert api.run(run["id"])["state"] == ("completed" if answers[0]["code"] == "applied" else "failed")


def _asking(held):
    import pika
    return pika.BasicProperties(reply_to="amq.rabbitmq.reply-to", correlation_id=held.token)


def _answer(peer):
    def arrived():
        peer.connection.process_data_events(time_limit=0.1)
        return peer.replies
    return json.loads(until(arrived, what="an answer should come").pop(0)[1])
