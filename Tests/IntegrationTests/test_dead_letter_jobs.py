"""Dead letters in large: by payload, paced replays and canaries as jobs that survive a kill, export, sync of the mirror."""

import collections
import datetime
import json

from support.amqp import Worker
from support.waiting import until

BOOM = {"type": "Boom", "message": "no", "retryable": False}


def die_many(api, worker, task, payloads, **defaults):
    """Dead letters; their ids in order."""
    runs = [{"task": task, "payload": payload} for payload in payloads]
    answer = api.post("/v1/runs/batch", {"runs": runs, "defaults": defaults})
    assert answer.status == 200, answer
    fail_many(worker, task, len(runs))
    until(lambda: dead(api, task) == len(runs), 60, f"{len(runs)} dead letters of {task}")
    return [item["run"]["id"] for item in answer.json["items"]]


def fail_many(worker, task, count):
    for _ in range(count):
        delivery = worker.next(task)
        worker.tell(delivery, "failed", error=BOOM)
        delivery.ack()


def dead(api, task):
    counts = api.post("/v1/runs/count", {"task": task}).json["by_state"]
    return counts.get("failed", 0)


def mirrored(worker, task, count):
    until(lambda: (worker.message_count(f"taskbridge.dead.{task}") or 0) == count, 60, f"{count} mirror messages")


def replay(api, **body):
    answer = api.post("/v1/dead-letters/replay", body)
    assert answer.status in (200, 202), answer
    return answer.json


def job(api, job_id):
    answer = api.get(f"/v1/jobs/{job_id}")
    assert answer.status == 200, answer
    return answer.json


def ended(api, job_id, seconds=60):
    return until(lambda: job(api, job_id)["finished_at"] and job(api, job_id), seconds, f"job {job_id} should end")


def test_by_payload(api, worker, task):
    """N13: the table is filtered by what stands in the payload; looking takes nothing out of the broker."""
    ids = die_many(api, worker, task, [{"user": {"id": n % 3}, "n": n} for n in range(9)])
    mirrored(worker, task, 9)

    found = api.items("/v1/dead-letters", task=task, payload='{"user.id": 2}')
    again = api.items("/v1/dead-letters", task=task, **{"payload.user.id": 2, "payload.n": 5})

    assert {item["run"]["id"] for item in found} == {ids[2], ids[5], ids[8]}
    assert [item["run"]["id"] for item in again] == [ids[5]]
    assert api.get("/v1/dead-letters", payload='{"a..b": 1}').status == 422
    assert worker.message_count(f"taskbridge.dead.{task}") == 9


def test_a_dry_run_shows_the_patch(api, worker, task):
    """N15, N16: numbers and sample beforehand; the real call takes exactly those; the first payload stays readable."""
    ids = die_many(api, worker, task, [{"url": "http://old", "n": n} for n in range(3)])
    chosen = {"filter": {"task": task}, "patch": {"url": "http://new", "n": None}}

    dry = replay(api, **chosen, dry_run=True)
    later = die_many_more(api, worker, task)
    real = replay(api, **chosen, as_of=dry["as_of"])

    assert (dry["eligible"], dry["conflicts"], dry["not_eligible"], dry["changed"]) == (3, 0, 0, 3)
    assert dry["sample"] == {"id": ids[0], "payload_before": {"url": "http://old", "n": 0},
                             "payload": {"url": "http://new"}}
    assert real["ids"] == ids
    assert api.run(later)["state"] == "failed"
    again, _ = worker.work(task)
    assert (again.run_id, json.loads(again.body)) == (ids[0], {"url": "http://new"})
    history = api.items(f"/v1/runs/{ids[0]}/payloads")
    assert [item["payload"] for item in history] == [{"url": "http://old", "n": 0}]
    worker.work(task)
    worker.work(task)


def die_many_more(api, worker, task):
    run = api.submit_run(task, {"url": "later"})
    worker.work(task, "failed", error=BOOM)
    api.wait_state(run["id"], "failed")
    return run["id"]


def test_a_canary_that_dies_stops_the_job(api, worker, task):
    """N17: five first; one dies again: the job says which, and the rest is untouched."""
    ids = die_many(api, worker, task, range(12))

    job_id = replay(api, filter={"task": task}, canary=5, canary_wait_seconds=60)["job_id"]
    first = worker.next(task)
    worker.report(first, "failed", error=BOOM)
    first.ack()
    view = ended(api, job_id)

    assert (view["state"], view["changed"]) == ("stopped", 5)
    assert (view["error"]["code"], view["error"]["run_id"]) == ("canary_died", first.run_id)
    assert sorted(view["canary"]) == sorted(ids[:5])
    assert [api.run(run)["replays"] for run in ids] == [1] * 5 + [0] * 7
    for _ in range(4):
        worker.work(task)


def test_a_canary_that_lives_lets_the_job_go_on(bridge, api, worker, task):
    """N17, from the command line: all of the canary end well, the rest follows."""
    ids = die_many(api, worker, task, range(8))

    started = bridge.cli("dead-letters", "replay", "--task", task, "--canary", "2", "--canary-wait", "60s",
                         "--output", "json")
    job_id = json.loads(started.stdout)["job_id"]
    until(lambda: job(api, job_id)["state"] == "waiting", what="the canary is out")
    assert sum(api.run(run)["replays"] for run in ids) == 2
    for _ in range(8):
        worker.work(task)

    shown = bridge.cli("jobs", "show", job_id, "--wait", "--output", "json")
    assert (shown.returncode, json.loads(shown.stdout)["changed"]) == (0, 8)
    assert json.loads(bridge.cli("jobs", "--output", "json", "--kind", "replay").stdout)["items"]
    assert bridge.cli("jobs", "cancel", job_id).returncode == 4


def test_a_job_is_cancelled(bridge, api, worker, task):
    """N18: what was replayed stays so, the rest is untouched."""
    ids = die_many(api, worker, task, range(30))
    job_id = replay(api, filter={"task": task}, rate_per_second=5)["job_id"]
    until(lambda: job(api, job_id)["changed"] > 0, what="the first are replayed")

    assert bridge.cli("jobs", "cancel", job_id).returncode == 0
    view = job(api, job_id)

    assert (view["state"], 0 < view["changed"] < 30) == ("cancelled", True)
    replays = [api.run(run)["replays"] for run in ids]
    assert sum(replays) == view["changed"] and replays == sorted(replays, reverse=True)
    for _ in range(view["changed"]):
        worker.work(task)


def test_a_killed_bridge_replays_nothing_twice(new_bridge, connect):
    """N18, S10: kill -9 in the middle of a job, again and again; a worker counts what it gets."""
    bridge = new_bridge()
    api, worker = bridge.api, connect(Worker, bridge.amqp_url)
    task, count, kills = "jobs.kill", 300, 3
    ids = die_many(api, worker, task, range(count))
    worker.close()

    job_id = replay(api, filter={"task": task}, rate_per_second=400)["job_id"]
    for kill in range(1, kills + 1):
        until(lambda: job(api, job_id)["changed"] >= kill * count // (kills + 2), what="some progress")
        bridge.restart()
    view = ended(api, job_id)

    assert (view["state"], view["changed"], view["skipped"]) == ("completed", count, 0)
    worker = connect(Worker, bridge.amqp_url)
    seen = collections.Counter()
    while sum(seen.values()) < count:
        delivery = worker.next(task)
        assert delivery.attempt == 2
        if worker.report(delivery, "completed")["code"] == "applied":
            seen[delivery.run_id] += 1
        delivery.ack()
    assert seen == {run: 1 for run in ids}
    assert all(run["replays"] == 1 for run in api.items("/v1/runs", task=task, limit=1000))
    assert api.counts() == {"completed": count}
    mirrored(worker, task, 0)


def test_a_rate_takes_its_time(api, worker, task):
    """N18: 30 at 20 a second are not done within a second, by the job's own times."""
    die_many(api, worker, task, range(30))

    job_id = replay(api, filter={"task": task}, rate_per_second=20)["job_id"]
    view = ended(api, job_id)

    assert view["changed"] == 30
    begun, finished = (datetime.datetime.fromisoformat(view[name][:23]) for name in ("started_at", "finished_at"))
    assert (finished - begun).total_seconds() > 1
    for _ in range(30):
        worker.work(task)


def test_an_export_is_submitted_again(bridge, api, worker, task, tmp_path):
    """N19: payload and error on each line; `submit --lines` reads them back as new runs; discard takes the same filters."""
    die_many(api, worker, task, [{"n": n, "text": "zwei\nZeilen"} for n in range(3)], tags={"k": "v"}, priority=3)
    path = tmp_path / "dead.ndjson"

    dry = bridge.cli("dead-letters", "export", "--task", task, "--dry-run", "--output", "json")
    done = bridge.cli("dead-letters", "export", "--task", task, "--payload", "n=1", "-o", str(path))
    piped = bridge.cli("dead-letters", "export", "--task", task)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    submitted = bridge.cli("submit", "--lines", str(path), "--output", "json")

    assert json.loads(dry.stdout)["matched"] == 3
    assert done.returncode == 0, done
    assert len(piped.stdout.splitlines()) == 3
    assert [line["payload"]["n"] for line in lines] == [1]
    assert (lines[0]["dead_letter"]["error"]["type"], lines[0]["dead_letter"]["reason"]) == ("Boom", "permanent")
    assert json.loads(submitted.stdout) == {"submitted": 1, "outcomes": {"inserted": 1}}, submitted
    delivery, _ = worker.work(task)
    assert json.loads(delivery.body) == {"n": 1, "text": "zwei\nZeilen"}
    new = api.run(delivery.run_id)
    assert (new["tags"], new["priority"], new["attempt"]) == ({"k": "v"}, 3, 1)
    discarded = bridge.cli("dead-letters", "discard", "--task", task, "--payload", "n=0", "--output", "json")
    assert json.loads(discarded.stdout)["changed"] == 1
    mirrored(worker, task, 2)
    assert bridge.cli("dead-letters", "export", "--filter", '{"odd":"1"}').returncode == 1


def test_sync_mends_a_thousand_differences(bridge, api, worker, task):
    """N20, I10: 500 messages taken away and 500 planted; one call brings the mirror back in line."""
    die_many(api, worker, task, range(600))
    mirrored(worker, task, 600)
    queue = f"taskbridge.dead.{task}"
    kept = []
    for _ in range(500):
        letter = worker.take(queue)
        kept.append(letter)
        letter.ack()
    for number in range(500):
        headers = kept[0].properties.headers if number % 2 else {"tb-run-id": "not one of ours"}
        worker.publish("", queue, b"planted", headers=headers)
    mirrored(worker, task, 600)

    done = bridge.cli("dead-letters", "sync", "--output", "json")
    report = next(item for item in json.loads(done.stdout)["items"] if item["task"] == task)

    assert (report["table"], report["queue"], report["removed"], report["added"]) == (600, 600, 500, 500)
    mirrored(worker, task, 600)
    again = json.loads(bridge.cli("dead-letters", "sync", "--output", "json").stdout)["items"]
    assert [(item["removed"], item["added"]) for item in again if item["task"] == task] == [(0, 0)]
    doctor = bridge.cli("doctor", *bridge.settings)
    assert f"{task}: 600 in the table, 600 in {queue}" in doctor.stdout, doctor.stdout
    api.post("/v1/dead-letters/discard", {"filter": {"task": task}})
    mirrored(worker, task, 0)


def test_sync_without_a_broker_says_so(new_bridge):
    """N20: nothing is compared while the broker is away."""
    bridge = new_bridge(amqp_url="amqp://guest:guest@127.0.0.1:1/", start=False, check=False)
    bridge.start(wait_ready=False)
    answer = bridge.api.post("/v1/dead-letters/sync", {})
    assert (answer.status, answer.code) == (503, "broker_unreachable")
    assert bridge.cli("dead-letters", "sync").returncode == 5
