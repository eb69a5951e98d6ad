#!/usr/bin/python3
"""service_discovery and a slow watcher as real clients meet them: gRPC's Python client, no library of
ours. Processes that fall silent, tokens and who accepts them, events, health, memory."""
import base64
import json
import os
import queue
import secrets
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from e2e import (VALUE, Client, check, client, echo_pb, kv_pb, main, refused,  # noqa: E402
                 sd_pb, status_of, text_of, wait_for)

SD = Client.SD
SPEAK = "examples.echo.v1.EchoService/Speak"
EVENT, RUNNING, HEALTHY = sd_pb.ProcessEvent, 3, 1


def initialize(c, name="unit"):
    request = sd_pb.InitializeRequest(name=name, nonce=secrets.token_hex(16))
    return c.unary(f"{SD}/Initialize", request, sd_pb.InitializeResponse).process_identity


def bearer(token):
    return (("authorization", f"Bearer {token}"),)


def finalize(c, pid, token=None):
    return c.unary(f"{SD}/Finalize", sd_pb.FinalizeRequest(pid=pid), sd_pb.FinalizeResponse,
                   metadata=bearer(token) if token else None)


class Session:
    """A Synchronize stream that reports when it is told to."""

    def __init__(self, c, identity):
        self.pid, self.token, self.reports = identity.pid, identity.token.jwt, queue.Queue()
        self.stream = c.bidi(f"{SD}/Synchronize", iter(self.reports.get, None),
                             sd_pb.ClusterDetails)

    def report(self, **fields):
        self.reports.put(sd_pb.ClientDetails(**{
            "pid": self.pid, "running_state": RUNNING, "health_state": HEALTHY, "process_kind": 1,
            "token": self.token, "advertise_address": "127.0.0.1:9", **fields}))
        return next(self.stream)

    def end(self):
        self.reports.put(None)
        self.stream.cancel()


class Events:
    """A Watch of processes."""

    def __init__(self, c, **filter_):
        self.stream = c.server_stream(f"{SD}/Watch",
                                      sd_pb.WatchRequest(filter=sd_pb.Filter(**filter_)),
                                      sd_pb.ProcessEvent, 60)

    def next(self, kind):
        """The next event, which must be of that type."""
        event = next(self.stream)
        check(event.type == kind, f"event {EVENT.Type.Name(event.type)} {event.reason!r}")
        return event


def process(c, pid, stale=False):
    request = sd_pb.QueryRequest(filter=sd_pb.Filter(id=pid), stale=stale)
    return c.unary(f"{SD}/Query", request, sd_pb.QueryResponse).data.get(pid)


# --- tokens made by hand ------------------------------------------------------------------------


def encode(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def openssl(*words, stdin=None):
    return subprocess.run(["openssl", *words], input=stdin, capture_output=True, check=True).stdout


def sign(directory, key, claims, key_id=None):
    """A token as a node with this key file would make it."""
    public = openssl("pkey", "-in", key, "-pubout", "-outform", "DER")[-32:]
    head = {"alg": "EdDSA", "typ": "JWT", "kid": key_id or public[:16].hex()}
    text = encode(json.dumps(head).encode()) + "." + encode(json.dumps(claims).encode())
    path = os.path.join(directory, "to-be-signed")
    with open(path, "w", encoding="ascii") as f:
        f.write(text)
    return text + "." + encode(openssl("pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", path))


def decode(token):
    """(header, claims) of a token."""
    return [json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
            for part in token.split(".")[:2]]


# --- cases --------------------------------------------------------------------------------------


def a_service_accepts_registered_processes_only(running):
    cluster = running.cluster(3)
    entry = "--service.entrypoint=" + ",".join(cluster.addresses)
    guarded = running.service("probe_service", [
        entry, "--service.report_interval=200ms", "--service.network.operator_loopback=never"],
        env={"PROBE_ACCESS": "service"})
    caller = running.service("probe_service", [entry, f"--probe.target={guarded.address}"],
                             name="caller")
    with client(guarded.address) as c:
        def speak(token=None):
            return c.unary(SPEAK, echo_pb.SpeakRequest(input="peer:"), echo_pb.SpeakResponse,
                           metadata=bearer(token) if token else None).output
        for node in cluster.nodes:
            with client(node.address) as blueprint:
                token = initialize(blueprint).token.jwt
            wait_for(f"a token of node {node.name} to be accepted",
                     lambda t=token: status_of(lambda: speak(t)) == ("OK", " service plain"))
            check(True, f"a token signed by node {node.name} opens the service")
        refused(speak, "UNAUTHENTICATED", ["class service", "bearer token"], "no token")
        refused(lambda: speak("a.b.c"), "UNAUTHENTICATED", "", "garbage")
        head, body, mark = token.split(".")
        flipped = mark[:10] + ("A" if mark[10] != "A" else "B") + mark[11:]
        refused(lambda: speak(f"{head}.{body}.{flipped}"), "UNAUTHENTICATED", "",
                "a changed signature")
        header, claims = decode(token)
        own_key = f"{cluster.nodes[2].data}/node.key"
        check(header["kid"] == decode(sign(cluster.directory, own_key, claims))[0]["kid"],
              "keys have the ids that tokens name")
        check(speak(sign(cluster.directory, own_key, claims)) == " service plain",
              "what the node's key signs is accepted")
        expired = {**claims, "iat": int(time.time()) - 7200, "exp": int(time.time()) - 3600}
        refused(lambda: speak(sign(cluster.directory, own_key, expired)), "UNAUTHENTICATED",
                "expired", "an expired token")
        foreign = f"{cluster.directory}/foreign.key"
        openssl("genpkey", "-algorithm", "ed25519", "-out", foreign)
        refused(lambda: speak(sign(cluster.directory, foreign, claims, header["kid"])),
                "UNAUTHENTICATED", "signature", "signed by somebody under a node's id")
        refused(lambda: speak(sign(cluster.directory, foreign, claims)), "UNAUTHENTICATED",
                "no node", "signed by nobody known")

    def called():
        with client(caller.address) as c:
            return status_of(lambda: c.unary(
                SPEAK, echo_pb.SpeakRequest(input="call:peer:"), echo_pb.SpeakResponse).output)
    wait_for("a call of a registered service", lambda: called() == ("OK", " service plain"))
    check(True, "the clients of a registered service send its token")


def only_a_process_itself_finalizes(running):
    cluster = running.cluster(3)
    with client(cluster.addresses[0]) as a, client(cluster.addresses[1]) as b:
        mine, other = initialize(a), initialize(b)
        refused(lambda: finalize(a, mine.pid), "UNAUTHENTICATED", "send its token", "no token")
        refused(lambda: finalize(a, mine.pid, other.token.jwt), "UNAUTHENTICATED", "another",
                "another's token")
        refused(lambda: finalize(a, mine.pid, "x.y.z"), "UNAUTHENTICATED", "", "garbage")
        check(process(a, mine.pid) is not None, "the process is still there")
        check(finalize(b, mine.pid, mine.token.jwt).pid == mine.pid, "its token, at any node")
        check(process(a, mine.pid) is None, "the process is gone")
        refused(lambda: finalize(a, mine.pid, mine.token.jwt), "NOT_FOUND", "", "a second time")


def a_silent_process_expires_and_comes_back(running):
    cluster = running.cluster(3, ["--blueprint.registry.ttl=2s",
                                  "--blueprint.registry.interval=500ms",
                                  "--blueprint.registry.forget=1h"])
    with client(cluster.addresses[0]) as a, client(cluster.addresses[1]) as b:
        identity = initialize(a)
        wait_for("the process at the other node", lambda: process(b, identity.pid, True))
        events = Events(b, name="unit")
        check(events.next(EVENT.JOINED).process.pid == identity.pid, "who was there first")
        events.next(EVENT.SYNCED)
        session = Session(a, identity)
        check(session.report().interval_ms == 500, "it is told how often to report")
        changed = events.next(EVENT.CHANGED).process
        check((changed.running_state, changed.health_state) == (RUNNING, HEALTHY), "it runs")
        gone = events.next(EVENT.EXPIRED)  # its stream is open, it only says nothing
        check(gone.process.running_state == sd_pb.PROCESS_DICONNECTED and
              "silent" in gone.reason, "silence ends it")
        check(process(a, identity.pid).HasField("left_time"), "since when is told")
        session.report()
        check(events.next(EVENT.CHANGED).process.running_state == RUNNING,
              "a report brings it back under the same pid")
        session.end()
        check(finalize(a, identity.pid, session.token).pid == identity.pid, "it leaves")
        left = events.next(EVENT.LEFT)
        check("finalized" in left.reason, "why is told")


def a_token_is_renewed_and_an_expired_one_refused(running):
    cluster = running.cluster(3, ["--blueprint.registry.token-life=8s"])
    with client(cluster.addresses[0]) as a:
        identity = initialize(a)
        session = Session(a, identity)
        check(not session.report().HasField("token"), "a young token is kept")
        answer = wait_for("a fresh token", lambda: next(
            (x for x in [session.report()] if x.HasField("token")), None), every=0.2)
        old, new = decode(identity.token.jwt)[1], decode(answer.token.jwt)[1]
        check(new["sub"] == old["sub"] and new["exp"] > old["exp"] and new["inc"] == old["inc"],
              "the same process, for longer")
        session.token = answer.token.jwt
        check(len(session.report().nodes) == 3, "the new token counts")
        ids = {key.key_id for key in session.report().node_keys}
        check(decode(answer.token.jwt)[0]["kid"] in ids and len(ids) == 3,
              "the answer has the keys of all nodes")
        expired = {**new, "iat": int(time.time()) - 7200, "exp": int(time.time()) - 3600}
        session.token = sign(cluster.directory, f"{cluster.nodes[0].data}/node.key", expired)
        refused(session.report, "UNAUTHENTICATED", "expired", "an expired token")
        session.end()


def only_the_leader_knows_when_a_process_reported(running):
    cluster = running.cluster(3)
    with client(cluster.addresses[0]) as a:
        session = Session(a, initialize(a))
        for node in cluster.nodes:  # whoever is asked asks the leader
            with client(node.address) as c:
                def seen(stale=False, c=c):
                    session.report()
                    found = process(c, session.pid, stale)
                    return found if found and found.HasField("last_status_time") else None
                told = wait_for("a time of the last report", seen)
                check(abs(told.last_status_time.seconds - time.time()) < 60,
                      f"node {node.name} tells it")
                check(wait_for("the process", lambda c=c: process(c, session.pid, True)) and
                      seen(True) is None, f"node {node.name} does not when the read is stale")
        session.end()


def findings_about_health_are_recorded(running):
    cluster = running.cluster(3, ["--blueprint.registry.ttl=1h"])  # it reports once
    with client(cluster.addresses[0]) as a, client(cluster.addresses[2]) as b:
        session = Session(a, initialize(a))
        session.report()
        wait_for("the report at the other node", lambda: (
            process(b, session.pid, True) or sd_pb.Process()).running_state == RUNNING)
        events = Events(b, id=session.pid)
        incarnation = events.next(EVENT.JOINED).process.incarnation
        events.next(EVENT.SYNCED)

        def find(health=2, pid=session.pid, inc=0, reason="its port is closed"):
            request = sd_pb.ReportHealthRequest(pid=pid, incarnation=inc, health_state=health,
                                                reason=reason)
            return b.unary(f"{SD}/ReportHealth", request, sd_pb.ReportHealthResponse).process
        check(find().health_state == 2, "the answer shows the finding")
        event = events.next(EVENT.CHANGED)
        check(event.process.health_state == 2 and "its port is closed" in event.reason,
              "watchers hear of it, and why")
        check(find(1, inc=incarnation).health_state == 1, "of this very registration")
        events.next(EVENT.CHANGED)
        refused(lambda: find(inc=incarnation + 1), "FAILED_PRECONDITION", "incarnation",
                "of another registration")
        refused(lambda: find(pid="nobody"), "NOT_FOUND", "", "of nobody")
        refused(lambda: find(health=7), "INVALID_ARGUMENT", "7", "of no kind")
        refused(lambda: find(reason="x" * 256), "INVALID_ARGUMENT", "255", "at length")
        session.end()


def a_watcher_that_does_not_read_costs_little_and_slows_nobody(running):
    cluster = running.cluster(3, ["--blueprint.history.revisions=100",
                                  "--blueprint.history.time=1ms"])
    node, records, size = cluster.nodes[0], 400, 100_000
    with client(node.address) as slow, client(node.address) as fast, client(node.address) as c:
        c.set("fat/0", "begin")
        c.set("fat/1", "begin")
        first = c.get("fat/1").meta.revision
        lazy = slow.watch("fat/")
        quick = fast.watch("fat/", seconds=120)
        before = node.server.memory()["RssAnon"]
        began, most = time.monotonic(), 0
        seen, place = [], first
        for i in range(records):
            began_one = time.monotonic()
            last = c.set(f"fat/{i % 10}", f"{i:06d}" + "x" * size).meta.revision
            most = max(most, time.monotonic() - began_one)
            while place < last:
                answer = next(quick)
                place = max(place, answer.revision)
                seen += [text_of(event.value)[:6] for event in answer.events]
        grown = node.server.memory()["RssAnon"] - before
        check(seen[-records:] == [f"{i:06d}" for i in range(records)],
              f"another watcher had all {records} changes in order, {time.monotonic() - began:.1f} s, "
              f"slowest write {most * 1000:.0f} ms")
        check(grown < 24 << 20, f"{records * size >> 20} MiB went by, the node grew by "
                                f"{grown >> 20} MiB")
        for i in range(1000):  # compaction goes by steps of a thousand
            c.set("thin", str(i))
        wait_for("the past to be forgotten", lambda: status_of(
            lambda: c.get("fat/1", at_revision=last))[0] == "OUT_OF_RANGE")
        read, resync = 0, None
        for answer in lazy:  # now it reads
            read, resync = read + 1, answer if answer.kind == 2 else None
            if resync:
                break
        check(read < records and resync.revision >= resync.compact_revision > first,
              f"after {read - 1} answers the slow one is told to read the list at revision "
              f"{resync.revision}: what came before is forgotten")
        request = kv_pb.ListRequest(key_prefix="fat/", at_revision=resync.revision)
        request.value.type_url = VALUE
        listed = c.unary(f"{c.KV}/List", request, kv_pb.ListResponse).values
        check(len(listed) == 10, "that list is there")
        c.set("fat/0", "end")
        event = next(lazy).events[0]
        check(text_of(event.value) == "end", "and changes go on from it")


main(a_service_accepts_registered_processes_only, only_a_process_itself_finalizes,
     a_silent_process_expires_and_comes_back, a_token_is_renewed_and_an_expired_one_refused,
     only_the_leader_knows_when_a_process_reported, findings_about_health_are_recorded,
     a_watcher_that_does_not_read_costs_little_and_slows_nobody)
