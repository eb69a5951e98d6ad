#!/usr/bin/python3
"""A backup taken while clients write holds one consistent state; a new cluster starts from it."""
import os
import re
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from e2e import check, client, dctl, main, processes, run, wait_for  # noqa: E402


def cluster_id(cluster):
    return cluster.status()["cluster_id"]


def state(node, prefix=""):
    with client(node.address) as c:
        records, revision = c.records(prefix)
    return {k: (t, m.revision, m.created_revision, m.version) for k, (t, m) in records.items()
            if k != "leader"}, revision


def restore(node, file, *words):
    return run([f"{processes.BIN}/blueprint", "--restore", file, *words, *node.argv()[1:]])


def a_new_cluster_starts_from_a_backup(running):
    cluster = running.cluster(3)
    with client(cluster.addresses[0]) as c:
        for i in range(500):
            c.set(f"k/{i}", f"value {i}")
        for i in range(0, 500, 5):
            c.delete(f"k/{i}")
        for i in range(1, 500, 7):
            c.set(f"k/{i}", "again")
    before, revision = state(cluster.leader())
    old_id = cluster_id(cluster)
    file = f"{cluster.directory}/backup.draft"
    done = dctl(cluster.endpoint, "cluster", "backup", file)
    check(done.code == 0 and os.path.getsize(file) > 1000,
          f"backup: {(done.out + done.err).strip()}")
    check(os.stat(file).st_mode & 0o077 == 0, "only its owner can read it")
    with client(cluster.addresses[0]) as c:
        c.set("k/1", "after the backup")
    cluster.stop()
    fresh = running.add(processes.Cluster(1, start=False))
    node = fresh.nodes[0]
    done = restore(node, file)
    check(done.code == 0, f"blueprint --restore: {(done.out + done.err).strip()[:200]}")
    done = run([f"{processes.BIN}/blueprint", "--verify", *node.argv()[1:]])
    check(done.code == 0 and "sound" in done.out,
          f"verify before the first start: {(done.out + done.err).strip()[:120]}")
    fresh.start()
    after, restored = state(node)
    check(after == before, f"all {len(before)} records with their revisions and versions")
    check(restored >= revision, f"revisions go on from {revision}: {restored}")
    check(cluster_id(fresh) != old_id, "the cluster has a new id")
    with client(node.address) as c:
        c.set("k/new", "x")
        check(c.get("k/new").meta.revision > revision, "it takes writes, at later revisions")
    done = restore(node, file)
    check(done.code != 0, f"restore while it runs is refused: {(done.out + done.err).strip()[:120]}")
    node.stop()
    done = restore(node, file)
    check(done.code != 0, f"restore over data is refused: {(done.out + done.err).strip()[:120]}")
    fresh.start()
    check("k/new" in state(node)[0], "and did no harm")


def damaged_or_foreign_files_are_refused(running):
    cluster = running.cluster(1)
    with client(cluster.addresses[0]) as c:
        for i in range(100):
            c.set(f"k/{i}", "v" * 100)
    file = f"{cluster.directory}/backup.draft"
    dctl(cluster.endpoint, "cluster", "backup", file)
    size = os.path.getsize(file)
    fresh = running.add(processes.Cluster(1, start=False))
    node = fresh.nodes[0]
    for name, change in (("a flipped byte", lambda f: flip(f, size // 2)),
                         ("a flipped byte in the header", lambda f: flip(f, 20)),
                         ("a cut file", lambda f: os.truncate(f, size - 10)),
                         ("an empty file", lambda f: os.truncate(f, 0))):
        bad = f"{cluster.directory}/bad.draft"
        shutil.copy(file, bad)
        change(bad)
        done = restore(node, bad)
        text = done.out + done.err
        check(done.code != 0 and "bad.draft" in text and "another" in text
              and "remove" not in text,
              f"{name}: {(done.out + done.err).strip()[:160]}")
    check(restore(node, "/no/such/file").code != 0, "a file that is not there")
    check(restore(node, file).code == 0, "the right file is still taken afterwards")
    fresh.start()
    check(len(state(node, "k/")[0]) == 100, "and has all records")
    done = dctl(cluster.endpoint, "cluster", "backup", "/no/such/directory/file")
    check(done.code in (1, 3), f"a backup that cannot be written: {done.err.strip()}")


def a_cluster_of_three_from_a_backup(running):
    cluster = running.cluster(1)
    with client(cluster.addresses[0]) as c:
        for i in range(100):
            c.set(f"k/{i}", "v")
    file = f"{cluster.directory}/backup.draft"
    dctl(cluster.endpoint, "cluster", "backup", file)
    before, _ = state(cluster.nodes[0])
    fresh = running.add(processes.Cluster(3, start=False))
    first = restore(fresh.nodes[0], file)
    check(first.code == 0 and "--restore-id" in first.out,
          f"the first of three nodes tells the id for the others: {first.out.strip()[-80:]!r}")
    origin = re.search(r"--restore-id (\w+)", first.out).group(1)
    for node in fresh.nodes[1:]:
        done = restore(node, file, "--restore-id", origin)
        check(done.code == 0, f"node {node.name}: {(done.out + done.err).strip()[:80]!r}")
    fresh.start()
    wait_for("equal applied indexes", fresh.level)
    for node in fresh.nodes:
        check(state(node)[0] == before, f"node {node.name} has all {len(before)} records")


def flip(path, at):
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ 0x10]))


main(a_new_cluster_starts_from_a_backup, damaged_or_foreign_files_are_refused,
     a_cluster_of_three_from_a_backup)
