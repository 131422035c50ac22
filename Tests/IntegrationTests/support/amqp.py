"""What a producer and a worker do with pika, knowing only the contract. Each object belongs to one thread."""

import json
import time
import uuid

import pika
import pika.exceptions

from .waiting import until

DIRECT_REPLY = "amq.rabbitmq.reply-to"


class Peer:
    """A connection with one channel for work and one for questions that are answered by direct reply-to."""

    def __init__(self, url):
        self.parameters = pika.URLParameters(url)
        self.parameters.heartbeat = 30
        self.parameters.socket_timeout = 20
        self._open()

    def _open(self):
        self.connection = pika.BlockingConnection(self.parameters)
        self.channel = self.connection.channel()
        self.asking = self.connection.channel()
        self.replies = []
        self.asking.basic_consume(DIRECT_REPLY, self._on_reply, auto_ack=True)

    def _on_reply(self, _channel, _method, properties, body):
        self.replies.append((properties, body))

    def ask(self, exchange, routing_key, body, seconds=20, **properties):
        """Publishes with direct reply-to; returns (properties, decoded body) of the answer."""
        properties.setdefault("correlation_id", str(uuid.uuid4()))
        self.replies.clear()
        self.asking.basic_publish(exchange, routing_key, body, pika.BasicProperties(
            reply_to=DIRECT_REPLY, delivery_mode=2, **properties))
        deadline = time.monotonic() + seconds
        while not self.replies:
            assert time.monotonic() < deadline, f"no answer within {seconds} s"
            self.connection.process_data_events(time_limit=0.2)
        answer, text = self.replies.pop(0)
        assert answer.correlation_id == properties["correlation_id"]
        return answer, json.loads(text)

    def publish(self, exchange, routing_key, body, **properties):
        if not self.channel.is_open:
            self.channel = self.connection.channel()
        self.channel.basic_publish(exchange, routing_key, body, pika.BasicProperties(delivery_mode=2, **properties))

    def message_count(self, queue):
        """Ready messages of a queue; None when there is no such queue."""
        channel = self.connection.channel()
        try:
            count = channel.queue_declare(queue, passive=True).method.message_count
            channel.close()
            return count
        except pika.exceptions.ChannelClosedByBroker as error:
            if error.reply_code == 404:
                return None
            raise

    def get(self, queue):
        """One message of a queue, unacknowledged, or None; a queue that does not exist is an empty one."""
        if not self.channel.is_open:
            self.channel = self.connection.channel()
        try:
            method, properties, body = self.channel.basic_get(queue)
        except pika.exceptions.ChannelClosedByBroker as error:
            if error.reply_code == 404:
                return None
            raise
        except pika.exceptions.ConnectionClosedByBroker as error:
            # RabbitMQ 3.10 answers so while a quorum queue is being declared.
            if error.reply_code != 541 or "noproc" not in error.reply_text:
                raise
            self._open()
            return None
        return Delivery(self.channel, method, properties, body) if method else None

    def take(self, queue, seconds=20):
        return until(lambda: self.get(queue), seconds, f"a message should arrive in {queue}")

    def bound_queue(self, exchange, routing_key):
        """A queue of our own, bound to `exchange`; its name."""
        name = self.channel.queue_declare("", exclusive=True).method.queue
        self.channel.queue_bind(name, exchange, routing_key)
        return name

    def close(self):
        try:
            self.connection.close()
        except pika.exceptions.AMQPError:
            pass


class Producer(Peer):
    def submit(self, task, body, **properties):
        """Submits over AMQP and waits for the answer: the JSON that HTTP would give, a problem included."""
        answer, value = self.ask("taskbridge.submit", task, body, **properties)
        assert answer.type == "taskbridge.reply"
        return value


class Delivery:
    """One run as a worker holds it."""

    def __init__(self, channel, method, properties, body):
        self.channel, self.method, self.properties, self.body = channel, method, properties, body

    @property
    def token(self):
        return self.properties.correlation_id

    @property
    def headers(self):
        return self.properties.headers or {}

    @property
    def run_id(self):
        return self.headers["tb-run-id"]

    @property
    def attempt(self):
        return self.headers["tb-attempt"]

    def ack(self):
        self.channel.basic_ack(self.method.delivery_tag)

    def reject(self):
        self.channel.basic_reject(self.method.delivery_tag, requeue=False)

    def requeue(self):
        self.channel.basic_reject(self.method.delivery_tag, requeue=True)


class Worker(Peer):
    def next(self, task, seconds=20, run_id=None):
        """The next run of `task`, not acknowledged; fails when it is not the one expected."""
        delivery = self.take(f"taskbridge.run.{task}", seconds)
        assert run_id is None or delivery.run_id == run_id
        return delivery

    def report(self, held, state, seconds=20, **fields):
        """Reports on a delivery (or a bare token) and returns the bridge's verdict."""
        token = held if isinstance(held, str) else held.token
        _, verdict = self.ask("", "taskbridge.events", json.dumps({"state": state, **fields}), seconds,
                              correlation_id=token)
        return verdict

    def tell(self, held, state, **fields):
        """Reports without waiting for an answer, as most workers do."""
        self.publish("", held.properties.reply_to, json.dumps({"state": state, **fields}),
                     correlation_id=held.token)

    def work(self, task, state="completed", seconds=20, **fields):
        """Takes the next run, reports one end, acknowledges; returns (delivery, verdict)."""
        delivery = self.next(task, seconds)
        verdict = self.report(delivery, state, **fields)
        delivery.ack()
        return delivery, verdict
