"""The work of the example workers, and how its end becomes a report."""

import gzip
import hashlib
import json
import threading


def work(payload, attempt, stop):
    """Compresses and hashes a file. Fails the first `fail_attempts` attempts; lasts `seconds`, unless told to stop."""
    if attempt <= payload.get("fail_attempts", 0):
        raise RuntimeError(f"attempt {attempt} fails as asked")
    stop.wait(payload.get("seconds", 0))
    with open(payload["path"], "rb") as file:
        data = file.read()
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), "gzip_bytes": len(gzip.compress(data))}


def run(body, attempt, stop=threading.Event()):
    """Does the work and gives the last report. Wrong input or a missing file stays wrong: not retryable."""
    try:
        result = work(json.loads(body), attempt, stop)
        return {"state": "cancelled"} if stop.is_set() else {"state": "completed", "result": result}
    except Exception as error:
        return {"state": "failed", "error": {
            "type": type(error).__name__, "message": str(error),
            "retryable": not isinstance(error, (OSError, ValueError, KeyError, TypeError, AttributeError))}}
