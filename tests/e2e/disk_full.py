#!/usr/bin/python3
"""A full disk: writes are refused before they harm anything, reads go on, and when there is room
again the node recovers by itself. On a small tmpfs, so it needs the right to mount."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from e2e import (Failed, check, client, grpc, main, note, processes, status_of,  # noqa: E402
                 text_of, wait_for)
from small_disk import MIB, Small  # noqa: E402

FLAGS = ["--raft.segment_size=1MiB", "--raft.reserve=16MiB", "--raft.checkpoint_size=4MiB"]
VALUE = "v" * 200000


def write_until_refused(c, written, most=400):
    """The error that ends it; all that was acknowledged goes to `written`."""
    for _ in range(most):
        key = f"k/{len(written)}"
        try:
            c.set(key, VALUE, seconds=20)
        except grpc.RpcError as error:
            return error
        written.append(key)
    raise Failed(f"{most} writes of 200 KB were taken: the disk never filled")


def small_cluster(running, nodes, which):
    """A cluster of which one node has little room; end() unmounts after the processes ended."""
    cluster = processes.Cluster(nodes, FLAGS, start=False)
    small = running.add(Small(f"{cluster.directory}/small", 160 * MIB, 100 * MIB))
    running.add(cluster)
    cluster.nodes[which].data = f"{small.path}/data"
    cluster.start()
    return cluster, small


def one_node_refuses_writes_and_recovers(running):
    cluster, small = small_cluster(running, 1, 0)
    node, written = cluster.nodes[0], []
    with client(node.address) as c:
        c.set("first", "x")
        error = write_until_refused(c, written)
        check(error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED and
              any(w in error.details() for w in ("disk", "space")),
              f"after {len(written)} writes: {error.code().name} ({error.details()[:200]!r})")
        check(node.alive(), "the node lives")
        check(text_of(c.get("first").value) == "x", "linearizable reads go on")
        check(len(c.records("k/", page=10)[0]) == len(written), "all that was acknowledged is there")
        code, _ = status_of(lambda: c.set("k/small", "x"))
        check(code == "RESOURCE_EXHAUSTED", "small writes are refused as well")
        small.free()
        note("100 MB are free again")
        wait_for("a write", lambda: status_of(lambda: c.set("back", "x"))[0] == "OK", 30, every=0.1)
        check(True, "it takes writes again by itself")
        small.fill(60 * MIB)
        error = write_until_refused(c, written)
        check(error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, f"full again after {len(written)}")
    node.kill()
    node.spawn().listening()
    with client(node.address) as c:
        found = wait_for("reads after kill -9 on a full disk",
                         lambda: read_all(c), 30, every=0.2)
        check(set(found) >= set(written), f"kill -9 on a full disk: all {len(written)} are there")
        small.free()
        wait_for("a write", lambda: status_of(lambda: c.set("back", "y"))[0] == "OK", 30, every=0.1)
        check(True, "and it takes writes when there is room")


def read_all(c):
    code, answer = status_of(lambda: c.records("k/", page=10))
    return answer[0] if code == "OK" else None


def the_others_go_on_when_one_is_full(running):
    cluster, small = small_cluster(running, 3, 1)
    tight = cluster.nodes[1]
    others = [n for n in cluster.nodes if n is not tight]
    written = []
    with client(others[0].address) as c:
        if cluster.leader() is tight:
            note("the node with little room leads")
        for i in range(200):
            key = f"k/{i}"
            code, text = status_of(lambda k=key: c.set(k, VALUE, seconds=20))
            if code == "OK":
                written.append(key)
            elif code not in ("RESOURCE_EXHAUSTED", "UNAVAILABLE"):
                raise Failed(f"write {i}: {code} {text}")
        note(f"{len(written)} of 200 writes were taken")
        for node in cluster.nodes:
            check(node.alive(), f"node {node.name} lives")
        small.free()
        wait_for("a write", lambda: status_of(lambda: c.set("back", "x"))[0] == "OK", 30, every=0.1)
    wait_for("equal applied indexes", cluster.level, 60, every=0.2)
    for node in cluster.nodes:
        with client(node.address) as c:
            found = c.records("k/", stale=True, page=10)[0]
        check(set(found) >= set(written), f"node {node.name}: all {len(written)} acknowledged")


main(one_node_refuses_writes_and_recovers, the_others_go_on_when_one_is_full)
