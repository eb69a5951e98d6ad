#!/usr/bin/python3
"""A flipped byte on disk, after a clean stop and after kill -9: in what must not be lost the node
refuses to start and names file and offset; in the store, which is a cache, it is found and rebuilt
and never served. A torn tail after kill -9 starts with everything acknowledged."""
import os
import random
import shutil
import signal
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from e2e import (ALL, Failed, check, client, grpc, main, processes, run,  # noqa: E402
                 wait_for)

FLAGS = ["--raft.checkpoint_entries=300", "--raft.segment_size=1MiB"]
WRITES = 1000
STORE_FLIPS = 120 if ALL else 40


class Frozen:
    """A node that was stopped, and a copy of its data to begin from again and again."""

    def __init__(self, running, how):
        self.cluster = running.cluster(1, FLAGS)
        self.node = self.cluster.nodes[0]
        self.written = {}
        with client(self.node.address) as c:
            for i in range(WRITES):
                key, text = f"k/{i}", f"{i}/" + "v" * (i % 200)
                c.set(key, text)
                self.written[key] = text
            for i in range(0, WRITES, 7):
                c.delete(f"k/{i}")
                del self.written[f"k/{i}"]
        self.node.stop(how)
        self.copy = f"{self.cluster.directory}/frozen"
        shutil.copytree(self.node.data, self.copy)

    def thaw(self):
        self.node.kill()
        shutil.rmtree(self.node.data)
        shutil.copytree(self.copy, self.node.data)
        open(self.node.log, "wb").close()

    def path(self, name):
        return f"{self.node.data}/{name}"

    def files(self, folder, start):
        return sorted(f"{folder}/{n}" for n in os.listdir(f"{self.copy}/{folder}")
                      if n.startswith(start) or n.endswith(start))

    def flip(self, name, offset):
        with open(self.path(name), "r+b") as f:
            f.seek(offset)
            byte = f.read(1)[0]
            f.seek(offset)
            f.write(bytes([byte ^ 0x10]))

    def refuses(self, name, text):
        """It ends by itself with a code that is not 0, naming the file and an offset."""
        self.node.spawn()
        try:
            wait_for("the node's end", lambda: not self.node.alive(), 20)
        except Failed:
            state = "ready" if self.node.listening().ready() else "not ready"
            raise Failed(f"{text}: the node started ({state})") from None
        code, log = self.node.server.process.returncode, self.node.tail(100)
        base = os.path.basename(name)
        check(code > 0 and base in log and "offset" in log,
              f"{text}: ends with {code}, its log {'names' if base in log else 'does not name'} "
              f"'{base}' and {'an' if 'offset' in log else 'no'} offset")

    def records(self):
        with client(self.node.address) as c:
            return {k: text for k, (text, _) in c.records("k/")[0].items()}

    def all_there(self, text):
        self.node.start()
        odd = differing(self.records(), self.written)
        check(not odd, f"{text}: all {len(self.written)} records" + (f"; odd: {odd[:3]}" if odd
                                                                     else ""))


def differing(found, wanted):
    return [k for k in set(found) | set(wanted) if found.get(k) != wanted.get(k)]


def journal_records(path):
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


def durable_files(running, how):
    frozen = Frozen(running, how)
    frozen.thaw()
    frozen.all_there("undamaged")
    folder = "consensus/journal"
    segments = frozen.files(folder, ".seg")
    filled = [(s, journal_records(f"{frozen.copy}/{s}")) for s in segments]
    filled = [(s, r) for s, r in filled if r]
    last, records = filled[-1]
    middle = records[len(records) // 2]
    end = records[-1]
    cases = [(last, 4, "the header of a segment"),
             (last, middle[0] + 1, "the mark of a record in the middle"),
             (last, middle[0] + 40, "the index of a record in the middle"),
             (last, middle[0] + 64 + middle[1] // 2, "the content of a record in the middle"),
             (last, end[0] + 30, "the last durable record"),
             (last, records[-2][0] + 50, "the last but one")]
    cases += [(f"{folder}/high-water", at, f"high-water at {at}") for at in (1, 5, 9, 18, 26, 34)]
    cases += [("consensus/term", at, f"term and vote at {at}")
              for at in (1, 17, 30, 4096 + 1, 4096 + 17, 4096 + 30)]
    cases += [("consensus/identity", at, f"identity at {at}") for at in (1, 9, 17, 30)]
    newest = frozen.files("consensus", ".ckpt")[-1]
    size = os.path.getsize(f"{frozen.copy}/{newest}")
    cases += [(newest, at, f"the checkpoint at {at} of {size}")
              for at in (2, 30, size // 2, size - 3)]
    failures = []
    for name, offset, text in cases:
        frozen.thaw()
        frozen.flip(name, offset)
        try:
            frozen.refuses(name, text)
        except Failed as error:
            failures.append(str(error))
            print(f"  FAIL {error}\n{frozen.node.tail(3)}")
    if failures:
        raise Failed(f"{len(failures)} of {len(cases)} damages were not refused")


def a_flipped_byte_after_a_clean_stop_is_refused(running):
    durable_files(running, signal.SIGTERM)


def a_flipped_byte_after_kill_9_is_refused(running):
    durable_files(running, signal.SIGKILL)


def a_torn_tail_starts_with_everything_acknowledged(running):
    frozen = Frozen(running, signal.SIGKILL)
    folder = "consensus/journal"
    filled = [(s, journal_records(f"{frozen.copy}/{s}")) for s in frozen.files(folder, ".seg")]
    name, records = [(s, r) for s, r in filled if r][-1]
    at, length = records[-1]
    end = at + ((64 + length + 7) & ~7)
    with open(f"{frozen.copy}/{name}", "rb") as f:
        data = f.read()
    frozen.thaw()
    with open(frozen.path(name), "r+b") as f:  # half of a record that was being written
        f.seek(end)
        f.write(data[at:at + 40] + b"\x5a" * 100)
    frozen.all_there("half a record behind the last durable one")
    frozen.thaw()
    with open(frozen.path(name), "r+b") as f:
        f.seek(end)
        f.write(os.urandom(5000))
    frozen.all_there("5,000 random bytes behind the last durable record")
    frozen.thaw()
    os.truncate(frozen.path(name), end)
    try:
        frozen.all_there("the zeros behind the last record cut off")
    except Failed:  # a refusal is honest too: a segment never shrinks by a crash
        check(not frozen.node.alive() and "offset" in frozen.node.tail(50),
              "the zeros behind the last record cut off: refused with the offset")
    frozen.thaw()
    with open(frozen.path(name), "r+b") as f:
        f.seek(at)
        f.write(b"\0" * (end - at))
    frozen.refuses(name, "the last durable record zeroed")
    frozen.thaw()
    os.truncate(frozen.path(name), at + 20)
    frozen.refuses(name, "cut off inside the last durable record")


def verify(frozen, *words):
    return run([f"{processes.BIN}/blueprint", "--verify", *words, *frozen.node.argv()[1:]])


def damage_that_verify_finds(running):
    frozen = Frozen(running, signal.SIGTERM)
    frozen.thaw()
    done = verify(frozen)
    check(done.code == 0 and "sound" in done.out, f"verify of sound data: {done.out.strip()[-60:]}")
    for name, offset in (("consensus/term", 20), ("consensus/journal/high-water", 20),
                         (frozen.files("consensus", ".ckpt")[-1], 1000)):
        frozen.thaw()
        frozen.flip(name, offset)
        done = verify(frozen)
        check(done.code != 0 and os.path.basename(name) in done.out and "offset" in done.out,
              f"verify names {os.path.basename(name)}: {done.out.strip()[:150]}")
    frozen.thaw()
    value = frozen.written[f"k/{WRITES - 2}"].encode()
    with open(frozen.path("consensus/store/data.mdb"), "rb") as f:
        data = f.read()
    at = data.index(value)
    while at >= 0:  # every copy: some stand in pages that are free by now
        frozen.flip("consensus/store/data.mdb", at + 5)
        at = data.find(value, at + 1)
    done = verify(frozen)
    check(done.code == 1 and "data.mdb" in done.out,
          f"verify finds a value that changed in the store: {done.out.strip()[:200]}")
    done = verify(frozen, "--repair")
    check("repaired" in done.out, f"verify --repair: {done.out.strip()[-150:]}")
    frozen.all_there("after the repair")
    done = verify(frozen)
    check(done.code == 1 and "running" in done.err, f"verify of a running node: {done.err.strip()}")


def served_right(frozen, flip):
    """Start, read all; what is served must be right. Errors, refusals and restarts are allowed
    until everything is right again. Returns what happened."""
    seen = []
    for _ in range(4):
        frozen.node.spawn()
        try:
            frozen.node.listening().wait_ready()
            found = wait_for("an answer", lambda: read_or_error(frozen, seen), 3, every=0.2)
        except Failed as error:
            if frozen.node.alive() and not seen:
                raise Failed(f"flip at {flip}: {error}") from None
            if not frozen.node.alive() and "ended" not in seen:
                seen.append("ended")
            frozen.node.stop()  # "the next start rebuilds it"
            continue
        odd = differing(found, frozen.written)
        if odd:
            raise Failed(f"flip at {flip}: served wrong: {[(k, found.get(k)) for k in odd[:2]]}")
        frozen.node.kill()
        return seen
    raise Failed(f"flip at {flip}: not rebuilt after 4 starts: {frozen.node.tail(3)}")


def read_or_error(frozen, seen):
    try:
        return frozen.records()
    except grpc.RpcError as error:
        if not frozen.node.alive():
            raise Failed("ended") from None
        if error.code().name not in seen:
            seen.append(error.code().name)
        return None


def store_flips(running, how):
    frozen = Frozen(running, how)
    size = os.path.getsize(f"{frozen.copy}/consensus/store/data.mdb")
    chance = random.Random(20240601)
    outcomes = {}
    with open(f"{frozen.copy}/consensus/store/data.mdb", "rb") as f:
        data = f.read()
    for number in range(STORE_FLIPS):
        at = chance.randrange(size)
        if number % 2 == 0:  # inside a live value
            key = f"k/{chance.randrange(1, WRITES)}"
            text = frozen.written.get(key, "").encode()
            at = data.find(text) + len(text) // 2 if len(text) > 60 else at
        frozen.thaw()
        frozen.flip("consensus/store/data.mdb", at)
        seen = served_right(frozen, at)
        outcome = f"rebuilt after {', '.join(seen)}" if seen else "served right"
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    check(True, f"{STORE_FLIPS} flips in a store of {size} bytes: nothing wrong was served "
          f"({outcomes})")


def a_flipped_byte_in_the_store_is_never_served(running):
    store_flips(running, signal.SIGTERM)


def nor_after_kill_9(running):
    store_flips(running, signal.SIGKILL)


main(a_flipped_byte_after_a_clean_stop_is_refused, a_flipped_byte_after_kill_9_is_refused,
     a_torn_tail_starts_with_everything_acknowledged, damage_that_verify_finds,
     a_flipped_byte_in_the_store_is_never_served, nor_after_kill_9)
