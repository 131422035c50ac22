"""Reports, rule by rule: which one is judged first, what each answer says, what a refused report leaves behind."""

import json
import sqlite3

import pytest

from support.amqp import Worker
from support.times import seconds
from support.waiting import until

NEVER = {"retry": {"strategy": "constant", "initial_seconds": 3600, "max_seconds": 3600}}
QUICK = {"retry": {"strategy": "constant", "initial_seconds": 0.1}}
FAILURE = {"type": "Boom", "message": "it broke", "retryable": True, "details": {"at": 7}, "traceback": "line 1"}


def held_run(api, worker, task, **options):
    """A run in the hands of a worker that has not claimed it."""
    run = api.submit_run(task, 1, **options)
    return run["id"], worker.next(task, run_id=run["id"])


def judged(answer):
    return answer["verdict"], answer["code"], answer["action"]


def is_triaging(api, run_id):
    return lambda: api.attempts(run_id)[-1]["state"] == "triaging"


def states(api, run_id):
    return [row["new_state"] for row in api.audit(run_id)]


def test_the_first_rule_that_is_broken_is_named(bridge, api, worker, task):
    """J27, N7: each report below breaks several rules at once; what was refused says by which, everywhere."""
    run_id, first = held_run(api, worker, task, **QUICK)
    bogus = first.token[:-1] + ("0" if first.token[-1] != "0" else "1")

    assert judged(worker.report(bogus, "lost")) == ("reject", "malformed", "continue")
    assert judged(worker.report(bogus, "heartbeat")) == ("reject", "unknown_token", "stop")
    assert judged(worker.report(first, "running", claim="a")) == ("accept", "applied", "continue")
    assert judged(worker.report(first, "running", claim="b")) == ("abort", "already_claimed", "stop")
    assert judged(worker.report(first, "heartbeat", claim="b")) == ("abort", "not_owner", "stop")
    assert judged(worker.report(first, "failed", claim="a", error=FAILURE)) == ("accept", "applied", "stop")
    first.ack()
    second = worker.next(task, run_id=run_id)
    assert judged(worker.report(second, "completed", claim="c")) == ("accept", "applied", "stop")
    second.ack()
    # An older attempt of an ended run by a stranger; then the ended run before the stranger's claim.
    assert judged(worker.report(first, "completed", claim="x")) == ("abort", "stale_attempt", "stop")
    assert judged(worker.report(second, "completed", claim="x")) == ("accept", "duplicate", "stop")
    assert judged(worker.report(second, "failed", claim="x")) == ("abort", "conflict", "stop")
    assert judged(worker.report(second, "running", claim="x")) == ("abort", "terminal_run", "stop")

    refused = [report for report in api.reports(run_id) if report["verdict"] != "accept"]
    assert [report["code"] for report in refused] == \
        ["terminal_run", "conflict", "stale_attempt", "not_owner", "already_claimed"]
    assert [report["detail"] for report in refused] == [
        f"run {run_id} ended completed", f"run {run_id} ended completed; the first end stands",
        f"attempt 2, dispatch 1 is the newest of run {run_id}",
        *[f"another holder has claimed attempt 1 of run {run_id}"] * 2]
    shown = json.loads(bridge.cli("show", run_id, "--reports", "--output", "json").stdout)["items"]
    assert shown == api.reports(run_id)


def test_rules_of_an_attempt_that_has_ended(api, worker, task):
    """J27: a stranger before the same end again, that before what is impossible."""
    _, held = held_run(api, worker, task, **NEVER)
    worker.report(held, "running", claim="a")
    worker.report(held, "failed", claim="a", error=FAILURE)
    held.ack()

    stranger = worker.report(held, "failed", claim="b")
    again = worker.report(held, "failed", claim="a")
    other = worker.report(held, "completed", claim="a")
    beat = worker.report(held, "heartbeat", claim="a")

    assert judged(stranger) == ("abort", "not_owner", "stop")
    assert judged(again) == ("accept", "duplicate", "stop")
    assert judged(other) == ("reject", "invalid_transition", "stop")
    assert judged(beat) == ("reject", "invalid_transition", "stop")
    assert other["detail"] == "attempt 1 is error, which completed cannot follow"


def test_what_comes_too_late_is_untimely(api, worker, task):
    """J27, J50: after triage and one lease of grace; a claim of what was lost is no race but impossible."""
    run_id, held = held_run(api, worker, task, lease_seconds=1, **NEVER)
    worker.report(held, "running")
    held.ack()
    until(lambda: api.run(run_id)["state"] == "scheduled", what="it is lost")

    late = worker.report(held, "completed", result=1)

    assert judged(late) == ("reject", "untimely", "stop")
    assert late["detail"] == "attempt 1 is lost; completed came too late and changes nothing"
    assert judged(worker.report(held, "running")) == ("reject", "invalid_transition", "stop")
    assert (api.run(run_id)["state"], api.run(run_id)["result"]) == ("scheduled", None)
    assert [error["type"] for error in api.errors(run_id)] == ["lost"]


@pytest.mark.parametrize("state, end", [("cancelled", "failed"), ("cancelled", "resource_error"),
                                        ("expired", "failed"), ("superseded", "failed")])
def test_an_error_for_a_run_that_has_ended_leaves_it_alone(api, worker, task, state, end):
    """J31: the worker still held the message; J46 over HTTP, where the supervisor speaks for it."""
    run_id, held = held_run(api, worker, task, dedup_key=task, ttl_seconds=1 if state == "expired" else 3600)
    if state == "cancelled":
        assert api.post(f"/v1/runs/{run_id}/cancel").status == 200
    elif state == "superseded":
        api.submit_run(task, 2, dedup_key=task, on_duplicate="supersede", delay_seconds=3600)
    before = api.wait_state(run_id, state)

    answer = api.report(held.token, end, error=FAILURE, progress={"percent": 3}, worker="late", usage={"read_bytes": 1})
    held.ack()

    assert judged(answer) == ("abort", "terminal_run", "stop")
    assert (answer["run_state"], answer["attempt_state"]) == (state, "fatal")
    assert api.run(run_id) == before
    assert states(api, run_id)[-1] == state
    assert (api.errors(run_id), api.attempts(run_id)[0]["state"]) == ([], "fatal")


def test_a_lease_is_counted_from_the_receipt(api, worker, task):
    """J33, J35: 3.1 × next_report_seconds, else the lease; the worker's own clock counts for nothing."""
    run_id, held = held_run(api, worker, task, lease_seconds=100)
    lengths = []

    def report(state, **fields):
        answer = worker.report(held, state, **fields)
        assert judged(answer) == ("accept", "applied", "continue")
        received = api.reports(run_id)[0]["received_at"]
        lengths.append(round(seconds(api.attempts(run_id)[0]["report_by"]) - seconds(received), 3))
        return answer

    first = report("running", worker="w", node="n", next_report_seconds=1000)
    report("heartbeat", at="2099-01-01T00:00:00Z")
    report("heartbeat", next_report_seconds=0.5)
    report("progress", next_report_seconds=10, at="1999-01-01T00:00:00Z")
    held.ack()

    assert lengths == [3100, 100, 3.1, 31]
    assert set(first) == {"verdict", "code", "action", "run_state", "attempt_state", "retry_after_seconds", "detail"}
    assert (first["run_state"], first["attempt_state"]) == ("running", "running")
    worker.report(held, "completed")


def test_a_heartbeat_before_a_claim_is_one(api, worker, task):
    """J35: it passes through running."""
    run_id, held = held_run(api, worker, task)
    api.wait_state(run_id, "launched")

    answer = worker.report(held, "heartbeat", worker="w")

    assert judged(answer) == ("accept", "applied", "continue")
    assert states(api, run_id) == ["ready", "queued", "launched", "running"]
    assert api.attempts(run_id)[0]["started_at"]
    worker.report(held, "completed")
    held.ack()


def test_a_stopping_attempt_is_told_so_each_time(api, worker, task):
    """J34, J35: neither a claim nor a heartbeat brings it back or gives it time."""
    run_id, held = held_run(api, worker, task)
    worker.report(held, "running", claim="a", worker="w", node="n")
    api.post(f"/v1/runs/{run_id}/cancel")
    before = api.attempts(run_id)[0]

    running = worker.report(held, "running", claim="a")
    stranger = worker.report(held, "running", claim="b", worker="other", node="elsewhere")
    beat = worker.report(held, "heartbeat", claim="a", next_report_seconds=1000)

    assert judged(running) == ("reject", "invalid_transition", "stop")
    assert judged(stranger) == ("abort", "already_claimed", "stop")
    assert judged(beat) == ("accept", "applied", "stop")
    assert api.attempts(run_id)[0] == before
    worker.report(held, "cancelled", claim="a")
    held.ack()
    assert [report["code"] for report in api.reports(run_id)] == \
        ["applied", "applied", "already_claimed", "invalid_transition", "applied"]


def test_the_message_that_was_replaced_is_stale(api, bridge, connect, task):
    """J34, N8: the same attempt, the next dispatch, a new token; a message of the old one in a worker's hands is fenced."""
    worker = connect(Worker, bridge.amqp_url)
    run_id, old = held_run(api, worker, task)
    api.wait_state(run_id, "launched")
    connect(Worker, bridge.amqp_url).channel.queue_delete(f"taskbridge.run.{task}")
    new = connect(Worker, bridge.amqp_url).next(task, seconds=40, run_id=run_id)

    stale = worker.report(old, "running", claim="old", worker="old")
    assert judged(worker.report(new, "running", worker="new")) == ("accept", "applied", "continue")
    late = worker.report(old, "completed", result="old")

    assert (new.attempt, new.properties.message_id) == (1, f"{run_id}.1.2")
    assert new.token != old.token and len(new.token) <= 200
    assert judged(stale) == judged(late) == ("abort", "stale_attempt", "stop")
    assert stale["detail"] == f"attempt 1, dispatch 2 is the newest of run {run_id}"
    attempt, = api.attempts(run_id)
    assert (attempt["worker"], attempt["claim"], attempt["dispatches"]) == ("new", None, 2)
    worker.report(new, "completed")
    new.ack()


def test_a_token_is_nowhere_but_in_its_message(bridge, api, worker, task):
    """N8: derived and never stored; with any part altered it was never issued."""
    run_id, held = held_run(api, worker, task)
    other_id, other = held_run(api, worker, task)
    run, attempt, dispatch, code = held.token.split(".")

    for altered in (f"{other_id}.{attempt}.{dispatch}.{code}", f"{run}.2.{dispatch}.{code}", f"{run}.{attempt}.2.{code}",
                    f"{run}.{attempt}.{dispatch}.{other.token.split('.')[3]}", f"{run}.{attempt}.{dispatch}",
                    f"{run}.{attempt}.0{dispatch}.{code}", held.token.upper(), held.token + "0", " " + held.token):
        assert judged(worker.report(altered, "completed")) == ("reject", "unknown_token", "stop"), altered
    assert len(code) >= 32 and len(held.token) <= 200
    # Into a body that is refused, too: nobody may read it in a list.
    malformed = api.post("/v1/attempts/report", {"token": held.token, "state": "lost"})
    assert (malformed.status, malformed.json["code"]) == (200, "malformed")
    assert code not in json.dumps(api.quarantine(body="true")) and code not in json.dumps(api.attempts(run_id))

    worker.report(held, "completed")
    worker.report(other, "completed")
    with sqlite3.connect(f"file:{bridge.data}/taskbridge.db?mode=ro", uri=True) as store:
        tables = [name for name, in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in set(tables) - {"quarantine"}:
            assert not any(code in str(row) for row in store.execute(f'SELECT * FROM "{table}"')), table
    held.ack()
    other.ack()


def test_absent_fields_erase_nothing(api, worker, task):
    """J36: down to the parts of progress and usage; an empty text is a value."""
    run_id, held = held_run(api, worker, task)
    worker.report(held, "running", worker="w", node="n", stdout="out", stderr="err",
                  progress={"percent": 40, "message": "half"}, usage={"cpu_seconds": 1.5})

    worker.report(held, "progress", progress={"bytes_done": 4, "bytes_total": 10})
    worker.report(held, "heartbeat")
    kept, progress = api.attempts(run_id)[0], api.run(run_id)["progress"]
    worker.report(held, "heartbeat", worker="", node="", stdout="", progress={"message": ""})
    emptied, silent = api.attempts(run_id)[0], api.run(run_id)["progress"]
    worker.report(held, "completed", usage={"read_bytes": 9})
    held.ack()

    assert (kept["worker"], kept["node"], kept["stdout"], kept["stderr"]) == ("w", "n", "out", "err")
    assert progress.items() >= {"percent": 40, "message": "half", "bytes_done": 4, "bytes_total": 10}.items()
    assert (emptied["worker"], emptied["node"], emptied["stdout"], emptied["stderr"]) == ("", "", "", "err")
    assert (silent["percent"], silent["message"]) == (40, "")
    assert api.attempts(run_id)[0]["usage"] == {"cpu_seconds": 1.5, "read_bytes": 9}


def test_the_next_attempt_begins_with_no_progress(api, worker, task):
    """J36: what an attempt that failed had done is not the next one's."""
    run_id, held = held_run(api, worker, task, **NEVER)

    worker.report(held, "failed", error=FAILURE, progress={"percent": 40})
    held.ack()

    assert api.run(run_id)["progress"] is None


def test_an_end_told_twice_changes_nothing(api, worker, task):
    """J38, J45: the second one is a duplicate; the time of the broker's confirm is kept."""
    run_id, held = held_run(api, worker, task)
    worker.report(held, "completed", result={"n": 1}, usage={"read_bytes": 7})
    held.ack()
    before = api.run(run_id), api.attempts(run_id), api.audit(run_id)

    again = worker.report(held, "completed", result={"n": 2}, usage={"read_bytes": 8}, worker="other", stdout="x")

    assert judged(again) == ("accept", "duplicate", "stop")
    assert (api.run(run_id), api.attempts(run_id), api.audit(run_id)) == before
    attempt, = before[1]
    assert attempt["dispatched_at"] <= attempt["launched_at"] <= attempt["started_at"] <= attempt["finished_at"]
    assert attempt["token_id"] == held.properties.message_id == f"{run_id}.1.1"


def test_an_error_row_belongs_to_an_accepted_report(api, worker, task):
    """J39, J28: from triage it goes through running, without a row of the run; a refused one is in the reports alone."""
    run_id, held = held_run(api, worker, task, lease_seconds=2, **NEVER)
    worker.report(held, "running", claim="a", worker="w")
    held.ack()
    until(is_triaging(api, run_id), what="it is looked up")

    refused = worker.report(held, "failed", claim="b", error={**FAILURE, "type": "Stranger"})
    accepted = worker.report(held, "failed", claim="a", error=FAILURE)

    assert (refused["code"], accepted["code"], accepted["attempt_state"]) == ("not_owner", "applied", "error")
    assert states(api, run_id) == ["ready", "queued", "launched", "running", "error", "scheduled"]
    error, = api.errors(run_id)
    assert {name: error[name] for name in FAILURE} == FAILURE
    assert (error["attempt"], error["worker"]) == (1, "w")
    assert [report["code"] for report in api.reports(run_id) if report["state"] == "failed"] == ["applied", "not_owner"]


def test_triage_and_back_is_no_matter_of_the_run(api, worker, task):
    """J28, J50: brought back with no attempt used up and no audit row; after the grace it is lost, and losses count."""
    run_id, held = held_run(api, worker, task, lease_seconds=1, max_attempts=1, max_lost=2, **QUICK)
    worker.report(held, "running")
    held.ack()
    until(is_triaging(api, run_id), what="it is looked up", every=0.01)
    assert judged(worker.report(held, "heartbeat")) == ("accept", "applied", "continue")
    attempt, = api.attempts(run_id)
    assert (attempt["state"], api.run(run_id)["state"]) == ("running", "running")
    assert states(api, run_id) == ["ready", "queued", "launched", "running"]
    due = seconds(attempt["report_by"])

    second = worker.next(task, run_id=run_id)
    worker.report(second, "running")
    second.ack()
    api.wait_state(run_id, "dead_lettered")

    lost, last = api.attempts(run_id)
    assert (lost["state"], last["state"], api.dead_letter(run_id)["reason"]) == ("lost", "lost", "lost")
    # Never before the lease and one more of grace are over.
    assert seconds(lost["finished_at"]) >= due + 1


def test_a_supervisor_reports_for_a_worker_that_fell_silent(api, worker, task):
    """J46: with the token and the claim; it is retried with more; told again there is no second error."""
    run_id, held = held_run(api, worker, task, lease_seconds=3, resources={"memory": 4},
                            resource_scales={"memory": 0.5}, **QUICK)
    worker.report(held, "running", claim="a", worker="w")
    held.ack()
    until(is_triaging(api, run_id), what="it is looked up")
    oom = {"type": "oom", "message": "killed by the system"}

    stranger = api.report(held.token, "resource_error", error=oom)
    found = api.report(held.token, "resource_error", claim="a", error=oom)
    again = api.report(held.token, "resource_error", claim="a", error=oom)

    assert judged(stranger) == ("abort", "not_owner", "stop")
    assert (judged(found), found["attempt_state"]) == (("accept", "applied", "stop"), "resource_error")
    assert again["code"] in ("duplicate", "stale_attempt")
    second = worker.next(task, run_id=run_id)
    assert (second.attempt, second.headers["tb-resources"]) == (2, {"memory": 6})
    assert [error["type"] for error in api.errors(run_id)] == ["oom"]
    assert states(api, run_id)[3:7] == ["running", "error", "adjusting", "scheduled"]
    worker.report(second, "completed")
    second.ack()


def test_what_belongs_to_no_run_is_kept(bridge, api, worker, task):
    """J49: by both ways; acknowledged and never back; of a run that is gone, too."""
    run_id, held = held_run(api, worker, task)
    worker.report(held, "completed")
    held.ack()
    api.wait_state(run_id, "completed")
    assert api.call("DELETE", f"/v1/runs/{run_id}").status == 204
    bogus = held.token[:-1] + ("0" if held.token[-1] != "0" else "1")
    before = len(api.quarantine(code="unknown_token", limit=1000))

    answers = [worker.report(bogus, "completed"), worker.report(held, "completed"),
               api.report(bogus, "completed"), api.report(held.token, "completed")]
    beats = api.post("/v1/attempts/heartbeat", {"tokens": [bogus, bogus]}).json["items"]

    assert {judged(answer) for answer in answers + beats} == {("reject", "unknown_token", "stop")}
    kept = api.quarantine(code="unknown_token", limit=1000)
    assert len(kept) == before + 5
    assert {row["source"] for row in kept} == {"events"}
    assert worker.message_count("taskbridge.events") == 0
    lookup = api.post("/v1/attempts/lookup", {"token": held.token})
    assert (lookup.status, lookup.code) == (404, "unknown_token")


def test_one_answer_for_each_token(api, worker, task):
    """J37: in the order sent; what is unknown, stale or over has its own code and hinders nobody."""
    stale_id, stale = held_run(api, worker, task, **QUICK)
    worker.report(stale, "failed", error=FAILURE)
    stale.ack()
    newer = worker.next(task, run_id=stale_id)
    ended_id, ended = held_run(api, worker, task)
    worker.report(ended, "completed")
    ended.ack()
    stopped_id, stopped = held_run(api, worker, task)
    worker.report(stopped, "running")
    api.post(f"/v1/runs/{stopped_id}/cancel")
    run_id, held = held_run(api, worker, task)
    worker.report(held, "running", claim="mine")

    answer = api.post("/v1/attempts/heartbeat", {
        "tokens": [held.token, "no-token", stale.token, ended.token, stopped.token, newer.token, held.token],
        "next_report_seconds": 1000})

    assert answer.status == 200
    assert [(item["code"], item["action"]) for item in answer.json["items"]] == [
        ("applied", "continue"), ("unknown_token", "stop"), ("stale_attempt", "stop"), ("terminal_run", "stop"),
        ("applied", "stop"), ("applied", "continue"), ("applied", "continue")]
    for one in (run_id, stale_id):
        received = api.reports(one)[0]["received_at"]
        assert round(seconds(api.attempts(one)[-1]["report_by"]) - seconds(received), 3) == 3100
    for wrong in ([], [held.token] * 1001, "x", [1]):
        assert api.post("/v1/attempts/heartbeat", {"tokens": wrong}).status == 422
    many = api.post("/v1/attempts/heartbeat", {"tokens": [held.token] * 1000}).json["items"]
    assert [item["code"] for item in many] == ["applied"] * 1000
    for one, fields in ((held, {"claim": "mine"}), (newer, {}), (stopped, {})):
        worker.report(one, "completed", **fields)
        one.ack()


def test_lost_is_nobodys_word_but_the_bridges(api, worker, task):
    """J47, J40: neither as a report over HTTP nor as a state that is asked for."""
    run_id, held = held_run(api, worker, task)
    kept = len(api.quarantine(code="malformed", limit=1000))

    for state in ("lost", "done", "D", "launched", "no_heartbeat"):
        answer = api.report(held.token, state)
        assert judged(answer) == ("reject", "malformed", "continue")
        assert "completed" in answer["detail"] and "resource_error" in answer["detail"]
    asked = api.post(f"/v1/runs/{run_id}/state", {"state": "lost"})

    assert asked.status == 422
    assert len(api.quarantine(code="malformed", limit=1000)) == kept + 5
    assert api.attempts(run_id)[0]["state"] in ("launched", "instantiated")
    assert api.reports(run_id) == []
    worker.report(held, "completed")
    held.ack()
