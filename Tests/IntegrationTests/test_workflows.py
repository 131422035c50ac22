"""Workflows as batches, and batches that take the place of an older one."""

import uuid

import pytest

PERMANENT = {"error": {"type": "T", "message": "no", "retryable": False}}


def batch(api, runs, expect=200, **fields):
    answer = api.post("/v1/runs/batch", {"runs": runs, **fields})
    assert answer.status == expect, answer
    return answer.json["items"] if expect == 200 else answer


def recipe(task, *payloads):
    """A chain: each node waits for the one before."""
    return [{"task": task, "name": f"node{index}", "payload": payload,
             **({"depends_on": [f"#{index - 1}"]} if index else {})} for index, payload in enumerate(payloads)]


@pytest.fixture
def ids():
    return [f"w-{uuid.uuid4().hex[:8]}" for _ in range(3)]


def test_a_diamond_goes_in_order(api, worker, task, ids):
    """S15, S20: one batch with `#<index>` and one workflow; its last node starts once; a node's own value wins."""
    items = batch(api, [
        {"task": task, "name": "d", "payload": 4, "depends_on": ["#1", "#2"], "priority": 0},
        {"task": task, "name": "b", "payload": 2, "depends_on": ["#3"], "tags": {"own": "1", "both": "own"}},
        {"task": task, "name": "c", "payload": 3, "depends_on": ["#3"]}, {"task": task, "name": "a", "payload": 1}],
        defaults={"workflow_id": ids[0], "priority": 7, "group": "g", "tags": {"both": "default"},
                  "retry": {"strategy": "constant", "initial_seconds": 2}, "ttl_seconds": 600})
    d, b, c, a = [item["run"] for item in items]

    assert [run["state"] for run in (d, b, c)] == ["blocked"] * 3
    assert api.run(a["id"])["state"] != "blocked"
    assert (d["priority"], b["priority"], b["tags"], c["tags"], c["group"]) == \
        (0, 7, {"own": "1", "both": "own"}, {"both": "default"}, "g")
    assert all(run["expires_at"] for run in (a, b, c, d))
    held = worker.next(task)
    failed = worker.report(held, "failed")
    held.ack()
    assert 1 <= failed["retry_after_seconds"] <= 2, "the defaults' retry is the node's"
    order = [worker.work(task)[0].run_id for _ in range(4)]
    assert order[0] == a["id"] and order[3] == d["id"] and set(order[1:3]) == {b["id"], c["id"]}
    states = [row["new_state"] for row in api.audit(d["id"])]
    assert states.count("ready") == 1 and states[-1] == "completed"
    assert len(api.items("/v1/runs", workflow_id=ids[0])) == 4


def test_a_fault_near_the_end_stores_nothing(api, task):
    """S16, T30: a fault in item 9,999 of 10,000 stores none and is named; a circle is named with its path."""
    plain = [{"task": task, "payload": n} for n in range(10_000)]
    before = api.counts()

    ahead = batch(api, plain[:9_999] + [{"task": task, "payload": 1, "depends_on": ["#10000"]}], expect=422)
    payload = batch(api, plain[:9_999] + [{"task": task, "payload_base64": "!"}], expect=422)
    circle = batch(api, plain[:9_997] + [{"task": task, "payload": 1, "depends_on": ["#9999"]},
                                         {"task": task, "payload": 1, "depends_on": ["#9997"]},
                                         {"task": task, "payload": 1, "depends_on": ["#9998"]}], expect=422)

    assert ahead.json["errors"][0]["pointer"].startswith("/runs/9999/depends_on")
    assert payload.json["errors"][0]["pointer"].startswith("/runs/9999")
    assert circle.code == "dependency_cycle"
    assert "#9997 waits for #9999 waits for #9998 waits for #9997" in circle.json["detail"]
    assert api.items("/v1/runs", task=task) == [] and api.counts() == before


def test_a_disabled_task_key_refuses_the_whole_batch(api, task):
    """S17."""
    assert api.call("PATCH", f"/v1/tasks/{task}.off", {"disabled": True}).status == 200

    refused = batch(api, [{"task": task, "payload": 1}, {"task": task + ".off", "payload": 1}], expect=422)

    assert refused.code == "task_disabled"
    assert api.items("/v1/runs", domain="test", task=[task, task + ".off"]) == []


def test_strict_tasks_refuse_what_is_not_configured(new_bridge):
    """S17."""
    api = new_bridge({"strict_tasks": True, "tasks": {"known.task": {}}}).api

    refused = batch(api, [{"task": "known.task", "payload": 1}, {"task": "unknown.task", "payload": 1}], expect=422)

    assert refused.code == "unknown_task"
    assert api.items("/v1/runs") == []


def test_a_failed_node_and_what_it_fails_are_seen_by_workflow(api, worker, task, ids):
    """S18: dependents follow their policy; the workflow shows which and why."""
    a, b, c = [item["run"]["id"] for item in batch(api, [
        {"task": task, "payload": 1}, {"task": task + ".b", "payload": 2, "depends_on": ["#0"]},
        {"task": task + ".c", "payload": 3, "depends_on": ["#0"], "on_dependency_failure": "ignore"}],
        defaults={"workflow_id": ids[0]})]

    worker.work(task, "failed", **PERMANENT)
    worker.work(task + ".c")
    api.wait_state(c, "completed")

    assert {run["id"]: run["state"] for run in api.items("/v1/runs", workflow_id=ids[0])} == \
        {a: "failed", b: "dependency_failed", c: "completed"}
    assert a in api.audit(b)[-1]["reason"] and "failed" in api.audit(b)[-1]["reason"]


def test_a_worker_decides_which_branch_runs(api, worker, task):
    """S21, T37: only the chosen branch is stored, and the parent waits for it; its result is the one it reported."""
    parent = api.submit_run(task, 1)
    held = worker.next(task)
    worker.report(held, "running")

    chosen = api.submit_run(task + ".left", 1, parent_id=parent["id"])
    verdict = worker.report(held, "completed", result={"chose": "left"})
    held.ack()

    assert verdict["run_state"] == "waiting"
    assert [run["id"] for run in api.items(f"/v1/runs/{parent['id']}/children")] == [chosen["id"]]
    worker.work(task + ".left")
    assert api.wait_state(parent["id"], "completed")["result"] == {"chose": "left"}


def test_a_new_recipe_keeps_what_is_unchanged(api, worker, task, ids):
    """S19: finished and unchanged nodes are kept and count as satisfied, unfinished ones are superseded, the rest is new."""
    old = [item["run"]["id"] for item in batch(api, recipe(task, 1, 2, 3), defaults={"workflow_id": ids[0]})]
    worker.work(task)
    worker.work(task)
    held = worker.next(task)
    worker.report(held, "running")

    items = batch(api, recipe(task, 1, 20, 3), defaults={"workflow_id": ids[1]}, supersedes_workflow_id=ids[0])
    late = worker.report(held, "completed")
    held.ack()

    assert [item["outcome"] for item in items] == ["duplicate", "inserted", "superseded"]
    new = [item["run"]["id"] for item in items]
    assert new[0] == old[0] and items[2]["replaced_id"] == old[2]
    assert (late["verdict"], late["code"]) == ("abort", "terminal_run")
    assert [api.run(run)["state"] for run in old] == ["completed", "completed", "superseded"]
    assert api.run(old[2])["superseded_by"] == new[2]
    assert [run["id"] for run in api.items("/v1/runs", workflow_id=ids[1])] == [new[2], new[1]]
    assert [run["id"] for run in api.items("/v1/runs", kept_by=ids[1])] == [old[0]]
    assert [worker.work(task)[0].run_id for _ in range(2)] == new[1:]
    again = batch(api, recipe(task, 1, 20, 3), defaults={"workflow_id": ids[2]}, supersedes_workflow_id=ids[1])
    assert [item["run"]["id"] for item in again] == new


@pytest.mark.parametrize("change, code", [
    ({"supersedes_workflow_id": "none-such"}, "unknown_workflow"), ({"supersedes_workflow_id": ""}, "invalid_field"),
    ({"supersedes_workflow_id": 7}, "invalid_field")])
def test_a_workflow_that_cannot_be_superseded(api, task, change, code):
    """S19."""
    refused = batch(api, [{"task": task, "payload": 1}], expect=422, **change)

    assert refused.code == code
    assert api.items("/v1/runs", task=task) == []


def test_a_workflow_cannot_supersede_itself(api, task, ids):
    """S19."""
    run = batch(api, [{"task": task, "payload": 1, "workflow_id": ids[0], "delay_seconds": 3600}])[0]["run"]

    refused = batch(api, [{"task": task, "payload": 2, "workflow_id": ids[0]}], expect=422,
                    supersedes_workflow_id=ids[0])

    assert refused.code == "same_workflow"
    assert api.run(run["id"])["state"] == "scheduled"


def test_without_the_field_nodes_are_replaced_by_dedup_key(api, task, ids):
    """S19."""
    def nodes(payload):
        return [{"task": task, "payload": payload, "dedup_key": key, "on_duplicate": "supersede", "delay_seconds": 3600}
                for key in ("one", "two")]
    old = [item["run"]["id"] for item in batch(api, nodes(1), defaults={"workflow_id": ids[0]})]

    items = batch(api, nodes(2), defaults={"workflow_id": ids[1]})

    assert [(item["outcome"], item["replaced_id"]) for item in items] == [("superseded", run) for run in old]
