"""Runs by what an operator knows of them: state, task key, domain, dedup key; and the marks a retry and a replay leave."""

from support.api import ids
from support.waiting import until


def test_running_runs_in_order_and_how_many(new_bridge, connect, task):
    """T2, T17: by effective priority, then older first; count and snapshot agree; none is a count of 0."""
    from support.amqp import Worker
    bridge = new_bridge()
    api, worker = bridge.api, connect(Worker, bridge.amqp_url)
    assert api.count(state="running") == 0
    runs = [api.submit_run(f"{task}.{n % 2}", n, priority=priority) for n, priority in enumerate([200, 0, 128, 0])]
    for run in runs:
        worker.report(worker.next(run["task"]), "running")

    listed = api.items("/v1/runs", state="running", sort="priority")

    assert ids(listed) == [runs[n]["id"] for n in (1, 3, 2, 0)]
    assert api.count(state="running") == 4 == api.get("/v1/snapshot").json["counts"]["running"]
    parts = [ids(api.items("/v1/runs", state="running", task=f"{task}.{n}")) for n in (0, 1)]
    assert sorted(parts[0] + parts[1]) == sorted(ids(listed))


def test_a_task_key_is_exact_and_a_domain_is_its_first_part(new_bridge):
    """T4, T17: `media` takes in `media.thumbnail` and `media`, not `mediax.a`."""
    api = new_bridge().api
    runs = {key: api.submit_run(key, run_at="2099-01-01T00:00:00Z")["id"]
            for key in ("media.thumbnail", "media", "mediax.a", "media.thumbnail.big")}

    assert ids(api.items("/v1/runs", task="media.thumbnail")) == [runs["media.thumbnail"]]
    assert api.items("/v1/runs", task="thumbnail") == []
    assert set(ids(api.items("/v1/runs", domain="media"))) == set(runs.values()) - {runs["mediax.a"]}
    assert api.items("/v1/runs", domain="nothing") == []
    assert api.get("/v1/runs", task="Media!").status == 422
    assert api.get("/v1/runs", domain="a.b").status == 422


def test_every_run_that_ever_had_a_dedup_key(api, worker, task):
    """T7: newest first, at most one active, the key in clear."""
    runs = []
    for n in range(3):
        runs.append(api.submit_run(task, n, dedup_key="Käse 100 %")["id"])
        if n < 2:
            worker.work(task)
            api.wait_state(runs[-1], "completed")
    other = api.submit_run(task + ".b", 1, dedup_key="Käse 100 %")["id"]

    listed = api.items("/v1/runs", dedup_key="Käse 100 %", task=task)

    assert ids(listed) == runs[::-1]
    assert {run["dedup_key"] for run in listed} == {"Käse 100 %"}
    assert [run["state"] in ("ready", "queued", "launched") for run in listed] == [True, False, False]
    assert other in ids(api.items("/v1/runs", dedup_key="Käse 100 %"))


def test_dead_letters_of_a_domain_two_ways(new_bridge, connect, task):
    """T12, T41, T42: the newest end first, paged; the table of dead letters has the same runs."""
    from support.amqp import Worker
    bridge = new_bridge()
    api, worker = bridge.api, connect(Worker, bridge.amqp_url)
    runs = [api.submit_run(key, max_attempts=1)["id"] for key in ("shop.a", "shop.b", "other.a", "shop.a")]
    for key, retryable in (("shop.a", True), ("shop.b", False), ("other.a", True), ("shop.a", True)):
        worker.work(key, "failed", error={"type": "Boom", "message": key, "retryable": retryable})
    for run in runs:
        api.wait_state(run, "failed", "dead_lettered")

    listed = api.items("/v1/runs", domain="shop", state=["failed", "dead_lettered"], sort="-finished_at", limit=2)
    letters = api.items("/v1/dead-letters", domain="shop", limit=2)

    times = [run["finished_at"] for run in listed]
    assert set(ids(listed)) == {runs[0], runs[1], runs[3]} and times == sorted(times, reverse=True)
    assert {run["last_error"]["type"] for run in listed} == {"Boom"}
    assert {letter["run"]["id"] for letter in letters} == set(ids(listed))
    assert {letter["reason"] for letter in letters} == {"exhausted"}
    assert all(letter["fingerprint"] and letter["replays"] == 0 for letter in letters)
    assert api.count(domain="shop", state=["failed", "dead_lettered"]) == 3
    assert api.post("/v1/dead-letters/discard", {"ids": [runs[0]]}).json["changed"] == 1
    assert {letter["run"]["id"] for letter in api.items("/v1/dead-letters", domain="shop")} == {runs[1], runs[3]}
    done = api.items("/v1/dead-letters", domain="shop", resolution="discarded")
    assert [(letter["run"]["id"], letter["resolution"]) for letter in done] == [(runs[0], "discarded")]
    assert runs[0] in ids(api.items("/v1/runs", domain="shop", state="dead_lettered"))


def test_a_first_try_a_retry_and_a_replay_are_told_apart(api, worker, task):
    """P38, S9: a replay has all its attempts again, numbers go on, no message id is used twice, old reports are stale."""
    run = api.submit_run(task, 1, max_attempts=2, retry={"initial_seconds": 0.05})
    old = worker.next(task)
    worker.report(old, "failed")
    old.ack()
    second, _ = worker.work(task, "failed")
    api.wait_state(run["id"], "dead_lettered")
    assert api.run(run["id"])["attempt"] == 2

    first = api.post(f"/v1/runs/{run['id']}/retry", {"reason": "again"})
    again = api.post(f"/v1/runs/{run['id']}/retry", {})
    third, _ = worker.work(task, "failed")
    fourth = until(lambda: worker.get(f"taskbridge.run.{task}"), what="the second attempt of the replay")
    stale = worker.report(old, "completed")
    worker.report(fourth, "completed")
    fourth.ack()

    assert (first.status, again.status, again.code) == (200, 409, "active")
    assert stale["code"] == "stale_attempt"
    done = api.run(run["id"])
    assert (done["state"], done["attempt"], done["replays"]) == ("completed", 4, 1)
    messages = [held.properties.message_id for held in (old, second, third, fourth)]
    assert messages == [f"{run['id']}.{number}.1" for number in (1, 2, 3, 4)]
    assert [attempt["number"] for attempt in api.attempts(run["id"])] == [1, 2, 3, 4]
    audit = api.audit(run["id"])
    replay = next(row for row in audit if row["previous_state"] == "dead_lettered")
    assert (replay["reason"], replay["actor"]) == ("again", "local")
    assert [row["new_state"] for row in audit].count("error") == 3
    assert api.dead_letter(run["id"])["replays"] == 1
