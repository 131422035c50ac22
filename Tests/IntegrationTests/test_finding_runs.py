"""Finding runs: by id for life, by tags, by how they ended, across domains; and what is not there."""

import json

import pytest

from support.amqp import Worker
from support.api import ids

LATER = {"delay_seconds": 3600}
UNKNOWN_ID = "01936a3e-0000-7000-8000-000000000000"
ENDS = ["completed", "failed", "dead_lettered", "dependency_failed", "cancelled", "expired", "superseded"]


def ended(api, worker, task, end):
    """A run of `task` that has ended so."""
    if end in ("completed", "failed", "dead_lettered"):
        run = api.submit_run(task, 1, max_attempts=1 if end == "dead_lettered" else 2)
        worker.work(task, "completed" if end == "completed" else "failed",
                    error={"type": "Boom", "message": "no", "retryable": end != "failed"})
    elif end == "dependency_failed":
        first = api.submit_run(task + ".first", 1, **LATER)
        run = api.submit_run(task, 1, depends_on=[first["id"]])
        api.posted(f"/v1/runs/{first['id']}/cancel")
    elif end == "expired":
        run = api.submit_run(task, 1, ttl_seconds=0.1, **LATER)
    else:
        run = api.submit_run(task, 1, dedup_key="k", **LATER)
        if end == "cancelled":
            api.posted(f"/v1/runs/{run['id']}/cancel")
        else:
            api.submit_run(task, 1, dedup_key="k", on_duplicate="supersede", **LATER)
    return api.wait_state(run["id"], end)


def test_one_id_for_life(new_bridge, connect, task):
    """T6: found while it is active, after its end, after a restart and after a replay; `show` prints the same."""
    bridge = new_bridge()
    api, worker = bridge.api, connect(Worker, bridge.amqp_url)
    run = api.submit_run(task, {"n": 1}, max_attempts=1)

    def found(state):
        api.wait_state(run["id"], state)
        shown = bridge.cli("show", run["id"], "--output", "json")
        assert shown.returncode == 0, shown.stderr
        assert json.loads(shown.stdout) == api.run(run["id"])
        assert ids(api.items("/v1/runs", id=run["id"])) == [run["id"]]
        return json.loads(shown.stdout)

    assert found("launched")["payload"] == {"n": 1}
    worker.work(task, "failed")
    dead = found("dead_lettered")
    bridge.restart()
    assert found("dead_lettered") == dead
    api.posted(f"/v1/runs/{run['id']}/retry")
    assert found("launched")["replays"] == 1
    connect(Worker, bridge.amqp_url).work(task)
    assert (found("completed")["id"], found("completed")["attempt"]) == (run["id"], 2)


def test_an_id_that_is_none(bridge, api):
    """T6: no UUID is 422, an unknown one 404; on the command line usage and not found."""
    wrong, unknown = api.get("/v1/runs/no-uuid"), api.get(f"/v1/runs/{UNKNOWN_ID}")
    told = bridge.cli("show", UNKNOWN_ID, "--output", "json")

    assert (wrong.status, wrong.code) == (422, "invalid_run_id") and "no-uuid" in wrong.json["detail"]
    assert (unknown.status, unknown.code, unknown.json["run_id"]) == (404, "run_not_found", UNKNOWN_ID)
    assert (told.returncode, json.loads(told.stdout)["code"]) == (3, "run_not_found")
    assert bridge.cli("show", "no-uuid").returncode == 64


def test_paused_runs_and_why(api, task):
    """T5: runs paused one by one or in bulk are `paused`; what a task key's pause holds stays `ready` and says so. Of
    two holds the end of one lets nothing go."""
    api.posted(f"/v1/tasks/{task}/pause")
    one, two, ready = (api.submit_run(task, n)["id"] for n in range(3))
    later = api.submit_run(task, 3, **LATER)["id"]

    assert api.posted(f"/v1/runs/{one}/pause")["state"] == "paused"
    assert api.posted("/v1/runs/pause", {"filter": {"id": [two, later]}})["changed"] == 2

    assert set(ids(api.items("/v1/runs", state="paused", task=task))) == {one, two, later}
    assert api.count(state="paused", task=task) == 3
    held = api.run(ready)
    assert (held["state"], held["held_by"]) == ("ready", ["task_paused"])
    resumed = api.posted(f"/v1/runs/{one}/resume")
    assert (resumed["state"], resumed["held_by"]) == ("ready", ["task_paused"])
    api.posted(f"/v1/tasks/{task}/resume")
    for run in (one, ready):
        api.wait_state(run, "launched")
    assert [api.run(run)["state"] for run in (two, later)] == ["paused", "paused"]
    assert api.posted("/v1/runs/resume", {"filter": {"state": "paused", "task": task}})["changed"] == 2
    api.wait_state(two, "launched")
    assert api.run(later)["state"] == "scheduled"


def test_tags_are_matched_to_the_letter(api, task):
    """T13: several are AND, also with a state; `%`, `_`, `=`, `&` and UTF-8 are letters."""
    both = api.submit_run(task, 1, tags={"tenant": "42", "env": "prod"}, **LATER)["id"]
    api.submit_run(task, 2, tags={"tenant": "42", "env": "test"}, **LATER)
    blocked = api.submit_run(task, 3, tags={"tenant": "42", "env": "prod"}, depends_on=[both])["id"]
    odd = [("100%", "a_b"), ("a_b", "100%"), ("k=v&x", "1=2&tag.y=3"), ("größe", "ü ✓ 文"), ("env+", "a+b c/d?e#f")]
    runs = {pair: api.submit_run(task, 4, tags=dict([pair]), **LATER)["id"] for pair in odd}
    for pair in [("100x", "a_b"), ("100%", "axb"), ("axb", "100%"), ("a_b", "1000"), ("grösse", "ü ✓ 文")]:
        api.submit_run(task, 5, tags=dict([pair]), **LATER)

    two = {"tag.tenant": "42", "tag.env": "prod", "task": task}
    assert set(ids(api.items("/v1/runs", **two))) == {both, blocked}
    assert ids(api.items("/v1/runs", state="blocked", **two)) == [blocked]
    assert api.count(tags={"tenant": "42", "env": "prod"}, task=task) == 2
    for (key, value), run in runs.items():
        assert ids(api.items("/v1/runs", **{f"tag.{key}": value, "task": task})) == [run]
        assert api.count(tags={key: value}, task=task) == 1


def test_runs_by_the_beginning_of_a_tag_key(api, task):
    """T16: a run with two such keys is listed once; the count is the length; `%` and `_` are letters."""
    two = api.submit_run(task, 1, tags={"billing.a": "1", "billing.b": "2"}, **LATER)["id"]
    one = api.submit_run(task, 2, tags={"billing.a": "1"}, depends_on=[two])["id"]
    for key in ("billingx", "xbilling.", "Billing.a", "b_lling.a", "b%"):
        api.submit_run(task, 3, tags={key: "1"}, **LATER)

    for filters, expected in [({"tag_prefix": "billing."}, {one, two}),
                              ({"tag_prefix": "billing.", "state": "scheduled"}, {two}),
                              ({"tag_prefix": "billing.", "state": ["scheduled", "blocked"]}, {one, two}),
                              ({"tag_prefix": "billing.", "state": "ready"}, set())]:
        listed = ids(api.items("/v1/runs", task=task, **filters))
        assert (set(listed), len(listed)) == (expected, len(expected))
        assert api.count(task=task, **filters) == len(expected)
    for letters in ("b_", "b%", "b_lling."):
        assert api.count(task=task, tag_prefix=letters) == 1
        assert len(api.items("/v1/runs", task=task, tag_prefix=letters)) == 1


def test_across_domains_and_what_is_not_there(new_bridge, connect):
    """T17: all running runs are those of all domains; an unknown domain or task as a filter is empty, as a path 404
    with the nearest existing keys."""
    bridge = new_bridge({"tasks": {"video.encode": {}}})
    api, worker = bridge.api, connect(Worker, bridge.amqp_url)
    unknown = [api.get("/v1/tasks/audio.mix")]
    for task in ("media.thumbnail", "media.thumbnails", "mail.send", "media"):
        run = api.submit_run(task, 1)
        worker.report(worker.next(task), "running")
        assert api.run(run["id"])["task"] == task

    parts = [ids(api.items("/v1/runs", state="running", domain=domain)) for domain in ("media", "mail", "video")]
    assert sorted(map(len, parts)) == [0, 1, 3]
    assert sorted(sum(parts, [])) == sorted(ids(api.items("/v1/runs", state="running")))
    for filters in ({"domain": "nothing"}, {"task": "nothing.here"}):
        assert api.items("/v1/runs", state="running", **filters) == [] and api.count(**filters) == 0
    unknown.append(api.get("/v1/tasks/media.thumbnial"))
    assert [(answer.status, answer.code) for answer in unknown] == [(404, "task_not_found")] * 2
    assert unknown[0].json["allowed"] == ["video.encode"]
    nearest = unknown[1].json["allowed"]
    assert nearest[:2] == ["media.thumbnail", "media.thumbnails"] and len(nearest) == 3
    assert all(key in unknown[1].json["detail"] for key in nearest)
    told = bridge.cli("tasks", "show", "media.thumbnial", "--output", "json")
    assert (told.returncode, json.loads(told.stdout)["allowed"]) == (3, nearest)
    assert "media.thumbnail" in bridge.cli("tasks", "show", "media.thumbnial").stderr


def test_the_counts_of_a_task_key(api, worker, task):
    """T18: per key each count is that of the list, the snapshot and the list of task keys say the same."""
    ended(api, worker, task, "dead_lettered")
    ended(api, worker, task, "completed")
    api.submit_run(task, 1)
    worker.report(worker.next(task), "running")
    api.wait_state(api.submit_run(task, 2)["id"], "launched")
    api.posted(f"/v1/tasks/{task}/pause", {"reason": "look"})
    api.submit_run(task, 3)
    waits = [api.submit_run(task, n, **LATER) for n in range(2)]
    for n in range(3):
        api.submit_run(task, n, depends_on=[waits[0]["id"]])

    view = api.get(f"/v1/tasks/{task}").json

    numbers = {"blocked": 3, "scheduled": 2, "ready": 1, "queued": 0, "launched": 1, "running": 1}
    for state, number in numbers.items():
        listed = api.items("/v1/runs", task=task, state=state)
        assert view[state] == api.count(task=task, state=state) == len(listed) == number
    assert view["dead"] == len(api.items("/v1/dead-letters", task=task)) == 1
    assert view["paused"] is True and view["settings"]["max_attempts"] == 4 and view["oldest_ready_seconds"] >= 0
    moving = {"oldest_ready_seconds": 0, "consumers": 0}
    for items in (api.items("/v1/tasks", limit=1000), api.get("/v1/snapshot").json["tasks"]):
        line = next(item for item in items if item["key"] == task)
        assert {**line, **moving} == {**view, **moving}
    api.posted(f"/v1/tasks/{task}/resume")


def test_ended_runs_newest_first(api, worker, task):
    """T40: by their end, of one key, paged; runs of one millisecond keep one order on every call."""
    runs = [item["run"]["id"] for item in api.posted("/v1/runs/batch", {
        "runs": [{"task": task, "payload": n} for n in range(20)], "defaults": LATER})["items"]]
    assert api.posted("/v1/runs/cancel", {"filter": {"task": task}})["changed"] == 20
    last = [ended(api, worker, task, end)["id"] for end in ("completed", "failed", "expired")]
    ended(api, worker, task + ".b", "completed")
    states = ["completed", "cancelled", "failed", "expired"]

    whole = api.get("/v1/runs", task=task, state=states, sort="-finished_at", limit=100).json["items"]

    assert ids(whole[:3]) == last[::-1] and set(ids(whole[3:])) == set(runs)
    times = [run["finished_at"] for run in whole]
    assert times == sorted(times, reverse=True) and len(set(times)) < len(times), "some ended in one millisecond"
    for limit in (1, 4, 7):
        assert ids(api.items("/v1/runs", task=task, state=states, sort="-finished_at", limit=limit)) == ids(whole)
    assert ids(api.items("/v1/runs", task=task + ".b", state="completed", sort="-finished_at")) != []
    assert api.items("/v1/runs", task=task.split(".")[1], state=states, sort="-finished_at") == []


def test_recent_failures_say_why(api, worker, task):
    """T41: each with the type and the message of its last error, also where no worker has reported one; a message that a
    worker left out is null."""
    runs = {end: ended(api, worker, task, end)["id"] for end in ("failed", "dead_lettered", "dependency_failed")}
    parent = api.submit_run(task, 1)["id"]
    held = worker.next(task)
    worker.report(held, "running")
    child = api.submit_run(task + ".child", 1, parent_id=parent, **LATER)["id"]
    worker.report(held, "completed")
    held.ack()
    api.posted(f"/v1/runs/{child}/cancel")
    api.wait_state(parent, "failed")

    listed = api.items("/v1/runs", task=task, sort="-finished_at",
                       state=["failed", "dead_lettered", "dependency_failed"])

    assert ids(listed) == [parent, runs["dependency_failed"], runs["dead_lettered"], runs["failed"]]
    first = api.run(runs["dependency_failed"])["depends_on"][0]
    assert [(run["last_error"]["type"], run["last_error"]["message"]) for run in listed] == [
        ("child_failed", f"child {child} ended cancelled"), ("dependency_failed", f"{first} ended cancelled"),
        ("Boom", "no"), ("Boom", "no")]
    asked = api.submit_run(task, 1, max_attempts=1)["id"]
    api.wait_state(asked, "launched")
    api.posted(f"/v1/runs/{asked}/state", {"state": "failed", "reason": "wrong input"})
    silent = api.submit_run(task + ".b", 1, max_attempts=1)["id"]
    worker.work(task + ".b", "failed", error={"type": "Boom"})
    for run, message in ((asked, "wrong input"), (silent, None)):
        assert api.wait_state(run, "dead_lettered")["last_error"]["message"] == message
    assert ids(api.items("/v1/runs", task=task, error_type="dependency_failed")) == [runs["dependency_failed"]]


def test_runs_by_any_end(api, worker, task):
    """T42: each end can be listed and counted; with time bounds: how many runs missed their time."""
    runs = {end: ended(api, worker, task, end) for end in ENDS}

    for end, run in runs.items():
        assert ids(api.items("/v1/runs", task=task, state=end)) == [run["id"]]
        assert api.count(task=task, state=end) == 1
    assert api.count(task=task, state=ENDS) == len(ENDS)
    missed = {"task": task, "state": "expired"}
    at = runs["expired"]["finished_at"]
    assert api.count(**missed, finished_after=runs["completed"]["created_at"]) == 1
    assert api.count(**missed, finished_after=at) == api.count(**missed, finished_before=at) == 0
    assert ids(api.items("/v1/runs", **missed, finished_before="2099-01-01T00:00:00+01:00")) == [runs["expired"]["id"]]


@pytest.mark.parametrize("field", ["finished_after", "created_before"])
def test_a_bound_without_a_zone_is_refused(api, field):
    """T42."""
    answer = api.get("/v1/runs", state="expired", **{field: "2026-11-20T10:00:00"})

    assert (answer.status, answer.code) == (422, "time_without_zone")


def test_what_is_found_while_runs_are_added(api, task):
    """T40: each old run is on exactly one page."""
    old = [api.submit_run(task, n, **LATER)["id"] for n in range(6)]
    api.posted("/v1/runs/cancel", {"filter": {"task": task}})
    page = api.get("/v1/runs", task=task, state="cancelled", sort="-finished_at", limit=2).json
    seen = ids(page["items"])

    while page["next_cursor"]:
        new = api.submit_run(task, 9, **LATER)["id"]
        api.posted(f"/v1/runs/{new}/cancel")
        page = api.get("/v1/runs", task=task, state="cancelled", sort="-finished_at", limit=2,
                       cursor=page["next_cursor"]).json
        seen += ids(page["items"])

    assert sorted(seen) == sorted(old)
