"""Load for the ledgers, one process per role, so that Python's own speed is no limit:

    load.py http  PORT TASK RATE FILE     submits over HTTP
    load.py amqp  URL  TASK RATE FILE     submits over AMQP with message_id, waits for the answer
    load.py work  URL  TASK               works: completes, claims, fails first, rejects first, says things twice

A producer writes one line "<key> <sha256 of the payload>" to FILE for each run the bridge has accepted, and asks again
for what was not answered. SIGTERM: producers make nothing new, wait for what is unanswered, end with 0; workers end.
"""

import collections
import hashlib
import http.client
import json
import os
import signal
import sys
import time
import uuid

import pika

OPTIONS = {"lease_seconds": 5, "max_lost": 50, "max_attempts": 8,
           "retry": {"strategy": "constant", "initial_seconds": 0.2}}
UNANSWERED_SECONDS = 5
FINISH_SECONDS = 120

ending = []
signal.signal(signal.SIGTERM, lambda *_: ending.append(True))


class Schedule:
    """Says how many runs are due by now: a steady rate, which catches up after a pause."""

    def __init__(self, rate):
        self.rate, self.begun, self.made = rate, time.monotonic(), 0

    def due(self):
        return 0 if ending else int((time.monotonic() - self.begun) * self.rate) - self.made


def refused(text):
    sys.exit(f"a good submission was refused: {text}")


def produce_http(port, task, rate, path):
    schedule, waiting, connection, stop_at = Schedule(rate), collections.deque(), None, None
    with open(path, "a", buffering=1) as ledger:
        while not ending or waiting:
            stop_at = stop_at or (time.monotonic() + FINISH_SECONDS if ending else None)
            if stop_at and time.monotonic() > stop_at:
                sys.exit(f"{len(waiting)} submissions over HTTP found no answer")
            for _ in range(min(schedule.due(), 1000)):
                payload = json.dumps({"n": schedule.made, "pad": "ü" * (schedule.made % 50)}, ensure_ascii=False)
                waiting.append((f"http-{os.getpid()}-{schedule.made}", payload))
                schedule.made += 1
            if not waiting:
                time.sleep(0.002)
                continue
            key, payload = waiting[0]
            body = json.dumps({"task": task, "idempotency_key": key, **OPTIONS})[:-1] + ',"payload":' + payload + "}"
            try:
                if connection is None:
                    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=10)
                connection.request("POST", "/v1/runs", body.encode(), {"Content-Type": "application/json"})
                response = connection.getresponse()
                text = response.read()
            except (OSError, http.client.HTTPException):
                if connection is not None:
                    connection.close()
                connection = None
                time.sleep(0.05)
                continue
            if response.status in (200, 201):
                waiting.popleft()
                ledger.write(f"{key} {hashlib.sha256(payload.encode()).hexdigest()}\n")
            elif response.status in (429, 503):
                time.sleep(0.1)
            else:
                refused(text)


def produce_amqp(url, task, rate, path):
    schedule, unanswered, stop_at = Schedule(rate), {}, None
    headers = {"tb-lease-seconds": OPTIONS["lease_seconds"], "tb-max-lost": OPTIONS["max_lost"],
               "tb-max-attempts": OPTIONS["max_attempts"]}

    with open(path, "a", buffering=1) as ledger:
        def answered(_channel, _method, properties, body):
            answer = json.loads(body)
            if answer.get("outcome") in ("inserted", "duplicate"):
                key = properties.correlation_id
                if key in unanswered:
                    ledger.write(f"{key} {hashlib.sha256(unanswered.pop(key)[0]).hexdigest()}\n")
            elif answer.get("status") not in (429, 503):
                refused(body)

        while not ending or unanswered:
            try:
                connection = pika.BlockingConnection(pika.URLParameters(url))
                channel = connection.channel()
                channel.basic_consume("amq.rabbitmq.reply-to", answered, auto_ack=True)
                for key, (payload, _) in unanswered.items():
                    unanswered[key] = (payload, 0)
                while not ending or unanswered:
                    stop_at = stop_at or (time.monotonic() + FINISH_SECONDS if ending else None)
                    if stop_at and time.monotonic() > stop_at:
                        sys.exit(f"{len(unanswered)} submissions over AMQP found no answer")
                    now = time.monotonic()
                    for _ in range(min(schedule.due(), 1000)):
                        key = f"amqp-{os.getpid()}-{schedule.made}"
                        unanswered[key] = (hashlib.sha256(key.encode()).digest() * (1 + schedule.made % 9), 0)
                        schedule.made += 1
                    for key, (payload, sent) in list(unanswered.items()):
                        if sent == 0 or now - sent > UNANSWERED_SECONDS:
                            unanswered[key] = (payload, now)
                            channel.basic_publish("taskbridge.submit", task, payload, pika.BasicProperties(
                                message_id=key, correlation_id=key, reply_to="amq.rabbitmq.reply-to", delivery_mode=2,
                                content_type="application/octet-stream", headers=headers))
                    connection.process_data_events(time_limit=0.01)
                connection.close()
            except (pika.exceptions.AMQPError, OSError):
                if stop_at and time.monotonic() > stop_at:
                    sys.exit(f"{len(unanswered)} submissions over AMQP found no broker")
                time.sleep(0.2)


def work(url, task):
    claim = str(uuid.uuid4())

    def on_message(channel, method, run, body):
        def say(state, **fields):
            channel.basic_publish("", run.reply_to, json.dumps({"state": state, **fields}), pika.BasicProperties(
                correlation_id=run.correlation_id, delivery_mode=2))

        result = hashlib.sha256(body).hexdigest()
        first = run.headers["tb-attempt"] == 1
        style = int(hashlib.sha256(run.headers["tb-run-id"].encode()).hexdigest(), 16) % 20
        if first and style == 0:
            channel.basic_reject(method.delivery_tag, requeue=False)
            return
        if style < 6:
            say("running", claim=claim, worker="load")
            channel.basic_ack(method.delivery_tag)
            if first and style < 3:
                say("failed", claim=claim, error={"type": "Boom", "message": "the first time"})
            else:
                say("completed", claim=claim, result=result)
        else:
            say("completed", result=result)
            if style < 8:
                say("completed", result="a repeat")
            channel.basic_ack(method.delivery_tag)

    while not ending:
        try:
            connection = pika.BlockingConnection(pika.URLParameters(url))
            channel = connection.channel()
            channel.basic_qos(prefetch_count=20)
            cancelled = []
            channel.add_on_cancel_callback(cancelled.append)
            channel.basic_consume(f"taskbridge.run.{task}", on_message)
            while not ending and not cancelled:
                connection.process_data_events(time_limit=0.2)
            connection.close()
        except (pika.exceptions.AMQPError, OSError):
            time.sleep(0.2)


if __name__ == "__main__":
    role, address, key = sys.argv[1:4]
    if role == "work":
        work(address, key)
    else:
        {"http": produce_http, "amqp": produce_amqp}[role](address, key, float(sys.argv[4]), sys.argv[5])
