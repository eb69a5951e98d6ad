"""A cluster over mTLS changes its certificates and their authority without a restart."""
import json
import subprocess

import probe
from certificates import Authority, Files, bundle, place
from probe import expect, p


def a_cluster_changes_its_authority_without_a_restart(things):
    cluster = p.Cluster(3, start=False)
    things.append(cluster)
    old, new = Authority(cluster.directory, "old"), Authority(cluster.directory, "new")
    operator = Files(cluster.directory, "operator", old, "operator")
    peer_ports = p.free_ports(3)
    members = ",".join(f"{n.name}@localhost:{port}" for n, port in zip(cluster.nodes, peer_ports))
    for node, port in zip(cluster.nodes, peer_ports):
        node.files = Files(cluster.directory, node.name, old, f"node-{node.name}")
        node.flags = [f for f in node.flags if "raft.members" not in f and "level=" not in f]
        node.flags += [f"--raft.members={members}", f"--raft.port={port}",
                       "--raft.scheme=https", "--service.network.operator_loopback=never",
                       "--service.network.tls.client_required=true",
                       "--service.network.operators=operator",
                       "--service.network.peers=node-a,node-b,node-c", *node.files.flags()]
        node.spawn()
    for node in cluster.nodes:
        node.listening()

    def dctl(*arguments, endpoint=None):
        return subprocess.run([f"{p.BIN}/dctl", *arguments, "--endpoint",
                               endpoint or cluster.endpoint, "--timeout", "20s",
                               *operator.client()],
                              capture_output=True, text=True, check=False, timeout=60)

    def write(what):
        done = dctl("kv", "set", "phase", what)
        expect(f"exit code of writing '{what}': {done.stderr}", done.returncode, 0)

    def rows(node):
        done = dctl("cluster", "status", "-o", "json", endpoint=node.address)
        return json.loads(done.stdout)["nodes"] if done.returncode == 0 else []

    def whole():
        return all(len(rows(node)) == 3 and all(row["connected"] for row in rows(node))
                   for node in cluster.living())

    def leader():
        return next((row["id"] for node in cluster.living() for row in rows(node)
                     if row["role"] == "leader"), None)

    def taken(times):
        """All nodes have read their files so often, and nobody was refused anything."""
        def count(node):
            with open(node.log, encoding="utf-8") as f:
                return f.read().count("TLS files were read again")
        p.wait_for(f"change {times} of all nodes",
                   lambda: all(count(node) >= times for node in cluster.nodes))

    p.wait_for("a leader", leader, 40)
    p.wait_for("all connected", whole, 40)
    write("old")
    for files in [operator, *(node.files for node in cluster.nodes)]:
        bundle(files.ca, old.ca, new.ca)
    taken(1)
    write("both are trusted")
    for node in cluster.nodes:
        node.files.use(new, f"node-{node.name}")
    operator.use(new, "operator")
    taken(2)
    write("new certificates")
    for files in [operator, *(node.files for node in cluster.nodes)]:
        place(new.ca, files.ca)
    taken(3)
    write("only the new one is trusted")
    p.wait_for("all connected", whole, 40)
    # What has to be connected anew, is: a node that starts with the new files, and its peers' ways to
    # it; then leadership moves.
    first = p.wait_for("a leader", leader, 40)
    node = next(n for n in cluster.nodes if n.name == first)
    node.kill()
    p.wait_for("another leader", lambda: leader() not in (None, first), 40)
    write("led by another")
    node.spawn().listening()
    p.wait_for("all connected", whole, 40)
    for node in cluster.nodes:
        done = dctl("kv", "get", "phase", endpoint=node.address)
        expect("what a node has", done.stdout.strip(), "led by another")


probe.run([a_cluster_changes_its_authority_without_a_restart])
