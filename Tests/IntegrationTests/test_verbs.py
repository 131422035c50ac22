"""Every verb of the command line with `--output json` against a running bridge: what it reads is what HTTP answers, what it
changes is seen over HTTP."""

import json
import re
import subprocess

import pytest

from support.bridge import BINARY, data, environment
from support.waiting import until

# They need no bridge, or are one, or go on until they are ended; they have tests of their own.
ELSEWHERE = {"serve", "dev", "work", "doctor", "healthcheck", "config check", "config show", "schedules test",
             "restore"}
CHANGING = {}


def changing(verb):
    return lambda function: CHANGING.setdefault(verb, function)


class Ground:
    """What the verbs work on: nothing in it moves by itself."""

    def __init__(self, bridge, api, worker, task):
        self.bridge, self.api, self.worker, self.task = bridge, api, worker, task
        self.name = task.split(".")[1]

    def run(self, *arguments):
        return data(self.bridge.cli(*arguments, "--output", "json"))

    def submit(self, **fields):
        """A run far in the future."""
        return self.api.submit_run(self.task, {"n": 1}, delay_seconds=86_400, **fields)["id"]

    def die(self):
        run = self.api.submit_run(self.task, {"n": 1})["id"]
        self.worker.work(self.task, "failed", error={"type": "T", "message": "no", "retryable": False})
        self.api.wait_state(run, "failed")
        return run

    def schedule(self):
        answer = self.api.post("/v1/schedules", {"name": self.name, "task": self.task, "cron": "0 4 1 1 *"})
        assert answer.status == 201, answer
        return self.name

    def group(self):
        self.run("groups", "set", self.name, "weight=2")
        return self.name

    def nonsense(self):
        """A message that is set aside, once it is."""
        self.worker.publish("taskbridge.submit", self.task, b"1", headers={"tb-priority": "first"})
        until(lambda: self.api.items("/v1/quarantine"), 20, "the message should be set aside")

    def job(self):
        """An ended one: more runs than are changed in one call."""
        items = [{"task": self.task, "payload": n, "delay_seconds": 86_400} for n in range(1_001)]
        assert self.api.post("/v1/runs/batch", {"runs": items}).status == 200
        answer = self.api.post("/v1/runs/cancel", {"filter": {"task": [self.task]}})
        assert answer.status == 202, answer
        self.run("jobs", "show", answer.json["job_id"], "--wait")
        return answer.json["job_id"]

    def state(self, run):
        return self.api.run(run)["state"]


@pytest.fixture
def ground(bridge, api, worker, task):
    return Ground(bridge, api, worker, task)


# What is made first, the arguments, and where HTTP has the same.
READING = {
    "runs": (Ground.submit, "--task {task}", "/v1/runs?task={task}"),
    "show": (Ground.submit, "{made}", "/v1/runs/{made}"),
    "explain": (Ground.submit, "{made}", "/v1/runs/{made}/explain"),
    "audit": (Ground.submit, "{made}", "/v1/runs/{made}/audit"),
    "schedules list": (Ground.schedule, "", "/v1/schedules"),
    "schedules show": (Ground.schedule, "{made}", "/v1/schedules/{made}"),
    "schedules next": (Ground.schedule, "{made} --count 3", "/v1/schedules/{made}/next?count=3"),
    "tasks list": (Ground.submit, "", "/v1/tasks"),
    "tasks show": (Ground.submit, "{task}", "/v1/tasks/{task}"),
    "groups list": (Ground.group, "", "/v1/groups"),
    "jobs list": (Ground.job, "", "/v1/jobs"),
    "jobs show": (Ground.job, "{made}", "/v1/jobs/{made}"),
    "dead-letters list": (Ground.die, "--task {task}", "/v1/dead-letters?task={task}"),
    "dead-letters groups": (Ground.die, "--task {task}", "/v1/dead-letters/groups?task={task}"),
    "dead-letters show": (Ground.die, "{made}", "/v1/dead-letters/{made}"),
    "quarantine list": (Ground.nonsense, "", "/v1/quarantine"),
}


def still(value):
    """Without what goes on changing: the time of an explanation, and workers, which are counted from time to time."""
    if isinstance(value, list):
        return [still(item) for item in value]
    if isinstance(value, dict):
        return {key: still(item) for key, item in value.items() if key not in ("consumers", "at")}
    return value


@pytest.mark.parametrize("verb", sorted(READING))
def test_a_verb_that_reads_prints_what_http_answers(ground, verb):
    make, arguments, path = READING[verb]
    names = {"made": make(ground), "task": ground.task}

    answer = ground.api.get(path.format(**names))

    assert answer.status == 200, answer
    assert answer.json.get("items") != []
    assert still(ground.run(*verb.split(), *arguments.format(**names).split())) == still(answer.json)


def test_status_prints_the_snapshot(ground):
    """T1."""
    ground.submit()
    domain = ground.task.split(".")[0]

    printed, answer = ground.run("status", "--domain", domain), ground.api.get("/v1/snapshot", domain=domain).json

    assert printed.keys() == answer.keys()
    assert printed["counts"] == answer["counts"]


# Changing: each does it and looks.

@changing("submit")
def submit(g):
    assert g.state(g.run("submit", g.task, "1", "--delay", "1h")["run"]["id"]) == "scheduled"


@changing("cancel")
def cancel(g):
    runs = [g.submit(), g.submit(), g.submit()]
    assert g.run("cancel", runs[0])["state"] == "cancelled"
    assert g.run("cancel", "--task", g.task, "--state", "scheduled", "--dry-run")["matched"] == 2
    assert sorted(g.run("cancel", "--task", g.task, "--state", "scheduled")["ids"]) == sorted(runs[1:])
    assert {g.state(run) for run in runs} == {"cancelled"}


@changing("retry")
def retry(g):
    runs = [g.submit(), g.submit()]
    g.run("cancel", "--task", g.task)
    assert g.run("retry", runs[0], "--at", "2099-01-01T00:00:00Z")["state"] == "scheduled"
    answer = g.run("retry", "--task", g.task, "--at", "2099-01-01T00:00:00Z")
    assert (answer["changed"], [skipped["id"] for skipped in answer["skipped"]]) == (1, [runs[0]])
    assert {g.state(run) for run in runs} == {"scheduled"}


@changing("pause")
def pause(g):
    run, other = g.submit(), g.submit(group=g.name)
    assert g.run("pause", run)["state"] == "paused"
    assert g.run("pause", "--runs", "--group", g.name)["ids"] == [other]
    g.run("pause", "--task", g.task, "--until", "2099-01-01T00:00:00Z")
    g.run("pause", "--group", g.name)
    assert g.api.get(f"/v1/tasks/{g.task}").json["paused"]
    assert [group["paused"] for group in g.api.items("/v1/groups") if group["name"] == g.name] == [True]


@changing("resume")
def resume(g):
    run, other = g.submit(), g.submit(group=g.name)
    for arguments in [[run], ["--runs", "--group", g.name], ["--task", g.task], ["--group", g.name]]:
        g.run("pause", *arguments)
    for arguments in [["--task", g.task], ["--group", g.name], [run], ["--runs", "--group", g.name]]:
        g.run("resume", *arguments)
    assert (g.state(run), g.state(other)) == ("scheduled", "scheduled")
    assert not g.api.get(f"/v1/tasks/{g.task}").json["paused"]


@changing("prune")
def prune(g):
    run = g.submit()
    g.run("cancel", run)
    assert g.run("prune", "--keep-last", "0", "--task", g.task, "--dry-run")["deleted"] == 1
    assert g.run("prune", "--keep-last", "0", "--task", g.task)["deleted"] == 1
    assert g.api.get(f"/v1/runs/{run}").status == 404


@changing("tasks set")
def tasks_set(g):
    g.submit()
    g.run("tasks", "set", g.task, "concurrency_limit=3", "order=lifo", 'aging={"ceiling":10}')
    settings = g.api.get(f"/v1/tasks/{g.task}").json["settings"]
    assert (settings["concurrency_limit"], settings["order"], settings["aging"]["ceiling"]) == (3, "lifo", 10)


@changing("groups set")
def groups_set(g):
    assert g.run("groups", "set", g.name, "weight=3", "concurrency_limit=2")["settings"]["weight"] == 3
    found = [group for group in g.api.items("/v1/groups") if group["name"] == g.name]
    assert [(group["settings"]["weight"], group["settings"]["concurrency_limit"]) for group in found] == [(3, 2)]


@changing("schedules add")
def schedules_add(g):
    g.run("schedules", "add", g.name, g.task, '{"n":1}', "--every", "1d")
    shown = g.api.get(f"/v1/schedules/{g.name}").json
    assert (shown["every_seconds"], shown["payload"]) == (86_400, {"n": 1})


@changing("schedules set")
def schedules_set(g):
    assert g.run("schedules", "set", g.schedule(), "cron=0 5 1 1 *")["cron"] == "0 5 1 1 *"
    assert g.api.get(f"/v1/schedules/{g.name}").json["cron"] == "0 5 1 1 *"


@changing("schedules pause")
def schedules_pause(g):
    g.run("schedules", "pause", g.schedule(), "--reason", "r")
    assert g.api.get(f"/v1/schedules/{g.name}").json["paused"]


@changing("schedules resume")
def schedules_resume(g):
    g.run("schedules", "pause", g.schedule())
    g.run("schedules", "resume", g.name)
    assert not g.api.get(f"/v1/schedules/{g.name}").json["paused"]


@changing("schedules run-now")
def schedules_run_now(g):
    run = g.run("schedules", "run-now", g.schedule())["run"]["id"]
    assert g.api.run(run)["task"] == g.task


@changing("schedules remove")
def schedules_remove(g):
    done = g.bridge.cli("schedules", "remove", g.schedule(), "--output", "json")
    assert (done.returncode, done.stdout) == (0, ""), "HTTP answers 204"
    assert g.api.get(f"/v1/schedules/{g.name}").status == 404


@changing("jobs cancel")
def jobs_cancel(g):
    # It waits an hour between two runs, so that it is there to be cancelled.
    for _ in range(2):
        g.die()
    job = g.run("dead-letters", "replay", "--task", g.task, "--canary", "1", "--canary-wait", "1h")["job_id"]
    g.run("jobs", "cancel", job)
    assert g.bridge.cli("jobs", "show", job, "--wait", "--output", "json").returncode == 2
    assert g.run("jobs", "show", job)["state"] == "cancelled"


@changing("dead-letters replay")
def dead_letters_replay(g):
    runs = [g.die(), g.die()]
    assert g.run("dead-letters", "replay", "--task", g.task, "--dry-run")["eligible"] == 2
    g.run("dead-letters", "replay", runs[0])
    g.run("dead-letters", "replay", "--task", g.task)
    for _ in runs:
        g.worker.work(g.task)
    assert {g.api.wait_state(run, "completed")["replays"] for run in runs} == {1}


@changing("dead-letters discard")
def dead_letters_discard(g):
    run = g.die()
    g.run("dead-letters", "discard", "--task", g.task)
    assert g.api.get(f"/v1/dead-letters/{run}").json["resolution"] == "discarded"


@changing("dead-letters export")
def dead_letters_export(g):
    g.die()
    assert g.run("dead-letters", "export", "--task", g.task, "--dry-run")["matched"] == 1
    lines = g.bridge.cli("dead-letters", "export", "--task", g.task).stdout.splitlines()
    assert [(json.loads(line)["task"], json.loads(line)["payload"]) for line in lines] == [(g.task, {"n": 1})]


@changing("dead-letters sync")
def dead_letters_sync(g):
    g.die()
    found = [row for row in g.run("dead-letters", "sync")["items"] if row["task"] == g.task]
    assert [(row["table"], row["removed"]) for row in found] == [(1, 0)]


@changing("quarantine release")
def quarantine_release(g):
    """N30."""
    g.run("tasks", "set", g.task, "disabled=true")
    g.worker.publish("taskbridge.submit", g.task, b"1")
    row = until(lambda: next((row for row in g.api.quarantine() if row["routing_key"] == g.task), None))
    g.run("tasks", "set", g.task, "disabled=null")
    assert g.state(g.run("quarantine", "release", str(row["id"]))["run"]["id"]) in ("ready", "queued", "launched")


@changing("quarantine discard")
def quarantine_discard(g):
    """N30."""
    g.nonsense()
    newest = g.api.quarantine()[0]["id"]
    assert g.run("quarantine", "discard", str(newest)) == {"id": newest, "outcome": "discarded"}
    assert newest not in [row["id"] for row in g.api.quarantine()]


@pytest.mark.parametrize("verb", sorted(CHANGING))
def test_a_verb_that_changes_is_seen_over_http(ground, verb):
    CHANGING[verb](ground)


def verbs(*path):
    """The full names of all verbs under `path`, by the program's own help."""
    text = subprocess.run([BINARY, "help", *path], capture_output=True, text=True, check=True, timeout=20,
                          env=environment()).stdout
    named = []
    for section in re.split(r"^(?=\S)", text, flags=re.MULTILINE):
        if re.match(r".*SUBCOMMANDS:\n", section):
            named += re.findall(r"^  ([a-z][a-z-]*)(?: \(default\))?(?= |$)", section, flags=re.MULTILINE)
    return {full for name in named for full in verbs(*path, name)} or {" ".join(path)}


def test_every_verb_is_tried():
    assert verbs() == READING.keys() | CHANGING.keys() | {"status"} | ELSEWHERE
