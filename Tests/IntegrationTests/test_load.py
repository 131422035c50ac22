"""The queue as an operator sees it: its state now (S26) and load samples (S27 to S31)."""

import time

from support.amqp import Worker
from support.times import seconds
from support.waiting import until


def samples(api, **query):
    return api.items("/v1/queue/load", **query)


def test_queue_status_equals_a_count_by_hand(new_bridge, connect, task):
    """S26: counts, the longest wait, the highest priority; not paused first, then priority, then longest waiting."""
    bridge = new_bridge({"queue_bound": 2})
    api, names = bridge.api, [f"{task}.{n}" for n in range(4)]
    for name, priorities in zip(names, [[200, 100, 150], [100, 90, 80], [0], [7]]):
        for priority in priorities:
            api.submit_run(name, 1, priority=priority)
    connect(Worker, bridge.amqp_url).work(names[3])
    assert api.post(f"/v1/tasks/{names[2]}/pause").status == 200
    until(lambda: api.get("/v1/snapshot").json["counts"]["launched"] == 5, what="what may leave has left")

    items = api.items("/v1/queue/status")

    runs = api.items("/v1/runs", state=["ready", "queued", "launched"], limit=1000)
    for item in items:
        mine = [run for run in runs if run["task"] == item["task"]]
        assert item["count"] == len(mine)
        assert item["ready"] == sum(run["state"] == "ready" for run in mine)
        assert item["longest_queued"] == min((run["created_at"] for run in mine), default=None)
        assert item["highest_priority"] == min((run["priority"] for run in mine), default=None)
        assert item["paused"] == (item["task"] == names[2])
    assert [item["task"] for item in items] == [names[1], names[0], names[3], names[2]]


def test_samples_are_written_at_full_intervals_and_read_back(new_bridge, task):
    """S27, S28, S30, S31: an empty moment is seen; a restart adds no double and invents none; the sums agree."""
    bridge = new_bridge({"load_sample_seconds": 1})
    api = bridge.api
    idle = until(lambda: [item for item in samples(api) if item["task"] is None], what="an idle sample")[0]
    assert (idle["pending"], idle["queued"], idle["running"], idle["total"]) == (0, 0, 0, 0)
    api.submit_run(task, 1, delay_seconds=3600)
    api.submit_run(task + ".b", 1, delay_seconds=3600)
    api.submit_run(task + ".b", 1)
    until(lambda: any(item["queued"] for item in samples(api, task=task + ".b")), what="a sample with a queued run")
    bridge.kill()
    down = time.time()
    until(lambda: time.time() > down + 2.2, what="two samples are missed")
    up = time.time()
    bridge.start()
    until(lambda: max(seconds(item["measured"]) for item in samples(api)) > up, what="a sample after the restart")

    items = samples(api)
    places = [(item["measured"], item["task"]) for item in items]
    assert len(set(places)) == len(places) and places == sorted(places, key=lambda place: (place[0], place[1] or ""))
    assert all(item["measured"].endswith(".000Z") for item in items)
    assert not [item for item in items if down + 1 < seconds(item["measured"]) < up], "none is invented"
    assert all(item["total"] == item["pending"] + item["queued"] + item["running"] for item in items)
    mine = samples(api, task=task)
    assert {item["measured"] for item in mine if item["task"] is None} == \
        {item["measured"] for item in items if item["task"] is None}, "an idle minute is one for every task key"
    summed = samples(api, group_by="time", limit=3)
    assert len({item["measured"] for item in summed}) == len(summed)
    for item in summed:
        same = [one for one in items if one["measured"] == item["measured"]]
        if same:
            assert item["total"] == sum(one["total"] for one in same)
    newest = [item for item in samples(api) if item["measured"] == items[-1]["measured"]]
    status = {item["task"]: item["count"] for item in api.items("/v1/queue/status")}
    counts = api.get("/v1/snapshot").json["counts"]
    assert {item["task"]: item["queued"] for item in newest} == status
    assert sum(item["pending"] for item in newest) == counts["scheduled"]


def test_neighbours_by_cursor_and_inclusive_bounds(new_bridge, task):
    """S29: `started` and `ended` are inclusive, pages give the neighbours of any sample; `task` is repeatable."""
    api = new_bridge({"load_sample_seconds": 1}).api
    api.submit_run(task, 1, delay_seconds=3600)
    until(lambda: len([item for item in samples(api, task=task) if item["task"]]) >= 3, what="three samples")
    times = [item["measured"] for item in samples(api, task=task)]

    between = [item["measured"] for item in samples(api, task=task, started=times[0], ended=times[2])]
    backwards = [item["measured"] for item in samples(api, task=task, ended=times[2], sort="-measured", limit=1)]

    assert between == times[:3]
    assert backwards == times[2::-1]
    other = task + ".b"
    api.submit_run(other, 1, delay_seconds=3600)
    until(lambda: [item for item in samples(api, task=other) if item["task"]], what="a sample of the second key")
    both = [item["task"] for item in samples(api, task=[other, task]) if item["measured"] > times[2]]
    assert set(both) == {task, other} and other in both, "`task` is repeatable"
    last = samples(api, task=[task, other])[-2:]
    assert [item["task"] for item in last] == sorted([task, other]), "ties go by task key"


def test_wrong_questions_are_refused(api):
    """S29, S30: more than 31 days, another grouping."""
    long = api.get("/v1/queue/load?started=2026-01-01T00:00:00Z&ended=2026-03-01T00:00:00Z")

    assert long.status == 422 and "31 days" in long.json["detail"]
    assert api.get("/v1/queue/load?group_by=task").status == 422
    assert api.get("/v1/queue/load?sort=task").status == 422
