"""The example workers of the docs, as they are, against the real bridge and broker."""

import hashlib
import json
import os
import signal
import subprocess
import sys

import pytest

from support import ROOT
from support.bridge import environment
from support.waiting import until

EXAMPLES = os.path.join(ROOT, "Tests/Workers")
JOB = os.path.join(ROOT, "scripts/demo-job")
QUICK = {"retry": {"strategy": "constant", "initial_seconds": 0.1}}


@pytest.fixture
def launch(bridge, tmp_path):
    """Starts an example worker in a process group of its own; all are ended with the test."""
    started = []

    def start(*command, **env):
        log = open(tmp_path / f"worker{len(started)}.log", "wb")
        process = subprocess.Popen(command, env=environment(TASKBRIDGE_AMQP_URL=bridge.amqp_url, **env), stdout=log,
                                   stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        log.close()
        started.append(process)
        return process

    yield start
    for process in started:
        end(process)


def end(process, number=signal.SIGKILL):
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass
    process.wait()


def python(name, task):
    return [sys.executable, os.path.join(EXAMPLES, "python", name), task]


def bash(task):
    return [os.path.join(EXAMPLES, "bash/worker.sh"), task, JOB]


@pytest.fixture(params=["late_ack.py", "early_ack.py", "bash"])
def example(request, launch, task, bridge):
    """(task key, with a worker of that kind running)"""
    if request.param == "bash":
        launch(*bash("worker.bash"))
        return "worker.bash"
    launch(*python(request.param, task))
    return task


def expected(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def test_success(api, example, tmp_path):
    file = tmp_path / "a file with spaces.txt"
    file.write_bytes(os.urandom(50_000))

    run = api.submit_run(example, {"path": str(file)})

    result = api.wait_state(run["id"], "completed", seconds=30)["result"]
    assert (result["sha256"], result["bytes"]) == (expected(file), 50_000)
    assert result["gzip_bytes"] > 0


def test_permanent_failure(api, example, tmp_path):
    run = api.submit_run(example, {"path": str(tmp_path / "missing")})

    api.wait_state(run["id"], "failed", seconds=30)
    assert api.dead_letter(run["id"])["reason"] == "permanent"
    assert "missing" in api.errors(run["id"])[0]["message"]


def test_retry(api, example, tmp_path):
    file = tmp_path / "file"
    file.write_text("x")
    # The Python workers go by the attempt number; the command of the Bash worker counts in a file.
    counter = tmp_path / "counter"

    run = api.submit_run(example, {"path": str(file), "fail_attempts": 2, "counter": str(counter)}, **QUICK)

    done = api.wait_state(run["id"], "completed", seconds=30)
    assert done["attempt"] == 3
    assert len(api.errors(run["id"])) == 2


def test_a_worker_killed_before_its_report_costs_nothing(api, worker, launch, task, tmp_path):
    # Late ack: the broker still owns the message, so the same attempt goes to the next worker.
    file = tmp_path / "file"
    file.write_text("x")
    first = launch(*python("late_ack.py", task))
    run = api.submit_run(task, {"path": str(file), "seconds": 1})
    api.wait_state(run["id"], "launched")
    until(lambda: worker.message_count(f"taskbridge.run.{task}") == 0, what="the worker should hold the message")
    end(first)

    launch(*python("late_ack.py", task))

    done = api.wait_state(run["id"], "completed", seconds=30)
    assert done["attempt"] == 1


def test_a_worker_killed_after_its_claim_is_lost_and_the_run_goes_on(api, launch, task, tmp_path):
    # Early ack: the store owns the run; the lease brings it back as the next attempt.
    file = tmp_path / "file"
    file.write_text("x")
    first = launch(*python("early_ack.py", task))
    run = api.submit_run(task, {"path": str(file), "seconds": 60}, lease_seconds=1, max_attempts=1, **QUICK)
    api.wait_state(run["id"], "running")
    end(first)
    second = api.submit_run(task, {"path": str(file)})

    launch(*python("early_ack.py", task))

    api.wait_state(second["id"], "completed", "launched", "queued", "ready", seconds=30)
    until(lambda: len(api.attempts(run["id"])) == 2, 60, "a second attempt")
    assert api.attempts(run["id"])[0]["state"] == "lost"
    assert api.post(f"/v1/runs/{run['id']}/cancel").status == 200
    # The heartbeat's answer stops the work, although it would take another minute.
    api.wait_state(run["id"], "cancelled", seconds=30)


def test_two_workers_share_the_runs(api, launch, task, tmp_path):
    file = tmp_path / "file"
    file.write_text("x")
    for _ in range(2):
        launch(*python("early_ack.py", task))

    runs = [item["run"] for item in api.post("/v1/runs/batch", {"runs": [
        {"task": task, "payload": {"path": str(file)}} for _ in range(50)]}).json["items"]]

    for run in runs:
        api.wait_state(run["id"], "completed", seconds=60)
    claims = {api.attempts(run["id"])[0]["claim"] for run in runs}
    assert len(claims) == 2


def test_the_examples_are_short():
    for folder, name in [("python", "late_ack.py"), ("python", "early_ack.py"), ("bash", "worker.sh")]:
        with open(os.path.join(EXAMPLES, folder, name)) as file:
            assert len(file.readlines()) < 40, name


def test_the_command_of_the_examples_works_alone(tmp_path):
    file = tmp_path / "file"
    file.write_text("x")

    done = subprocess.run([JOB], input=json.dumps({"path": str(file)}), capture_output=True, text=True)

    assert (done.returncode, json.loads(done.stdout)["sha256"]) == (0, expected(file))
