"""Runs by time: intervals and their sums, and the times of a run over retries and replays."""

import pytest

from support.times import seconds

DAY = "2030-05-0{}T{:02}:00:00.000Z"


def history(api, expect=200, **body):
    answer = api.post("/v1/runs/history", body)
    assert answer.status == expect, answer
    return answer.json["items"] if expect == 200 else answer


def counts(items):
    return [{cell["state"]: cell["count"] for cell in item["states"]} for item in items]


def test_intervals_are_half_open_and_the_last_is_clipped(api, task):
    """P27: empty ones are present; a run has its place by `run_at`, else by its submission; counts add up to P24."""
    for day, hour in ((1, 0), (1, 9), (1, 10), (3, 0), (3, 11), (3, 12)):
        api.submit_run(task, 1, run_at=DAY.format(day, hour))
    cancelled = api.submit_run(task, 1, run_at=DAY.format(1, 5))
    api.post(f"/v1/runs/{cancelled['id']}/cancel")
    now = api.submit_run(task, 1, depends_on=[api.submit_run(task + ".first", 1, delay_seconds=3600)["id"]])

    items = history(api, start=DAY.format(1, 0), end=DAY.format(3, 12), interval_seconds=36_000, filter={"task": task})

    assert [item["start"] for item in items] == [DAY.format(1, 0), DAY.format(1, 10), DAY.format(1, 20),
                                                 DAY.format(2, 6), DAY.format(2, 16), DAY.format(3, 2)]
    assert [item["end"] for item in items] == [item["start"] for item in items[1:]] + [DAY.format(3, 12)]
    assert counts(items) == [{"scheduled": 2, "cancelled": 1}, {"scheduled": 1}, {}, {}, {"scheduled": 1},
                             {"scheduled": 1}]
    assert all(cell["sum_estimated_run_seconds"] == cell["sum_estimated_lateness_seconds"] == 0
               for item in items for cell in item["states"])
    by_submission = history(api, start=now["created_at"], end=DAY.format(1, 0), interval_seconds=1e12,
                            filter={"task": task})
    assert counts(by_submission) == [{"blocked": 1}]
    wide = history(api, start="2000-01-01T00:00:00Z", end="2099-01-01T00:00:00Z", interval_seconds=31_536_000,
                   filter={"domain": "test", "task": [task]})
    summed = {}
    for interval in counts(wide):
        for state, count in interval.items():
            summed[state] = summed.get(state, 0) + count
    counted = api.post("/v1/runs/count", {"task": task}).json["by_state"]
    assert summed == {state: count for state, count in counted.items() if count}


def test_how_long_they_ran_and_how_late_they_were(api, worker, task):
    """P27, P28: run seconds of all attempts add up; lateness is the time until the claim, or until now."""
    due = "2020-01-01T00:00:00.000Z"
    run = api.submit_run(task, 1, run_at=due, retry={"strategy": "constant", "initial_seconds": 0})
    for state in ("failed", "completed"):
        held = worker.next(task)
        worker.report(held, "running")
        worker.report(held, state)
        held.ack()
    done = api.wait_state(run["id"], "completed")
    api.post(f"/v1/tasks/{task}.paused/pause")
    waiting = api.submit_run(task + ".paused", 1, run_at=due)

    def cell(one):
        # A retry's time is its `run_at`.
        start = "2019-01-01T00:00:00Z"
        items = history(api, start=start, end="2099-01-01T00:00:00Z", interval_seconds=1e11, filter={"id": [one["id"]]})
        return items[0]["states"][0]

    attempts = api.attempts(run["id"])
    ran = sum(seconds(one["finished_at"]) - seconds(one["started_at"]) for one in attempts)
    assert len(attempts) == 2 and abs(cell(done)["sum_estimated_run_seconds"] - ran) < 0.0015
    late = cell(waiting)
    assert late["state"] == "ready" and late["sum_estimated_run_seconds"] == 0
    assert late["sum_estimated_lateness_seconds"] >= seconds(waiting["created_at"]) - seconds(due)


def test_the_times_of_a_run(api, worker, task):
    """P28: `started_at` is the first claim of a series and stays over its retries; `finished_at` comes with the end; a
    replay is a series of its own."""
    run = api.submit_run(task, 1, retry={"strategy": "constant", "initial_seconds": 0})
    assert (run["started_at"], run["finished_at"]) == (None, None)
    held = worker.next(task)
    worker.report(held, "running")
    first = api.run(run["id"])["started_at"]
    worker.report(held, "failed")
    held.ack()
    worker.work(task)
    done = api.wait_state(run["id"], "completed")

    assert first == done["started_at"] == api.attempts(run["id"])[0]["started_at"]
    assert done["finished_at"] == api.attempts(run["id"])[1]["finished_at"]
    again = api.post(f"/v1/runs/{run['id']}/retry", {"force": True, "run_at": "2099-01-01T00:00:00Z"}).json
    assert (again["state"], again["started_at"], again["finished_at"]) == ("scheduled", None, None)


@pytest.mark.parametrize("change, pointer, said", [
    ({"interval_seconds": 0.5}, "/interval_seconds", "at least 1"), ({"interval_seconds": 0}, "/interval_seconds", "1"),
    ({"interval_seconds": "1"}, "/interval_seconds", "number"), ({"end": DAY.format(1, 0)}, "/end", "not after start"),
    ({"interval_seconds": 86_400 / 501}, "/interval_seconds", "at most 500"), ({"start": None}, "/start", "missing"),
    ({"end": "2030-05-02"}, "/end", "not a time"), ({"filter": {"colour": 1}}, "/filter/colour", "colour"),
    ({"from": 1}, "/from", "no field")])
def test_a_wrong_question_names_the_limit(api, change, pointer, said):
    """P27."""
    good = {"start": DAY.format(1, 0), "end": DAY.format(2, 0), "interval_seconds": 86_400 / 500, "filter": {}}
    assert len(history(api, **good)) == 500

    refused = history(api, expect=422, **{**good, **change})

    assert refused.json["errors"][0]["pointer"] == pointer and said in refused.json["detail"], refused
