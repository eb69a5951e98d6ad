#!/usr/bin/python3
"""kill -9 of the leader and of followers in turn, under load: nothing acknowledged is lost, nothing
is half-applied, every watcher sees every change once and in order, services come back by themselves.

Rounds: 10, with DRAFT_ALL=1 30, or DRAFT_E2E_ROUNDS."""
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from e2e import (ALL, Client, Failed, check, client, grpc, kv_pb, main, note, plain,  # noqa: E402
                 text_of, wait_for)

ROUNDS = int(os.environ.get("DRAFT_E2E_ROUNDS", "30" if ALL else "10"))
WRITERS = 4
COUNTERS = 3


class Worker(threading.Thread):
    """A thread that goes on until told to stop; what ends it otherwise is kept."""

    def __init__(self, addresses):
        super().__init__(daemon=True)
        self.clients = [Client(a) for a in addresses]
        self.stopping = threading.Event()
        self.error = None
        self.turn = 0

    def run(self):
        try:
            while not self.stopping.is_set():
                self.step()
        except BaseException as error:  # pylint: disable=broad-except
            self.error = error

    def client(self):
        return self.clients[self.turn % len(self.clients)]

    def finish(self):
        self.stopping.set()
        self.interrupt()
        self.join(30)
        if self.is_alive():
            raise Failed(f"{type(self).__name__} hangs")
        for c in self.clients:
            c.close()
        if self.error:
            raise self.error

    def interrupt(self):
        pass


class Writer(Worker):
    """Unique keys, counters through compare-and-set, and pairs written in one transaction. What is
    refused or lost on the way is of unknown outcome; what is acknowledged must be there for ever."""

    def __init__(self, addresses, name):
        super().__init__(addresses)
        self.name, self.turn = name, name
        self.n, self.acknowledged, self.unknown = 0, {}, {}
        self.added, self.maybe_added = [0] * COUNTERS, [0] * COUNTERS
        self.errors = {}

    def step(self):
        self.n += 1
        try:
            (self.unique, self.count, self.pair)[self.n % 3]()
        except grpc.RpcError as error:
            code = error.code().name
            self.errors[code] = self.errors.get(code, 0) + 1
            if code not in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED", "RESOURCE_EXHAUSTED",
                            "CANCELLED"):
                raise
            self.turn += 1
            self.stopping.wait(0.01)

    def unique(self):
        key = f"load/u/{self.name}/{self.n}"
        self.unknown[key] = str(self.n)
        answer = self.client().set(key, str(self.n), expected=None, seconds=5)
        self.acknowledged[key] = answer.meta.revision
        del self.unknown[key]

    def count(self):
        which = self.n % COUNTERS
        key = f"load/c/{which}"
        try:
            found = self.client().get(key, seconds=5)
            value, revision = int(text_of(found.value)), found.meta.revision
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.NOT_FOUND:
                raise
            value, revision = 0, 0
        try:
            answer = self.client().set(key, str(value + 1), expected=revision, seconds=5)
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.ABORTED:
                self.maybe_added[which] += 1
            raise
        self.added[which] += 1
        self.acknowledged[f"{key}#{answer.meta.revision}"] = answer.meta.revision

    def pair(self):
        request = kv_pb.TxnRequest()
        keys = [f"load/p/{self.name}/{self.n}/{half}" for half in "ab"]
        for key in keys:
            op = request.success.add().set
            op.key, op.value.type_url = key, "type.googleapis.com/core.registry.key_value.v1.Value"
            op.value.value = plain(str(self.n))
            self.unknown[key] = str(self.n)
        answer = self.client().unary(f"{Client.KV}/Txn", request, kv_pb.TxnResponse, 5)
        for key in keys:
            self.acknowledged[key] = answer.revision
            del self.unknown[key]


class Watcher(Worker):
    """Follows all changes under load/ across broken connections, from where it stood."""

    def __init__(self, addresses):
        super().__init__(addresses)
        self.seen, self.revision, self.breaks, self.stream = [], 0, 0, None

    def step(self):
        try:
            self.stream = self.client().watch("load/", start=self.revision + 1)
            for answer in self.stream:
                if answer.kind == kv_pb.WatchResponse.RESYNC:
                    raise Failed(f"the watch was told to start over at {answer.revision}")
                for event in answer.events:
                    self.take(event)
                self.revision = max(self.revision, answer.revision)
        except grpc.RpcError as error:
            if error.code().name not in ("UNAVAILABLE", "CANCELLED", "ABORTED"):
                raise
            self.breaks += 1
            self.turn += 1
            self.stopping.wait(0.05)

    def take(self, event):
        last = self.seen[-1][0] if self.seen else 0
        if event.meta.revision < last:
            raise Failed(f"revision {event.meta.revision} of '{event.key}' came after {last}")
        self.seen.append((event.meta.revision, event.key))
        self.revision = max(self.revision, event.meta.revision - 1)

    def interrupt(self):
        if self.stream:
            self.stream.cancel()


def healthy(cluster, pid):
    """Echo as every node tells it: registered under its name, running and healthy."""
    for node in cluster.living():
        with client(node.address) as c:
            try:
                found = list(c.processes(name="echo").values())
            except grpc.RpcError:
                return False
            if not any(p.health_state == 1 and p.running_state == 3 and
                       (pid is None or p.pid == pid) for p in found):
                return False
    return True


def check_watch(watcher, written):
    seen = {}
    for revision, key in watcher.seen:
        if (revision, key) in seen:
            raise Failed(f"the watch showed '{key}' of revision {revision} twice")
        seen[(revision, key)] = True
    missing = [(r, k) for k, r in written.items() if (r, k.split("#")[0]) not in seen]
    check(not missing, f"the watch showed all {len(written)} acknowledged changes once, in order, "
          f"over {watcher.breaks} broken connections" + (f"; missing {missing[:5]}" if missing
                                                         else ""))


def check_node(node, writers, reference):
    """Everything acknowledged is on this node, read without asking the others."""
    with client(node.address) as c:
        records, _ = c.records("load/", stale=True)
    for writer in writers:
        for key, revision in writer.acknowledged.items():
            name = key.split("#")[0]
            if name not in records:
                raise Failed(f"node {node.name} lost '{key}', acknowledged at {revision}")
            if "#" not in key and records[name][1].revision != revision:
                raise Failed(f"node {node.name} has '{key}' at {records[name][1].revision}, "
                             f"acknowledged at {revision}")
    for key, (text, _) in records.items():
        if "/p/" in key:
            other = key[:-1] + ("b" if key[-1] == "a" else "a")
            if other not in records or records[other][0] != text:
                raise Failed(f"node {node.name} has half of a transaction: '{key}'")
    for which in range(COUNTERS):
        value = int(records.get(f"load/c/{which}", ("0",))[0])
        low = sum(w.added[which] for w in writers)
        high = low + sum(w.maybe_added[which] for w in writers)
        if not low <= value <= high:
            raise Failed(f"counter {which} is {value} on {node.name}: {low} additions were "
                         f"acknowledged, {high - low} are of unknown outcome")
    plain_records = {k: (t, m.revision) for k, (t, m) in records.items()}
    if reference is not None and plain_records != reference:
        odd = [k for k in set(plain_records) | set(reference)
               if plain_records.get(k) != reference.get(k)]
        raise Failed(f"node {node.name} differs from the first in {len(odd)} records: {odd[:5]}")
    return plain_records


def nothing_acknowledged_is_lost(running):
    cluster = running.cluster(3, ["--raft.checkpoint_entries=2000", "--raft.segment_size=1MiB"])
    echo = running.echo(cluster)
    wait_for("echo to be registered", lambda: healthy(cluster, None))
    writers = [Writer(cluster.addresses, i) for i in range(WRITERS)]
    watcher = Watcher(cluster.addresses)
    for worker in [watcher, *writers]:
        worker.start()
    total = lambda: sum(len(w.acknowledged) for w in writers)  # noqa: E731
    for number in range(ROUNDS):
        before = total()
        wait_for("writes before the kill", lambda b=before: total() > b + 50)
        leader = wait_for("a leader", cluster.leader)
        victim = leader if number % 2 == 0 else cluster.followers()[number // 2 % 2]
        victim.kill()
        after = total()
        wait_for("writes after the kill", lambda a=after: total() > a + 50)
        victim.start(60)
        note(f"round {number + 1}: killed {victim.name}"
             f"{' (leader)' if victim is leader else ''}, {total()} acknowledged")
    for writer in writers:
        writer.finish()
    check(total() > ROUNDS * 100, f"{total()} changes acknowledged in {ROUNDS} rounds; errors seen "
          f"by clients: {[w.errors for w in writers]}")
    wait_for("equal applied indexes", cluster.level)
    with client(cluster.leader().address) as c:
        final = c.set("load/end", "x").meta.revision
    wait_for("equal applied indexes", cluster.level)
    wait_for("the watch to reach the end", lambda: watcher.error or
             watcher.seen and watcher.seen[-1][0] >= final)
    watcher.finish()
    check_watch(watcher, {k: r for w in writers for k, r in w.acknowledged.items()})
    reference = None
    for node in cluster.nodes:
        reference = check_node(node, writers, reference)
        check(True, f"node {node.name}: all {total()} acknowledged changes, {len(reference)} records")
    wait_for("echo registered and healthy on all nodes", lambda: healthy(cluster, None))
    check(echo.alive(), "echo is registered and healthy again on all nodes, never restarted")


def a_whole_cluster_killed_at_once_comes_back_with_everything(running):
    cluster = running.cluster(3)
    echo = running.echo(cluster)
    wait_for("echo to be registered", lambda: healthy(cluster, None))
    writers = [Writer(cluster.addresses, i) for i in range(WRITERS)]
    for writer in writers:
        writer.start()
    wait_for("writes", lambda: all(w.n > 100 for w in writers))
    for node in cluster.nodes:
        node.server.process.kill()
    for node in cluster.nodes:
        node.kill()
    for writer in writers:
        writer.finish()
    cluster.start()
    wait_for("equal applied indexes", cluster.level)
    reference = None
    for node in cluster.nodes:
        reference = check_node(node, writers, reference)
        check(True, f"node {node.name}: {len(reference)} records")
    wait_for("echo registered and healthy on all nodes", lambda: healthy(cluster, None))
    check(echo.alive(), "echo is registered again, never restarted")


main(nothing_acknowledged_is_lost, a_whole_cluster_killed_at_once_comes_back_with_everything)
