"""Load samples (features S27, S29) as an operator reads them."""

from support.waiting import until


def test_samples_are_written_at_full_intervals_and_read_back(new_bridge, task):
    bridge = new_bridge({"load_sample_seconds": 10})
    api = bridge.api
    api.submit_run(task, 1, delay_seconds=3600)

    items = until(lambda: [item for item in api.get(f"/v1/queue/load?task={task}").json["items"]
                           if item["task"] == task], 25, "a sample is written")

    assert items[0] == {"measured": items[0]["measured"], "task": task, "pending": 1, "queued": 0, "running": 0,
                        "total": 1}
    assert items[0]["measured"][-6:] == "0.000Z"
    summed = api.get("/v1/queue/load?group_by=time&sort=-measured&limit=1").json["items"][0]
    assert summed["task"] is None and summed["total"] >= 1


def test_a_period_of_more_than_31_days_is_refused(api):
    answer = api.get("/v1/queue/load?started=2026-01-01T00:00:00Z&ended=2026-03-01T00:00:00Z")

    assert answer.status == 422
    assert "31 days" in answer.json["detail"]
