"""TLS from files that openssl made: gRPC, HTTPS, who a caller is, and a cluster over mTLS."""
import json
import os
import ssl
import subprocess
import urllib.error
import urllib.request

import probe
from certificates import Authority
from probe import Probe, expect, expect_in, p


class TlsProbe(Probe):
    """A probe whose HTTP side is HTTPS: readiness and calls know the authority."""
    context = None

    def https(self, path, data=None, client=None):
        """(status, text); status 0 when the connection itself fails."""
        context = ssl.create_default_context(cafile=self.authority.ca)
        if client:
            context.load_cert_chain(*client)
        request = urllib.request.Request(f"https://127.0.0.1:{self.ports['http']}{path}",
                                         data=data, headers={"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=10, context=context) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def speak(self, text, client=None):
        status, body = self.https("/" + probe.PATH, json.dumps({"input": text}).encode(), client)
        return (status, json.loads(body)["output"]) if status == 200 else (status, body)

    def ready(self):
        return self.https("/livez")[0] == 200


def serve(things, *flags):
    directory = p.workdir("tls")
    service = TlsProbe("--service.network.operator_loopback=never", *flags, directory=directory)
    service.own_directory = True
    service.authority = Authority(directory)
    service.stranger = Authority(directory, "stranger")
    service.flags += service.authority.flags("probe-server")
    things.append(service)
    return service


def peer_by_grpc(service, flags):
    code, text = service.grpc("peer:", *flags)
    return json.loads(text)["output"] if code == 0 else text


def grpc_and_https_know_who_calls(things):
    service = serve(things, "--service.network.operators=alice").start()
    authority = service.authority
    alice, bob = authority.issue("alice"), authority.issue("bob")
    ca = ["--ca", authority.ca]
    expect("gRPC without a certificate", peer_by_grpc(service, ca), " public encrypted")
    expect("gRPC as an operator", peer_by_grpc(service, [*ca, "--cert", alice[0], "--key",
                                                         alice[1]]), "alice operator encrypted")
    expect("gRPC as somebody", peer_by_grpc(service, [*ca, "--cert", bob[0], "--key", bob[1]]),
           "bob public encrypted")
    expect("HTTPS without a certificate", service.speak("peer:"), (200, " public encrypted"))
    expect("HTTPS as an operator", service.speak("peer:", alice), (200, "alice operator encrypted"))
    expect("HTTPS as somebody", service.speak("peer:", bob), (200, "bob public encrypted"))


def strangers_and_plaintext_are_refused(things):
    service = serve(things, "--service.network.operators=alice").start()
    false_alice = service.stranger.issue("alice")
    server_only = service.authority.issue("alice", purpose="serverAuth")
    for what, client in (("another authority", false_alice), ("no client's", server_only)):
        status, text = service.speak("peer:", client)
        assert status in (0, 403), (what, status, text)
        code, text = service.grpc("peer:", "--ca", service.authority.ca, "--cert", client[0],
                                  "--key", client[1], timeout="2s")
        expect(f"gRPC with a certificate of {what}", code, 4)
    code, text = service.grpc("peer:", "--ca", service.stranger.ca, timeout="2s")
    expect("a client that does not know the server's authority", code, 4)
    code, text = service.grpc("peer:", timeout="2s")
    expect("plaintext gRPC to a TLS port", code, 4)
    expect("plaintext HTTP to a TLS port", p.http(service.url("/livez"))[0], 0)
    expect("still served", service.speak("peer:"), (200, " public encrypted"))


def a_client_certificate_can_be_required(things):
    service = serve(things, "--service.network.tls.client_required=true")
    service.ready = lambda: service.https("/livez", None, alice)[0] == 200
    alice = service.authority.issue("alice")
    service.start()
    expect("HTTPS without", service.speak("peer:")[0], 403)
    expect("HTTPS with", service.speak("peer:", alice), (200, "alice public encrypted"))
    expect("gRPC without", service.grpc("peer:", "--ca", service.authority.ca, timeout="2s")[0], 4)
    expect("gRPC with", peer_by_grpc(service, ["--ca", service.authority.ca, "--cert", alice[0],
                                               "--key", alice[1]]), "alice public encrypted")


def bad_tls_files_are_named(things):
    service = serve(things)
    other = service.authority.issue("other")[1]
    os.chmod(other, 0o644)
    service.spawn([f"--service.network.tls.key={other}"])
    assert service.server.process.wait(10) != 0
    expect_in("what is wrong", "chmod", service.output())
    os.chmod(other, 0o600)
    service.spawn([f"--service.network.tls.key={other}"])
    assert service.server.process.wait(10) != 0
    expect_in("what is wrong", "does not belong to certificate", service.output())


def plaintext_beyond_this_machine_is_refused(things):
    service = Probe("--service.network.bind_address=0.0.0.0")
    things.append(service)
    service.spawn()
    assert service.server.process.wait(10) != 0, "it serves plaintext to everybody"
    expect_in("what is wrong", "TLS", service.output())


def three_nodes_over_mtls_elect_and_replicate(things):
    cluster = p.Cluster(3, start=False)
    things.append(cluster)
    authority = Authority(cluster.directory)
    stranger = Authority(cluster.directory, "stranger")
    peer_ports = p.free_ports(3)
    members = ",".join(f"{n.name}@localhost:{port}" for n, port in zip(cluster.nodes, peer_ports))
    operator = authority.client("operator")
    for node, port in zip(cluster.nodes, peer_ports):
        node.flags = [f for f in node.flags if "raft.members" not in f]
        node.flags += [f"--raft.members={members}", f"--raft.port={port}",
                       "--raft.scheme=https", "--service.network.operator_loopback=never",
                       "--service.network.operators=operator",
                       "--service.network.peers=node-a,node-b,node-c",
                       *authority.flags(f"node-{node.name}")]
        node.spawn()
    for node in cluster.nodes:
        node.listening()

    def dctl(*arguments, flags=tuple(operator), endpoint=None):
        return subprocess.run([f"{p.BIN}/dctl", *arguments, "--endpoint",
                               endpoint or cluster.endpoint, "--timeout", "20s", *flags],
                              capture_output=True, text=True, check=False, timeout=60)

    def status(node):
        done = dctl("cluster", "status", "-o", "json", endpoint=node.address)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def leader():
        for node in cluster.living():
            for row in (status(node) or {}).get("nodes", []):
                if row["role"] == "leader":
                    return row["id"]
        return None

    def known(row, node):
        """What it says of itself, and the address that clients can use; not the peers' port."""
        return (row["connected"] and row["pid"] == node.server.pid and row["rss_bytes"] > 1 << 20
                and row["version"] and row["role"] in ("leader", "follower")
                and row["address"] == f"localhost:{node.ports['rpc']}")

    def all_known(node):
        rows = (status(node) or {}).get("nodes", [])
        return len(rows) == 3 and all(map(known, rows, cluster.nodes))

    first = p.wait_for("a leader", leader, 40)
    for node in cluster.nodes:
        p.wait_for(f"all that {node.name} tells of the others", lambda: all_known(node), 40)
    urls = [f"https://localhost:{node.ports['rpc']}" for node in cluster.nodes]
    p.wait_for("a record of where the leader is",
               lambda: dctl("kv", "get", "leader").stdout.strip() in urls, 40)
    done = dctl("kv", "set", "greeting", "over mTLS")
    expect("exit code of a write: " + done.stderr, done.returncode, 0)
    next(n for n in cluster.nodes if n.name == first).kill()
    p.wait_for("another leader", lambda: leader() not in (None, first), 40)

    def away():
        rows = (status(cluster.living()[0]) or {}).get("nodes", [])
        return [row["id"] for row in rows if not row["connected"]]

    p.wait_for("one node shown as away", lambda: away() == [first], 40)
    for node in cluster.living():
        done = dctl("kv", "get", "greeting", endpoint=node.address)
        expect("what a node has", done.stdout.strip(), "over mTLS")

    # The second port is for peers: neither operators nor strangers get anything there.
    living = cluster.living()[0]
    port = peer_ports[cluster.nodes.index(living)]
    done = dctl("kv", "get", "greeting", endpoint=f"localhost:{port}")
    assert done.returncode != 0, "the peers' port serves operators"
    for flags in (stranger.client("node-b"), authority.client("nobody")):
        done = dctl("cluster", "transfer", flags=flags, endpoint=living.address)
        assert done.returncode != 0, "a stranger moves leadership"


probe.run([grpc_and_https_know_who_calls, strangers_and_plaintext_are_refused,
           a_client_certificate_can_be_required, bad_tls_files_are_named,
           plaintext_beyond_this_machine_is_refused,
           three_nodes_over_mtls_elect_and_replicate])
