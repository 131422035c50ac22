"""Waiting for a condition with a deadline. No test sleeps for a fixed time to be on the safe side."""

import time


def until(condition, seconds=20, what=None, every=0.05):
    """Calls `condition` until it is true and returns what it gave; fails after `seconds`, naming the last value."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds} s: {what or condition.__name__}; last value {value!r}")
        time.sleep(every)
