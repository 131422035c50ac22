"""Lists, counts and orders of runs against a brute-force check over a thousand mixed runs."""

import random

import pytest

from support.amqp import Worker
from support.api import API
from support.waiting import until

TASKS = ["media.cut", "media.join", "media", "mediator", "mail.send"]
NAMES = ["Alpha", "alphabet", "100% beta", "b_ta", "Käse", "gamma"]
NULLABLE = ["started_at", "finished_at", "run_at", "expires_at", "dedup_key", "group", "workflow_id", "parent_id"]
TIMES = {"created": "created_at", "run_at": "run_at", "started": "started_at", "finished": "finished_at"}
SORTS = ["id", "-id", "run_at", "-run_at", "name", "-name", "-finished_at", "priority", "release"]
BOOM = {"error": {"type": "Boom", "message": "no", "retryable": False}}


def mixed(chance, numbers, parents):
    """Submissions with any of the fields that lists look at."""
    for number in numbers:
        given = {
            "name": chance.choice(NAMES), "workflow_id": chance.choice(["w1", "w2"]),
            "group": chance.choice(["g1", "g2"]), "template": chance.choice(["t1", "t2"]),
            "array": chance.choice(["x", "y"]), "dedup_key": f"d{number}", "ttl_seconds": 86_400,
            "tags": chance.choice([{"tenant": "1"}, {"tenant": "2", "env": "prod"}, {"te%ant": "1"}, {"env": "test"}]),
            "run_at": f"2099-01-0{chance.randrange(1, 9)}T00:00:00Z", "parent_id": chance.choice(parents),
            "priority": chance.randrange(4)}
        yield {"task": chance.choice(TASKS), "payload": number,
               **{name: value for name, value in given.items() if chance.random() < 0.35}}


def batch(api, runs):
    answer = api.post("/v1/runs/batch", {"runs": list(runs)})
    assert answer.status == 200, answer
    return [item["run"]["id"] for item in answer.json["items"]]


@pytest.fixture(scope="module")
def store(bridge):
    """A thousand runs in every state at rest, as the list shows them, newest first."""
    api, worker, chance = bridge.api, Worker(bridge.amqp_url), random.Random(25)
    assert api.post("/v1/tasks/media.cut/pause").status == 200
    assert api.post("/v1/tasks/mail.send/pause").status == 200
    parents = batch(api, [{"task": "mail.send", "payload": n} for n in range(4)])
    ids = batch(api, mixed(chance, range(850), parents))
    waiting = batch(api, [{"task": "mail.send", "payload": 1, "depends_on": [parents[0]]} for _ in range(20)])
    failing = batch(api, [{"task": "mail.send", "payload": 1, "run_at": "2099-01-01T00:00:00Z"}])[0]
    batch(api, [{"task": "media.join", "payload": 1, "depends_on": [failing]} for _ in range(15)])
    api.post(f"/v1/runs/{failing}/cancel")
    batch(api, [{"task": "media", "payload": 1, "run_at": "2099-01-01T00:00:00Z", "ttl_seconds": 0.1}] * 10)
    for key in ("s1", "s2", "s3"):
        batch(api, [{"task": "mediator", "payload": 1, "dedup_key": key, "run_at": "2099-01-01T00:00:00Z"}])
        batch(api, [{"task": "mediator", "payload": 1, "dedup_key": key, "run_at": "2099-01-01T00:00:00Z",
                     "on_duplicate": "supersede"}])
    api.post("/v1/runs/pause", {"filter": {"id": ids[100:250] + waiting[:5]}})
    api.post("/v1/runs/cancel", {"filter": {"id": ids[250:400]}})
    for task, ends in (("media", 40), ("media.join", 40), ("mediator", 20)):
        for number in range(ends):
            held = worker.take(f"taskbridge.run.{task}")
            end = ["completed", "failed", "running"][number % 3]
            worker.report(held, end, **{"failed": BOOM, "running": {"next_report_seconds": 3600}}.get(end, {}))
            held.ack()
    worker.close()
    missing = 1_000 - len(api.items("/v1/runs", limit=1_000))
    batch(api, mixed(chance, range(1_000, 1_000 + missing), parents))
    moving = {"state": ["ready", "queued"], "exclude_task": ["media.cut", "mail.send"]}
    until(lambda: api.counts().get("expired", 0) >= 10 and api.post("/v1/runs/count", moving).json["count"] == 0,
          what="all is at rest")
    return api.items("/v1/runs", limit=1_000)


def random_filter(chance, runs):
    """Query parameters, and what they mean for a run as the list shows it."""
    run = chance.choice(runs)
    parents = {run["parent_id"] for run in runs}
    moment = run["created_at"]
    text = [("task", "task", TASKS), ("group", "group", ["g1", "g3"]), ("workflow_id", "workflow_id", ["w1"]),
            ("template", "template", ["t1"]), ("array", "array", ["x"]), ("name", "name", NAMES),
            ("dedup_key", "dedup_key", [run["dedup_key"] or "d1"]),
            ("parent_id", "parent_id", [run["parent_id"] or run["id"]])]
    kind = chance.randrange(21)
    if kind < len(text):
        name, field, values = text[kind]
        value = chance.choice(values)
        return [(name, value)], lambda run: run.get(field) == value
    if kind == 8:
        states = chance.sample(sorted({run["state"] for run in runs}), 2)
        return [("state", state) for state in states], lambda run: run["state"] in states
    if kind == 9:
        return [("state", run["state"])], lambda other: other["state"] == run["state"]
    if kind == 10:
        domain = chance.choice(["media", "mail", "mediator", "nobody"])
        return [("domain", domain)], lambda run: run["task"].split(".")[0] == domain
    if kind == 11:
        tags = chance.choice([{"tenant": "1"}, {"tenant": "2", "env": "prod"}, {"te%ant": "1"}, {"env": "none"}])
        return [(f"tag.{key}", value) for key, value in tags.items()], lambda run: tags.items() <= run["tags"].items()
    if kind == 12:
        prefix = chance.choice(["te", "te%", "e", "z"])
        return [("tag_prefix", prefix)], lambda run: any(key.startswith(prefix) for key in run["tags"])
    if kind == 13:
        part = chance.choice(["ALPHA", "% b", "_", "a", "GAM"])
        return [("name_like", part)], lambda run: part.lower() in (run["name"] or "").lower()
    if kind == 14:
        some = [chance.choice(runs)["id"] for _ in range(5)]
        return [("id", one) for one in some], lambda run: run["id"] in some
    if kind == 15:
        has = chance.random() < 0.5
        return [("has_children", str(has).lower())], lambda run: (run["id"] in parents) == has
    if kind == 16:
        return [("held_by", "task_paused")], lambda run: "task_paused" in run["held_by"]
    if kind == 17:
        return [("error_type", "Boom")], lambda run: (run["last_error"] or {}).get("type") == "Boom"
    if kind == 18:
        left_out = chance.sample(TASKS, 2)
        return [("exclude_task", task) for task in left_out], lambda run: run["task"] not in left_out
    if kind == 19:
        field, is_null = chance.choice(NULLABLE), chance.random() < 0.5
        return [(f"{field}_is_null", str(is_null).lower())], lambda run: (run[field] is None) == is_null
    name, field = chance.choice(sorted(TIMES.items()))
    if name == "run_at":
        moment = "2099-01-04T12:00:00.000Z"
    if chance.random() < 0.5:
        return [(f"{name}_after", moment)], lambda run: run[field] is not None and run[field] > moment
    return [(f"{name}_before", moment)], lambda run: run[field] is not None and run[field] < moment


def in_order(runs, sort):
    """The whole order of a list: nulls last either way, ties by id."""
    descending = sort.startswith("-")
    by_id = sorted(runs, key=lambda run: run["id"], reverse=descending)
    if sort in ("id", "-id"):
        return by_id
    if sort in ("priority", "release"):
        return sorted(by_id, key=lambda run: run["effective_priority"])
    field = sort.lstrip("-")
    known = [run for run in by_id if run[field] is not None]
    return sorted(known, key=lambda run: run[field].encode(), reverse=descending) + \
        [run for run in by_id if run[field] is None]


def body_of(pairs):
    """The filters of a list as the JSON object of a count."""
    body = {}
    for name, value in pairs:
        if name.startswith("tag."):
            body.setdefault("tags", {})[name[4:]] = value
        elif name in ("state", "task", "id", "exclude_task"):
            body.setdefault(name, []).append(value)
        else:
            body[name] = {"true": True, "false": False}.get(value, value) if name.endswith("_is_null") or \
                name == "has_children" else value
    return body


def test_five_hundred_combinations_of_filters(bridge, store):
    """P25, P24, P26, S14: lists in any order, page by page, and counts are those of a brute-force check."""
    assert len(store) == 1_000
    assert {run["state"] for run in store} == {
        "blocked", "scheduled", "ready", "paused", "launched", "running", "completed", "failed", "cancelled", "expired",
        "superseded", "dependency_failed"}
    chance, api, sizes = random.Random(500), API(bridge.port, keep=True), []
    for round in range(500):
        chosen = {}
        for _ in range(chance.choice([0, 1, 1, 2, 2, 3])):
            pairs, matches = random_filter(chance, store)
            # One of each: two tasks are a choice, two groups nothing.
            chosen.setdefault(pairs[0][0].split(".")[0], (pairs, matches))
        pairs = [pair for given, _ in chosen.values() for pair in given]
        sort, limit = chance.choice(SORTS), chance.choice([40, 300, 1_000])
        expected = in_order([run for run in store if all(matches(run) for _, matches in chosen.values())], sort)

        query = {}
        for name, value in pairs:
            query.setdefault(name, []).append(value)
        listed = api.items("/v1/runs", **query, sort=sort, limit=limit)
        counted = api.post("/v1/runs/count", body_of(pairs)).json

        told = f"round {round}: {pairs} by {sort}"
        assert [run["id"] for run in listed] == [run["id"] for run in expected], told
        by_state = {state: number for state, number in counted["by_state"].items() if number}
        states = [run["state"] for run in expected]
        assert by_state == {state: states.count(state) for state in set(states)}, told
        assert counted["count"] == len(expected) == sum(by_state.values()), told
        sizes.append(len(expected))
    assert sum(0 < size < 1_000 for size in sizes) > 250, "most filters leave something in and something out"


def test_no_filter_counts_all(api, store):
    """P24."""
    for body in ({}, None):
        answer = api.call("POST", "/v1/runs/count", body)
        assert answer.json["count"] == 1_000 == sum(answer.json["by_state"].values())


@pytest.mark.parametrize("query", [
    {"sort": "age"}, {"sort": "-priority"}, {"offset": 10}, {"page": 2}, {"limit": 0}, {"limit": 1001},
    {"colour": "red"}, {"state": "done"}, {"created_after": "2026-01-01T00:00:00"}, {"has_children": "perhaps"}])
def test_a_wrong_question_is_refused(api, store, query):
    """P25, P26: it names the parameter, and nothing is left out in silence."""
    answer = api.get("/v1/runs", **query)

    assert answer.status == 422, answer
    assert next(iter(query)) in answer.json["errors"][0]["pointer"]


def test_a_cursor_belongs_to_its_order(api, store):
    """P26."""
    cursor = api.get("/v1/runs", sort="name", limit=5).json["next_cursor"]

    assert api.get("/v1/runs", sort="name", limit=5, cursor=cursor).status == 200
    assert (api.get("/v1/runs", sort="-name", cursor=cursor).code, api.get("/v1/runs", cursor="x").status) == \
        ("invalid_cursor", 400)
