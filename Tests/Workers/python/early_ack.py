"""A worker for work of any length: claims the run, goes on only when the bridge says so, acknowledges, and sends
heartbeats; an answer may tell it to stop. Usage: early_ack.py TASK"""
import concurrent.futures, json, os, sys, threading, time, uuid  # noqa: E401

import job, pika  # noqa: E401

CLAIM, BEAT_SECONDS, DIRECT_REPLY = str(uuid.uuid4()), 5, "amq.rabbitmq.reply-to"


def serve(task, connection, pool):
    channel, answers = connection.channel(), []
    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(DIRECT_REPLY, lambda *message: answers.append(json.loads(message[3])), auto_ack=True)
    for method, run, body in channel.consume(f"taskbridge.run.{task}"):
        def say(**report):  # again every 10 s until there is an answer: a repeat changes nothing
            answers.clear()
            told = pika.BasicProperties(correlation_id=run.correlation_id, reply_to=DIRECT_REPLY, delivery_mode=2)
            while not answers:
                channel.basic_publish("", run.reply_to, json.dumps({"claim": CLAIM, **report}), told)
                again_at = time.monotonic() + 10
                while not answers and time.monotonic() < again_at:
                    connection.process_data_events(time_limit=1)
            return answers.pop()["action"]
        goes_on = say(state="running", next_report_seconds=BEAT_SECONDS) == "continue"
        channel.basic_ack(method.delivery_tag)
        if goes_on:  # else another worker holds this run, or it was cancelled
            work = pool.submit(job.run, body, run.headers["tb-attempt"], stop := threading.Event())
            while not concurrent.futures.wait([work], timeout=BEAT_SECONDS).done:
                if say(state="heartbeat", next_report_seconds=BEAT_SECONDS) == "stop":
                    stop.set()
            say(**work.result())


while True:
    try:
        with pika.BlockingConnection(pika.URLParameters(os.environ["TASKBRIDGE_AMQP_URL"])) as broker:
            serve(sys.argv[1], broker, concurrent.futures.ThreadPoolExecutor(1))
    except pika.exceptions.AMQPError:  # no queue before the first run; the broker may go and come back
        time.sleep(0.5)
