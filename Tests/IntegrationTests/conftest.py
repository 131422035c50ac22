"""Fixtures. One broker for the session (a virtual host for each bridge), one bridge for each module that asks for
`bridge`; tests that kill or starve something ask for `new_bridge` or `new_broker` and get their own."""

import base64
import os
import re
import sys
import urllib.request
import uuid

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from support import ROOT  # noqa: E402

sys.path.insert(0, os.path.join(ROOT, "scripts"))
from broker import Broker  # noqa: E402
from support.amqp import Producer, Worker  # noqa: E402
from support.bridge import BINARY, Bridge  # noqa: E402
from support.rules import check_store  # noqa: E402

LOGS = os.environ.get("TASKBRIDGE_TEST_LOGS", os.path.join(ROOT, ".build-logs"))

# A task key with `wire: envelope` for each bridge, and bounds that tests rely on.
MODULE_CONFIG = {"tasks": {"wire.envelope": {"wire": "envelope"}, "worker.bash": {"wire": "envelope"}}}


def pytest_configure(config):
    assert os.access(BINARY, os.X_OK), f"{BINARY} is missing: swift build -c release --product taskbridge"
    os.makedirs(LOGS, exist_ok=True)


def pytest_sessionfinish(session, exitstatus):
    # A skipped broker test would look like a passed one.
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure comes with the last words of its bridges and of the brokers it started."""
    report = (yield).get_result()
    if not report.failed or call.when != "call":
        return
    bridges = [item.funcargs.get("bridge"), *getattr(item.funcargs.get("new_bridge"), "made", [])]
    for bridge in filter(None, bridges):
        report.sections.append((f"bridge {bridge.port}", last_lines(bridge.log_path, 40)))
    for broker in getattr(item.funcargs.get("new_broker"), "made", []):
        report.sections.append((f"broker {broker.port}", last_lines(broker.log_path, 40, (b"[error]", b"[warning]"))))


def last_lines(path, count, words=(b"",)):
    """The last `count` lines of a file that have one of `words`."""
    try:
        with open(path, "rb") as file:
            lines = [line for line in file.read().splitlines() if any(word in line for word in words)]
    except OSError as error:
        return str(error)
    return b"\n".join(lines[-count:]).decode(errors="replace")


class SharedBroker(Broker):
    """The session's broker; a virtual host is a clean broker for a bridge, made in milliseconds."""

    def __init__(self):
        super().__init__(management=True)

    def manage(self, method, path, body=None):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.management_port}/api/{path}", method=method, data=body,
            headers={"Authorization": "Basic " + base64.b64encode(b"guest:guest").decode(),
                     "Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.read()

    def new_vhost(self):
        name = "test-" + uuid.uuid4().hex[:8]
        self.manage("PUT", f"vhosts/{name}")
        self.manage("PUT", f"permissions/{name}/guest", b'{"configure":".*","write":".*","read":".*"}')
        return name


@pytest.fixture(scope="session")
def broker():
    broker = SharedBroker()
    broker.start()
    yield broker
    broker.close(keep_log_in=LOGS)


def log_name(request):
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", request.node.name)[:100]


@pytest.fixture(scope="module")
def bridge(broker, tmp_path_factory, request):
    bridge = Bridge(tmp_path_factory.mktemp("bridge"), broker.vhost_url(broker.new_vhost()), MODULE_CONFIG,
                    log=os.path.join(LOGS, log_name(request) + ".log"))
    bridge.start()
    yield bridge
    try:
        check_store(bridge.api)
    finally:
        bridge.close()


@pytest.fixture
def api(bridge):
    return bridge.api


@pytest.fixture
def worker(bridge):
    worker = Worker(bridge.amqp_url)
    yield worker
    worker.close()


@pytest.fixture
def producer(bridge):
    producer = Producer(bridge.amqp_url)
    yield producer
    producer.close()


@pytest.fixture
def task():
    """A task key that no other test uses."""
    return "test." + uuid.uuid4().hex[:10]


@pytest.fixture
def new_bridge(broker, tmp_path, request):
    """Makes bridges of the test's own; each is checked (its audit) and stopped at the end."""
    made, checked = [], []

    def make(config=None, amqp_url=None, start=True, check=True, **options):
        url = amqp_url or broker.vhost_url(broker.new_vhost())
        log = os.path.join(LOGS, f"{log_name(request)}-{len(made)}.log")
        bridge = Bridge(tmp_path / f"bridge{len(made)}", url, config, log=log)
        made.append(bridge)
        if check:
            checked.append(bridge)
        return bridge.start(**options) if start else bridge

    make.made = made
    yield make
    try:
        for bridge in checked:
            if bridge.process is not None and bridge.process.poll() is None:
                check_store(bridge.api, limit=200)
    finally:
        for bridge in made:
            bridge.close()


@pytest.fixture
def new_broker():
    """Makes brokers of the test's own, not started."""
    made = []

    def make(**options):
        made.append(Broker(**options))
        return made[-1]

    make.made = made
    yield make
    for broker in made:
        broker.close(keep_log_in=LOGS)


@pytest.fixture
def connect():
    """Makes workers and producers for a URL; closes them at the end."""
    made = []

    def make(kind, url):
        made.append(kind(url))
        return made[-1]

    yield make
    for peer in made:
        peer.close()
