"""A tiny HTTP client and the calls of the bridge's API that the tests use. The standard library only."""

import http.client
import json as jsonlib
import socket
from urllib.parse import quote, urlencode

from .waiting import until

TERMINAL = {"completed", "failed", "dead_lettered", "dependency_failed", "cancelled", "expired", "superseded"}


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self):
        return jsonlib.loads(self.body)

    @property
    def code(self):
        """The stable code of a problem; None for anything else."""
        try:
            return self.json.get("code")
        except (ValueError, AttributeError):
            return None

    def __repr__(self):
        return f"<{self.status} {self.body[:600]!r}>"


class Unreachable(Exception):
    """The bridge did not answer: it is down, or went away in the middle."""


class API:
    """One bridge over HTTP, a new connection for each call unless `keep` is set (then for use by one thread only)."""

    def __init__(self, port, keep=False):
        self.port = port
        self.keep = keep
        self.connection = None

    def call(self, method, path, json=None, body=None, headers=None, timeout=30):
        headers = dict(headers or {})
        if json is not None:
            body = jsonlib.dumps(json)
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
            if isinstance(body, str):
                body = body.encode()
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
            self.connection.request(method, path, body=body, headers=headers)
            response = self.connection.getresponse()
            answer = Answer(response.status, response.headers, response.read())
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Unreachable(str(error)) from error
        if not self.keep:
            self.close()
        return answer

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def get(self, path, **query):
        pairs = [(key, value) for key, values in query.items()
                 for value in (values if isinstance(values, list) else [values])]
        return self.call("GET", path + ("?" + urlencode(pairs) if pairs else ""))

    def post(self, path, json=None, **options):
        return self.call("POST", path, json=json if json is not None or "body" in options else {}, **options)

    def posted(self, path, fields=None):
        """The answer to what must be 200."""
        answer = self.post(path, fields or {})
        assert answer.status == 200, answer
        return answer.json

    def raw(self, data, timeout=20):
        """Sends bytes as they are and returns what comes back until the peer closes or falls silent."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as connection:
            connection.sendall(data)
            received = b""
            try:
                while b"\r\n\r\n" not in received or len(received) < 16:
                    chunk = connection.recv(65536)
                    if not chunk:
                        break
                    received += chunk
            except TimeoutError:
                pass
            return received

    # Runs.

    def submit(self, task, payload=None, expect=(200, 201), headers=None, **fields):
        """Submits one run; returns the whole answer (`outcome`, `run`, …)."""
        answer = self.post("/v1/runs", {"task": task, "payload": payload, **fields}, headers=headers)
        assert answer.status in expect, answer
        return answer.json

    def submit_run(self, task, payload=None, **fields):
        return self.submit(task, payload, **fields)["run"]

    def run(self, run_id):
        answer = self.get(f"/v1/runs/{run_id}")
        assert answer.status == 200, answer
        return answer.json

    def items(self, path, **query):
        """All items of a list, page by page."""
        found, cursor = [], None
        while True:
            answer = self.get(path, **query, **({"cursor": cursor} if cursor else {}))
            assert answer.status == 200, answer
            page = answer.json
            assert isinstance(page["items"], list) and "next_cursor" in page, page
            found += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    def attempts(self, run_id):
        return sorted(self.items(f"/v1/runs/{run_id}/attempts"), key=lambda attempt: attempt["number"])

    def audit(self, run_id):
        """The run's audit rows, oldest first."""
        rows = self.items(f"/v1/runs/{run_id}/audit")
        return order_audit(rows)

    def reports(self, run_id):
        return self.items(f"/v1/runs/{run_id}/reports")

    def errors(self, run_id):
        return self.items(f"/v1/runs/{run_id}/errors")

    def wait_state(self, run_id, *states, seconds=20):
        def reached():
            run = self.run(run_id)
            assert run["state"] in states or run["state"] not in TERMINAL, \
                f"run {run_id} ended {run['state']}, expected {states}: {run.get('last_error')}"
            return run if run["state"] in states else None
        return until(reached, seconds, f"run {run_id} should be {' or '.join(states)}")

    def count(self, **filters):
        """How many runs match the filters."""
        return self.posted("/v1/runs/count", filters)["count"]

    def counts(self):
        """Runs by state, states without runs left out."""
        answer = self.get("/v1/snapshot")
        assert answer.status == 200, answer
        return {state: count for state, count in answer.json["counts"].items() if count}

    def report(self, token, state, **fields):
        answer = self.post("/v1/attempts/report", {"token": token, "state": state, **fields})
        assert answer.status == 200, answer
        return answer.json

    def dead_letter(self, run_id):
        answer = self.get(f"/v1/dead-letters/{quote(run_id)}")
        assert answer.status == 200, answer
        return answer.json

    def quarantine(self, **query):
        return self.items("/v1/quarantine", **query)


def ids(items):
    return [item["id"] for item in items]


def order_audit(rows):
    """Oldest first by the chain of states, whichever way round the list came: times may be equal."""
    if rows and rows[0]["previous_state"] is not None and rows[-1]["previous_state"] is None:
        rows = rows[::-1]
    return rows
