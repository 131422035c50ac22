"""Asking a run for a state, changing one that waits, and finding runs and attempts without their ids."""

import hashlib
import json
import threading
import uuid

import pytest

from support.api import API
from support.waiting import until

FOREVER = "2099-01-01T00:00:00.000Z"


def ask(api, run, state, expect=200, **fields):
    answer = api.post(f"/v1/runs/{run['id']}/state", {"state": state, **fields})
    assert answer.status == expect, answer
    return answer.json


def last_audit(api, run):
    return api.audit(run["id"])[-1]


def launched(api, task, **fields):
    run = api.submit_run(task, 1, **fields)
    api.wait_state(run["id"], "launched")
    return run


def held(api, task, **fields):
    """A run that waits for its time."""
    return api.submit_run(task, 1, run_at=FOREVER, **fields)


def test_a_move_the_rules_allow_is_stored_and_audited(api, task):
    """P29, P30: accept; the state in the answer is what is stored."""
    run = held(api, task)

    for state, fields in [("paused", {}), ("scheduled", {"run_at": FOREVER}), ("paused", {}), ("cancelled", {})]:
        answer = ask(api, run, state, reason="by test", **fields)
        assert (answer["status"], answer["code"], answer["state"]) == ("accept", "applied", state)
        assert api.run(run["id"])["state"] == state
        row = last_audit(api, run)
        assert (row["new_state"], row["reason"], row["actor"]) == (state, "by test", "local")


def test_ready_means_now_whatever_its_time_says(api, worker, task):
    """P30."""
    run = held(api, task)

    assert ask(api, run, "ready")["status"] == "accept"

    assert worker.work(task)[0].run_id == run["id"]


def test_a_failure_with_tries_left_is_a_retry(api, worker, task):
    """P31: reject while tries are left, accept when there are none."""
    run = api.submit_run(task, 1, max_attempts=2, retry={"initial_seconds": 60})
    worker.report(worker.next(task), "running")

    retried = ask(api, run, "failed", error={"type": "Boom", "message": "no"})
    stored = api.run(run["id"])
    ask(api, run, "ready")
    worker.report(worker.next(task), "running")
    ended = ask(api, run, "failed")

    assert (retried["status"], retried["state"]) == ("reject", "scheduled")
    assert 55 <= retried["retry_after_seconds"] <= 60
    assert stored["state"] == "scheduled" and stored["last_error"]["type"] == "Boom"
    assert (ended["status"], ended["state"]) == ("accept", "dead_lettered")


def test_a_completed_run_stays_completed(api, worker, task):
    """P31: with its result as it was."""
    run = api.submit_run(task, 1)
    worker.report(worker.next(task), "completed", result={"n": 7})
    api.wait_state(run["id"], "completed")

    answers = [ask(api, run, state) for state in ("running", "failed", "completed")]

    assert [(answer["status"], answer["state"]) for answer in answers] == [("reject", "completed")] * 3
    assert [answer["code"] for answer in answers] == ["terminal_run", "terminal_run", "duplicate"]
    assert api.run(run["id"])["result"] == {"n": 7}


def test_what_no_rule_allows_is_an_abort_that_writes_nothing(api, worker, task):
    """P32."""
    cancelled = held(api, task)
    api.post(f"/v1/runs/{cancelled['id']}/cancel")
    running = api.submit_run(task, 1)
    worker.report(worker.next(task), "running")
    scheduled = held(api, task)
    before = [api.audit(run["id"]) for run in (cancelled, running, scheduled)]

    ended = ask(api, cancelled, "ready")
    second = ask(api, running, "running", claim="me")
    wrong = ask(api, scheduled, "completed")
    unknowable = ask(api, scheduled, "superseded")

    assert (ended["status"], ended["code"], ended["state"]) == ("abort", "terminal_run", "cancelled")
    assert (second["status"], second["code"], second["state"]) == ("abort", "already_claimed", "running")
    for answer in (wrong, unknowable):
        assert (answer["status"], answer["code"], answer["state"]) == ("abort", "invalid_transition", "scheduled")
        assert answer["allowed"] == ["ready", "scheduled", "paused", "cancelled"]
    assert [api.audit(run["id"]) for run in (cancelled, running, scheduled)] == before


def test_running_waits_for_its_time_and_its_release(api, worker, task):
    """P33: not due, then claimed once it was handed over."""
    run = api.submit_run(task, 1, delay_seconds=3600)
    early = ask(api, run, "running")
    ask(api, run, "ready")
    api.wait_state(run["id"], "launched")
    claimed = ask(api, run, "running", claim="c", worker="w")
    late = worker.report(worker.next(task), "running", claim="d")

    assert (early["status"], early["code"]) == ("wait", "not_due")
    assert 3590 <= early["retry_after_seconds"] <= 3600
    assert (claimed["status"], claimed["state"]) == ("accept", "running")
    assert late["code"] == "already_claimed"
    assert (api.attempts(run["id"])[0]["worker"], api.attempts(run["id"])[0]["claim"]) == ("w", "c")


def test_of_two_for_one_slot_one_goes_on(api, task):
    """P33: the other waits for the limit."""
    assert api.call("PATCH", f"/v1/tasks/{task}", {"concurrency_limit": 1}).status == 200
    runs = [api.submit_run(task, n) for n in range(2)]
    api.wait_state(runs[0]["id"], "launched")

    answers = [ask(api, run, "running") for run in runs]

    assert [(answer["status"], answer["code"]) for answer in answers] == [("accept", "applied"), ("wait", "limited")]
    assert answers[1]["retry_after_seconds"] >= 1 and "concurrency_limit is 1" in answers[1]["reason"]
    assert ask(api, runs[0], "completed", result=3)["status"] == "accept"
    assert api.run(runs[0]["id"])["result"] == 3
    api.wait_state(runs[1]["id"], "launched")


@pytest.mark.parametrize("limit", ["group concurrency", "task rate", "group rate"])
def test_a_full_limit_says_when_to_ask_again(api, task, limit):
    """P33: `wait`, `limited`, with seconds, for groups and rates as well."""
    path = f"/v1/groups/{task}" if limit.startswith("group") else f"/v1/tasks/{task}"
    settings = {"rate_per_second": 0.01, "rate_burst": 1} if limit.endswith("rate") else {"concurrency_limit": 1}
    assert api.call("PATCH", path, settings).status == 200
    runs = [api.submit_run(task, n, group=task) for n in range(2)]
    api.wait_state(runs[0]["id"], "launched")

    first, second = [ask(api, run, "running") for run in runs]

    assert (first["status"], second["status"], second["code"]) == ("accept", "wait", "limited")
    assert second["retry_after_seconds"] >= (50 if limit.endswith("rate") else 1)
    assert api.run(runs[1]["id"])["state"] == "ready"
    ask(api, runs[0], "completed")


def test_two_for_one_slot_at_the_same_moment(api, task):
    """P33: asked again and again by both, one goes on and one waits, until the first has ended."""
    assert api.call("PATCH", f"/v1/tasks/{task}", {"concurrency_limit": 1}).status == 200
    runs = [api.submit_run(task, n) for n in range(2)]
    api.wait_state(runs[0]["id"], "launched")
    answers, barrier = [], threading.Barrier(8)

    def go_on(run):
        client = API(api.port)
        barrier.wait()
        answers.append((run["id"], ask(client, run, "running")["status"]))

    threads = [threading.Thread(target=go_on, args=(runs[n % 2],)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    by_run = [sorted(status for run_id, status in answers if run_id == run["id"]) for run in runs]
    assert by_run == [["abort"] * 3 + ["accept"], ["wait"] * 4]
    ask(api, runs[0], "completed")


def test_two_who_ask_at_once_for_one_run(api, task):
    """P33: one goes on, never both."""
    run = launched(api, task)
    answers = []

    def go_on(claim):
        answers.append(ask(API(api.port), run, "running", claim=claim))

    threads = [threading.Thread(target=go_on, args=(str(n),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert sorted(answer["status"] for answer in answers) == ["abort"] * 7 + ["accept"]
    assert {answer["code"] for answer in answers if answer["status"] == "abort"} == {"already_claimed"}


def test_force_skips_rules_and_never_the_table(api, worker, task):
    """P35: dependencies and retries are skipped, a move the table lacks is not had; audited as forced."""
    first = held(api, task)
    blocked = api.submit_run(task, 2, depends_on=[first["id"]])
    waiting = ask(api, blocked, "ready")
    absent = ask(api, first, "running", force=True)
    forced = ask(api, blocked, "ready", force=True, reason="now")
    row = next(row for row in api.audit(blocked["id"]) if row["previous_state"] == "blocked")
    worker.report(worker.next(task), "running")
    failed = ask(api, blocked, "failed", force=True)

    assert (waiting["status"], waiting["code"], waiting["state"]) == ("wait", "not_due", "blocked")
    assert (absent["status"], absent["code"]) == ("abort", "invalid_transition")
    assert (forced["status"], row["reason"]) == ("accept", "forced: now")
    assert (failed["status"], failed["state"]) == ("accept", "failed")
    assert api.get(f"/v1/dead-letters/{blocked['id']}").json["reason"] == "permanent"


def test_a_transition_id_repeats_its_first_answer(new_bridge, task):
    """P36: also when it was refused, also after a restart; with another state it is 422."""
    bridge = new_bridge()
    api = bridge.api
    run = held(api, task)
    accepted, refused = str(uuid.uuid4()), str(uuid.uuid4())
    first = ask(api, run, "paused", transition_id=accepted)
    no = ask(api, run, "completed", transition_id=refused)
    ask(api, run, "scheduled", run_at=FOREVER)
    rows = len(api.audit(run["id"]))

    bridge.restart()

    assert ask(api, run, "paused", transition_id=accepted) == first
    assert ask(api, run, "completed", transition_id=refused) == no
    assert api.run(run["id"])["state"] == "scheduled" and len(api.audit(run["id"])) == rows
    assert ask(api, run, "ready", expect=422, transition_id=accepted)["code"] == "transition_mismatch"


def test_cancelling_a_running_run_tells_its_worker_first(api, worker, task):
    """P31: another state is stored instead, and says so."""
    run = api.submit_run(task, 1)
    delivery = worker.next(task)
    worker.report(delivery, "running")

    asked = ask(api, run, "cancelled")
    again = ask(api, run, "cancelled")
    worker.report(delivery, "cancelled")

    assert (asked["status"], asked["state"]) == ("reject", "cancelling")
    assert (again["status"], again["code"], again["state"]) == ("reject", "duplicate", "cancelling")
    assert api.run(run["id"])["state"] == "cancelled"


@pytest.mark.parametrize("fields,pointer", [
    ({}, "/state"), ({"state": "done"}, "/state"), ({"state": "ready", "force": 1}, "/force"),
    ({"state": "ready", "transition_id": ""}, "/transition_id"), ({"state": "ready", "speed": 1}, "/speed"),
    ({"state": "failed", "error": {"kind": 1}}, "/error/kind"),
    ({"state": "scheduled", "run_at": "2030-01-01T00:00:00"}, "/run_at")])
def test_a_wrong_request_names_the_field(api, task, fields, pointer):
    """P29."""
    run = held(api, task)

    answer = api.post(f"/v1/runs/{run['id']}/state", fields)

    assert answer.status == 422, answer
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]


def test_scheduled_needs_a_time(api, task):
    """P32."""
    answer = ask(api, held(api, task), "scheduled")
    assert (answer["status"], answer["reason"]) == ("abort", "scheduled needs a run_at")


# Changing a run that waits.


def patch(api, run, fields, expect=200):
    answer = api.call("PATCH", f"/v1/runs/{run['id']}", fields)
    assert answer.status == expect, answer
    return answer.json


def test_a_waiting_run_is_changed(api, task):
    """P21: every field, each alone, null where it may be."""
    run = held(api, task, tags={"a": "1", "b": "2"}, name="old")

    changed = patch(api, run, {"priority": 0, "tags": {"b": "3"}, "name": "new", "max_attempts": 9,
                               "expires_at": "2100-01-01T00:00:00Z", "run_at": "2098-01-01T00:00:00+01:00"})
    listed = api.items("/v1/runs", **{"tag.b": "3", "task": task})
    cleared = patch(api, run, {"name": None, "expires_at": None, "max_attempts": None})

    assert (changed["priority"], changed["effective_priority"], changed["tags"]) == (0, 0, {"b": "3"})
    assert (changed["name"], changed["max_attempts"]) == ("new", 9)
    assert (changed["expires_at"], changed["run_at"]) == ("2100-01-01T00:00:00.000Z", "2097-12-31T23:00:00.000Z")
    assert [item["id"] for item in listed] == [run["id"]]
    assert api.items("/v1/runs", **{"tag.a": "1", "task": task}) == []
    assert (cleared["name"], cleared["expires_at"], cleared["max_attempts"]) == (None, None, 4)


def test_the_next_release_goes_by_the_new_priority(api, worker, task):
    """P21, N25: 0 is set, not ignored; a time that is moved away or taken away takes effect."""
    assert api.post(f"/v1/tasks/{task}/pause").status == 200
    runs = [api.submit_run(task, n) for n in range(3)]
    patch(api, runs[1], {"priority": 0})
    patch(api, runs[0], {"run_at": FOREVER})
    assert api.run(runs[0]["id"])["state"] == "scheduled"
    assert api.post(f"/v1/tasks/{task}/resume").status == 200

    order = [worker.work(task)[0].run_id for _ in range(2)]
    patch(api, runs[0], {"run_at": None})
    order.append(worker.work(task)[0].run_id)

    assert order == [runs[n]["id"] for n in (1, 2, 0)]


def test_a_waiting_retry_is_moved(api, worker, task):
    """P21: `run_at` is a retry's time too."""
    run = api.submit_run(task, 1, retry={"initial_seconds": 3600, "max_seconds": 3600})
    worker.report(worker.next(task), "failed")
    api.wait_state(run["id"], "scheduled")

    patch(api, run, {"run_at": "2020-01-01T00:00:00Z"})

    assert worker.work(task)[0].attempt == 2


def test_what_left_the_store_is_not_changed(api, worker, task):
    """P21."""
    run = launched(api, task)
    dispatched = patch(api, run, {"priority": 1}, expect=409)
    worker.work(task)
    api.wait_state(run["id"], "completed")

    assert dispatched["code"] == "dispatched"
    assert patch(api, run, {"priority": 1}, expect=409)["code"] == "terminal_run"
    assert api.call("PATCH", f"/v1/runs/{uuid.uuid4()}", {"priority": 1}).status == 404


@pytest.mark.parametrize("fields", [
    {"priority": 256}, {"priority": None}, {"priority": 1.5}, {"payload": 1}, {"task": "b"}, {"tags": {"k": 1}},
    {"max_attempts": 0}, {"run_at": "2030-01-01T00:00:00"}, {"name": ""}])
def test_a_wrong_change_names_the_field(api, task, fields):
    """P21."""
    run = held(api, task)

    answer = api.call("PATCH", f"/v1/runs/{run['id']}", fields)

    assert answer.status == 422, answer
    assert answer.json["errors"][0]["pointer"].startswith("/" + next(iter(fields)))


# Finding without an id.


def test_the_newest_attempt_of_an_array_run(api, worker, task):
    """J43: the n-th of an array; what is not there is 404, and its place is taken once."""
    workflow = "w " + task
    runs = api.post("/v1/runs/batch", {"runs": [
        {"task": task, "payload": n, "workflow_id": workflow, "array": "a/b", "array_index": n} for n in range(3)]})
    assert runs.status == 200, runs
    delivery = worker.next(task)
    worker.report(delivery, "failed", error={"type": "Boom"}, retry_after_seconds=0)
    path = "/v1/arrays/" + workflow.replace(" ", "%20") + "/a%2Fb/{}/attempt"
    number = json.loads(delivery.body)

    attempt = until(lambda: next((a for a in [api.get(path.format(number)).json] if a["number"] == 2), None))

    assert attempt["run_id"] == delivery.run_id
    assert (api.get(path.format(3)).status, api.get(path.format(3)).code) == (404, "array_index_not_found")
    assert api.get(path.format("x")).status == 422
    taken = api.post("/v1/runs", {"task": task, "workflow_id": workflow, "array": "a/b", "array_index": number})
    assert (taken.status, taken.code) == (409, "array_index_taken")


def test_an_attempt_by_its_token(api, worker, task):
    """J54: the attempt, without the token itself; J49: an unknown one."""
    run = api.submit_run(task, 1)
    delivery = worker.next(task)
    worker.report(delivery, "running", worker="w1")

    found = api.post("/v1/attempts/lookup", {"token": delivery.token})
    unknown = api.post("/v1/attempts/lookup", {"token": delivery.token[:-1] + "!"})

    assert (found.json["run_id"], found.json["number"], found.json["worker"]) == (run["id"], 1, "w1")
    assert delivery.token not in found.body.decode()
    assert (unknown.status, unknown.code) == (404, "unknown_token")
    assert api.post("/v1/attempts/lookup", {}).status == 422


def test_a_run_by_its_dedup_key(api, worker, task):
    """T47: active, history, none; T48: the key of a payload is the same whatever its spacing."""
    def look(key):
        answer = api.get("/v1/lookup", task=task, dedup_key=key)
        assert answer.status == 200, answer
        return answer.json

    none = look("k")
    first = api.submit_run(task, 1, dedup_key="k")
    active = look("k")
    worker.work(task)
    api.wait_state(first["id"], "completed")
    history = look("k")
    second = api.submit_run(task, 1, dedup_key="k")
    body = json.dumps({"task": task, "dedup_key": "$payload", "run_at": FOREVER})[:-1]
    payload = api.post("/v1/runs", body=body + ', "payload": {"b": [1,2],\n "a":"x"}}').json["run"]
    digest = hashlib.sha256(b'{"a":"x","b":[1,2]}').hexdigest()

    assert none == {"found": "none", "run": None}
    assert (active["found"], active["run"]["id"]) == ("active", first["id"])
    assert (history["found"], history["run"]["id"]) == ("history", first["id"])
    assert (look("k")["found"], look("k")["run"]["id"]) == ("active", second["id"])
    assert (payload["dedup_key"], look(digest)["run"]["id"]) == (digest, payload["id"])
    assert api.get("/v1/lookup", task=task).status == 422
    assert api.get("/v1/lookup", task="No!", dedup_key="k").status == 422
