"""Clusters under test: Blueprint and its peer etcd, one or three nodes on loopback."""
import json
import os
import subprocess

import bench


class Blueprint:
    """n nodes of Blueprint with a fresh data directory each."""

    def __init__(self, nodes=3, flags=()):
        self.directory = bench.workdir("blueprint")
        ports = bench.free_ports(nodes)
        self.addresses = [f"127.0.0.1:{p}" for p in ports]
        self.names = [chr(ord("a") + i) for i in range(nodes)]
        members = ",".join(f"{n}@{a}" for n, a in zip(self.names, self.addresses))
        secret = f"{self.directory}/cluster.secret"
        with open(os.open(secret, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="ascii") as f:
            f.write(os.urandom(32).hex())
        self.argv = [[f"{bench.BIN}/blueprint", f"--raft.node-id={name}",
                      f"--raft.members={members}", f"--raft.secret_file={secret}",
                      f"--service.network.bind_port={port}", "--service.network.http_port=0",
                      f"--service.network.port_file={self.directory}/{name}.ports",
                      f"--service.data_directory={self.directory}/{name}",
                      "--service.logging.level=warn", *flags]
                     for name, port in zip(self.names, ports)]
        self.servers = [None] * nodes
        for i in range(nodes):
            self.start(i)
        bench.wait_for("a leader", self.leader)

    def start(self, i):
        self.servers[i] = bench.Server(self.argv[i], cwd=self.directory,
                                       log=f"{self.directory}/{self.names[i]}.log")

    def status(self, address):
        done = subprocess.run([f"{bench.BIN}/dctl", "cluster", "status", "-o", "json",
                               "--endpoint", address, "--timeout", "2s"], capture_output=True,
                              text=True, check=False)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def leader(self):
        """Address of the leader, None while none is known."""
        for i, address in enumerate(self.addresses):
            if self.servers[i] is None or self.servers[i].process.poll() is not None:
                continue
            status = self.status(address)
            for node in (status or {}).get("nodes", []):
                if node["role"] == "leader":
                    return node["address"].removeprefix("http://")
        return None

    def index(self, address):
        return self.addresses.index(address)

    def stop(self):
        for server in self.servers:
            if server is not None:
                server.stop()
        bench.rmtree(self.directory)


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
