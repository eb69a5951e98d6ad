#!/usr/bin/python3
"""Bad input from clients and strangers: each gets a fitting status whose message names the limit,
and the cluster goes on unharmed."""
import base64
import hashlib
import hmac
import os
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from e2e import (VALUE, Client, check, client, cluster_pb, dctl, echo_pb, grpc, kv_pb,  # noqa: E402
                 main, plain, processes, raft_pb, refused, run, sd_pb, status_of, text_of, wait_for)

INVALID, MIB = "INVALID_ARGUMENT", 1 << 20
KV, SD = Client.KV, Client.SD
CLUSTER = "draft.cluster.v1.ClusterService"


def field(number, data):
    """A length-delimited protobuf field, as bytes nobody checked."""
    def varint(n):
        out = b""
        while n > 127:
            out += bytes([n & 127 | 128])
            n >>= 7
        return out + bytes([n])
    return varint(number << 3 | 2) + varint(len(data)) + data


def raw_set(key, kind=VALUE.encode(), value=b""):
    return field(1, key) + field(2, field(1, kind) + field(2, value))


def unharmed(cluster, text):
    """Every node lives, answers, takes writes and has applied the same."""
    for node in cluster.nodes:
        if not node.alive():
            check(False, f"{text}: node {node.name} lives")
        with client(node.address) as c:
            c.set("after", node.name)
            if text_of(c.get("after").value) != node.name:
                check(False, f"{text}: node {node.name} reads what it wrote")
    check(wait_for("equal applied indexes", cluster.level), f"{text}: all nodes alive, level, "
          "writing and reading")


def keys_and_values_beyond_the_limits(running):
    cluster = running.cluster()
    with client(cluster.addresses[0]) as c:
        def sets(key, kind=VALUE.encode(), value=plain("x")):
            return lambda: c.unary(f"{KV}/Set", raw_set(key, kind, value), kv_pb.SetResponse)
        refused(sets(b""), INVALID, ["empty", "480"], "an empty key")
        refused(sets(b" \t\r\n"), INVALID, ["empty", "480"], "a key of white space")
        refused(sets(b"k" * 481), INVALID, ["481", "480"], "a key of 481 bytes")
        refused(sets(b"k", b"t" * 256), INVALID, ["256", "255"], "a type_url of 256 bytes")
        refused(sets(b"k", b""), INVALID, ["type_url", "255"], "no type_url")
        refused(sets(b"k", value=b"v" * (MIB + 1)), INVALID, [str(MIB + 1), str(MIB)],
                "a value of 1 MiB + 1")
        refused(sets(b"bad\xff\xfe"), INVALID, "UTF-8", "a key of bad UTF-8")
        refused(sets(b"sur\xed\xa0\x80"), INVALID, "UTF-8", "a surrogate in a key")
        refused(sets(b"nul\x00l"), INVALID, "NUL", "a NUL in a key")
        refused(sets(b"k", b"t\xc0\x80"), INVALID, "UTF-8", "a type_url of bad UTF-8")
        for method, answer in (("Get", kv_pb.GetResponse), ("Delete", kv_pb.DeleteResponse)):
            refused(lambda m=method, a=answer: c.unary(f"{KV}/{m}", raw_set(b"k" * 481), a),
                    INVALID, "480", f"{method} of a key of 481 bytes")
        check(c.set("k" * 480, "x").key == "k" * 480, "a key of 480 bytes is taken")
        sets(b"k", b"t" * 255)()
        check(True, "a type_url of 255 bytes is taken")
        c.set("big", b"v" * MIB)
        check(len(c.get("big").value.value) == MIB, "a value of 1 MiB is taken and comes back")
        check(c.set("  trimmed ", "x").key == "trimmed", "keys are trimmed")
        refused(lambda: c.get("never"), "NOT_FOUND", "never", "Get of an absent record")
        refused(lambda: c.delete("never"), "NOT_FOUND", "never", "Delete of an absent record")
        refused(lambda: c.set("k", "x", expected=999999), "ABORTED", "revision",
                "an expected revision that does not hold")
        refused(lambda: c.get("k", at_revision=1 << 60), "OUT_OF_RANGE", "revision",
                "a revision that is not there yet")
    unharmed(cluster, "after keys and values beyond the limits")


def messages_no_client_would_send(running):
    cluster = running.cluster()
    with client(cluster.addresses[0]) as c:
        def call(data, method="Set"):
            return lambda: c.unary(f"{KV}/{method}", data, kv_pb.SetResponse)
        for name, data in (("garbage", b"\xff" * 100), ("a cut message", raw_set(b"key")[:-3] +
                           b"\x0a\x7f"), ("a field of another type", b"\x08\x01"),
                           ("an endless varint", b"\x80" * 20)):
            code, message = status_of(call(data))
            check(code == INVALID, f"{name}: {code} ({message[:120]!r})")
        nested = field(6, field(1, b"t"))
        for _ in range(2000):
            nested = field(3, field(1, field(1, nested)))
        code, message = status_of(call(nested, "Txn"))
        check(code in (INVALID, "OK"), f"fields nested 2,000 deep in bytes: {code} ({message})")
        deep = b""
        for _ in range(200):
            deep = field(7, deep)
        code, message = status_of(call(field(1, b"k") + deep))
        check(code in (INVALID, "OK"), f"unknown fields 200 deep: {code}")
        request = kv_pb.TxnRequest()
        for i in range(129):
            op = request.success.add().set
            op.key, op.value.type_url = str(i), VALUE
        big = kv_pb.TxnRequest()
        for i in range(4):  # each value is allowed, and the message
            op = big.success.add()
            op.set.key, op.set.value.type_url = f"big/{i}", VALUE
            op.set.value.value = plain("x" * (650 << 10))
        refused(lambda: c.unary(f"{KV}/Txn", big, kv_pb.TxnResponse), INVALID, "1572864",
                "a transaction of 2.5 MiB")
        refused(lambda: c.unary(f"{KV}/Txn", request, kv_pb.TxnResponse), INVALID, ["129", "128"],
                "a transaction of 129 operations")
        check(status_of(lambda: c.get("0"))[0] == "NOT_FOUND", "nothing of it was applied")
        refused(lambda: c.unary(f"{KV}/Set", raw_set(b"k", value=b"v" * (5 * MIB)),
                                kv_pb.SetResponse), "RESOURCE_EXHAUSTED", str(4 * MIB),
                "a message of 5 MiB")
        refused(lambda: c.unary(f"{KV}/Nothing", b"", kv_pb.SetResponse), "UNIMPLEMENTED",
                "Nothing", "an unknown method")
        refused(lambda: c.unary("no.such.Service/Method", b"", kv_pb.SetResponse),
                "UNIMPLEMENTED", "no.such.Service", "an unknown service")
        refused(lambda: c.unary("core.consensus.raft.v1.RaftService/Join",
                                raft_pb.JoinRequest(node_id="x", raft_address="y"),
                                raft_pb.JoinResponse), "UNIMPLEMENTED", "", "RaftService/Join")
        code, message = status_of(lambda: c.unary(f"{KV}/Get", raw_set(b"k"), kv_pb.GetResponse,
                                                  metadata=[("x-long", "v" * 100000)]))
        check(code in ("RESOURCE_EXHAUSTED", "INTERNAL", "UNAVAILABLE"),
              f"100 KB of metadata: {code} ({message[:100]!r})")
    unharmed(cluster, "after malformed messages")


def json_of_the_same_kind(running):
    cluster = running.cluster(1)
    url = cluster.nodes[0].url(f"/{KV}/Set")

    def post(body, kind="application/json"):
        status, _, text = processes.http(url, body, {"content-type": kind})
        return status, text.decode(errors="replace")
    value = b'"value":{"@type":"%s","data":"x"}' % VALUE.encode()
    for name, body, words in (
            ("an empty key", b'{"key":"",%s}' % value, "480"),
            ("a key of 481 bytes", b'{"key":"%s",%s}' % (b"k" * 481, value), "480"),
            ("no JSON", b"{nonsense", ""), ("an unknown field", b'{"kee":"k"}', "kee"),
            ("deep nesting", b'{"value":' * 1000 + b"1" + b"}" * 1000, ""),
            ("bad UTF-8", b'{"key":"\xff\xfe",%s}' % value, "UTF-8")):
        status, text = post(body)
        check(status == 400 and "invalid_argument" in text and words in text,
              f"{name}: {status} {text[:140]}")
    body = f"{cluster.directory}/body"  # by curl, which waits for the answer to its headers
    with open(body, "wb") as f:
        f.write(b'{"key":"%s"}' % (b"k" * (5 * MIB)))
    done = run(["curl", "-sS", "-w", " %{http_code}", "-H", "content-type: application/json",
                "--data-binary", f"@{body}", url])
    check(done.out.endswith("413") and str(4 * MIB) in done.out, f"a body of 5 MiB: {done.out}")
    status, text = post(b"x", "text/plain")
    check(status == 415, f"a body of text: {status} {text[:100]}")
    unharmed(cluster, "after bad JSON")


def frames_no_client_would_send(running):
    cluster = running.cluster()
    port = cluster.nodes[0].ports["rpc"]
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    settings = b"\0\0\0\4\0\0\0\0\0"

    def frame(length, kind, flags, stream, data=b""):
        return struct.pack(">I", length)[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + data

    for name, data in (
            ("a frame of 16 MiB", preface + settings + frame((1 << 24) - 1, 0, 0, 1, b"x" * 65536)),
            ("HTTP/1.1", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + b"x" * 100),
            ("random bytes", os.urandom(4096)),
            ("headers that do not decode", preface + settings + frame(50, 1, 4, 1, b"\xff" * 50)),
            ("data on a stream nobody opened", preface + settings + frame(5, 0, 1, 77, b"hello"))):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as s:
            try:
                s.sendall(data)
                while s.recv(65536):
                    pass
                how = "closed"
            except socket.timeout:
                how = "left open"
            except OSError:
                how = "reset"
        check(how != "left open" or "nobody opened" in name, f"{name}: the connection is {how}")
    unharmed(cluster, "after bad frames")
    held = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
    unharmed(cluster, "with 200 connections that say nothing")
    for s in held:
        s.close()


def token_parts(token):
    parts = token.split(".")
    check(len(parts) == 3, "a token has three parts")
    return parts


def processes_with_wrong_credentials(running):
    cluster = running.cluster()
    with client(cluster.addresses[0]) as c:
        def initialize(name, nonce):
            return c.unary(f"{SD}/Initialize", sd_pb.InitializeRequest(name=name, nonce=nonce),
                           sd_pb.InitializeResponse)

        def report(pid, token, **fields):
            details = sd_pb.ClientDetails(pid=pid, token=token, running_state=3, health_state=1,
                                          process_kind=1, advertise_address="127.0.0.1:1", **fields)
            return next(iter(c.bidi(f"{SD}/Synchronize", iter([details]), sd_pb.ClusterDetails,
                                    10)))
        refused(lambda: initialize("tester", ""), INVALID, "nonce", "no nonce")
        refused(lambda: initialize("tester", "short"), INVALID, "16", "a short nonce")
        refused(lambda: initialize("", os.urandom(16).hex()), INVALID, "name", "no name")
        nonce = os.urandom(16).hex()
        mine = initialize("tester", nonce).process_identity
        check(initialize("tester", nonce).process_identity.pid == mine.pid,
              "the same nonce again gives the same process: a safe retry")
        other = initialize("other", os.urandom(16).hex()).process_identity
        head, body, mark = token_parts(mine.token.jwt)
        claims = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
        check(mine.pid.encode() in claims, "the token names its process")
        forged = base64.urlsafe_b64encode(claims.replace(mine.pid.encode(), other.pid.encode()))
        forged = forged.decode().rstrip("=")
        none = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
        flipped = ("A" if mark[10] != "A" else "B")
        for name, pid, token in (
                ("no token", mine.pid, ""), ("garbage", mine.pid, "a.b.c"),
                ("another's token", mine.pid, other.token.jwt),
                ("a forged claim", other.pid, f"{head}.{forged}.{mark}"),
                ("a changed signature", mine.pid, f"{head}.{body}.{mark[:10]}{flipped}{mark[11:]}"),
                ("algorithm none", mine.pid, f"{none}.{body}."),
                ("a token of 100 KB", mine.pid, "x" * 100000)):
            refused(lambda p=pid, t=token: report(p, t), "UNAUTHENTICATED", "", name)
        refused(lambda: report("no-such-pid", mine.token.jwt), ["UNAUTHENTICATED", "NOT_FOUND"],
                "", "a process nobody registered")
        code, answer = status_of(lambda: report(mine.pid, mine.token.jwt))
        check(code == "OK" and len(answer.nodes) == 3, "the right token: told the three nodes")
        c.unary(f"{SD}/Finalize", sd_pb.FinalizeRequest(pid=mine.pid), sd_pb.FinalizeResponse,
                metadata=(("authorization", f"Bearer {mine.token.jwt}"),))
        refused(lambda: report(mine.pid, mine.token.jwt), ["UNAUTHENTICATED", "NOT_FOUND"], "",
                "the token of a process that left")
    unharmed(cluster, "after wrong credentials")


def strangers_at_the_peer_door(running):
    cluster = running.cluster(3, ["--service.env=production"])
    address = cluster.addresses[0]
    for name, message in (("garbage", b"\xff" * 64), ("nothing", b""),
                          ("a frame before hello", cluster_pb.PeerMessage(frame=b"x" * 100)),
                          ("a hello of another cluster", cluster_pb.PeerMessage(
                              hello=cluster_pb.Hello(cluster_id=b"\1" * 16, to=1, nonce=b"n" * 16,
                                                     mac=b"m" * 32, protocol_version=1))),
                          ("a hello of 3 MB", cluster_pb.PeerMessage(
                              hello=cluster_pb.Hello(cluster_id=b"\1" * 3000000)))):
        with client(address) as c:
            refused(lambda: next(iter(c.bidi(f"{CLUSTER}/Peer", iter([message]),
                                             cluster_pb.PeerMessage, 10))),
                    ["UNAUTHENTICATED", "PERMISSION_DENIED"], "", f"a stranger sends {name}")

    def proof(secret, path, age=0):
        seconds, nonce = int(time.time()) - age, os.urandom(16).hex()
        text = f"draft-proof-v1\n{path}\n{seconds}\n{nonce}".encode()
        return f"v1.{seconds}.{nonce}.{hmac.new(secret, text, hashlib.sha256).hexdigest()}"
    with open(cluster.secret, encoding="ascii") as f:
        text = f.read().strip()
    right = [bytes.fromhex(text), text.encode()]
    with client(address) as c:
        def operate(value):
            return lambda: c.unary(f"{CLUSTER}/Transfer", cluster_pb.TransferRequest(name="none"),
                                   cluster_pb.TransferResponse,
                                   metadata=[("draft-proof", value)] if value else None)
        path = f"/{CLUSTER}/Transfer"
        doors = ["UNAUTHENTICATED", "PERMISSION_DENIED"]
        refused(operate(None), doors, "secret", "an operator's call without proof")
        refused(operate("v1.garbage"), doors, "", "a proof that is none")
        refused(operate(proof(b"w" * 32, path)), doors, "", "a proof by another secret")
        for secret in right:
            refused(operate(proof(secret, path, 3600)), doors, "", "a proof an hour old")
            refused(operate(proof(secret, f"/{CLUSTER}/Promote")), doors, "",
                    "a proof for another method")
        passed = [s for s in right if status_of(operate(proof(s, path)))[0] not in doors]
        check(len(passed) == 1, "the right proof passes the door")
        once = proof(passed[0], path)
        operate_once = operate(once)
        status_of(operate_once)
        refused(operate_once, doors, "", "the same proof again")
        refused(lambda: next(iter(c.server_stream(f"{CLUSTER}/Backup", cluster_pb.BackupRequest(),
                                                  cluster_pb.BackupChunk, 10))), doors, "secret",
                "a backup without proof")
    done = dctl(address, "cluster", "transfer")
    check(done.code == 1 and "secret" in done.err, f"dctl without proof: {done.err.strip()!r}")
    done = dctl(address, "cluster", "transfer", "--cluster-secret", cluster.secret)
    check(done.code == 0, f"dctl with the secret's file transfers: {done.err.strip()!r}")
    unharmed(cluster, "after strangers")


def a_node_of_another_cluster_is_not_let_in(running):
    cluster = running.cluster(3)
    victim = cluster.followers()[0]
    victim.stop()
    wrong = f"{cluster.directory}/wrong.secret"
    with open(os.open(wrong, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="ascii") as f:
        f.write(os.urandom(32).hex())
    flags = list(victim.flags)
    victim.flags = [f"--raft.secret_file={wrong}" if "secret_file" in f else f for f in flags]
    victim.spawn()
    wait_for("the refusal in a log", lambda: any(
        w in node.tail(200) for node in cluster.nodes for w in ("secret", "UNAUTHENTICATED")), 20)
    check(True, "a node with a wrong secret is refused, and a log says so")
    with client(cluster.leader().address) as c:
        c.set("x", "y")
    check(cluster.applied(victim) in (None, 0) or not victim.ready(), "it gets no data")
    victim.kill()
    victim.flags = flags
    victim.start()
    unharmed(cluster, "after the right secret is back")


def without_a_quorum(running):
    cluster = running.cluster(3)
    with client(cluster.addresses[0]) as c:
        c.set("kept", "before")
    wait_for("equal applied indexes", cluster.level)
    alone, *others = cluster.nodes
    for node in others:
        node.kill()
    with client(alone.address) as c:
        for name, call in (("write", lambda: c.set("lost", "x", seconds=4)),
                           ("linearizable read", lambda: c.get("kept", seconds=4))):
            began = time.monotonic()
            refused(call, "UNAVAILABLE", "timeout", f"a {name} without quorum")
            check(time.monotonic() - began < 4, f"the {name}'s answer came within its deadline")
        check(text_of(c.get("kept", stale=True).value) == "before", "a stale read works")
        check(processes.http(alone.url("/livez"))[0] == 200, "the node says that it is alive")
        wait_for("readiness to be withdrawn",
                 lambda: processes.http(alone.url("/readyz"))[0] == 503)
        check(True, "and not ready")
        done = dctl(alone.address, "kv", "set", "a", "b", "--timeout", "3s")
        check(done.code == 4, f"dctl ends with 4: {done.err.strip()!r}")
    for node in others:
        node.start()
    unharmed(cluster, "after the quorum is back")


main(keys_and_values_beyond_the_limits, messages_no_client_would_send, json_of_the_same_kind,
     frames_no_client_would_send, processes_with_wrong_credentials, strangers_at_the_peer_door,
     a_node_of_another_cluster_is_not_let_in, without_a_quorum)
