"""Drives scripts/demo: submits, breaks things on purpose, watches, and holds the ledger against the store.

One run for each of 1,000 files compresses and hashes it; one report run depends on all of them. Half of the runs come
over AMQP, half over HTTP, some twice, some delayed, some fail twice before they work, and ten fail until their worker
is mended. In the middle the bridge is killed with -9, and the broker is stopped and loses its data directory.
"""

import collections
import hashlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

import pika

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from broker import free_port  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BINARY = os.path.join(ROOT, ".build/release/taskbridge")
JOB = os.path.join(ROOT, "scripts/demo-job")
FILES, BROKEN, DUPLICATES, DELAYED, FLAKY = 1000, 10, 60, 50, 30
SUBMISSIONS_PER_SECOND = 40
LIMIT_SECONDS = 290
CONFIG = {
    "claim_latency_max_seconds": 3, "heartbeat_seconds": 5, "lease_seconds": 10,
    "retry": {"strategy": "constant", "initial_seconds": 0.5},
    "tasks": {"demo.bash": {"wire": "envelope"}},
}


class Failure(Exception):
    """The demo cannot go on or the ledger does not balance."""


def say(text):
    progress.clear()
    print(text, flush=True)


class Progress:
    """A bar on a terminal, a line every few seconds elsewhere."""

    def __init__(self):
        self.bar = sys.stdout.isatty() and not os.environ.get("CI")
        self.shown = False
        self.next_line = 0.0
        self.begun = time.monotonic()

    def show(self, done, total, note):
        seconds = int(time.monotonic() - self.begun)
        if self.bar:
            filled = 30 * done // total
            text = f"[{'#' * filled}{'.' * (30 - filled)}] {done}/{total}  {seconds} s  {note}"
            width = shutil.get_terminal_size().columns - 1
            print("\r" + text[:width].ljust(width), end="", flush=True)
            self.shown = True
        elif time.monotonic() >= self.next_line:
            print(f"  {seconds:3d} s  {done}/{total} done  {note}", flush=True)
            self.next_line = time.monotonic() + 5

    def clear(self):
        if self.shown:
            print("\r" + " " * (shutil.get_terminal_size().columns - 1) + "\r", end="", flush=True)
            self.shown = False


progress = Progress()


def wait_for(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failure(f"after {seconds} s: {what}")
        time.sleep(0.1)


class Bridge:
    """`taskbridge dev` in the demo's folder, and its HTTP."""

    def __init__(self, folder):
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None
        with open(os.path.join(folder, "demo.yaml"), "w") as file:
            json.dump(CONFIG, file, indent=2)  # JSON is YAML, too.

    def start(self):
        with open(os.path.join(self.folder, "dev.log"), "ab") as log:
            self.process = subprocess.Popen(
                [BINARY, "dev", "--config", "demo.yaml", "--http", f"127.0.0.1:{self.port}"], cwd=self.folder,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=clean_environment())
        wait_for(self.is_ready, 90, f"taskbridge dev should be ready; see {self.folder}/dev.log")

    def is_ready(self):
        if self.process.poll() is not None:
            raise Failure(f"taskbridge dev ended with {self.process.returncode}; see {self.folder}/dev.log")
        try:
            return self.call("GET", "/readyz")[0] == 200
        except OSError:
            return False

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(45)
            except subprocess.TimeoutExpired:
                self.kill()

    def broker(self):
        """Facts of the private broker: pid, port, url, data_directory."""
        with open(os.path.join(self.folder, ".taskbridge/broker.json")) as file:
            facts = json.load(file)
        return {**facts, "data_directory": os.path.join(self.folder, facts["data_directory"])}

    def call(self, method, path, body=None, seconds=30):
        """(status, decoded JSON); OSError when the bridge does not answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"Content-Type": "application/json"} if text else {})
            response = connection.getresponse()
            text = response.read()
            return response.status, json.loads(text) if text[:1] in b"{[" and text else text.decode(errors="replace")
        except http.client.HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            connection.close()

    def get(self, path):
        status, value = self.call("GET", path)
        if status != 200:
            raise Failure(f"GET {path}: {status} {value}")
        return value

    def items(self, path, **query):
        found, cursor = [], None
        while True:
            page = self.get(path + "?" + urllib.parse.urlencode({**query, **({"cursor": cursor} if cursor else {})}))
            found += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    def counts(self):
        return {state: count for state, count in self.get("/v1/snapshot")["counts"].items() if count}


def clean_environment(**more):
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("TASKBRIDGE_", "DEMO_"))}
    return {**kept, **more}


class Workers:
    """The three workers. Each reconnects by itself, whatever happens to the broker."""

    def __init__(self, bridge):
        self.bridge, self.running = bridge, {}

    def start(self, name, command, **env):
        url = self.bridge.broker()["url"]
        with open(os.path.join(self.bridge.folder, f"worker-{name}.log"), "ab") as log:
            self.running[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env=clean_environment(TASKBRIDGE_AMQP_URL=url, TASKBRIDGE_URL=self.bridge.url, **env))

    def start_all(self):
        self.start_built_in()
        self.start("python", [sys.executable, os.path.join(ROOT, "Tests/Workers/python/early_ack.py"), "demo.python"])
        self.start("bash", [os.path.join(ROOT, "Tests/Workers/bash/worker.sh"), "demo.bash", JOB])

    def start_built_in(self, **env):
        url = self.bridge.broker()["url"]
        self.start("built-in", [BINARY, "work", "demo.exec", "demo.report", "--exec", JOB, "-j", "2", "--amqp", url],
                   **env)

    def stop(self, name):
        process = self.running.pop(name)
        for number, seconds in ((signal.SIGTERM, 15), (signal.SIGKILL, 15)):
            try:
                os.killpg(process.pid, number)
            except ProcessLookupError:
                break
            try:
                process.wait(seconds)
                break
            except subprocess.TimeoutExpired:
                continue

    def stop_all(self):
        for name in list(self.running):
            self.stop(name)


class Submitter:
    """Submits everything once, the deliberate duplicates twice; asks again for what was not answered, so that each
    submission ends in one answer. A repeat that we did not intend may be answered `duplicate`: it is the same run."""

    def __init__(self, bridge):
        self.bridge = bridge
        self.ids = {}
        self.submitted = 0
        self.duplicates_refused = 0
        self.errors = []
        self.lock = threading.Lock()

    def start(self, over_http, over_amqp):
        self.threads = [threading.Thread(target=self._guarded, args=(self._http, over_http), daemon=True),
                        threading.Thread(target=self._guarded, args=(self._amqp, over_amqp), daemon=True)]
        for thread in self.threads:
            thread.start()

    @property
    def is_done(self):
        if self.errors:
            raise Failure(self.errors[0])
        return not any(thread.is_alive() for thread in self.threads)

    def answered(self, key, answer):
        with self.lock:
            self.submitted += 1
            run_id = answer["run"]["id"]
            if key in self.ids:
                if answer["outcome"] != "duplicate" or self.ids[key] != run_id:
                    raise Failure(f"a second submission of {key} was answered {answer['outcome']}")
                self.duplicates_refused += 1
            self.ids[key] = run_id

    def _guarded(self, function, submissions):
        try:
            function(submissions)
        except Exception as error:  # told by `is_done`
            self.errors.append(f"{type(error).__name__}: {error}")

    def _http(self, submissions):
        begun = time.monotonic()
        for index, submission in enumerate(submissions):
            time.sleep(max(0, begun + index / SUBMISSIONS_PER_SECOND - time.monotonic()))
            self.submit(submission)

    def submit(self, submission):
        while True:
            try:
                status, answer = self.bridge.call("POST", "/v1/runs", submission)
            except OSError:  # killed right now: the same submission again, its key makes it safe
                time.sleep(0.2)
                continue
            if status in (200, 201):
                return self.answered(submission["idempotency_key"], answer)
            if status not in (429, 503):
                raise Failure(f"a submission was refused: {status} {answer}")
            time.sleep(0.2)

    def _amqp(self, submissions):
        waiting = collections.deque(enumerate(submissions))
        open_ones = {}  # correlation id: (submission, when sent)
        begun = time.monotonic()

        def on_answer(_channel, _method, properties, body):
            if properties.correlation_id not in open_ones:
                return
            answer = json.loads(body)
            if "outcome" in answer:
                submission, _ = open_ones.pop(properties.correlation_id)
                self.answered(submission["idempotency_key"], answer)
            elif answer.get("status") not in (429, 503):
                raise Failure(f"a submission over AMQP was refused: {answer}")

        while waiting or open_ones:
            try:
                connection = pika.BlockingConnection(pika.URLParameters(self.bridge.broker()["url"]))
                channel = connection.channel()
                channel.basic_consume("amq.rabbitmq.reply-to", on_answer, auto_ack=True)
                open_ones.update({number: (submission, 0) for number, (submission, _) in open_ones.items()})
                while waiting or open_ones:
                    now = time.monotonic()
                    while waiting and now >= begun + waiting[0][0] / SUBMISSIONS_PER_SECOND:
                        index, submission = waiting.popleft()
                        open_ones[str(index)] = (submission, 0)
                    for number, (submission, sent) in list(open_ones.items()):
                        if sent == 0 or now - sent > 5:
                            open_ones[number] = (submission, now)
                            self._publish(channel, number, submission)
                    connection.process_data_events(time_limit=0.05)
                connection.close()
            except (pika.exceptions.AMQPError, OSError, json.JSONDecodeError):
                time.sleep(0.3)  # the broker is away, or the bridge has not declared its queues yet

    @staticmethod
    def _publish(channel, number, submission):
        """A plain message: the body is the payload, everything else is in properties and headers."""
        headers = {"tb-name": submission["name"], "tb-tags": submission["tags"]}
        for field in ("delay_seconds", "max_attempts"):
            if field in submission:
                headers["tb-" + field.replace("_", "-")] = submission[field]
        channel.basic_publish(
            "taskbridge.submit", submission["task"], json.dumps(submission["payload"]),
            pika.BasicProperties(message_id=submission["idempotency_key"], correlation_id=number, headers=headers,
                                 reply_to="amq.rabbitmq.reply-to", content_type="application/json", delivery_mode=2))


def find_files(count):
    """Readable, not empty files with harmless names, /usr/share/doc first; the rest of /usr/share when it is thin."""
    found, seen = [], set()
    for top in ("/usr/share/doc", "/usr/share"):
        for folder, _, names in os.walk(top):
            for name in sorted(names):
                path = os.path.join(folder, name)
                if path not in seen and path.isprintable() and len(path) < 200 and os.access(path, os.R_OK) \
                        and os.path.isfile(path) and 0 < os.path.getsize(path) < 2_000_000:
                    seen.add(path)
                    found.append(path)
                    if len(found) == count:
                        return found
    raise Failure(f"only {len(found)} files under /usr/share, {count} needed")


def make_submissions(paths, folder):
    """(file runs, broken runs). Of five files the built-in worker gets two, the Python one two, the Bash one one."""
    runs = []
    for index, path in enumerate(paths[:FILES]):
        task = ["demo.exec", "demo.python", "demo.exec", "demo.bash", "demo.python"][index % 5]
        runs.append({"task": task, "payload": {"path": path}, "name": path, "tags": {"demo": "files"},
                     "idempotency_key": f"file-{index}"})
    flaky = [run for run in runs if run["task"] == "demo.python"][:FLAKY // 2] + \
        [run for run in runs if run["task"] == "demo.bash"][:FLAKY // 2]
    for number, run in enumerate(flaky):
        run["payload"] |= {"fail_attempts": 2, "counter": os.path.join(folder, f"counter-{number}")}
    for run in runs[100:100 + DELAYED]:
        run["delay_seconds"] = 15
    broken = [{"task": "demo.exec", "payload": {"path": path, "needs_mending": True}, "name": path,
               "tags": {"demo": "broken"}, "max_attempts": 2, "idempotency_key": f"broken-{index}"}
              for index, path in enumerate(paths[FILES:FILES + BROKEN])]
    return runs, broken


def late_holder(bridge, submitter):
    """A worker that reports an end for an attempt that is over: it must be refused, and must change nothing."""
    submitter.submit({"task": "demo.late", "payload": 1, "name": "late", "tags": {"demo": "late"},
                      "idempotency_key": "late"})
    connection = pika.BlockingConnection(pika.URLParameters(bridge.broker()["url"]))
    channel = connection.channel()

    def take():
        nonlocal channel
        try:
            method, properties, _ = channel.basic_get("taskbridge.run.demo.late", auto_ack=True)
        except pika.exceptions.ChannelClosedByBroker:  # the queue comes with the first run
            channel = connection.channel()
            return None
        return properties if method else None

    def report(properties, **fields):
        channel.basic_publish("", properties.reply_to, json.dumps(fields),
                              pika.BasicProperties(correlation_id=properties.correlation_id, delivery_mode=2))

    first = wait_for(take, 20, "the late holder's run should arrive")
    report(first, state="failed", error={"type": "Demo", "message": "the first attempt fails"})
    second = wait_for(take, 20, "the late holder's second attempt should arrive")
    report(first, state="completed", result="a lie")
    report(second, state="completed", result="the truth")
    connection.close()


def is_gone(pid):
    """True for a process that has ended, also when its parent has not asked for its status yet."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def kill_bridge(bridge):
    say("kill -9 of the bridge")
    bridge.kill()
    bridge.start()
    say("the bridge is back")


def wipe_broker(bridge):
    """Stops the broker, deletes its data directory; `dev` starts it again when it finds it gone."""
    facts = bridge.broker()
    say(f"stopping the broker and deleting {facts['data_directory']}")
    os.kill(facts["pid"], signal.SIGTERM)
    deadline = time.monotonic() + 30
    while not is_gone(facts["pid"]):
        if time.monotonic() > deadline:
            os.kill(facts["pid"], signal.SIGKILL)
        time.sleep(0.002)
    # Renamed first: that is done at once, before anybody can start a node on half of the old data.
    doomed = facts["data_directory"].rstrip("/") + ".deleted"
    os.rename(facts["data_directory"], doomed)
    shutil.rmtree(doomed)
    wait_for(lambda: bridge.broker()["pid"] != facts["pid"] and bridge.is_ready(), 120, "the broker should be back")
    say("the broker is back, empty")


def watch(bridge, submitter, total, steps):
    """Shows progress and takes each of `steps`, (share done, action), when it is due; ends when nothing is open."""
    steps = list(steps)
    while True:
        try:
            counts = bridge.counts()
        except OSError:
            counts = {}
        ended = counts.get("completed", 0) + counts.get("dead_lettered", 0)
        progress.show(ended, total, " ".join(f"{state} {count}" for state, count in sorted(counts.items())))
        for state in ("failed", "dependency_failed", "cancelled", "expired", "superseded"):
            if counts.get(state):
                raise Failure(f"{counts[state]} runs ended {state}")
        if steps and ended >= steps[0][0] * total:
            steps.pop(0)[1]()
        if ended == total and not steps and submitter.is_done:
            return counts
        if submitter.is_done and time.monotonic() - progress.begun > LIMIT_SECONDS:
            raise Failure(f"still open after {LIMIT_SECONDS} s: {counts}")
        time.sleep(0.3)


def sha256sums(paths):
    """What the system's own sha256sum says, by path."""
    output = subprocess.run(["sha256sum", "--zero", "--", *paths], capture_output=True, check=True).stdout.decode()
    return {entry[66:]: entry[:64] for entry in output.split("\0") if entry}


def check_hashes(runs, sums):
    wrong = [run["name"] for run in runs if run["result"]["sha256"] != sums[run["name"]]]
    if wrong:
        raise Failure(f"{len(wrong)} hashes differ from sha256sum: {wrong[:3]}")


def check_report(bridge, sums, runs):
    """The report run saw every file once: one hash over the sorted lines."""
    lines = sorted(f"{sums[run['name']]}  {run['name']}  {run['result']['bytes']}\n".encode() for run in runs)
    expected = hashlib.sha256(b"".join(lines)).hexdigest()
    report, = bridge.items("/v1/runs", task="demo.report")
    if report["result"]["files"] != FILES or report["result"]["sha256"] != expected:
        raise Failure(f"the report differs: {report['result']}, expected {FILES} files, {expected}")


def look_back(bridge, runs):
    """(attempts that failed and were tried again, dispatches published again, reports refused by code)"""
    retried, again, refused = 0, 0, collections.Counter()
    for index, run in enumerate(runs):
        progress.show(index, len(runs), "reading the history of every run")
        attempts = bridge.items(f"/v1/runs/{run['id']}/attempts", limit=1000)
        retried += len(attempts) - 1 - run["replays"]
        again += sum(attempt["dispatches"] - 1 for attempt in attempts)
        refused.update(report["code"] for report in bridge.items(f"/v1/runs/{run['id']}/reports", limit=1000)
                       if report["verdict"] in ("reject", "abort"))
    progress.clear()
    return retried, again, refused


def run_demo(folder):
    bridge = Bridge(folder)
    workers = Workers(bridge)
    submitter = Submitter(bridge)
    try:
        paths = find_files(FILES + BROKEN)
        say(f"starting taskbridge dev in {folder}")
        bridge.start()
        workers.start_all()
        late_holder(bridge, submitter)

        files, broken = make_submissions(paths, folder)
        everything = files + broken
        over_http, over_amqp = everything[::2], everything[1::2]
        over_http += over_http[:DUPLICATES // 2]
        over_amqp += over_amqp[:DUPLICATES // 2]
        say(f"submitting {len(over_http)} runs over HTTP and {len(over_amqp)} over AMQP, {DUPLICATES} of them twice")
        submitter.start(over_http, over_amqp)

        def submit_report():
            wait_for(lambda: submitter.is_done, 120, "every submission should be answered")
            submitter.submit({"task": "demo.report", "payload": {"report": bridge.url, "tag": "files"},
                              "name": "report", "tags": {"demo": "report"}, "idempotency_key": "report",
                              "depends_on": [submitter.ids[run["idempotency_key"]] for run in files]})
            say(f"one report run waits for all {FILES} files")

        total = len(everything) + 2
        watch(bridge, submitter, total, [
            (0.20, lambda: kill_bridge(bridge)), (0.45, lambda: wipe_broker(bridge)), (0.60, submit_report)])

        dead = bridge.items("/v1/dead-letters", limit=1000)
        say(f"{len(dead)} dead letters; replaying them with a mended worker")
        workers.stop("built-in")
        workers.start_built_in(DEMO_MENDED="1")
        status, answer = bridge.call("POST", "/v1/dead-letters/replay", {"filter": {"task": "demo.exec"}})
        if status not in (200, 202):
            raise Failure(f"the replay was refused: {status} {answer}")
        wait_for(lambda: bridge.counts() == {"completed": total}, 60, "the ten should complete")

        say("checking every hash against sha256sum")
        runs = bridge.items("/v1/runs", limit=1000)
        by_tag = collections.defaultdict(list)
        for run in runs:
            by_tag[run["tags"]["demo"]].append(run)
        sums = sha256sums(paths)
        check_hashes(by_tag["files"] + by_tag["broken"], sums)
        check_report(bridge, sums, by_tag["files"])
        if by_tag["late"][0]["result"] != "the truth":
            raise Failure("a stale report was believed")
        retried, again, refused = look_back(bridge, runs)
        return ledger(submitter, runs, len(dead), retried, again, refused)
    finally:
        progress.clear()
        workers.stop_all()
        stop_everything(bridge)


def stop_everything(bridge):
    """Stops dev; its broker too, should dev have had no chance to."""
    bridge.stop()
    try:
        pid = bridge.broker()["pid"]
        with open(f"/proc/{pid}/environ", "rb") as file:
            ours = bridge.folder.encode() in file.read()
        if ours and not is_gone(pid):
            os.kill(pid, signal.SIGTERM)
            wait_for(lambda: is_gone(pid), 30, "the broker should end")
    except (OSError, ValueError):
        pass


def ledger(submitter, runs, dead, retried, again, refused):
    """Prints what happened; True when it adds up."""
    completed = sum(run["state"] == "completed" for run in runs)
    replayed = sum(run["replays"] for run in runs)
    stored = {run["id"] for run in runs}
    lost = len([run_id for run_id in submitter.ids.values() if run_id not in stored]) + len(runs) - completed
    codes = ", ".join(f"{code} {count}" for code, count in sorted(refused.items())) or "none"
    for name, value in [
            ("submitted", submitter.submitted), ("duplicates refused", submitter.duplicates_refused),
            ("completed", completed), ("retried", retried), ("dead-lettered", dead), ("replayed", replayed),
            ("reports refused by code", codes), ("republished after the wipe", again), ("lost", lost)]:
        print(f"  {name:28s}{value:>8}" if isinstance(value, int) else f"  {name:28s}{value}")
    holds = {
        "submitted = runs + duplicates refused":
            submitter.submitted == len(runs) + submitter.duplicates_refused,
        f"duplicates refused = {DUPLICATES}": submitter.duplicates_refused == DUPLICATES,
        "runs = completed": len(runs) == completed == len(submitter.ids),
        f"dead-lettered = replayed = {BROKEN}": dead == replayed == BROKEN,
        "a stale report was refused": refused["stale_attempt"] >= 1,
        "something was republished": again >= 1,
        "lost = 0": lost == 0,
    }
    for equation, true in holds.items():
        print(f"  {'ok   ' if true else 'WRONG'} {equation}")
    return all(holds.values())


def main():
    folder = tempfile.mkdtemp(prefix="taskbridge-demo-", dir="/tmp")
    os.chmod(folder, 0o755)  # as root the broker runs as another user and must get at its part
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    begun = time.monotonic()
    try:
        good = run_demo(folder)
    except (Failure, OSError, KeyError, subprocess.SubprocessError) as error:
        say(f"demo: {type(error).__name__}: {error}\ndemo: the logs are in {folder}")
        return 1
    except KeyboardInterrupt:
        say("demo: interrupted")
        shutil.rmtree(folder, ignore_errors=True)
        return 130
    if not good:
        print(f"demo: the ledger does not balance; the logs are in {folder}")
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    print(f"demo: every run accounted for, in {time.monotonic() - begun:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
