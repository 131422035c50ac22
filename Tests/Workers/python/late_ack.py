"""A worker that acknowledges after its last report: right for work of seconds. Usage: late_ack.py TASK"""

import json
import os
import sys
import time

import pika

import job


def serve(task, url):
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()  # publish returns once the broker has the report: only then acknowledge the run
        channel.basic_qos(prefetch_count=1)
        for method, run, body in channel.consume(f"taskbridge.run.{task}"):
            report = job.run(body, run.headers["tb-attempt"])
            token = pika.BasicProperties(correlation_id=run.correlation_id, delivery_mode=2)
            channel.basic_publish("", run.reply_to, json.dumps(report), token)
            channel.basic_ack(method.delivery_tag)


while True:
    try:
        serve(sys.argv[1], os.environ["TASKBRIDGE_AMQP_URL"])
    except pika.exceptions.AMQPError:  # no queue before the first run; the broker may go and come back
        time.sleep(0.5)
