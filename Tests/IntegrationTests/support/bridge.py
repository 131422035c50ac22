"""One `taskbridge serve` as a process: start, kill -9, start again, stop."""

import json
import os
import signal
import subprocess
import sys

from . import ROOT
from .api import API, Unreachable
from .waiting import until

sys.path.insert(0, os.path.join(ROOT, "scripts"))
from broker import free_port  # noqa: E402

BINARY = os.environ.get("TASKBRIDGE_BINARY", os.path.join(ROOT, ".build/release/taskbridge"))

# Short times, so that leases, the orphan rule and reconnects are seen within a test.
DEFAULTS = {"claim_latency_max_seconds": 2, "heartbeat_seconds": 2}


class Bridge:
    def __init__(self, directory, amqp_url, config=None, log=None):
        self.directory = str(directory)
        self.amqp_url = amqp_url
        self.data = os.path.join(self.directory, "data")
        self.port = free_port()
        self.api = API(self.port)
        self.process = None
        self.log_path = str(log or os.path.join(self.directory, "bridge.log"))
        self.config_path = os.path.join(self.directory, "taskbridge.yaml")
        os.makedirs(self.directory, exist_ok=True)
        with open(self.config_path, "w") as file:
            json.dump({**DEFAULTS, **(config or {})}, file, indent=2)  # JSON is YAML, too.

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self):
        """Options of the verbs that read a bridge's configuration themselves."""
        return ["--config", self.config_path, "--amqp", self.amqp_url, "--data", self.data]

    def command(self, *extra):
        return [BINARY, "serve", *self.settings, "--http", f"127.0.0.1:{self.port}", *extra]

    def start(self, *extra, wait_ready=True, seconds=60):
        assert self.process is None, "the bridge runs already"
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command(*extra), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=subprocess.STDOUT, env=environment(), start_new_session=True)
        until(self._is_up(200 if wait_ready else None), seconds, f"the bridge should be up; log: {self.log_path}")
        return self

    def _is_up(self, status):
        def check():
            assert self.process.poll() is None, f"the bridge ended with {self.process.returncode}: {self.log_tail()}"
            try:
                return self.readyz().status == status if status else self.api.get("/livez").status == 200
            except Unreachable:
                return False
        return check

    def readyz(self):
        return self.api.get("/readyz")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process = None

    def stop(self, seconds=30):
        """SIGTERM; returns the exit status. More than `seconds` is a failure."""
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the bridge did not end within {seconds} s of SIGTERM; log: {self.log_path}")
        self.process = None
        return status

    def restart(self, **options):
        self.kill()
        return self.start(**options)

    def close(self):
        if self.process is not None:
            if self.process.poll() is None:
                self.stop()
            else:
                self.process = None

    def log_tail(self, lines=15):
        with open(self.log_path, errors="replace") as file:
            return "".join(file.readlines()[-lines:])

    def cli(self, *arguments, **options):
        return cli(*arguments, url=self.url, **options)


def environment(**more):
    """Ours without anything that would configure the program behind the test's back."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("TASKBRIDGE_")}
    return {**kept, "NO_COLOR": "1", **more}


def cli(*arguments, url=None, input=None, seconds=60, env=None, cwd=None):
    """Runs one command to its end; returns the completed process with text streams."""
    more = {"TASKBRIDGE_URL": url} if url else {}
    return subprocess.run([BINARY, *arguments], input="" if input is None else input, capture_output=True, text=True,
                          timeout=seconds, env=environment(**more, **(env or {})), cwd=cwd)


def data(done):
    """The one JSON value a command printed."""
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
    return json.loads(done.stdout)
