#!/usr/bin/python3
"""A full disk under Catalyst: events are refused before they harm anything, consumers and groups go
on, and when there is room again it recovers by itself. On a small tmpfs, so it needs the right to
mount."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from e2e import Failed, check, dctl, main, note, processes, wait_for  # noqa: E402
from small_disk import MIB, Small  # noqa: E402

FLAGS = ["--catalyst.journal.segment-bytes=4MiB", "--catalyst.journal.reserve-bytes=16MiB"]
TEXT = "v" * 50000


def event(n):
    return {"specversion": "1.0", "id": str(n), "source": "/e2e", "type": "full.test",
            "n": n, "data": TEXT}


def publish(catalyst, n):
    """(HTTP status, text) of one event."""
    status, _, body = processes.http(
        catalyst.url("/events"), data=json.dumps(event(n)).encode(), seconds=30,
        headers={"content-type": "application/cloudevents+json"}, method="POST")
    return status, body.decode()


def publish_until_refused(catalyst, acked, most=4000):
    for _ in range(most):
        status, text = publish(catalyst, len(acked))
        if status != 200:
            return status, text
        acked.append(len(acked))
    raise Failed(f"{most} events of 50 KB were taken: the disk never filled")


def stored(catalyst, stream="default"):
    done = dctl(catalyst.address, "events", "consume", stream, "--from", "earliest", "--until-end", "-o",
                "json")
    if done.code != 0:
        raise Failed(done.err)
    return [int(json.loads(line)["event"]["id"]) for line in done.out.splitlines()]


def group_takes(catalyst, count):
    done = dctl(catalyst.address, "events", "consume", "--group", "g", "--from", "earliest",
                "--count", str(count), "-o", "json")
    return [int(json.loads(line)["event"]["id"]) for line in done.out.splitlines()]


def events_are_refused_and_taken_again(running):
    directory = processes.workdir("catalyst-full")
    small = running.add(Small(f"{directory}/small", 160 * MIB, 90 * MIB))
    catalyst = running.add(processes.service("catalyst", FLAGS, directory=small.path)).start()
    made = dctl(catalyst.address, "groups", "create", "default/g", "--from", "earliest")
    check(made.code == 0, "a group is made while there is room" + made.err)
    acked = []
    status, text = publish_until_refused(catalyst, acked)
    check(status in (429, 503, 507) and ("disk" in text or "space" in text),
          f"after {len(acked)} events: {status} {text[:200]}")
    check(catalyst.alive() and len(acked) > 20, "the service lives")
    check(stored(catalyst) == acked, "all that was acknowledged is read, and nothing else")
    took = group_takes(catalyst, 10)
    check(took == acked[:10], f"a group takes its events on a full disk: {took}")
    catalyst.kill()
    catalyst.start(60)
    check(stored(catalyst) == acked, "kill -9 on a full disk: the same is there")
    small.free()
    note("90 MB are free again")
    first = len(acked)
    wait_for("an event to be taken", lambda: publish(catalyst, first)[0] == 200, 30, every=0.1)
    acked.append(first)
    publish_until_refused(catalyst, acked)
    check(stored(catalyst) == acked, f"it took {len(acked) - first} more by itself")
    purged = dctl(catalyst.address, "streams", "purge", "default")
    check(purged.code == 0, "the stream is purged on a full disk" + purged.err)
    wait_for("an event to be taken", lambda: publish(catalyst, len(acked))[0] == 200, 30, every=0.1)
    check(True, "room made by a purge is used")
    running.things.remove(catalyst)
    catalyst.stop()
    running.things.append(catalyst)


def retention_makes_room(running):
    directory = processes.workdir("catalyst-full")
    small = running.add(Small(f"{directory}/small", 160 * MIB, 60 * MIB))
    catalyst = running.add(processes.service("catalyst", FLAGS, directory=small.path)).start()
    made = dctl(catalyst.address, "streams", "create", "short", "--take", "type=full.test",
                "--max-bytes", "16MiB")
    check(made.code == 0, "a stream that keeps 16 MiB on a disk of 100" + made.err)
    again = 0
    for n in range(4000):
        def taken(number=n):
            nonlocal again
            again += 1
            return publish(catalyst, number)[0] == 200
        wait_for("room", taken, 30)
    check(True, f"takes 200 MB of events, {again - 4000} of them not at once")
    kept = stored(catalyst, "short")
    check(kept[-1] == 3999 and kept == list(range(kept[0], 4000)) and len(kept) > 200,
          f"keeps the newest {len(kept)}")


main(events_are_refused_and_taken_again, retention_makes_room)
