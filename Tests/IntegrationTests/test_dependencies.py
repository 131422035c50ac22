"""Dependencies: blocked, released once, cascaded by policy."""

import threading

import pytest

from support.api import API

PERMANENT = {"error": {"type": "T", "message": "no", "retryable": False}}
LATER = {"delay_seconds": 3600}


def states(api, *runs):
    return [api.run(run["id"])["state"] for run in runs]


def test_a_dependent_waits_for_all_its_prerequisites(api, worker, task):
    """T31."""
    one, two = api.submit_run(task, 1), api.submit_run(task, 2)
    after = api.submit_run(task + ".after", 3, depends_on=[one["id"], two["id"]])
    assert after["state"] == "blocked"

    worker.work(task)
    assert states(api, after) == ["blocked"]
    worker.work(task)

    assert worker.work(task + ".after")[0].run_id == after["id"]
    released = [row for row in api.audit(after["id"]) if row["previous_state"] == "blocked"]
    assert len(released) == 1


def test_both_sides_are_listed_and_stay(api, worker, task):
    """T27: each list is the inverse of the other, empty for none, and still there after the runs ended."""
    one = api.submit_run(task, 1)
    after = api.submit_run(task + ".after", 2, depends_on=[one["id"]])

    def sides():
        return (api.items(f"/v1/runs/{after['id']}/dependencies"), api.items(f"/v1/runs/{one['id']}/dependents"))

    assert api.items(f"/v1/runs/{one['id']}/dependencies") == api.items(f"/v1/runs/{after['id']}/dependents") == []
    dependencies, dependents = sides()
    assert [(item["id"], item["satisfied"]) for item in dependencies] == [(one["id"], False)]
    assert [(item["id"], item["state"]) for item in dependents] == [(after["id"], "blocked")]
    worker.work(task)
    worker.work(task + ".after")
    dependencies, dependents = sides()
    assert [(item["id"], item["satisfied"], item["state"]) for item in dependencies] == [(one["id"], True, "completed")]
    assert [(item["id"], item["state"]) for item in dependents] == [(after["id"], "completed")]


def test_a_completed_prerequisite_counts_at_once(api, worker, task):
    """T30."""
    one = api.submit_run(task, 1)
    worker.work(task)

    after = api.submit_run(task + ".after", 2, depends_on=[one["id"]])

    assert worker.work(task + ".after")[0].run_id == after["id"]


def test_a_prerequisite_that_ended_badly_is_refused_unless_ignored(api, worker, task):
    """T30."""
    one = api.submit_run(task, 1)
    worker.work(task, "failed", **PERMANENT)

    refused = api.post("/v1/runs", {"task": task + ".after", "payload": 1, "depends_on": [one["id"]]})
    ignored = api.submit_run(task + ".after", 1, depends_on=[one["id"]], on_dependency_failure="ignore")

    assert (refused.status, refused.code) == (409, "dependency_ended")
    assert worker.work(task + ".after")[0].run_id == ignored["id"]


def test_cancel_cascades_whatever_the_dependents_say(api, worker, task):
    """T32."""
    a = api.submit_run(task, 1)
    b = api.submit_run(task + ".b", 1, depends_on=[a["id"]], on_dependency_failure="cancel")
    c = api.submit_run(task + ".c", 1, depends_on=[b["id"]], on_dependency_failure="ignore")

    worker.work(task, "failed", **PERMANENT)

    api.wait_state(b["id"], "dependency_failed")
    api.wait_state(c["id"], "dependency_failed")


def test_fail_leaves_the_next_one_its_own_policy(api, worker, task):
    """T33."""
    a = api.submit_run(task, 1)
    b = api.submit_run(task + ".b", 1, depends_on=[a["id"]], on_dependency_failure="fail")
    c = api.submit_run(task + ".c", 1, depends_on=[b["id"]], on_dependency_failure="ignore")

    worker.work(task, "failed", **PERMANENT)

    api.wait_state(b["id"], "dependency_failed")
    assert worker.work(task + ".c")[0].run_id == c["id"]


@pytest.mark.parametrize("ending", ["failed", "dead_lettered", "cancelled", "expired", "superseded"])
def test_ignore_goes_on_after_any_bad_end(api, worker, task, ending):
    """T34."""
    if ending == "expired":
        a = api.submit_run(task, 1, ttl_seconds=1.0, **LATER)
    elif ending == "superseded":
        a = api.submit_run(task, 1, workflow_id=task, **LATER)
    else:
        # Used-up attempts are looked at before permanence: `failed` needs a try left.
        a = api.submit_run(task, 1, max_attempts=2 if ending == "failed" else 1)
    after = api.submit_run(task + ".after", 1, depends_on=[a["id"]], on_dependency_failure="ignore")
    hurt = api.submit_run(task + ".hurt", 1, depends_on=[a["id"]])

    if ending == "failed":
        worker.work(task, "failed", **PERMANENT)
    elif ending == "dead_lettered":
        worker.work(task, "failed", error={"type": "T", "message": "no"})
    elif ending == "cancelled":
        assert api.post(f"/v1/runs/{a['id']}/cancel", {"reason": "test"}).status == 200
    elif ending == "superseded":
        # By a workflow in which nothing takes its place.
        assert api.post("/v1/runs/batch", {"supersedes_workflow_id": task, "runs": [
            {"task": task + ".new", "payload": 1, **LATER}]}).status == 200

    api.wait_state(a["id"], ending)
    assert worker.work(task + ".after")[0].run_id == after["id"]
    api.wait_state(hurt["id"], "dependency_failed")


def test_a_retry_is_not_an_end(api, worker, task):
    """T34."""
    a = api.submit_run(task, 1, retry={"strategy": "constant", "initial_seconds": 0.1})
    after = api.submit_run(task + ".after", 1, depends_on=[a["id"]])
    worker.work(task, "failed", error={"type": "T", "message": "once"})
    assert states(api, after) == ["blocked"]

    worker.work(task)

    assert worker.work(task + ".after")[0].run_id == after["id"]


def test_a_released_run_still_waits_for_its_time(api, worker, task):
    """T31."""
    a = api.submit_run(task, 1)
    after = api.submit_run(task + ".after", 1, depends_on=[a["id"]], **LATER)

    worker.work(task)

    api.wait_state(after["id"], "scheduled")


def test_a_hundred_prerequisites_at_once_release_once(bridge, api, worker, task):
    """T31."""
    runs = [item["run"] for item in api.post("/v1/runs/batch", {"runs": [
        {"task": task, "payload": n} for n in range(100)]}).json["items"]]
    after = api.submit_run(task + ".after", 1, depends_on=[run["id"] for run in runs])
    tokens = []
    for _ in runs:
        held = worker.next(task)
        tokens.append(held.token)
        held.ack()
    barrier, failures = threading.Barrier(20), []

    def complete(mine):
        client = API(bridge.port)
        barrier.wait()
        for token in mine:
            if client.report(token, "completed")["code"] != "applied":
                failures.append(token)

    threads = [threading.Thread(target=complete, args=(tokens[n::20],)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not failures
    assert worker.work(task + ".after")[0].run_id == after["id"]
    states = [row["new_state"] for row in api.audit(after["id"])]
    assert states == ["blocked", "ready", "queued", "launched", "running", "completed"]


def test_dependencies_that_cannot_be(api, task):
    """T30: unknown, itself, a circle of any length with its path, 1,001 entries: 422 and nothing stored."""
    def refuse(expected, path="/v1/runs/batch", **body):
        answer = api.post(path, body)
        assert (answer.status, answer.code) == (422, expected), answer
        return answer.json["detail"]

    def run(*depends_on):
        return {"task": task, "payload": 1, "depends_on": list(depends_on)}

    before = api.counts()
    unknown = "01936a3e-0000-7000-8000-000000000000"
    assert unknown in refuse("unknown_dependency", "/v1/runs", **run(unknown))
    refuse("unknown_dependency", runs=[run(), run(unknown)])
    refuse("too_many", "/v1/runs", **run(*[unknown[:-4] + f"{n:04d}" for n in range(1001)]))
    assert "#0 waits for #0" in refuse("dependency_cycle", runs=[run("#0")])
    assert "#1 waits for #2 waits for #1" in refuse("dependency_cycle", runs=[run("#1"), run("#2"), run("#1")])
    ring = [run(f"#{(n + 1) % 1000}") for n in range(1000)]
    assert "#0 waits for #1 waits for" in refuse("dependency_cycle", runs=ring)
    assert api.items("/v1/runs", task=task) == [] and api.counts() == before


def test_a_thousand_dependencies_are_allowed(api, task):
    """T30."""
    ids = []
    for _ in range(2):
        ids += [item["run"]["id"] for item in api.post("/v1/runs/batch", {"runs": [
            {"task": task, "payload": n, "delay_seconds": 3600} for n in range(500)]}).json["items"]]

    run = api.submit_run(task + ".after", 1, depends_on=ids)

    assert run["state"] == "blocked"
    assert len(api.items(f"/v1/runs/{run['id']}/dependencies", limit=1000)) == 1000


def test_a_parent_waits_for_its_children(api, worker, task):
    """T37."""
    parent = api.submit_run(task, 1)
    held = worker.next(task)
    worker.report(held, "running")
    child = api.submit_run(task + ".child", 1, parent_id=parent["id"])

    verdict = worker.report(held, "completed", result="mine")
    held.ack()

    assert verdict["run_state"] == "waiting"
    assert worker.work(task + ".child")[0].run_id == child["id"]
    assert api.wait_state(parent["id"], "completed")["result"] == "mine"


def test_a_replayed_prerequisite_does_not_revive_its_dependents(api, worker, task):
    """S11: without with_dependents they stay."""
    a = api.submit_run(task, 1)
    after = api.submit_run(task + ".after", 1, depends_on=[a["id"]])
    worker.work(task, "failed", **PERMANENT)
    api.wait_state(after["id"], "dependency_failed")

    assert api.post(f"/v1/runs/{a['id']}/retry").status == 200
    worker.work(task)

    api.wait_state(a["id"], "completed")
    assert states(api, after) == ["dependency_failed"]
