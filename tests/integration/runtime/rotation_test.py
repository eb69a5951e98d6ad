"""Certificates that are put in the place of others under running processes: gRPC, HTTPS, what calls
others, and a cluster that changes its authority without a restart."""
import http.client
import json
import os
import re
import shutil
import ssl
import subprocess

import probe
from certificates import Authority
from probe import Probe, expect, expect_in, p


def place(source, target):
    """As tools that renew certificates do: the whole file at once."""
    shutil.copy2(source, target + ".part")
    os.replace(target + ".part", target)


def bundle(target, *sources):
    with open(target + ".part", "wb") as out:
        for source in sources:
            with open(source, "rb") as f:
                out.write(f.read())
    os.replace(target + ".part", target)


def serial_of(path):
    done = subprocess.run(["openssl", "x509", "-noout", "-serial", "-enddate", "-dateopt",
                           "iso_8601", "-in", path], capture_output=True, text=True, check=True)
    serial, end = re.match(r"serial=(\w+)\s+notAfter=(.*)Z", done.stdout).groups()
    return int(serial, 16), end


class Files:
    """The three files of a process, which change while it runs."""

    def __init__(self, directory, name, authority, subject):
        self.ca, self.certificate, self.key = (f"{directory}/{name}-{part}"
                                               for part in ("ca.pem", "live.pem", "live.key"))
        place(authority.ca, self.ca)
        self.use(authority, subject)

    def use(self, authority, subject):
        certificate, key = authority.issue(subject, "DNS:localhost", "IP:127.0.0.1")
        place(key, self.key)
        place(certificate, self.certificate)

    def flags(self):
        return [f"--service.network.tls.ca={self.ca}",
                f"--service.network.tls.certificate={self.certificate}",
                f"--service.network.tls.key={self.key}"]

    def client(self):
        return ["--ca", self.ca, "--cert", self.certificate, "--key", self.key]


class Connection:
    """One HTTPS connection, kept open; `trust` is whom it trusts, `client` what it shows."""

    def __init__(self, service, trust, client=None):
        context = ssl.create_default_context(cafile=trust)
        if client:
            context.load_cert_chain(*client)
        self.serial = None  # of the certificate that the server showed
        self.http = http.client.HTTPSConnection("127.0.0.1", service.ports["http"], timeout=20,
                                                context=context)

    def speak(self, text):
        if self.serial is None:
            self.http.connect()
            self.serial = int(self.http.sock.getpeercert()["serialNumber"], 16)
        self.http.request("POST", "/" + probe.PATH, json.dumps({"input": text}),
                          {"content-type": "application/json"})
        answer = self.http.getresponse()
        body = answer.read().decode()
        return answer.status, json.loads(body)["output"] if answer.status == 200 else body

    def close(self):
        self.http.close()


def attempt(service, trust, client=None, text="peer:"):
    """(status, answer, serial of the server) of a connection of its own; None when there is none."""
    connection = Connection(service, trust, client)
    try:
        return (*connection.speak(text), connection.serial)
    except OSError:
        return None
    finally:
        connection.close()


class Served(Probe):
    def __init__(self, things, *flags):
        self.directory = p.workdir("rotation")
        self.authority = Authority(self.directory, "first")
        self.next = Authority(self.directory, "next")
        self.files = Files(self.directory, "probe", self.authority, "probe-server")
        super().__init__("--service.network.operator_loopback=never", *self.files.flags(), *flags,
                         directory=self.directory)
        self.own_directory = True
        things.append(self)
        self.start()

    def ready(self):
        return p.http(f"http://127.0.0.1:{self.ports['admin']}/readyz")[0] == 200

    def metric(self, name, file):
        """By the admin port, which is plain."""
        status, _, body = p.http(f"http://127.0.0.1:{self.ports['admin']}/metrics")
        expect("status of /metrics", status, 200)
        found = re.search(rf'^{name}{{file="{re.escape(file)}"}} (\d+)$', body.decode(), re.M)
        return int(found.group(1)) if found else None


def both_ports_serve_the_new_certificate(things):
    service = Served(things)
    files, first = service.files, service.authority.ca
    kept = Connection(service, first)
    expect("a call before", kept.speak("peer:"), (200, " public encrypted"))
    before, _ = serial_of(files.certificate)
    expect("the certificate before", kept.serial, before)
    files.use(service.next, "probe-server")
    after, end = serial_of(files.certificate)
    p.wait_for("HTTPS with the new certificate",
               lambda: attempt(service, service.next.ca) == (200, " public encrypted", after))
    expect("who trusts the former authority only", attempt(service, first), None)
    code, text = service.grpc("peer:", "--ca", service.next.ca)
    expect("gRPC with the new certificate: " + text, code, 0)
    expect("gRPC with the former one", service.grpc("peer:", "--ca", first, timeout="2s")[0], 4)
    expect("a call by the connection of before", kept.speak("peer:"), (200, " public encrypted"))
    kept.close()
    date = subprocess.run(["date", "-u", "-d", end, "+%s"], capture_output=True, text=True,
                          check=True)
    expect("the end that is shown",
           service.metric("chassis_certificate_not_after_seconds", files.certificate),
           int(date.stdout))


def broken_files_change_nothing_and_are_named(things):
    service = Served(things)
    files, first = service.files, service.authority.ca
    serial, _ = serial_of(files.certificate)
    other = service.next.issue("other", "DNS:localhost", "IP:127.0.0.1")[0]

    def refused():
        return service.metric("chassis_certificate_refused", files.certificate) == 1

    def good():
        answer = attempt(service, first)
        expect("what HTTPS serves", answer, (200, " public encrypted", serial))
        code, text = service.grpc("peer:", "--ca", first)
        expect("gRPC: " + text, code, 0)

    keep = files.certificate + ".keep"
    shutil.copy2(files.certificate, keep)
    place(other, files.certificate)
    p.wait_for("a certificate without its key is refused", refused)
    expect_in("what is logged", "does not belong to certificate", service.output())
    good()
    place(keep, files.certificate)
    p.wait_for("files that are good again", lambda: not refused())
    with open(files.ca, "r+b") as f:
        f.truncate(os.path.getsize(files.ca) - 40)
    p.wait_for("half of an authority is refused", refused)
    expect_in("what is logged", f"certificate 1 in '{files.ca}' is cut off", service.output())
    good()


def an_authority_is_replaced_with_an_overlap(things):
    service = Served(things)
    files = service.files
    anna, bert = service.authority.issue("anna"), service.next.issue("bert")
    kept = Connection(service, service.authority.ca, anna)
    expect("anna", kept.speak("peer:"), (200, "anna public encrypted"))

    def seen(client):
        answer = attempt(service, service.authority.ca, client)
        return answer[:2] if answer else None

    expect("bert, of an authority that is not trusted yet", seen(bert)[0], 403)
    bundle(files.ca, service.authority.ca, service.next.ca)
    p.wait_for("bert is known", lambda: seen(bert) == (200, "bert public encrypted"))
    expect("anna", seen(anna), (200, "anna public encrypted"))
    code, text = service.grpc("peer:", "--ca", service.authority.ca, "--cert", bert[0], "--key",
                              bert[1])
    expect_in("bert by gRPC", "bert public encrypted", text)
    place(service.next.ca, files.ca)
    p.wait_for("anna is not known any more", lambda: seen(anna)[0] == 403)
    expect("bert", seen(bert), (200, "bert public encrypted"))
    expect("anna by the connection of before", kept.speak("peer:"), (200, "anna public encrypted"))
    kept.close()


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


probe.run([both_ports_serve_the_new_certificate, broken_files_change_nothing_and_are_named,
           an_authority_is_replaced_with_an_overlap,
           a_cluster_changes_its_authority_without_a_restart])
