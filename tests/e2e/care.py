#!/usr/bin/python3
"""Care for a cluster: backup and restore as a new cluster, stopping without an error seen by
anyone, a node that lost its data, addresses that are real."""
import os
import re
import shutil
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from e2e import (Client, Failed, check, client, dctl, grpc, kv_pb, main, note, processes, run,  # noqa: E402
                 sd_pb, wait_for)

SD = "core.registry.service_discovery.v1.ServiceDiscoveryService"


def fill(address, n=300):
    written = {}
    with client(address) as c:
        for i in range(n):
            c.set(f"k/{i}", f"value {i}")
            written[f"k/{i}"] = f"value {i}"
        for i in range(0, n, 7):
            c.delete(f"k/{i}")
            del written[f"k/{i}"]
        lease = kv_pb.SetRequest(key="k/leased", lease=register(c, "leaser", f"n-{address}").pid)
        lease.value.type_url = "type.googleapis.com/core.registry.key_value.v1.Value"
        lease.value.value = kv_pb.Value(data="x").SerializeToString()
        c.unary(f"{c.KV}/Set", lease, kv_pb.SetResponse)
        written["k/leased"] = "x"
    return written


def register(c, name, nonce):
    request = sd_pb.InitializeRequest(name=name, nonce=nonce)
    return c.unary(f"{SD}/Initialize", request, sd_pb.InitializeResponse).process_identity


def records(address, stale=False):
    with client(address) as c:
        found, revision = c.records("k/", stale=stale)
        return {k: (text, meta.SerializeToString(deterministic=True))
                for k, (text, meta) in found.items()}, revision


def backup(cluster, node):
    path = f"{cluster.directory}/backup-{time.monotonic_ns()}.draft"
    done = dctl(node.address, "cluster", "backup", path, "--cluster-secret", cluster.secret)
    check(done.code == 0 and os.path.getsize(path) > 0,
          f"dctl cluster backup: {(done.out + done.err).strip()[:120]}")
    return path


def restore(node, path, *words):
    return run([node.argv()[0], "--restore", path, *words, *node.argv()[1:]])


def a_backup_needs_no_checkpoint_and_holds_the_newest(running):
    cluster = running.cluster(1)
    node = cluster.nodes[0]
    written = fill(node.address)
    before = records(node.address)
    path = backup(cluster, node)
    with client(node.address) as c:
        c.set("k/late", "after the first backup")
    late = backup(cluster, node)
    check(os.path.getsize(late) != os.path.getsize(path), "a second backup is a fresh one")
    node.stop()
    done = restore(node, path)
    check(done.code == 1 and "empty" in done.err, f"over data: refused ({done.err.strip()[:150]})")
    os.rename(f"{node.data}/consensus", f"{node.data}/consensus.old")
    torn = f"{cluster.directory}/torn"
    with open(path, "rb") as f:
        data = bytearray(f.read())
    data[len(data) // 2] ^= 1
    with open(torn, "wb") as f:
        f.write(data)
    done = restore(node, torn)
    check(done.code == 1 and "offset" in done.err, f"damaged: refused ({done.err.strip()[:150]})")
    check(not os.path.exists(f"{node.data}/consensus"), "nothing was left behind")
    done = restore(node, path)
    check(done.code == 0 and "restored" in done.out, f"restored: {done.out.strip()[:200]}")
    node.start()
    after = records(node.address)
    check(after[0] == before[0] and {k: t for k, (t, _) in after[0].items()} == written,
          f"all {len(written)} records with their revisions and leases are back")
    with client(node.address) as c:
        for i in range(50):  # numbers of this node begin anew: none may be taken for an old one
            c.set(f"new/{i}", "n")
        check(len(c.records("new/")[0]) == 50, "writes go on")
    node.stop()
    node.start()
    check(records(node.address)[0] == before[0], "and after a restart")


def three_nodes_are_restored_as_another_cluster(running):
    old = running.cluster(3)
    written = fill(old.nodes[0].address)
    leader = wait_for("a leader", old.leader)
    path = backup(old, leader)
    identity = old.status()
    old.stop()
    for node in old.nodes:
        os.rename(f"{node.data}/consensus", f"{node.data}/consensus.old")
    a, b, c = old.nodes
    done = restore(a, path)
    check(done.code == 0, f"the first: {done.out.strip()[:300]} {done.err.strip()[:200]}")
    rid = re.search(r"--restore-id ([0-9a-f]{32})", done.out).group(1)
    check(restore(b, path, "--restore-id", "xyz").code == 2, "a wrong id is refused")
    check(restore(b, path, "--restore-id", rid).code == 0, "the second")
    # c comes back with what it had
    os.rename(f"{c.data}/consensus.old", f"{c.data}/consensus")
    for node in old.nodes:
        node.spawn()
    for node in old.nodes:
        node.listening()
    wait_for("readiness of two", lambda: a.ready() and b.ready(), 20)
    check(sorted(records(a.address)[0]) == sorted(written), "records are served by two of three")
    check("another cluster" in a.tail(100) + b.tail(100) + c.tail(100),
          "a node of the old cluster is refused")
    check(not c.ready(), "and is not ready")
    c.stop()
    os.rename(f"{c.data}/consensus", f"{c.data}/consensus.old")
    check(restore(c, path, "--restore-id", rid).code == 0, "the third")
    c.start()
    check(sorted(records(c.address)[0]) == sorted(written), "all three serve")
    wait_for("one index on all", old.level)
    check(old.status() is not None and identity is not None, "status answers")


class Writer(threading.Thread):
    """Writes through all nodes in turn with request ids, and tries again at the next one when a
    node says that it is away; everything else is an error."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.clients = [Client(n.address) for n in cluster.nodes]
        self.stop, self.written, self.errors, self.gap = threading.Event(), 0, [], 0.0

    def run(self):
        at, last = 0, time.monotonic()
        while not self.stop.is_set():
            for attempt in range(200):
                try:
                    self.clients[at].set(f"w/{self.written}", "v", seconds=5.0,
                                         metadata=[("draft-request-id", f"r-{self.written}")])
                    break
                except grpc.RpcError as error:
                    if error.code().name != "UNAVAILABLE":
                        self.errors.append(f"{error.code().name}: {error.details()}")
                        break
                    at = (at + 1) % len(self.clients)
                    self.stop.wait(0.005)
            now = time.monotonic()
            self.gap = max(self.gap, now - last)
            last = now
            self.written += 1

    def end(self):
        self.stop.set()
        self.join()


def stopping_the_leader_is_not_noticed(running):
    cluster = running.cluster(3)
    writer = Writer(cluster)
    writer.start()
    wait_for("some writes", lambda: writer.written > 100)
    leader = wait_for("a leader", cluster.leader)
    with client(leader.address) as c:
        watch = c.watch("w/")
        next(watch)
        ended = []
        began = time.monotonic()

        def follow():
            try:
                for _ in watch:
                    pass
            except grpc.RpcError as error:
                ended.append((error.code().name, dict(error.trailing_metadata()),
                              time.monotonic() - began))

        thread = threading.Thread(target=follow)
        thread.start()
        identity = register(c, "echo", "a nonce of the test 1")
        reports = [sd_pb.ClientDetails(pid=identity.pid, token=identity.token.jwt, running_state=3,
                                       health_state=1, process_kind=1)]
        hold = threading.Event()

        def one_report():
            yield reports[0]
            hold.wait(30)

        sync = c.bidi(f"{SD}/Synchronize", one_report(), sd_pb.ClusterDetails)
        check(len(next(sync).nodes) == 3, "Synchronize answers with the nodes")
        began = time.monotonic()
        code = leader.stop(signal.SIGTERM)
        took = time.monotonic() - began
        thread.join(10)
        hold.set()
        check(code == 0 and took < 3.0, f"the leader ended with {code} after {took:.2f} s")
        check(ended and ended[0][0] == "UNAVAILABLE" and "draft-not-run" in ended[0][1],
              f"its watch ended: {ended[0][0] if ended else None}")
        try:
            for _ in sync:
                pass
            code = "OK"
        except grpc.RpcError as error:
            code = error.code().name
        check(code == "UNAVAILABLE", f"its Synchronize stream ended: {code}")
    wait_for("a new leader", cluster.leader)
    seen = writer.written
    wait_for("more writes", lambda: writer.written > seen + 50)
    writer.end()
    check(not writer.errors, f"no write failed: {writer.errors[:3]}")
    check(writer.gap < 1.0, f"the longest time without a write was {writer.gap * 1000:.0f} ms, "
          "an election timeout is 1000")
    with client(cluster.living()[0].address) as c:
        check(len(c.records("w/")[0]) == writer.written, f"all {writer.written} writes are there")


def all_nodes_stop_together(running):
    cluster = running.cluster(3)
    fill(cluster.nodes[0].address, 50)
    watches = []
    for node in cluster.nodes:
        c = Client(node.address)
        watches.append(c.watch("k/"))
    began = time.monotonic()
    for node in cluster.nodes:
        node.server.process.terminate()
    times = []
    for node in cluster.nodes:
        node.server.process.wait(30)
        times.append(time.monotonic() - began)
    codes = [n.server.process.returncode for n in cluster.nodes]
    check(codes == [0, 0, 0] and max(times) < 15,
          f"codes {codes} after {', '.join(f'{t:.2f} s' for t in times)}")


def a_lone_survivor_stops_in_its_grace_time(running):
    cluster = running.cluster(3)
    a, b, c = cluster.nodes
    a.kill()
    b.kill()
    with client(c.address) as k:
        future = threading.Thread(target=lambda: k.set("x", "y", seconds=8.0), daemon=True)
        threading.excepthook = lambda *_: None
        future.start()
        began = time.monotonic()
        code = c.stop()
    check(code == 0 and time.monotonic() - began < 12,
          f"without a majority: ended with {code} after {time.monotonic() - began:.1f} s")


def a_free_port_is_told_as_it_is(running):
    node = running.service("blueprint", ["--raft.node-id=lone"])
    with client(node.address) as c:
        url = wait_for("the leader record", lambda: leader_record(c))
        check(url == f"http://localhost:{node.ports['rpc']}", f"the leader record: {url}")
    status = dctl(node.address, "cluster", "status", "-o", "json").json()
    check(str(node.ports["rpc"]) in str(status["nodes"][0]["address"]),
          f"status: {status['nodes'][0]['address']}")
    node.stop()
    node.start()
    check(node.ready(), "it starts again")


def leader_record(c):
    try:
        return kv_pb.Value.FromString(c.get("leader").value.value).data
    except grpc.RpcError:
        return None


def a_node_that_lost_its_data_is_refused(running):
    cluster = running.cluster(3)
    written = fill(cluster.nodes[0].address, 50)
    wait_for("a level cluster", cluster.level)
    leader, victim = wait_for("a leader", cluster.leader), cluster.followers()[0]
    victim.stop()
    os.rename(f"{victim.data}/consensus", f"{victim.data}/consensus.old")
    victim.spawn().listening()
    others = [n for n in cluster.nodes if n is not victim]
    wait_for("the refusal", lambda: any(f"node '{victim.name}' lost its data" in n.tail(50)
                                        for n in others), 20)
    wait_for("the reason at itself", lambda: f"'{victim.name}' lost its data" in victim.tail(50))
    check(not victim.ready(), "it is refused, both sides say why, and it is not ready")
    with client(leader.address) as c:
        c.set("k/more", "others go on")
    written["k/more"] = "others go on"
    victim.stop()
    # what the guide says: with the identity it may come back empty
    os.rename(f"{victim.data}/consensus", f"{victim.data}/consensus.empty")
    os.mkdir(f"{victim.data}/consensus", 0o700)
    shutil.copy(f"{victim.data}/consensus.old/identity", f"{victim.data}/consensus/identity")
    victim.spawn()
    wait_for("its end", lambda: not victim.alive())
    check(f"node '{victim.name}' took part and has lost its log" in victim.tail(50),
          "empty but for its identity it does not start by itself, and says what to do")
    with open(f"{victim.data}/consensus/refill", "w", encoding="ascii"):
        pass
    victim.spawn().listening()
    other = [n for n in others if n is not leader][0]
    done = dctl(leader.address, "cluster", "transfer", other.name, "--cluster-secret",
                cluster.secret)
    check(done.code == 0, f"leadership to {other.name}: {(done.out + done.err).strip()[:200]}")
    wait_for("one index on all", cluster.level, 20)
    check(sorted(records(victim.address)[0]) == sorted(written), "with its identity it is refilled")


def leadership_goes_where_it_is_told(running):
    cluster = running.cluster(3)
    for _ in range(3):
        wait_for("a level cluster", cluster.level)
        leader, other = wait_for("a leader", cluster.leader), cluster.followers()[0]
        for asked in (leader, other):
            if asked is other:
                leader = wait_for("a leader", cluster.leader)
                other = [n for n in cluster.followers()][0]
            done = dctl(asked.address, "cluster", "transfer", other.name, "--cluster-secret",
                        cluster.secret)
            check(done.code == 0 and other.name in done.out,
                  f"asked {asked.name}: {(done.out + done.err).strip()[:100]}")


if __name__ == "__main__":
    main(a_backup_needs_no_checkpoint_and_holds_the_newest,
         three_nodes_are_restored_as_another_cluster, stopping_the_leader_is_not_noticed,
         all_nodes_stop_together, a_lone_survivor_stops_in_its_grace_time,
         a_free_port_is_told_as_it_is, a_node_that_lost_its_data_is_refused,
         leadership_goes_where_it_is_told)
