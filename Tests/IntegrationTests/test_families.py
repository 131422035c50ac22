"""Parents and children, blocked runs as they are seen, and dependencies across domains, pauses and restarts."""

import uuid

import pytest

from support.amqp import Worker

PERMANENT = {"error": {"type": "T", "message": "no", "retryable": False}}
LATER = {"delay_seconds": 3600}


def cancel(api, run_id):
    assert api.post(f"/v1/runs/{run_id}/cancel", {"reason": "test"}).status == 200


def running(api, worker, task, **fields):
    """A run whose worker has claimed it; (run, delivery). Acknowledged: looking into a queue that does not exist yet
    would close the channel and give the message back."""
    run = api.submit_run(task, 1, **fields)
    return run, claim(worker, task, run["id"])


def claim(worker, task, run_id):
    held = worker.next(task, run_id=run_id)
    worker.report(held, "running")
    held.ack()
    return held


def state(api, run):
    return api.run(run["id"])["state"]


def test_blocked_runs_name_what_they_wait_for(api, worker, task):
    """T28: list, count and snapshot agree; each run names its unsatisfied prerequisites."""
    done, open_ = api.submit_run(task, 1), api.submit_run(task, 2, **LATER)
    worker.work(task)
    blocked = [api.submit_run(task + ".after", n, depends_on=[done["id"], open_["id"]])["id"] for n in range(3)]

    listed = api.items("/v1/runs", state="blocked", task=task + ".after")
    counted = api.post("/v1/runs/count", {"state": "blocked", "task": task + ".after"}).json
    everywhere = api.post("/v1/runs/count", {"state": "blocked"}).json["count"]

    assert sorted(run["id"] for run in listed) == sorted(blocked)
    assert counted["count"] == counted["by_state"]["blocked"] == 3
    assert api.counts()["blocked"] == everywhere == len(api.items("/v1/runs", state="blocked"))
    for run in listed:
        assert run["blocked_by"] == api.run(run["id"])["blocked_by"] == [open_["id"]]
        assert sorted(run["depends_on"]) == sorted([done["id"], open_["id"]])
        waits = [item["id"] for item in api.items(f"/v1/runs/{run['id']}/dependencies") if not item["satisfied"]]
        reasons = api.get(f"/v1/runs/{run['id']}/explain").json["reasons"]
        assert waits == [open_["id"]]
        assert [(reason["code"], [other["id"] for other in reason["runs"]]) for reason in reasons] == \
            [("dependencies", [open_["id"]])]


@pytest.mark.parametrize("ending, expected", [("completed", "launched"), ("failed", "dependency_failed"),
                                              ("cancelled", "dependency_failed")])
def test_dependencies_across_domains(api, worker, ending, expected):
    """T29: release, failure and cancel work as within one domain."""
    name = uuid.uuid4().hex[:8]
    one = api.submit_run(f"ingest.{name}", 1)
    two = api.submit_run(f"process.{name}", 1, depends_on=[one["id"]])

    if ending == "cancelled":
        cancel(api, one["id"])
    else:
        worker.work(f"ingest.{name}", ending, **({} if ending == "completed" else PERMANENT))

    api.wait_state(two["id"], expected)
    if expected == "launched":
        worker.work(f"process.{name}")


def test_a_restart_unblocks_nobody(new_bridge, connect, task):
    """T35: only a satisfied prerequisite releases, also one that failed before the bridge was killed."""
    bridge = new_bridge()
    api, worker = bridge.api, connect(Worker, bridge.amqp_url)
    unfinished, failing = api.submit_run(task + ".u", 1), api.submit_run(task + ".f", 1)
    after = [api.submit_run(task, n, depends_on=[run["id"]])["id"] for n, run in enumerate((unfinished, failing))]
    worker.work(task + ".f", "failed", **PERMANENT)
    api.wait_state(after[1], "dependency_failed")

    for _ in range(2):
        bridge.restart()
        assert [api.run(run)["state"] for run in after] == ["blocked", "dependency_failed"]

    worker.work(task + ".u")
    assert worker.work(task)[0].run_id == after[0]


def test_a_paused_dependent_fails_without_waiting_for_resume(api, worker, task):
    """T36."""
    one = api.submit_run(task, 1)
    after = api.submit_run(task + ".after", 1, depends_on=[one["id"]])
    assert api.post(f"/v1/runs/{after['id']}/pause").json["state"] == "paused"

    worker.work(task, "failed", **PERMANENT)

    api.wait_state(after["id"], "dependency_failed")


@pytest.mark.parametrize("child_end", ["failed", "dead_lettered", "cancelled", "expired", "dependency_failed",
                                       "superseded"])
def test_the_first_failed_child_fails_the_parent(api, worker, task, child_end):
    """T38: with fail_fast, once the parent's own work is done; siblings are cancelled, the reason is child_failed."""
    parent, held = running(api, worker, task)
    first = api.submit_run(task + ".first", 1, **LATER)
    fields = {"failed": {"max_attempts": 2}, "dead_lettered": {"max_attempts": 1}, "cancelled": LATER,
              "dependency_failed": {"depends_on": [first["id"]]}, "expired": {"ttl_seconds": 0.3, **LATER},
              "superseded": {"workflow_id": task, **LATER}}
    child = api.submit_run(task + ".child", 1, parent_id=parent["id"], **fields[child_end])
    sibling = api.submit_run(task + ".sibling", 1, parent_id=parent["id"], **LATER)
    if child_end == "cancelled":
        cancel(api, child["id"])
    elif child_end == "dependency_failed":
        cancel(api, first["id"])
    elif child_end == "superseded":
        # By a workflow in which nothing takes its place.
        assert api.post("/v1/runs/batch", {"supersedes_workflow_id": task, "runs": [
            {"task": task + ".new", "payload": 1, **LATER}]}).status == 200
    elif child_end != "expired":
        worker.work(task + ".child", "failed", error={"type": "T", "retryable": child_end != "failed"})
    api.wait_state(child["id"], child_end)
    assert state(api, parent) == "running"

    worker.report(held, "completed")

    api.wait_state(parent["id"], "failed")
    assert api.dead_letter(parent["id"])["reason"] == "child_failed"
    assert state(api, sibling) == "cancelled"
    assert api.run(parent["id"])["attempt"] == 1


def test_without_fail_fast_all_children_end_first(api, worker, task):
    """T38."""
    parent, held = running(api, worker, task, fail_fast=False)
    bad = api.submit_run(task + ".bad", 1, parent_id=parent["id"], max_attempts=1)
    good = api.submit_run(task + ".good", 1, parent_id=parent["id"])
    worker.report(held, "completed")
    worker.work(task + ".bad", "failed", error={"type": "T"})
    api.wait_state(bad["id"], "dead_lettered")
    assert state(api, parent) == "waiting"

    worker.work(task + ".good")

    api.wait_state(parent["id"], "failed")
    assert state(api, good) == "completed"


def test_children_are_listed_and_as_urgent_as_their_parent(api, worker, task):
    """T39: a child takes the more urgent priority; an ended parent takes no more children."""
    parent, held = running(api, worker, task, priority=50)
    lazy = api.submit_run(task + ".child", 1, parent_id=parent["id"], priority=200, **LATER)
    urgent = api.submit_run(task + ".child", 2, parent_id=parent["id"], priority=0, **LATER)

    assert (lazy["priority"], urgent["priority"]) == (50, 0)
    assert {run["id"]: run["state"] for run in api.items(f"/v1/runs/{parent['id']}/children")} == \
        {lazy["id"]: "scheduled", urgent["id"]: "scheduled"}
    assert api.items(f"/v1/runs/{lazy['id']}/children") == []
    for child in (lazy, urgent):
        cancel(api, child["id"])
    worker.report(held, "completed")
    api.wait_state(parent["id"], "failed")
    late = api.post("/v1/runs", {"task": task, "payload": 1, "parent_id": parent["id"]})
    assert (late.status, late.code) == (409, "parent_ended")


def test_cancel_goes_down_a_waiting_family(api, worker, task):
    """T26: children and theirs, in other domains too; finished ones keep their state."""
    domain = f"other{uuid.uuid4().hex[:6]}"
    parent, held = running(api, worker, task)
    done = api.submit_run(task + ".done", 1, parent_id=parent["id"])
    worker.work(task + ".done")
    child = api.submit_run(f"{domain}.child", 1, parent_id=parent["id"])
    child_held = claim(worker, f"{domain}.child", child["id"])
    grandchild = api.submit_run(f"{domain}.grandchild", 1, parent_id=child["id"], **LATER)
    busy = api.submit_run(f"{domain}.busy", 1, parent_id=parent["id"])
    busy_held = claim(worker, f"{domain}.busy", busy["id"])
    worker.report(child_held, "completed")
    worker.report(held, "completed")
    assert [state(api, run) for run in (parent, child)] == ["waiting", "waiting"]

    cancel(api, parent["id"])

    assert [state(api, run) for run in (done, child, grandchild, busy, parent)] == \
        ["completed", "cancelled", "cancelled", "cancelling", "cancelling"]
    assert worker.report(busy_held, "cancelled")["run_state"] == "cancelled"
    api.wait_state(parent["id"], "cancelled")


@pytest.mark.parametrize("ending", ["cancelled", "superseded", "expired", "failed"])
def test_no_child_of_an_ended_parent_starts(api, worker, task, ending):
    """P40, T64: cancelled or expired with it; one submitted later is 409."""
    fields = {"dedup_key": "k"} if ending == "superseded" else {"max_attempts": 1}
    if ending == "expired":
        parent, held = api.submit_run(task, 1, ttl_seconds=1.5, **LATER), None
    else:
        parent, held = running(api, worker, task, **fields)
    ready = api.submit_run(task + ".paused", 1, parent_id=parent["id"])
    assert api.post(f"/v1/tasks/{task}.paused/pause").status == 200
    later = api.submit_run(task + ".later", 1, parent_id=parent["id"], **LATER)
    launched = api.submit_run(task + ".launched", 1, parent_id=parent["id"])
    api.wait_state(launched["id"], "launched")

    if ending == "cancelled":
        cancel(api, parent["id"])
        worker.report(held, "cancelled")
    elif ending == "superseded":
        api.submit(task, 2, dedup_key="k", on_duplicate="supersede", **LATER)
    elif ending == "failed":
        worker.report(held, "failed", error={"type": "T"})

    ended = "dead_lettered" if ending == "failed" else ending
    api.wait_state(parent["id"], ended)
    swept = "expired" if ending == "expired" else "cancelled"
    for child in (ready, later):
        api.wait_state(child["id"], swept)
    api.wait_state(launched["id"], "cancelled", "expired")
    stale = worker.next(task + ".launched")
    verdict = worker.report(stale, "running")
    stale.ack()
    assert (verdict["verdict"], verdict["code"], verdict["action"]) == ("abort", "terminal_run", "stop")
    late = api.post("/v1/runs", {"task": task, "payload": 1, "parent_id": parent["id"]})
    assert (late.status, late.code) == (409, "parent_ended")


def test_a_child_gets_what_is_left_of_its_parents_time(api, task):
    """T64: its own shorter time stays; blocked runs expire, too."""
    parent = api.submit_run(task, 1, ttl_seconds=1.5, **LATER)
    blocked = api.submit_run(task, 1, parent_id=parent["id"], depends_on=[api.submit_run(task, 1, **LATER)["id"]])
    long = api.submit_run(task, 1, parent_id=parent["id"], ttl_seconds=600, **LATER)
    short = api.submit_run(task, 1, parent_id=parent["id"], ttl_seconds=0.2, **LATER)

    assert [run["expires_at"] for run in (blocked, long)] == [parent["expires_at"]] * 2
    assert short["expires_at"] < parent["expires_at"]
    for run in (short, blocked, long, parent):
        api.wait_state(run["id"], "expired")


def test_released_by_the_last_of_many_at_its_own_time(api, worker, task):
    """T31: a dependent with a later run_at becomes scheduled once."""
    one, two = api.submit_run(task, 1), api.submit_run(task, 2)
    after = api.submit_run(task + ".after", 1, depends_on=[one["id"], two["id"]], **LATER)

    worker.work(task)
    assert state(api, after) == "blocked"
    worker.work(task)

    api.wait_state(after["id"], "scheduled")
    assert [row["new_state"] for row in api.audit(after["id"])] == ["blocked", "scheduled"]
