#!/usr/bin/env python3
"""A private RabbitMQ node for tests: a free loopback port, a folder of its own, nothing shared with a system broker.

    scripts/broker.py run --facts FILE [--directory DIR]

writes {"pid", "port", "url", "directory"} to FILE when the node is ready and stops it on SIGTERM, SIGINT or when its
parent has gone. As a module it gives the class `Broker`. The standard library only.

The node is started as user `rabbitmq` when we are root (it refuses other owners of its files), else as ourselves, from
the server script itself: Debian's wrapper changes user and session, so killing it would leave the node alive.
"""

import argparse
import json
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server"
START_SECONDS = 90
STOP_SECONDS = 30


def free_port(taken=set()):
    """A free loopback port below the range the kernel takes for outgoing connections: while the node is down nobody
    else can be given its port, and no client can connect to itself."""
    for _ in range(1000):
        port = random.randrange(20000, 31000)
        if port in taken:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        taken.add(port)
        return port
    raise RuntimeError("no free port between 20000 and 31000")


class Broker:
    """One RabbitMQ node. `start`, `stop`, `kill`, `wipe` may be repeated in any sensible order; its port stays."""

    def __init__(self, directory=None, management=False, arguments=""):
        """`arguments` are more of the Erlang machine's, such as `-rabbit consumer_timeout 2000`."""
        self.directory = directory or tempfile.mkdtemp(prefix="taskbridge-broker-", dir="/tmp")
        self.port = free_port()
        self.management_port = free_port() if management else None
        self.arguments = arguments
        self.dist_port = free_port()
        self.epmd_port = free_port()
        self.log_path = os.path.join(self.directory, "broker.log")
        self.data_directory = os.path.join(self.directory, "data")
        self.process = None
        self.epmd = None
        self._identity = {}
        if os.getuid() == 0:
            user = pwd.getpwnam("rabbitmq")
            self._identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self._prepare_files()

    @property
    def url(self):
        """AMQP URL of the default virtual host."""
        return self.vhost_url("/")

    def vhost_url(self, vhost):
        return f"amqp://guest:guest@127.0.0.1:{self.port}/" + vhost.replace("/", "%2f")

    def start(self):
        """Starts the node and returns when it answers the AMQP handshake."""
        assert not self.is_running, "the broker runs already"
        os.makedirs(self.data_directory, exist_ok=True)
        self._own(self.data_directory)
        self._start_epmd()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [SERVER], cwd=self.directory, env=self._environment(), stdin=subprocess.DEVNULL,
                stdout=log, stderr=subprocess.STDOUT, start_new_session=True, **self._identity)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self.process.poll() is not None:
                raise RuntimeError(f"the broker ended with {self.process.returncode}; log: {self.log_path}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"the broker did not answer within {START_SECONDS} s; log: {self.log_path}")
            time.sleep(0.1)
        return self

    @property
    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def stop(self):
        """Ends the node in an orderly way: SIGTERM, SIGKILL after 30 s."""
        if self.is_running:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._kill_group()
        self.process = None

    def kill(self):
        """kill -9."""
        if self.is_running:
            self._kill_group()
        self.process = None

    def wipe(self):
        """Deletes the data folder; the node must not run."""
        assert not self.is_running, "stop or kill the broker before wiping it"
        shutil.rmtree(self.data_directory, ignore_errors=False)

    def close(self, keep_log_in=None):
        """Stops everything that was started and removes the folder; the log is copied to `keep_log_in`, if given."""
        self.stop()
        if self.epmd is not None:
            self.epmd.kill()
            self.epmd.wait()
            self.epmd = None
        if keep_log_in and os.path.exists(self.log_path):
            os.makedirs(keep_log_in, exist_ok=True)
            shutil.copy(self.log_path, os.path.join(keep_log_in, f"broker-{self.port}.log"))
        shutil.rmtree(self.directory, ignore_errors=True)

    # What is below is how.

    def _kill_group(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    def _own(self, path):
        if self._identity:
            os.chown(path, self._identity["user"], self._identity["group"])

    def _prepare_files(self):
        os.chmod(self.directory, 0o755)
        lines = [f"listeners.tcp.1 = 127.0.0.1:{self.port}", "loopback_users.guest = true", "log.console = true",
                 "log.console.level = info", "log.file = false", "disk_free_limit.absolute = 100MB"]
        plugins = "[]."
        if self.management_port:
            plugins = "[rabbitmq_management]."
            lines += ["management.tcp.ip = 127.0.0.1", f"management.tcp.port = {self.management_port}"]
        for name, text in [("rabbitmq.conf", "\n".join(lines) + "\n"), ("enabled_plugins", plugins + "\n")]:
            path = os.path.join(self.directory, name)
            with open(path, "w") as file:
                file.write(text)
            self._own(path)
        home = os.path.join(self.directory, "home")
        os.makedirs(home, exist_ok=True)
        self._own(home)
        self._own(self.directory)

    def _environment(self):
        at = self.directory
        return {
            "PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
            "LANG": "C.UTF-8",
            "HOME": os.path.join(at, "home"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_NODENAME": f"taskbridge-{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(self.dist_port),
            "RABBITMQ_MNESIA_BASE": self.data_directory,
            "RABBITMQ_MNESIA_DIR": os.path.join(self.data_directory, "node"),
            "RABBITMQ_LOG_BASE": at,
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONFIG_FILE": os.path.join(at, "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": os.path.join(at, "enabled_plugins"),
            "RABBITMQ_PLUGINS_EXPAND_DIR": os.path.join(self.data_directory, "expanded-plugins"),
            "RABBITMQ_GENERATED_CONFIG_DIR": os.path.join(self.data_directory, "config"),
            "RABBITMQ_PID_FILE": os.path.join(self.data_directory, "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS":
                ("-kernel inet_dist_use_interface {127,0,0,1} " + self.arguments).strip(),
            "ERL_EPMD_PORT": str(self.epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            # Makes the script become the node (`exec`) instead of its parent: one process id for both.
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    def _start_epmd(self):
        if self.epmd is not None and self.epmd.poll() is None:
            return
        self.epmd = subprocess.Popen(
            ["epmd", "-port", str(self.epmd_port), "-address", "127.0.0.1"], cwd="/", stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, **self._identity)

    def _answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                connection.settimeout(5)
                connection.sendall(b"AMQP\x00\x00\x09\x01")
                return connection.recv(1) == b"\x01"
        except OSError:
            return False


def run(arguments):
    ending = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: ending.append(True))
    broker = Broker(directory=arguments.directory, management=arguments.management)
    parent = os.getppid()
    try:
        broker.start()
        facts = {"pid": broker.process.pid, "port": broker.port, "url": broker.url, "directory": broker.directory}
        with open(arguments.facts + ".new", "w") as file:
            json.dump(facts, file)
        os.rename(arguments.facts + ".new", arguments.facts)
        while not ending and broker.is_running and os.getppid() == parent:
            time.sleep(0.2)
        return 0 if ending else 1
    finally:
        broker.close(keep_log_in=arguments.keep_log_in)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="a private RabbitMQ node")
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("run", help="run a node until SIGTERM")
    verb.add_argument("--facts", required=True, help="file that tells pid, port, url and directory when it is ready")
    verb.add_argument("--directory", help="folder for everything; default: a new one under /tmp")
    verb.add_argument("--keep-log-in", help="folder that gets the node's log at the end")
    verb.add_argument("--management", action="store_true", help="with the management plugin, on a free port")
    sys.exit(run(parser.parse_args()))
