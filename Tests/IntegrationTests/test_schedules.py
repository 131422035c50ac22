"""Schedules as users meet them: HTTP, the command line and the messages that workers get (T46, T80 to T83, N33 to N36,
S14). The firing rules themselves are tested against the store, where time is a parameter."""

import collections
import datetime
import json
import os
import socket
import subprocess
import uuid

import pytest

from support import ROOT
from support.amqp import Worker
from support.bridge import BINARY, Bridge, cli, data, environment
from support.times import moment
from support.waiting import until


@pytest.fixture
def name():
    """The name of a schedule that no other test uses."""
    return "test-" + uuid.uuid4().hex[:10]


def add(api, name, task, **fields):
    answer = api.post("/v1/schedules", {"name": name, "task": task, **fields})
    assert answer.status == 201, answer
    return answer.json


def shown(api, name):
    answer = api.get(f"/v1/schedules/{name}")
    assert answer.status == 200, answer
    return answer.json


def runs(api, task, **query):
    """The runs of a task key in the order of their nominal times."""
    found = api.items("/v1/runs", task=task, limit=1000, **query)
    return sorted(found, key=lambda run: (run["nominal_at"] or "", run["id"]))


def until_runs(api, task, count, seconds=20):
    return until(lambda: (found := runs(api, task)) and len(found) >= count and found, seconds,
                 f"{count} runs of {task}")


def test_a_worker_gets_the_runs_of_a_schedule(bridge, api, worker, task, name):
    """S14, T80: each run comes as a message with the payload untouched, at its time, and names its schedule."""
    answer = api.call("POST", "/v1/schedules", body=json.dumps(
        {"name": name, "task": task, "every_seconds": 0.5, "max_runs": 2, "tags": {"env": "test"}}
    )[:-1] + ', "payload": { "n" : 1.50 }}')
    assert answer.status == 201, answer

    first, _ = worker.work(task)
    second, _ = worker.work(task)

    assert first.body == second.body == b'{ "n" : 1.50 }'
    found = until_runs(api, task, 2)
    assert [run["id"] for run in found] == [first.run_id, second.run_id]
    created = moment(answer.json["created_at"])
    half = datetime.timedelta(seconds=0.5)
    assert [moment(run["nominal_at"]) for run in found] == [created + half, created + 2 * half]
    for run in found:
        assert run["schedule"] == name and run["run_at"] == run["nominal_at"] and run["tags"] == {"env": "test"}
        assert moment(run["created_at"]) >= moment(run["nominal_at"]), "never early"
        assert api.audit(run["id"])[0]["actor"] == f"schedule:{name}"
    state = until(lambda: (view := shown(api, name))["last_run"]["state"] == "completed" and view, what="completed")
    assert (state["ended"], state["runs_left"], state["next_at"]) == (True, 0, None)
    assert state["last_run"]["id"] == second.run_id
    assert [time["run_id"] for time in state["recent"]] == [second.run_id, first.run_id]


def test_the_real_fires_equal_the_forecast(bridge, api, task, name):
    """N34: what `next` told is what ran, neither more nor less, each once."""
    add(api, name, task, cron="*/1 * * * * *", timezone="Asia/Kathmandu")
    told = api.get(f"/v1/schedules/{name}/next", count=4).json["items"]

    until(lambda: (shown(api, name)["last_at"] or "") >= told[-1]["at"], 20, "four fires")

    fired = [run["nominal_at"] for run in runs(api, task)]
    start = fired.index(told[0]["at"])
    assert fired[start:start + 4] == [item["at"] for item in told]
    assert all(item["local"].endswith("+05:45") and item["note"] is None for item in told)
    assert api.call("DELETE", f"/v1/schedules/{name}").status == 204


def test_pause_resume_delete(bridge, api, task, name):
    """T81: paused: no new run; resumed: the next nominal time, missed ones by catch_up; deleted: existing runs stay."""
    add(api, name, task, every_seconds=0.2, catch_up="latest")
    until_runs(api, task, 2)

    paused = api.post(f"/v1/schedules/{name}/pause", {"reason": "look"}).json
    assert (paused["paused"], paused["next_at"], paused["pause_reason"]) == (True, None, "look")
    made = len(runs(api, task))
    # The clock of the bridge is seen to go on over at least three nominal times.
    until(lambda: moment(api.get("/v1/snapshot").json["at"]) - moment(paused["paused_since"])
          > datetime.timedelta(seconds=0.8), what="a while")
    assert len(runs(api, task)) == made
    resumed = api.post(f"/v1/schedules/{name}/resume").json

    view = shown(api, name)
    missed = [time for time in view["recent"] if time["reason"] == "missed"]
    caught = [time for time in view["recent"] if time["run_id"] and time["nominal_at"] > missed[0]["last_nominal_at"]]
    assert resumed["paused"] is False
    assert len(missed) == 1 and missed[0]["count"] >= 2
    step = datetime.timedelta(seconds=0.2)
    assert moment(caught[-1]["nominal_at"]) - moment(missed[0]["last_nominal_at"]) == step, "the newest missed one ran"
    until_runs(api, task, made + 3)
    assert api.call("DELETE", f"/v1/schedules/{name}").status == 204
    left = runs(api, task)
    assert api.get(f"/v1/schedules/{name}").status == 404
    assert api.post(f"/v1/schedules/{name}/resume").status == 404
    assert runs(api, task) == left and len(left) >= made + 3
    times = [moment(run["nominal_at"]) for run in left]
    assert len(set(times)) == len(times)


def test_no_pile_up(bridge, api, worker, task, name):
    """T83: with overlap skip a time is passed over while the last run is active, and recorded."""
    add(api, name, task, every_seconds=0.1, overlap="skip")
    held = worker.next(task)
    assert worker.report(held, "running")["code"] == "applied"

    view = until(lambda: len((view := shown(api, name))["recent"]) >= 4 and view, what="times passed over")

    assert len(runs(api, task)) == 1
    assert {time["reason"] for time in view["recent"][:-1]} == {"overlap"}
    assert view["recent"][-1]["run_id"] == held.run_id
    worker.report(held, "completed")
    held.ack()
    until_runs(api, task, 2)
    assert api.call("DELETE", f"/v1/schedules/{name}").status == 204


def test_a_fixed_delay_counts_from_the_end(bridge, api, worker, task, name):
    """T82: the next run comes one interval after the end of the one before, and a failed one ends nothing."""
    add(api, name, task, every_seconds=0.3, mode="fixed_delay")
    first, verdict = worker.work(task, "failed", error={"type": "x", "message": "no", "retryable": False})
    assert verdict["run_state"] == "failed"
    second, _ = worker.work(task)

    ended = moment(api.run(first.run_id)["finished_at"])
    assert moment(api.run(second.run_id)["nominal_at"]) == ended + datetime.timedelta(seconds=0.3)
    assert api.call("DELETE", f"/v1/schedules/{name}").status == 204


def test_a_thousand_fires_keep_the_grid(bridge, api, task, name):
    """T82: a fixed rate does not drift: the last of 1,000 nominal times is exact to the millisecond, each ran once."""
    created = moment(add(api, name, task, every_seconds=0.002, max_runs=1000)["created_at"])

    view = until(lambda: (view := shown(api, name))["ended"] and view, what="1,000 fires")

    assert moment(view["last_at"]) == created + datetime.timedelta(seconds=2)
    assert (view["runs_made"], view["runs_left"]) == (1000, 0)
    fired = [moment(run["nominal_at"]) for run in runs(api, task)]
    assert fired == [created + number * datetime.timedelta(milliseconds=2) for number in range(1, 1001)]
    api.call("DELETE", f"/v1/schedules/{name}")


def test_the_snapshot_knows_schedules(bridge, api, task, name):
    """T46, T1: what is due next, and which are paused."""
    add(api, name, task, cron="@yearly")
    domain = task.split(".")[0]
    other = add(api, name + "-paused", task, cron="@yearly")["name"]
    api.post(f"/v1/schedules/{other}/pause")

    snapshot = api.get("/v1/snapshot", domain=domain).json
    own = {item["name"]: item for item in snapshot["schedules"] if item["name"].startswith(name)}
    scheduled = api.items("/v1/runs", state="scheduled", domain=domain, sort="run_at")

    assert own[name]["paused"] is False and own[other]["paused"] is True
    due = [item["next_at"] for item in snapshot["schedules"] if item["next_at"]] + [run["run_at"] for run in scheduled]
    assert snapshot["next_run_at"] == min(due)
    soon = api.submit_run(task, delay_seconds=3600)
    assert api.get("/v1/snapshot", domain=domain).json["next_run_at"] <= soon["run_at"]
    api.submit_run(task, delay_seconds=60)
    listed = data(bridge.cli("runs", "--state", "scheduled", "--sort", "run_at", "--task", task, "--output", "json"))
    due = [run["run_at"] for run in listed["items"]]
    assert len(due) == 2 and due == sorted(due) and due[1] == soon["run_at"]
    assert listed["items"] == api.items("/v1/runs", state="scheduled", sort="run_at", task=task)
    for schedule in (name, other):
        assert api.call("DELETE", f"/v1/schedules/{schedule}").status == 204


# The command line.

def test_the_commands_of_the_documentation(bridge):
    """Each command of docs/schedules.md, in order; where its output is shown, that is what comes."""
    with open(os.path.join(ROOT, "docs", "schedules.md")) as file:
        blocks = [block for number, block in enumerate(file.read().split("```")) if number % 2 == 1]
    path = os.path.dirname(BINARY) + os.pathsep + os.environ["PATH"]
    ran = 0
    for block in blocks:
        for part in ("\n" + block.strip("\n")).split("\n$ ")[1:]:
            command, _, output = part.partition("\n")
            done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60,
                                  env=environment(PATH=path, TASKBRIDGE_URL=bridge.url))
            ran += 1
            if output:
                assert done.stdout + done.stderr == output.rstrip("\n") + "\n", command
            else:
                assert done.returncode == 0, (command, done.stderr)
    assert ran > 15


def test_every_verb_of_the_command_line(bridge, api, task, name, tmp_path):
    """T80, T81, N34 through `taskbridge schedules`."""
    payload = tmp_path / "payload.json"
    payload.write_text('{"from":"file"}')
    made = data(bridge.cli(
        "schedules", "add", name, task, f"@{payload}", "--cron", "30 2 * * *", "--timezone", "Europe/Berlin",
        "--max-runs", "5", "--overlap", "skip", "--tag", "a=b", "--field", "max_attempts=2",
        "--field", 'retry={"strategy":"constant"}', "--output", "json"))
    assert (made["name"], made["overlap"], made["max_attempts"]) == (name, "skip", 2)
    assert shown(api, name)["payload"] == {"from": "file"}

    listed = data(bridge.cli("schedules", "list", "--limit", "1000", "--output", "json"))["items"]
    assert name in [item["name"] for item in listed]
    line = next(line for line in bridge.cli("schedules", "list").stdout.splitlines() if line.startswith(name))
    assert "30 2 * * *" in line and "Europe/Berlin" in line and "active" in line

    told = data(bridge.cli("schedules", "next", name, "--after", "2027-03-27T12:00:00Z", "--count", "1",
                           "--output", "json"))["items"]
    tried = data(cli("schedules", "test", "30 2 * * *", "--timezone", "Europe/Berlin", "--after",
                     "2027-03-27T12:00:00Z", "--count", "1", "--output", "json"))["items"]
    assert told == tried and "does not exist, runs after" in told[0]["note"]

    assert data(bridge.cli("schedules", "pause", name, "--reason", "r", "--output", "json"))["paused"] is True
    run = data(bridge.cli("schedules", "run-now", name, "--output", "json"))["run"]
    assert (run["schedule"], run["nominal_at"]) == (name, None)
    assert data(bridge.cli("schedules", "resume", name, "--output", "json"))["paused"] is False
    changed = data(bridge.cli("schedules", "set", name, "cron=0 4 * * *", "max_runs=null", "--output", "json"))
    assert (changed["cron"], changed["max_runs"]) == ("0 4 * * *", None)
    assert run["id"] in bridge.cli("schedules", "show", name).stdout
    assert data(bridge.cli("schedules", "show", name, "--output", "json"))["last_run"]["id"] == run["id"]

    done = bridge.cli("schedules", "remove", name)
    assert (done.returncode, done.stdout) == (0, "") and name in done.stderr
    gone = bridge.cli("schedules", "show", name, "--output", "json")
    assert gone.returncode == 3 and json.loads(gone.stdout)["code"] == "schedule_not_found"
    assert bridge.cli("schedules", "remove", name).returncode == 3


def test_mistakes_on_the_command_line(bridge, api, task, name):
    """N33: the exit status of the contract, and the nearest names."""
    add(api, name, task, cron="@yearly")
    assert bridge.cli("schedules", "add", name, task, "--cron", "@daily").returncode == 4
    typo = bridge.cli("schedules", "next", name + "x")
    assert typo.returncode == 3 and f"did you mean {name}?" in typo.stderr
    zone = bridge.cli("schedules", "add", "z", task, "--cron", "@daily", "--timezone", "Europe/Berln")
    assert zone.returncode == 1 and "did you mean Europe/Berlin?" in zone.stderr
    assert bridge.cli("schedules", "add", "z", task).returncode == 64
    assert bridge.cli("schedules", "add", "z", task, "--cron", "@daily", "--every", "5s").returncode == 64
    assert cli("schedules", "list", url="http://127.0.0.1:1").returncode == 5
    assert bridge.cli("schedules", "remove", name).returncode == 0


# Restarts.

def test_one_run_for_each_time_whenever_it_is_killed(new_bridge, task):
    """N36, I14: kill -9 while schedules fire, again and again: no nominal time runs twice, and with catch_up all none is
    left out."""
    bridge = new_bridge()
    for number in range(5):
        add(bridge.api, f"s{number}", task, every_seconds=0.1, catch_up="all", catch_up_limit=1000)
    for _ in range(4):
        before = len(runs(bridge.api, task))
        until_runs(bridge.api, task, before + 15)
        bridge.restart()
    for number in range(5):
        bridge.api.post(f"/v1/schedules/s{number}/pause")

    found = runs(bridge.api, task)
    times = collections.defaultdict(list)
    for run in found:
        times[run["schedule"]].append(moment(run["nominal_at"]))
    assert len(times) == 5
    for schedule, fired in times.items():
        assert len(set(fired)) == len(fired), f"{schedule} ran twice at one time"
        steps = {later - earlier for earlier, later in zip(fired, fired[1:])}
        assert steps == {datetime.timedelta(seconds=0.1)}, f"{schedule}: {steps}"


def test_a_second_bridge_on_one_store_fires_nothing(new_bridge, connect, task, tmp_path):
    """N36: the second bridge ends; the first one goes on, and its worker gets each time once."""
    first = new_bridge()
    add(first.api, "s", task, every_seconds=0.1, catch_up="all")
    until_runs(first.api, task, 3)
    second = Bridge(tmp_path / "second", first.amqp_url)
    second.data = first.data

    done = subprocess.run(second.command(), capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)

    assert done.returncode == 5 and str(first.process.pid) in done.stderr and socket.gethostname() in done.stderr
    until_runs(first.api, task, len(runs(first.api, task)) + 2)
    assert first.api.call("DELETE", "/v1/schedules/s").status == 204
    fired = runs(first.api, task)
    worker = connect(Worker, first.amqp_url)
    taken = [worker.work(task)[0].run_id for _ in fired]
    assert sorted(taken) == sorted(run["id"] for run in fired)
    assert len({run["nominal_at"] for run in fired}) == len(fired)


def test_missed_while_down(new_bridge, task):
    """N35: skip makes none of the times missed while the bridge was down, latest one, all of them all; each skipped one
    is recorded with its reason."""
    bridge = new_bridge()
    names = ("skip", "latest", "all")
    step = datetime.timedelta(seconds=0.2)
    for name in names:
        add(bridge.api, name, task, every_seconds=0.2, catch_up=name, starts_at="2026-01-01T00:00:00Z")
    until_runs(bridge.api, task, 6)
    last = max(moment(run["nominal_at"]) for run in runs(bridge.api, task))
    bridge.kill()
    until(lambda: datetime.datetime.now(datetime.timezone.utc) > last + 7 * step, what="six more times have passed")
    bridge.start()
    ready = bridge.api.get("/v1/snapshot").json["at"]

    # Each fires on time again, and is held before its record of the missed times scrolls out of view.
    recent = {}
    for name in names:
        until(lambda: (shown(bridge.api, name)["last_at"] or "") > ready, what=f"{name} fires again")
        bridge.api.post(f"/v1/schedules/{name}/pause")
        recent[name] = list(reversed(shown(bridge.api, name)["recent"]))
    for name in names:
        # Every time is accounted for, run or not.
        for earlier, later in zip(recent[name], recent[name][1:]):
            assert moment(later["nominal_at"]) - moment(earlier["last_nominal_at"]) == step, (name, earlier, later)
    missed = {name: [time for time in recent[name] if time["reason"]] for name in names}
    assert missed["all"] == []
    [skip], [latest] = missed["skip"], missed["latest"]
    assert skip["reason"] == latest["reason"] == "missed" and skip["run_id"] is latest["run_id"] is None
    assert skip["count"] == latest["count"] + 1 >= 6
    assert moment(skip["last_nominal_at"]) - moment(latest["last_nominal_at"]) == step, "latest ran the newest one"


def test_a_machine_without_time_zones_is_refused(tmp_path):
    """N33: missing zone data stops the start with what to do."""
    done = cli("serve", "--data", str(tmp_path / "data"), "--amqp", "amqp://127.0.0.1:1", "--http", "127.0.0.1:0",
               env={"TZDIR": str(tmp_path / "none")})
    assert done.returncode == 1
    assert "time zone data" in done.stderr and "tzdata" in done.stderr
