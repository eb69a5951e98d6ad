"""Clusters under test: Blueprint and its peer etcd, one or three nodes on loopback."""
import json
import os
import subprocess

import bench
import processes


class Blueprint:
    """n nodes of Blueprint with a fresh data directory each, told by their addresses."""

    def __init__(self, nodes=3, flags=()):
        self.cluster = processes.Cluster(nodes, flags)
        self.addresses = self.cluster.addresses

    @property
    def servers(self):
        return [node.server for node in self.cluster.nodes]

    def start(self, i):
        self.cluster.nodes[i].spawn()

    def status(self, address):
        return self.cluster.status(self.cluster.nodes[self.index(address)])

    def leader(self):
        """Address of the leader, None while none is known."""
        node = self.cluster.leader()
        return node.address if node else None

    def index(self, address):
        return self.addresses.index(address)

    def stop(self):
        self.cluster.remove()


class Etcd:
    """n nodes of Debian's etcd-server; it fsyncs before it acknowledges, as we do."""

    def __init__(self, nodes=3):
        self.directory = bench.workdir("etcd")
        clients, peers = bench.free_ports(nodes), bench.free_ports(nodes)
        self.addresses = [f"127.0.0.1:{p}" for p in clients]
        cluster = ",".join(f"n{i}=http://127.0.0.1:{p}" for i, p in enumerate(peers))
        self.servers = [bench.Server(
            ["etcd", "--name", f"n{i}", "--data-dir", f"{self.directory}/n{i}",
             "--listen-client-urls", f"http://127.0.0.1:{clients[i]}",
             "--advertise-client-urls", f"http://127.0.0.1:{clients[i]}",
             "--listen-peer-urls", f"http://127.0.0.1:{peers[i]}",
             "--initial-advertise-peer-urls", f"http://127.0.0.1:{peers[i]}",
             "--initial-cluster", cluster, "--log-level", "error"],
            log=f"{self.directory}/n{i}.log") for i in range(nodes)]
        bench.wait_for("etcd's leader", self.leader)

    def leader(self):
        done = subprocess.run(["etcdctl", "--endpoints", ",".join(self.addresses), "endpoint",
                               "status", "-w", "json"], capture_output=True, text=True,
                              env={**os.environ, "ETCDCTL_API": "3"}, check=False)
        if done.returncode != 0:
            return None
        for endpoint in json.loads(done.stdout):
            status = endpoint["Status"]
            if status["leader"] == status["header"]["member_id"]:
                return endpoint["Endpoint"].removeprefix("http://")
        return None

    def stop(self):
        for server in self.servers:
            server.stop()
        bench.rmtree(self.directory)
