#!/usr/bin/python3
"""A node that was away comes back to the same state, by the log or by a checkpoint; leadership is
handed over on request and on drain while clients go on writing."""
import os
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from e2e import Client, Failed, check, client, dctl, grpc, main, note, wait_for  # noqa: E402

# 16 MiB of log are kept behind a checkpoint: values of 200 KB get past that soon.
SMALL = ["--raft.checkpoint_entries=500", "--raft.checkpoint_size=4MiB", "--raft.segment_size=1MiB"]


def write(cluster, prefix, n, size=100):
    with client(cluster.leader().address) as c:
        for i in range(n):
            c.set(f"{prefix}/{i}", f"{i}" + "v" * size)


def equal(cluster, text):
    """All nodes have applied the same and hold the same, each asked for its own state."""
    wait_for("equal applied indexes", cluster.level)
    states = []
    for node in cluster.nodes:
        with client(node.address) as c:
            records, revision = c.records(stale=True)
            states.append((revision, {k: (v, m.revision, m.created_revision, m.version)
                                      for k, (v, m) in records.items()}))
    check(all(s == states[0] for s in states), f"{text}: all nodes hold the same "
          f"{len(states[0][1])} records at revision {states[0][0]}")


def row(cluster, node):
    return next(r for r in cluster.status(node)["nodes"] if r["id"] == node.name)


def briefly_away_by_the_log(running):
    cluster = running.cluster(3)
    write(cluster, "before", 50)
    away = cluster.followers()[0]
    away.kill()
    write(cluster, "during", 200)
    away.start()
    equal(cluster, "after 200 writes")
    check(row(cluster, away)["checkpoint_index"] == 0, "no checkpoint was needed")


def long_away_by_a_checkpoint(running):
    cluster = running.cluster(3, SMALL)
    write(cluster, "before", 50)
    away = cluster.followers()[0]
    last = row(cluster, away)["applied"]
    away.stop()
    folder = f"{cluster.leader().data}/consensus/journal"
    first = sorted(n for n in os.listdir(folder) if n.endswith(".seg"))[0]
    rounds = 0
    while first in os.listdir(folder):  # until the log he would need is gone
        write(cluster, f"during/{rounds}", 50, 200000)
        rounds += 1
        if rounds > 6:
            raise Failed(f"'{first}' was never trimmed: {os.listdir(folder)}")
    note(f"{rounds * 50} writes of 200 KB, the leader's log was trimmed past index {last}")
    with client(cluster.leader().address) as c:
        c.delete("before/1")
    away.start(60)
    equal(cluster, "after the log was trimmed")
    check(row(cluster, away)["checkpoint_index"] > last, "it came back by a checkpoint, of index "
          f"{row(cluster, away)['checkpoint_index']}")
    away.kill()
    away.start()
    equal(cluster, "and after it was killed again")


def with_its_data_lost(running):
    """Not a new member: the same node whose store, a cache, is gone."""
    cluster = running.cluster(3, SMALL)
    write(cluster, "x", 700)
    node = cluster.followers()[0]
    node.stop()
    for name in os.listdir(f"{node.data}/consensus/store"):
        os.unlink(f"{node.data}/consensus/store/{name}")
    node.start()
    equal(cluster, "after a node's store was removed")


class Steady(threading.Thread):
    """One client that retries with the same request id, so a write is never done twice."""

    def __init__(self, addresses):
        super().__init__(daemon=True)
        self.clients = [Client(a) for a in addresses]
        self.stopping, self.error = threading.Event(), None
        self.done, self.retries, self.longest = 0, 0, 0.0
        self.key = f"steady/{os.urandom(4).hex()}"

    def run(self):
        try:
            while not self.stopping.is_set():
                self.one()
        except BaseException as error:  # pylint: disable=broad-except
            self.error = error

    def one(self):
        began, token = time.monotonic(), os.urandom(16).hex()
        while True:
            try:
                c = self.clients[(self.done + self.retries) % len(self.clients)]
                answer = c.set(self.key, str(self.done), seconds=5,
                               metadata=[("draft-request-id", token)])
                break
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE or time.monotonic() - began > 20:
                    raise
                self.retries += 1
        self.done += 1
        if answer.meta.version != self.done:
            raise Failed(f"write {self.done} was counted as version {answer.meta.version}: "
                         "one was lost or done twice")
        self.longest = max(self.longest, time.monotonic() - began)

    def finish(self):
        self.stopping.set()
        self.join(30)
        for c in self.clients:
            c.close()
        if self.error:
            raise self.error


def leadership_moves_on_request(running):
    cluster = running.cluster(3)
    steady = Steady(cluster.addresses)
    steady.start()
    first = cluster.leader()
    for node in [n for n in cluster.nodes if n is not first] + [first]:
        before = steady.done
        wait_for("writes", lambda b=before: steady.done > b + 20 or steady.error)
        done = dctl(cluster.endpoint, "cluster", "transfer", node.name)
        check(done.code == 0, f"transfer to {node.name}: {done.code} {(done.out + done.err).strip()}")
        check(cluster.leader() is node, f"{node.name} leads")
    before = cluster.leader()
    done = dctl(cluster.endpoint, "cluster", "transfer")
    check(done.code == 0 and cluster.leader() is not before,
          f"transfer to whoever is most advanced: {(done.out + done.err).strip()}")
    done = dctl(cluster.endpoint, "cluster", "transfer", "nobody")
    check(done.code in (1, 3) and "nobody" in done.err, f"to a stranger: {done.err.strip()}")
    steady.finish()
    check(True, f"{steady.done} writes, each done once; {steady.retries} retries, the longest took "
          f"{steady.longest * 1000:.0f} ms")
    equal(cluster, "after four transfers")


def a_drained_leader_hands_over(running):
    election = 5.0
    cluster = running.cluster(3, [f"--raft.election_timeout={election:.0f}s",
                                  "--raft.heartbeat=100ms", "--service.logging.level=info"])
    for _ in range(3):
        leader = wait_for("a leader", cluster.leader)
        rest = [n for n in cluster.nodes if n is not leader]
        steady = Steady([n.address for n in rest])
        steady.start()
        wait_for("writes", lambda s=steady: s.done > 50 or s.error)
        began = time.monotonic()
        leader.server.process.send_signal(signal.SIGTERM)
        wait_for("another leader", lambda o=leader: cluster.leader() not in (None, o))
        took = time.monotonic() - began
        before = steady.done
        wait_for("writes after the drain", lambda s=steady, b=before: s.done > b + 20 or s.error)
        steady.finish()
        code = leader.stop()
        check(code == 0, f"{leader.name} drained and ended with {code}")
        check(steady.longest < election / 5, f"the longest write took {steady.longest * 1000:.0f} "
              f"ms (election timeout {election:.0f} s), {steady.retries} retries; status named the "
              f"new leader after {took * 1000:.0f} ms")
        leader.start()
    equal(cluster, "after three drains")


main(briefly_away_by_the_log, long_away_by_a_checkpoint, with_its_data_lost,
     leadership_moves_on_request, a_drained_leader_hands_over)
