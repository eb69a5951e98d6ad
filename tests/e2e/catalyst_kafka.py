#!/usr/bin/python3
"""A stream that lives in Kafka, through Catalyst's own calls: produced with acknowledgements,
subscribed to, in a group, over restarts and a kill -9 of Catalyst. The cluster is librdkafka's mock,
three brokers in a process of its own, since Debian has no Kafka."""
import json
import os
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from e2e import (Client, Failed, actors_pb, check, dctl, events_pb, grpc, main,  # noqa: E402
                 processes, wait_for)

PRODUCE = "core.message_broker.actors.v1.Producer/Produce"
SUBSCRIBE = "draft.events.v1.EventService/Subscribe"


class Kafka:
    """Three brokers that know the topic of the stream `far`."""

    name = "kafka_mock"

    def __init__(self):
        self.process = subprocess.Popen([f"{processes.BIN}/kafka_mock", "3", "draft-far"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.servers = self.process.stdout.readline().strip()
        if not self.servers:
            raise Failed("kafka_mock did not start")

    def say(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        if self.process.stdout.readline() != "ok\n":
            raise Failed(f"kafka_mock does not obey '{command}'")

    def remove(self):
        self.process.stdin.close()
        self.process.wait(20)


def event(n):
    return actors_pb.CloudEvent(id=str(n), source="/e2e", spec_version="1.0", type="far.made",
                                text_data=f"event {n}")


def produce(client, numbers, seconds=60):
    """Single events; the answers in their order."""
    requests = (actors_pb.ProduceRequest(message=event(n)) for n in numbers)
    return list(client.bidi(PRODUCE, requests, actors_pb.ProduceResponse, seconds))


def acknowledged(answers):
    return [int(a.id) for a in answers if not a.HasField("refusal")]


class Subscription:
    """What a subscriber was given so far, as (sequence, number)."""

    def __init__(self, client, **start):
        self.given, self.more, self.over = [], threading.Condition(), threading.Event()
        request = events_pb.SubscribeRequest(stream="far", credit=100000, progress_ms=100,
                                             start=events_pb.Start(**start))

        def requests():
            yield request
            self.over.wait()

        self.stream = client.bidi(SUBSCRIBE, requests(), events_pb.SubscribeResponse)
        self.standing, self.error = False, None
        self.thread = threading.Thread(target=self.follow, daemon=True)
        self.thread.start()

    def follow(self):
        try:
            for answer in self.stream:
                with self.more:
                    self.standing = True
                    for delivery in answer.deliveries:
                        self.given.append((delivery.sequence, int(delivery.event.id)))
                        if delivery.event.text_data != f"event {delivery.event.id}":
                            raise Failed(f"not what was sent: {delivery.event}")
                    self.more.notify_all()
        except grpc.RpcError as error:
            self.error = error
        except Failed as error:
            self.error = error

    def wait(self, n):
        with self.more:
            self.more.wait_for(lambda: len(self.given) >= n or self.error, 60)
        if self.error:
            raise Failed(f"the subscription ended: {self.error}")
        return self.given

    def end(self):
        self.over.set()
        self.stream.cancel()
        self.thread.join(10)


def subscribed(client, n):
    """The first n events of the stream."""
    subscription = Subscription(client, earliest=True)
    given = list(subscription.wait(n))
    subscription.end()
    return given


def in_order(n):
    return [(i + 1, i) for i in range(n)]


def stored(catalyst):
    """All there is, by number."""
    done = dctl(catalyst.address, "events", "consume", "far", "--from", "earliest", "--until-end",
                "-o", "json", "--timeout", "30s")
    if done.code != 0:
        raise Failed(done.err)
    return [int(json.loads(line)["event"]["id"]) for line in done.out.splitlines()]


def wait_for_stream(catalyst):
    wait_for("the stream", lambda: dctl(catalyst.address, "streams", "get", "far").code == 0, 60)


def started(running, kafka):
    catalyst = running.service("catalyst", [f"--catalyst.engines.kafka.url={kafka.servers}"])
    made = dctl(catalyst.address, "streams", "create", "far", "--backend", "kafka", "--take",
                "type=far.>", "--timeout", "30s")
    check(made.code == 0, "a stream with backend kafka is made " + made.err)
    return catalyst


def a_stream_in_kafka(running):
    kafka = running.add(Kafka())
    catalyst = started(running, kafka)
    client = Client(catalyst.address)
    live = Subscription(client, new=True)
    wait_for("the subscription", lambda: live.standing)
    check(acknowledged(produce(client, range(300))) == list(range(300)),
          "300 single events are acknowledged, each by its id, in order")
    check(live.wait(300) == in_order(300), "a subscriber that stood there is given each of them")
    live.end()
    check(subscribed(client, 300) == in_order(300), "and so is one that comes later")
    check(acknowledged(produce(client, range(290, 310))) == list(range(290, 310)),
          "events that are sent again are acknowledged")
    check(stored(catalyst) == list(range(310)), "and not stored again")
    group = ("events", "consume", "far", "--group", "g", "--from", "earliest", "-o", "json",
             "--timeout", "30s", "--count")
    check(dctl(catalyst.address, *group, "310").out.count("\n") == 310,
          "a group is given each of them")
    client.close()
    catalyst.stop()
    catalyst.start()
    wait_for_stream(catalyst)
    client = Client(catalyst.address)
    check(subscribed(client, 310) == in_order(310), "they are there after a restart of Catalyst")
    check(acknowledged(produce(client, range(300, 320))) == list(range(300, 320)) and
          stored(catalyst) == list(range(320)), "which still knows what it had")
    found = dctl(catalyst.address, *group, "10")
    check([json.loads(line)["event"]["id"] for line in found.out.splitlines()] ==
          [str(n) for n in range(310, 320)], f"and where its group stood {found.err}")
    client.close()


def killed_while_producing(running):
    kafka = running.add(Kafka())
    catalyst = started(running, kafka)
    done = 0
    for _ in range(3):
        client = Client(catalyst.address)
        stream = client.bidi(PRODUCE, (actors_pb.ProduceRequest(message=event(n))
                                       for n in range(done, done + 5000)),
                             actors_pb.ProduceResponse)
        until = done + 700
        try:
            for answer in stream:
                if answer.HasField("refusal") or answer.id != str(done):
                    raise Failed(f"event {done}: {answer}")
                done += 1
                if done == until:
                    catalyst.kill()
        except grpc.RpcError:
            pass
        client.close()
        catalyst.start()
        wait_for_stream(catalyst)
        kept = stored(catalyst)
        check(kept[:done] == list(range(done)) and kept == list(range(len(kept))),
              f"{done} were acknowledged, {len(kept)} are there, each once and in order")
    client = Client(catalyst.address)
    check(acknowledged(produce(client, range(done, done + 100))) == list(range(done, done + 100)),
          "those without an answer are sent again")
    kept = stored(catalyst)
    check(kept == list(range(max(len(kept), done + 100))), "and stored once")
    client.close()


def what_kafka_does_not_take_is_refused(running):
    kafka = running.add(Kafka())
    catalyst = started(running, kafka)
    client = Client(catalyst.address)
    check(acknowledged(produce(client, range(5))) == list(range(5)), "five events are acknowledged")
    kafka.say("refuse 1")
    answers = produce(client, [5])
    check(answers[0].refusal.code == grpc.StatusCode.PERMISSION_DENIED.value[0],
          f"the broker refuses one: {answers[0].refusal.text}")
    wait_for("the topic", lambda: acknowledged(produce(client, [5])) == [5])
    check(stored(catalyst) == list(range(6)), "sent again it is stored, once")
    kafka.say("down")
    answers = produce(client, [6])
    check(len(answers) == 1 and answers[0].HasField("refusal"),
          f"without brokers an event is refused: {answers[0].refusal.text}")
    near = dctl(catalyst.address, "events", "produce", "--type", "near.made", "{}")
    check(near.code == 0, "what goes elsewhere is stored")
    client.close()
    catalyst.stop()
    catalyst.start()
    client = Client(catalyst.address)
    wait_for("the refusal", lambda: produce(client, [6])[0].refusal.code ==
             grpc.StatusCode.UNAVAILABLE.value[0])
    check(True, "started without brokers Catalyst refuses what the stream takes")
    kafka.say("up")
    wait_for_stream(catalyst)
    check(acknowledged(produce(client, [6])) == [6] and stored(catalyst) == list(range(7)),
          "it opens when they are back, and nothing of it went elsewhere")
    client.close()


if not os.path.exists(f"{processes.BIN}/kafka_mock"):
    print("  skip built without librdkafka")
    sys.exit(0)
main(a_stream_in_kafka, killed_while_producing, what_kafka_does_not_take_is_refused)
