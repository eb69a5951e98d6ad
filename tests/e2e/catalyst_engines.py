#!/usr/bin/python3
"""A stream that lives in a real nats-server: same calls, same answers, over restarts of either."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from e2e import check, dctl, main, processes, wait_for  # noqa: E402


class Nats:
    """Debian's nats-server on a fixed port."""

    name = "nats-server"

    def __init__(self):
        self.directory = processes.workdir("nats")
        self.port, self.monitor = processes.free_ports(2)
        self.server = None

    def start(self):
        self.server = processes.Server(
            ["nats-server", "-js", "-sd", f"{self.directory}/data", "-a", "127.0.0.1", "-p",
             str(self.port), "-m", str(self.monitor)], log=f"{self.directory}/log")
        wait_for("nats-server", lambda: processes.http(
            f"http://127.0.0.1:{self.monitor}/healthz")[0] == 200)
        return self

    def remove(self):
        self.server.stop()
        processes.rmtree(self.directory)


def produce(catalyst, stream, first, n):
    events = [{"specversion": "1.0", "id": str(i), "source": "/e2e", "type": "far.made",
               "data": {"n": i}} for i in range(first, first + n)]
    status, _, body = processes.http(
        catalyst.url("/events"), data=json.dumps(events).encode(),
        headers={"content-type": "application/cloudevents-batch+json"}, method="POST")
    if status != 200:
        raise processes.Failed(f"POST /events: {status} {body.decode()}")


def numbers(catalyst, *options):
    done = dctl(catalyst.address, "events", "consume", "far", "--from", "earliest", "--until-end",
                "-o", "json", *options)
    if done.code != 0:
        raise processes.Failed(done.err)
    return [json.loads(line)["event"]["data"]["n"] for line in done.out.splitlines()]


def a_stream_in_jetstream(running):
    nats = running.add(Nats()).start()
    catalyst = running.service(
        "catalyst", [f"--catalyst.engines.nats.url=nats://127.0.0.1:{nats.port}"])
    made = dctl(catalyst.address, "streams", "create", "far", "--backend", "nats", "--take",
                "type=far.>")
    check(made.code == 0, "a stream with backend nats is made" + made.err)
    produce(catalyst, "far", 0, 100)
    check(numbers(catalyst) == list(range(100)), "100 events come back in order")
    check(numbers(catalyst, "--sql", "id IN ('7', '9')") == [7, 9], "filters work on them")
    produce(catalyst, "far", 95, 10)
    check(numbers(catalyst) == list(range(105)), "what was stored before is not stored again")
    group = dctl(catalyst.address, "events", "consume", "far", "--group", "g", "--from", "earliest",
                 "--count", "105", "-o", "json")
    check(len(group.out.splitlines()) == 105, "a group is given each of them")
    catalyst.stop()
    nats.server.stop()
    nats.start()
    catalyst.start()
    wait_for("the stream", lambda: dctl(catalyst.address, "streams", "get", "far").code == 0)
    check(numbers(catalyst) == list(range(105)), "they are there after both were restarted")
    check(dctl(catalyst.address, "groups", "get", "far/g", "-o", "json").json()["lag"] == 0,
          "and the group has done all of them")
    produce(catalyst, "far", 105, 1)
    check(numbers(catalyst) == list(range(106)), "and the stream goes on")


def a_stream_whose_server_is_not_there_yet(running):
    nats = running.add(Nats()).start()
    catalyst = running.service(
        "catalyst", [f"--catalyst.engines.nats.url=nats://127.0.0.1:{nats.port}"])
    dctl(catalyst.address, "streams", "create", "far", "--backend", "nats", "--take", "type=far.>")
    produce(catalyst, "far", 0, 5)
    group = ("events", "consume", "far", "--group", "g", "--from", "earliest", "-o", "json",
             "--timeout", "20s", "--count")
    check(dctl(catalyst.address, *group, "5").out.count("\n") == 5, "a group takes five events")
    catalyst.stop()
    nats.server.stop()
    catalyst.start()
    event = {"specversion": "1.0", "id": "5", "source": "/e2e", "type": "far.made", "data": {"n": 5}}
    status, _, body = processes.http(
        catalyst.url("/events"), data=json.dumps(event).encode(), method="POST",
        headers={"content-type": "application/cloudevents+json"})
    check(status == 503, f"what it takes is refused: {status} {body.decode()[:200]}")
    other = dctl(catalyst.address, "events", "produce", "--type", "near.made", "{}")
    check(other.code == 0, "what others take is stored")
    done = dctl(catalyst.address, "events", "consume", "far", "--from", "earliest", "--until-end",
                "--timeout", "5s")
    check(done.code == 4 and "away" in done.err, f"reading it says so: {done.err.strip()}")
    nats.start()
    wait_for("the stream", lambda: dctl(catalyst.address, "streams", "get", "far").code == 0)
    check(numbers(catalyst) == list(range(5)), "when its server is there it opens by itself")
    produce(catalyst, "far", 5, 1)
    check(numbers(catalyst) == list(range(6)), "and goes on; nothing of it went elsewhere")
    found = dctl(catalyst.address, *group, "1")
    check(found.code == 0 and json.loads(found.out)["event"]["id"] == "5",
          f"its group goes on behind what it had {found.err}{found.out}")


def what_is_not_configured_is_refused_by_its_key(running):
    catalyst = running.service("catalyst")
    for engine in ("nats", "kafka"):
        done = dctl(catalyst.address, "streams", "create", "far", "--backend", engine)
        check(done.code == 1 and f"catalyst.engines.{engine}.url" in done.err,
              f"backend {engine}: {done.err.strip()}")
    done = dctl(catalyst.address, "streams", "create", "far", "--backend", "pulsar")
    check(done.code != 0 and "journal, nats or kafka" in done.err, done.err.strip())


main(a_stream_in_jetstream, a_stream_whose_server_is_not_there_yet,
     what_is_not_configured_is_refused_by_its_key)
