"""The line between bridge and broker is cut, delayed, dribbles or falls silent under load."""

import os
import random
from types import SimpleNamespace

from support.proxy import Proxy
from support.rules import check_store
from support.waiting import until
from test_ledgers import CONFIG, balance, new_load, tell  # noqa: F401

FAULTS = int(os.environ.get("TASKBRIDGE_LINE_FAULTS", "8"))


def test_a_bad_line_loses_nothing(new_bridge, new_load, broker, capsys):  # noqa: F811
    """N6: it reconnects by itself, `/readyz` tells the outage, nothing hangs over 30 s, each accepted run ends once."""
    url = broker.vhost_url(broker.new_vhost())
    proxy = Proxy(broker.port)
    try:
        bridge = new_bridge({**CONFIG, "heartbeat_seconds": 1},
                            amqp_url=url.replace(f":{broker.port}/", f":{proxy.port}/"))
        load = new_load(SimpleNamespace(api=bridge.api, port=bridge.port, amqp_url=url))
        load.start_workers()
        load.start_producers()
        chance = random.Random(6)
        kinds = ["cut", "silence", "delay", "dribble"] * (FAULTS // 4)
        chance.shuffle(kinds)
        for kind in kinds:
            until(load.is_flowing(len(load.accepted()) + chance.randrange(20, 120)), 30, "submissions are accepted")
            if kind == "cut":
                proxy.cut()
            else:
                proxy.mode = kind
            if kind == "silence":
                until(lambda: bridge.readyz().status == 503, 30, "the outage is told")
            else:
                until(load.is_flowing(len(load.accepted()) + 30), 30, f"submissions are accepted after {kind}")
            proxy.mode = "pass"
            until(lambda: bridge.readyz().status == 200, 30, f"ready again after {kind}")
        load.finish_producers()

        counts = balance(load)
        check_store(bridge.api, limit=300)
        tell(capsys, "bad-line", faults=len(kinds), **counts)
    finally:
        proxy.close()
