#!/usr/bin/python3
"""A flipped byte in Catalyst's files, after kill -9 and after a clean stop: it refuses to start and
names file and offset; a torn tail starts with everything acknowledged."""
import json
import os
import shutil
import signal
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from e2e import Failed, check, dctl, main, processes, wait_for  # noqa: E402

FLAGS = ["--catalyst.journal.segment-bytes=4MiB"]
EVENTS = 400


def records(path):
    """(offset, length) of each record of a segment, as chassis/journal/format.h tells."""
    found = []
    with open(path, "rb") as f:
        data = f.read()
    at = 512
    while at + 64 <= len(data) and data[at:at + 4] == b"JDRC":
        length = struct.unpack_from("<I", data, at + 20)[0]
        found.append((at, length))
        at += (64 + length + 7) & ~7
    return found


class Frozen:
    """A Catalyst that was stopped, and a copy of its journal to begin from again and again."""

    def __init__(self, running, how):
        self.catalyst = running.service("catalyst", FLAGS)
        self.journal = f"{self.catalyst.data}/journal"
        made = dctl(self.catalyst.address, "streams", "create", "orders", "--take", "type=order.>")
        if made.code != 0:
            raise Failed(made.err)
        for first in range(0, EVENTS, 20):
            self.publish(first, 20)
        self.catalyst.stop(how)
        self.copy = f"{self.catalyst.directory}/frozen"
        shutil.copytree(self.journal, self.copy)

    def publish(self, first, n):
        batch = [{"specversion": "1.0", "id": str(i), "source": "/e2e", "type": "order.made",
                  "data": "x" * (i % 300)} for i in range(first, first + n)]
        status, _, body = processes.http(
            self.catalyst.url("/events"), data=json.dumps(batch).encode(), method="POST",
            headers={"content-type": "application/cloudevents-batch+json"})
        if status != 200:
            raise Failed(f"POST /events: {status} {body.decode()}")

    def thaw(self):
        self.catalyst.kill()
        shutil.rmtree(self.journal)
        shutil.copytree(self.copy, self.journal)
        open(self.catalyst.log, "wb").close()

    def segments(self):
        return sorted(n for n in os.listdir(self.copy)
                      if n.endswith(".seg") and records(f"{self.copy}/{n}"))

    def flip(self, name, offset):
        with open(f"{self.journal}/{name}", "r+b") as f:
            f.seek(offset)
            byte = f.read(1)[0]
            f.seek(offset)
            f.write(bytes([byte ^ 0x10]))

    def refuses(self, name, text):
        self.catalyst.spawn()
        try:
            wait_for("its end", lambda: not self.catalyst.alive(), 20)
        except Failed:
            raise Failed(f"{text}: it started") from None
        code, log = self.catalyst.server.process.returncode, self.catalyst.tail(100)
        check(code > 0 and name in log and "offset" in log,
              f"{text}: ends with {code}, naming '{name}' and an offset" if name in log else
              f"{text}: {log}")

    def all_there(self, text):
        self.catalyst.start()
        done = dctl(self.catalyst.address, "events", "consume", "orders", "--from", "earliest",
                    "--until-end", "-o", "json")
        found = [json.loads(line)["event"]["id"] for line in done.out.splitlines()]
        check(found == [str(i) for i in range(EVENTS)], f"{text}: all {EVENTS} events, in order")


def flipped(running, how):
    frozen = Frozen(running, how)
    frozen.thaw()
    frozen.all_there("undamaged")
    last = frozen.segments()[-1]
    found = records(f"{frozen.copy}/{last}")
    middle, first, end = found[len(found) // 2], found[0], found[-1]
    cases = [(last, 4, "the header of a segment"),
             (last, first[0] + 70, "the first record (the catalog)"),
             (last, middle[0] + 1, "the mark of a record in the middle"),
             (last, middle[0] + 40, "the index of an event"),
             (last, middle[0] + 64 + middle[1] // 2, "the content of an event"),
             (last, end[0] + 30, "the last durable record")]
    cases += [("high-water", at, f"high-water at {at}") for at in (1, 9, 26)]
    for name, offset, text in cases:
        frozen.thaw()
        frozen.flip(name, offset)
        frozen.refuses(name, f"a flipped byte in {text}")
    for name, offset, text in cases[4:5]:
        frozen.thaw()
    frozen.all_there("the untouched copy")


def a_flipped_byte_after_kill(running):
    flipped(running, signal.SIGKILL)


def a_flipped_byte_after_a_clean_stop(running):
    flipped(running, signal.SIGTERM)


def a_torn_tail_starts_with_everything_acknowledged(running):
    frozen = Frozen(running, signal.SIGKILL)
    last = frozen.segments()[-1]
    found = records(f"{frozen.copy}/{last}")
    end = (found[-1][0] + 64 + found[-1][1] + 7) & ~7
    for junk, text in ((b"JDRC" + os.urandom(60), "half a record"), (os.urandom(5000), "garbage")):
        frozen.thaw()
        with open(f"{frozen.journal}/{last}", "r+b") as f:
            f.seek(end)
            f.write(junk)
        frozen.all_there(f"{text} behind the last one")
        frozen.publish(EVENTS, 20)
        check(True, "and it goes on")


main(a_flipped_byte_after_kill, a_flipped_byte_after_a_clean_stop,
     a_torn_tail_starts_with_everything_acknowledged)
