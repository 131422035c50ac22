"""Many runs at once: cancel, retry, pause and resume by filter, over HTTP and from the command line."""

import json

import pytest

from support.waiting import until

BOOM = {"type": "Boom", "message": "no", "retryable": False}


def bulk(api, verb, filter=None, **fields):
    answer = api.post(f"/v1/runs/{verb}", {"filter": filter or {}, **fields})
    assert answer.status == 200, answer
    return answer.json


def submit_many(api, task, count, **defaults):
    runs = [{"task": task, "payload": index} for index in range(count)]
    answer = api.post("/v1/runs/batch", {"runs": runs, "defaults": defaults})
    assert answer.status == 200, answer
    return [item["run"]["id"] for item in answer.json["items"]]


def test_cancel_a_domain_with_a_running_worker(api, worker, task):
    """T21, S5: every active state is taken; the worker is told, what lies in the broker is stale."""
    domain = task.replace("test.", "dom")
    running = api.submit_run(domain + ".run", 1)
    held = worker.next(domain + ".run")
    worker.report(held, "running")
    launched = api.submit_run(domain + ".launched", 1)
    api.wait_state(launched["id"], "launched")
    later = api.submit_run(domain, 1, delay_seconds=3600)
    blocked = api.submit_run(domain, 1, depends_on=[later["id"]])
    paused = api.submit_run(domain, 1, delay_seconds=3600)
    assert api.post(f"/v1/runs/{paused['id']}/pause").status == 200
    assert api.post(f"/v1/tasks/{domain}/pause").status == 200
    ready = api.submit_run(domain, 1)
    ended = api.submit_run(domain, 1)
    assert api.post(f"/v1/runs/{ended['id']}/cancel").status == 200
    other = api.submit_run(domain + "x", 1, delay_seconds=3600)

    answer = bulk(api, "cancel", {"domain": domain}, reason="gone")

    waiting = [later["id"], blocked["id"], paused["id"], ready["id"]]
    assert set(answer["ids"]) == {running["id"], launched["id"], *waiting}
    assert (answer["matched"], answer["changed"]) == (7, 6) and answer["as_of"]
    assert answer["skipped"] == [{"id": ended["id"], "reason": "terminal_run"}]
    assert {api.run(run)["state"] for run in waiting} == {"cancelled"}
    assert api.run(running["id"])["state"] == "cancelling"
    stale = worker.next(domain + ".launched")
    assert worker.report(stale, "running")["code"] == "terminal_run"
    stale.ack()
    assert worker.report(held, "heartbeat")["action"] == "stop"
    worker.report(held, "cancelled")
    held.ack()
    api.wait_state(running["id"], "cancelled")
    assert api.run(other["id"])["state"] == "scheduled"
    assert api.audit(launched["id"])[-1]["reason"] == "gone"


def test_the_dry_run_and_its_time(api, task):
    """T22, T23: any filter works, here a tag key's prefix, and touches nothing else; the dry run changes nothing and says
    the same; what is newer than its time is left alone."""
    tagged = {"tags": {f"{task}.a": "1", f"{task}.b": "2"}, "delay_seconds": 3600}
    old = api.submit_run(task, 1, **tagged)["id"]
    other = api.submit_run(task, 1, tags={f"{task}x": "1"}, delay_seconds=3600)["id"]
    filters = {"tag_prefix": task + ".", "state": ["scheduled", "ready"], "created_after": "2001-01-01T00:00:00Z"}

    dry = bulk(api, "cancel", filters, dry_run=True)
    assert api.run(old)["state"] == "scheduled"
    new = until(lambda: (run := api.submit_run(task, 2, **tagged))["created_at"] > dry["as_of"] and run["id"])
    done = bulk(api, "cancel", filters, as_of=dry["as_of"])

    assert dry == done and (done["matched"], done["changed"], done["ids"]) == (1, 1, [old])
    assert [api.run(run)["state"] for run in (old, other, new)] == ["cancelled", "scheduled", "scheduled"]
    assert new in bulk(api, "cancel", filters)["ids"]


def test_cancelled_runs_stay_so_after_a_restart(new_bridge, connect):
    """S5: queued and launched runs are cancelled at once, survive a kill, and are never worked on."""
    from support.amqp import Worker
    bridge = new_bridge()
    api, worker = bridge.api, connect(Worker, bridge.amqp_url)
    ids = submit_many(api, "s.five", 20)
    until(lambda: worker.message_count("taskbridge.run.s.five") == 20, what="all are in the broker")

    answer = bulk(api, "cancel", {"id": ids[:15], "state": ["queued", "launched"]})
    bridge.restart()

    assert answer["changed"] == 15
    assert api.counts()["cancelled"] == 15
    done = set()
    while len(done) < 5:
        delivery = worker.next("s.five")
        if worker.report(delivery, "running")["code"] == "applied":
            worker.report(delivery, "completed")
            done.add(delivery.run_id)
        delivery.ack()
    assert done == set(ids[15:])
    assert api.counts() == {"cancelled": 15, "completed": 5}


def test_a_failed_workflow_is_resumed(api, worker, task):
    """J55, S7: what ended badly is replayed, completed and active runs are left alone and named."""
    ok = api.submit_run(task, 1, workflow_id=task)
    worker.work(task)
    bad = api.submit_run(task, 2, workflow_id=task)
    worker.work(task, "failed", error=BOOM)
    api.wait_state(bad["id"], "failed")
    active = api.submit_run(task, 3, workflow_id=task, delay_seconds=3600)

    answer = bulk(api, "retry", {"workflow_id": task})

    assert answer["ids"] == [bad["id"]]
    assert {item["id"]: item["reason"] for item in answer["skipped"]} == \
        {ok["id"]: "completed_needs_force", active["id"]: "active"}
    again, _ = worker.work(task)
    assert (again.run_id, again.attempt) == (bad["id"], 2)
    assert [attempt["number"] for attempt in api.attempts(bad["id"])] == [1, 2]


def test_a_replayed_prerequisite_takes_its_dependents_along(api, worker, task):
    """S11: with_dependents blocks them again and they run after it; without it the answer names them."""
    first = api.submit_run(task, 1)
    second = api.submit_run(task + ".b", 2, depends_on=[first["id"]])
    worker.work(task, "failed", error=BOOM)
    api.wait_state(second["id"], "dependency_failed")

    alone = api.post(f"/v1/runs/{first['id']}/retry", {}).json
    assert (alone["failed_dependents"], alone["replayed_dependents"]) == ([second["id"]], [])
    worker.work(task, "failed", error=BOOM)
    api.wait_state(first["id"], "failed")
    answer = api.post(f"/v1/runs/{first['id']}/retry", {"with_dependents": True}).json

    assert (answer["failed_dependents"], answer["replayed_dependents"]) == ([], [second["id"]])
    assert api.run(second["id"])["state"] == "blocked"
    worker.work(task)
    worker.work(task + ".b")
    api.wait_state(second["id"], "completed")


def test_a_family_is_paused_in_bulk(api, worker, task):
    """P40: by filter.parent_id."""
    parent = api.submit_run(task, 1)
    held = worker.next(task)
    worker.report(held, "running")
    children = [api.submit_run(task + ".c", n, parent_id=parent["id"], delay_seconds=3600)["id"] for n in range(3)]

    paused = bulk(api, "pause", {"parent_id": parent["id"]})

    assert sorted(paused["ids"]) == sorted(children)
    assert {api.run(child)["state"] for child in children} == {"paused"}
    assert bulk(api, "resume", {"parent_id": parent["id"]})["changed"] == 3
    bulk(api, "cancel", {"parent_id": parent["id"]})
    worker.report(held, "completed")
    held.ack()


def test_a_replay_keeps_what_the_run_is(api, worker, task):
    """T69: id, payload, tags, priority stay; run_at and TTL are counted anew; a busy key is 409 with its holder."""
    fields = {"tags": {"k": "v"}, "priority": 9, "ttl_seconds": 3600, "dedup_key": task}
    run = api.submit_run(task, {"n": 1}, **fields)
    before = api.run(run["id"])["expires_at"]
    worker.work(task, "failed", error=BOOM)
    api.wait_state(run["id"], "failed")
    holder = api.submit_run(task, {"n": 2}, dedup_key=task, delay_seconds=3600)

    busy = api.post(f"/v1/runs/{run['id']}/retry", {})
    assert (busy.status, busy.code, busy.json["run_id"]) == (409, "dedup_busy", holder["id"])
    assert api.run(run["id"])["state"] == "failed"
    api.post(f"/v1/runs/{holder['id']}/cancel", {})
    again = api.post(f"/v1/runs/{run['id']}/retry", {"run_at": "2099-01-01T00:00:00Z"}).json

    assert (again["id"], again["priority"], again["tags"], again["dedup_key"]) == (run["id"], 9, {"k": "v"}, task)
    assert again["run_at"] == "2099-01-01T00:00:00.000Z" and again["expires_at"] > before
    assert api.run(run["id"])["payload"] == {"n": 1}


def test_ten_thousand_are_cancelled_by_a_job(bridge, api, task):
    """J17, S22, S10: a batch of 10,000 is cancelled as a unit; each run has its row with the caller and the reason."""
    ids = submit_many(api, task, 10_000, workflow_id=task, delay_seconds=3600)

    answer = api.post("/v1/runs/cancel", {"filter": {"workflow_id": task}, "reason": "not needed"})
    assert (answer.status, answer.json["matched"], answer.json["changed"]) == (202, 10_000, 0)
    shown = json.loads(bridge.cli("jobs", "show", answer.json["job_id"], "--wait", "--output", "json").stdout)

    assert (shown["state"], shown["changed"], shown["skipped"], shown["progress"]) == ("completed", 10_000, 0, 1)
    assert api.post("/v1/runs/count", {"workflow_id": task}).json["by_state"]["cancelled"] == 10_000
    rows = api.items("/v1/audit", workflow_id=task, limit=1000)
    closing = [row for row in rows if row["new_state"] == "cancelled"]
    assert {row["run_id"] for row in closing} == set(ids) and len(closing) == 10_000
    assert {(row["previous_state"], row["actor"], row["reason"]) for row in closing} == \
        {("scheduled", shown["actor"], "not needed")}
    assert all(row["exited_at"] for row in rows if row["new_state"] == "scheduled")


def test_the_command_line_changes_many(bridge, api, task):
    """T21, T22, S7, S22: the same filters, dry run, as_of, and the exit statuses."""
    ids = submit_many(api, task, 5, tags={"env": task}, delay_seconds=3600)

    dry = bridge.cli("cancel", "--tag", f"env={task}", "--dry-run", "--output", "json")
    as_of = json.loads(dry.stdout)["as_of"]
    done = bridge.cli("cancel", "--tag", f"env={task}", "--as-of", as_of, "--reason", "r", "--output", "json")
    again = bridge.cli("retry", "--task", task, "--state", "cancelled", "--at", "2099-01-01T00:00:00Z")
    paused = bridge.cli("pause", "--tag", f"env={task}", "--output", "json")
    resumed = bridge.cli("resume", "--runs", "--task", task, "--output", "json")

    assert json.loads(dry.stdout)["changed"] == 5
    assert sorted(json.loads(done.stdout)["ids"]) == sorted(ids)
    assert again.returncode == 0 and "changed" in again.stdout, again
    assert (json.loads(paused.stdout)["changed"], json.loads(resumed.stdout)["changed"]) == (5, 5)
    assert bridge.cli("cancel").returncode == 64
    assert bridge.cli("cancel", "--task", task, "--held-by", "nonsense").returncode == 1
    assert bridge.cli("cancel", "--tag", f"env={task}").returncode == 0


@pytest.mark.parametrize("choice", ["time", "tag", "error_type", "domain", "workflow"])
def test_failed_runs_are_retried_by_filter(api, worker, task, choice):
    """S10, S7: by the time of the end, tag, error type, domain or workflow; those that ended otherwise are not touched."""
    key = f"dom{task[5:]}.a"
    runs = []
    for number, error in enumerate(("Boom", "Other")):
        run = api.submit_run(key, 1, tags={"t": f"{task}{number}"}, workflow_id=f"{task}{number}")
        worker.work(key, "failed", error={**BOOM, "type": error})
        runs.append(api.wait_state(run["id"], "failed"))
    first, second = runs
    chosen = {
        "time": {"task": key, "finished_before": second["finished_at"], "finished_after": "2020-01-01T00:00:00Z"},
        "tag": {"tags": {"t": task + "0"}}, "error_type": {"task": key, "error_type": "Boom"},
        "domain": {"domain": key.split(".")[0], "id": [first["id"]]}, "workflow": {"workflow_id": task + "0"}}[choice]

    answer = bulk(api, "retry", {**chosen, "state": "failed"})
    again = bulk(api, "retry", {"id": [first["id"], second["id"]], "state": ["ready", "launched", "queued"]})

    assert (answer["ids"], answer["matched"]) == ([first["id"]], 1)
    assert (again["changed"], [item["reason"] for item in again["skipped"]]) == (0, ["active"])
    assert worker.work(key)[0].run_id == first["id"]
    assert api.run(second["id"])["state"] == "failed"


@pytest.mark.parametrize("verb", ["cancel", "retry", "pause", "resume"])
def test_nothing_chosen_is_refused(api, verb):
    """T22: an empty filter is 422 unless all is said."""
    answer = api.post(f"/v1/runs/{verb}", {"filter": {}})
    assert (answer.status, answer.code) == (422, "empty_filter")
