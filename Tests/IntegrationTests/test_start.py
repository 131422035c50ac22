"""What `taskbridge serve` says when it cannot start."""

import socket
import subprocess

from support.bridge import Bridge, environment


def test_a_failed_start_says_why_and_nothing_else(broker, tmp_path):
    """The last line names the address and the next step; what was broken off by it is not in the log."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        bridge = Bridge(tmp_path, broker.vhost_url(broker.new_vhost()))
        bridge.port = holder.getsockname()[1]

        # What is under way at that moment differs from start to start.
        for _ in range(5):
            done = subprocess.run(bridge.command(), capture_output=True, text=True, timeout=60, env=environment())
            *before, last = done.stderr.splitlines()

            assert done.returncode == 1
            assert last.startswith(f"taskbridge: cannot listen on 127.0.0.1:{bridge.port}: the address is in use.")
            assert [line for line in before if " error " in line or " warning " in line] == []
            assert not any("CancellationError" in line or "listens on" in line for line in before)
