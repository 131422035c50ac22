"""The command line as a user meets it: data on stdout, words on stderr, the exit status of the contract."""

import json
import os
import signal
import subprocess
import threading
import uuid

import pytest

from support.bridge import BINARY, cli, data, environment
from support.waiting import until

LATER = ["--delay", "1h"]


def items(done):
    value = data(done)
    return value["items"] if isinstance(value, dict) else value


@pytest.fixture
def submitted(bridge, task):
    """The id of a scheduled run made by `taskbridge submit`."""
    answer = data(bridge.cli("submit", task, '{"n":1}', *LATER, "--tag", "env=test", "--output", "json"))
    return answer["run"]["id"]


def test_submit_prints_the_answer(bridge, api, task):
    """P15."""
    answer = data(bridge.cli("submit", task, '{ "n" : 1 }', "--delay", "10m", "--dedup-key", "k", "--tag", "a=b",
                             "--output", "json"))

    assert answer["outcome"] == "inserted"
    run = api.run(answer["run"]["id"])
    assert (run["state"], run["dedup_key"], run["tags"], run["payload"]) == ("scheduled", "k", {"a": "b"}, {"n": 1})


def test_the_payload_may_come_from_a_file_or_stdin(bridge, api, task, tmp_path):
    path = tmp_path / "payload.json"
    path.write_text('{"from":"file"}')

    one = data(bridge.cli("submit", task, f"@{path}", *LATER, "--output", "json"))
    two = data(bridge.cli("submit", task, "-", *LATER, "--output", "json", input='{"from":"stdin"}'))

    assert api.run(one["run"]["id"])["payload"] == {"from": "file"}
    assert api.run(two["run"]["id"])["payload"] == {"from": "stdin"}


def test_submit_after_another_run(bridge, api, task, submitted):
    answer = data(bridge.cli("submit", task, "1", "--after", submitted, "--output", "json"))

    assert api.run(answer["run"]["id"])["depends_on"] == [submitted]


def test_wait_ends_with_the_run(bridge, worker, task):
    """P15."""
    results = {}

    def submit():
        results["done"] = bridge.cli("submit", task, "1", "--wait=30s", "--output", "json")

    thread = threading.Thread(target=submit)
    thread.start()
    worker.work(task, "completed", result={"answer": 42})
    thread.join()

    value = data(results["done"])
    run = value.get("run") or value
    assert (run["state"], run["result"]) == ("completed", {"answer": 42})


def test_wait_is_2_when_the_run_fails(bridge, worker, task):
    """P15."""
    results = {}

    def submit():
        results["done"] = bridge.cli("submit", task, "1", "--wait=30s")

    thread = threading.Thread(target=submit)
    thread.start()
    worker.work(task, "failed", error={"type": "T", "message": "broken pump", "retryable": False})
    thread.join()

    assert results["done"].returncode == 2


def test_wait_is_2_when_time_is_up(bridge, task):
    """P15."""
    done = bridge.cli("submit", task, "1", *LATER, "--wait=1s")

    assert done.returncode == 2
    assert done.stderr


def test_runs_and_show(bridge, task, submitted):
    listed = items(bridge.cli("runs", "--task", task, "--output", "json"))
    shown = data(bridge.cli("show", submitted, "--output", "json"))

    assert [run["id"] for run in listed] == [submitted]
    assert (shown.get("run") or shown)["id"] == submitted
    assert items(bridge.cli("runs", "--task", task, "--state", "completed", "--output", "json")) == []
    lines = bridge.cli("runs", "--task", task, "--output", "jsonl").stdout.splitlines()
    assert [json.loads(line)["id"] for line in lines] == [submitted]


def test_a_table_has_whole_ids_and_no_colour(bridge, task, submitted):
    done = bridge.cli("runs", "--task", task, env={"COLUMNS": "40"})

    assert submitted in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


def test_escape_sequences_are_escaped_in_tables_and_exact_in_json(bridge, api, task):
    name = "red\x1b[31m"
    api.submit_run(task, 1, name=name, delay_seconds=3600)

    assert "\x1b" not in bridge.cli("runs", "--task", task).stdout
    assert items(bridge.cli("runs", "--task", task, "--output", "json"))[0]["name"] == name


def test_cancel_and_retry(bridge, api, worker, task, submitted):
    """T20, T69."""
    assert bridge.cli("cancel", submitted).returncode == 0
    assert api.run(submitted)["state"] == "cancelled"

    assert bridge.cli("retry", submitted).returncode == 0
    worker.work(task)

    assert api.wait_state(submitted, "completed")["replays"] == 1
    assert bridge.cli("cancel", submitted).returncode == 4


def test_dead_letters(bridge, api, worker, task):
    runs = [api.submit_run(task, n) for n in range(2)]
    for _ in runs:
        worker.work(task, "failed", error={"type": "T", "message": "no", "retryable": False})

    listed = items(bridge.cli("dead-letters", "list", "--task", task, "--output", "json"))
    groups = items(bridge.cli("dead-letters", "groups", "--output", "json"))
    shown = data(bridge.cli("dead-letters", "show", runs[0]["id"], "--output", "json"))

    assert sorted(row["run"]["id"] for row in listed) == sorted(run["id"] for run in runs)
    assert any(group["task"] == task and group["count"] == 2 for group in groups)
    assert shown["reason"] == "permanent"
    assert bridge.cli("dead-letters", "replay", runs[0]["id"]).returncode == 0
    assert bridge.cli("dead-letters", "discard", runs[1]["id"]).returncode == 0
    worker.work(task)
    assert api.wait_state(runs[0]["id"], "completed")
    assert items(bridge.cli("dead-letters", "list", "--task", task, "--output", "json")) == []


def test_status_and_health(bridge):
    status = data(bridge.cli("status", "--output", "json"))

    assert "counts" in status and "broker" in status
    assert bridge.cli("status").stdout
    assert bridge.cli("healthcheck").returncode == 0


def test_doctor_names_the_versions(bridge):
    done = bridge.cli("doctor", *bridge.settings, "--output", "json")

    text = done.stdout + done.stderr
    assert "3.40" in text and "3.10" in text, done
    assert "guest:guest" not in text
    json.loads(done.stdout)


def test_config_check_and_show(bridge, tmp_path):
    good = cli("config", "check", "--config", bridge.config_path)
    bad_path = tmp_path / "bad.yaml"
    bad_path.write_text("queue_bound: 10\nleese_seconds: 5\n")
    bad = cli("config", "check", "--config", str(bad_path))
    shown = cli("config", "show", "--config", bridge.config_path, "--output", "json",
                env={"TASKBRIDGE_AMQP_URL": "amqp://user:s3cret-word@127.0.0.1/"})

    assert good.returncode == 0, good
    assert bad.returncode == 64 and "bad.yaml:2:" in bad.stderr and "lease_seconds" in bad.stderr
    values = {item["key"]: item["value"] for item in json.loads(shown.stdout)["items"]}
    assert values["claim_latency_max_seconds"] == "2"
    assert "s3cret-word" not in shown.stdout + shown.stderr


@pytest.mark.parametrize("arguments, status", [
    (["show", str(uuid.uuid4())], 3), (["cancel", str(uuid.uuid4())], 3), (["nonsense"], 64),
    (["runs", "--nonsense"], 64),
    (["submit"], 64), (["submit", "a.b", "{bad"], 64), (["submit", "a.b", "@/no/such/file"], 64),
    (["submit", "a.b", "1", "--delay", "-5s"], 64), (["submit", "a.b", "1", "--at", "2026-01-01T00:00:00"], 64)])
def test_what_is_wrong_has_its_exit_status(bridge, arguments, status):
    done = bridge.cli(*arguments)

    assert done.returncode == status, done
    assert done.stderr.strip() and "Fatal" not in done.stderr


def test_an_error_as_json_is_the_problem(bridge):
    done = bridge.cli("show", str(uuid.uuid4()), "--output", "json")

    assert done.returncode == 3
    assert json.loads(done.stdout)["code"] == "run_not_found"


def test_a_server_that_is_not_there_is_5(task):
    done = cli("submit", task, "1", url="http://127.0.0.1:9")

    assert done.returncode == 5
    assert "127.0.0.1:9" in done.stderr


def test_a_closed_stdout_is_a_quiet_end(bridge, submitted):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run([BINARY, "runs"], stdout=writer, stderr=subprocess.PIPE, text=True, timeout=30,
                              env=environment(TASKBRIDGE_URL=bridge.url))
    finally:
        os.close(writer)

    assert "Fatal" not in done.stderr and "rash" not in done.stderr


def test_a_full_device_is_an_error(bridge, submitted):
    with open("/dev/full", "w") as full:
        done = subprocess.run([BINARY, "runs"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=30,
                              env=environment(TASKBRIDGE_URL=bridge.url))

    assert done.returncode == 1 and done.stderr


# The built-in worker.

@pytest.fixture
def work(bridge, task):
    """Starts `taskbridge work TASK --exec COMMAND`; ended with the test."""
    started = []

    def start(command, *more):
        process = subprocess.Popen([BINARY, "work", task, "--exec", command, "--amqp", bridge.amqp_url, *more],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   env=environment(TASKBRIDGE_URL=bridge.url), start_new_session=True)
        started.append(process)
        return process

    yield start
    for process in started:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.communicate()


@pytest.mark.parametrize("command, payload, result", [
    ("cat", {"a": 1}, {"a": 1}), ("echo plain text", 1, "plain text"), ("true", 1, None),
    ("wc -c", "x" * 100_000, 100_002), ("true <&-", 1, None)],
    ids=["JSON", "text", "nothing", "much input", "closed stdin"])
def test_work_exec_gives_stdin_and_takes_stdout(api, work, task, command, payload, result):
    work(command)

    run = api.submit_run(task, payload)

    done = api.wait_state(run["id"], "completed")
    got = done["result"]
    assert got == result or (result is None and got in (None, "")) or (
        isinstance(result, str) and got.strip() == result), got


def test_work_exec_a_status_is_a_retryable_failure(api, work, task, tmp_path):
    counter = tmp_path / "n"
    work(f"echo x >> {counter}; echo why >&2; test $(wc -l < {counter}) -ge 3")

    run = api.submit_run(task, 1, retry={"strategy": "constant", "initial_seconds": 0.1})

    assert api.wait_state(run["id"], "completed")["attempt"] == 3
    assert "why" in json.dumps(api.errors(run["id"]) + api.attempts(run["id"]))


def test_work_exec_a_missing_command_is_not_retried(api, work, task):
    work("/no/such/command")

    run = api.submit_run(task, 1)

    api.wait_state(run["id"], "failed")


def test_work_exec_a_signal_is_named(api, work, task):
    work("kill -SEGV $$")

    run = api.submit_run(task, 1, max_attempts=1)

    api.wait_state(run["id"], "dead_lettered", "failed")
    assert "signal" in json.dumps(api.errors(run["id"])).lower()


def test_work_exec_stops_a_cancelled_command(api, work, task, tmp_path):
    started = tmp_path / "started"
    work(f"touch {started}; exec sleep 600")
    run = api.submit_run(task, 1, lease_seconds=5)
    until(started.exists, what="the command should have started")

    assert api.post(f"/v1/runs/{run['id']}/cancel").status == 200

    api.wait_state(run["id"], "cancelled", seconds=40)


def test_work_exec_takes_several_task_keys(bridge, api, task):
    """P8: one program, two keys; a run of the one does not wait for those of the other."""
    other = task + ".other"
    runs = [api.submit_run(key, {"of": key}) for key in (task, other, task)]
    program = subprocess.Popen([BINARY, "work", task, other, "--exec", "cat", "--amqp", bridge.amqp_url],
                               stdin=subprocess.DEVNULL, env=environment(TASKBRIDGE_URL=bridge.url))
    try:
        for run in runs:
            assert api.wait_state(run["id"], "completed")["result"] == {"of": run["task"]}
    finally:
        program.terminate()
        program.wait(20)


def test_work_exec_in_parallel(api, work, task, tmp_path):
    # Each command waits until three run at once: with fewer it would never end.
    folder = tmp_path / "at-once"
    folder.mkdir()
    work(f"touch {folder}/$$; for i in $(seq 200); do test $(ls {folder} | wc -l) -ge 3 && exit 0; sleep 0.1; done; "
         "exit 1",
         "-j", "3")

    runs = [api.submit_run(task, n, max_attempts=1) for n in range(3)]

    for run in runs:
        api.wait_state(run["id"], "completed", seconds=40)


def test_help_and_version():
    assert "serve" in cli("--help").stdout
    assert cli("--version").stdout.strip()
