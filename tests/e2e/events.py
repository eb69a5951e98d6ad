#!/usr/bin/python3
"""Events between real processes: Blueprint's changes are stored once and in revision order whoever is
killed; what echo publishes arrives at audit; dctl produces, consumes and cares for dead letters.

Rounds: 6, with DRAFT_ALL=1 24, or DRAFT_E2E_ROUNDS."""
import json
import os
import random
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from e2e import (ALL, Client, Failed, check, dctl, echo_pb, events_pb, grpc, kv_pb, main,  # noqa: E402
                 note, plain, sd_pb, status_of, wait_for)

ROUNDS = int(os.environ.get("DRAFT_E2E_ROUNDS", "24" if ALL else "6"))
EVENTS, STREAM = "draft.events.v1", "blueprint"
SPEAK = "examples.echo.v1.EchoService/Speak"
PASSING = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED", "RESOURCE_EXHAUSTED", "CANCELLED",
           "NOT_FOUND", "UNKNOWN")


class Writer(threading.Thread):
    """Puts, deletions, transactions of three and registrations, at any node that answers."""

    def __init__(self, addresses, number):
        super().__init__(daemon=True)
        self.clients = [Client(a) for a in addresses]
        self.number, self.n, self.acked = number, 0, {}
        self.stopping, self.error = threading.Event(), None

    def run(self):
        try:
            while not self.stopping.is_set():
                self.n += 1
                try:
                    self.step(self.clients[(self.n // 50) % len(self.clients)])
                except grpc.RpcError as error:
                    if error.code().name not in PASSING:
                        raise
                    self.n += 50
                    self.stopping.wait(0.02)
        except BaseException as error:  # pylint: disable=broad-except
            self.error = error

    def step(self, client):
        key = f"w{self.number}/{self.n % 40}"
        what = self.n % 10
        if what == 7:
            self.acked[client.delete(key, 5).meta.revision] = (key, None)
        elif what == 8:
            request = kv_pb.TxnRequest()
            for i in range(3):
                op = request.success.add().set
                op.key, op.value.value = f"w{self.number}/t{i}", plain(str(self.n))
                op.value.type_url = "type.googleapis.com/core.registry.key_value.v1.Value"
            client.unary(f"{Client.KV}/Txn", request, kv_pb.TxnResponse, 5)
        elif what == 9 and self.n % 50 == 9:
            client.unary(f"{Client.SD}/Initialize", sd_pb.InitializeRequest(
                name=f"svc{self.number}", nonce=f"nonce-{self.number}-{self.n:012}"),
                sd_pb.InitializeResponse, 5)
        else:
            self.acked[client.set(key, str(self.n), seconds=5).meta.revision] = (key, str(self.n))

    def finish(self):
        self.stopping.set()
        self.join(30)
        for client in self.clients:
            client.close()
        if self.error:
            raise self.error


def stored(client, stream):
    """All events of a stream, page by page."""
    found, at = [], 1
    while True:
        answer = client.unary(f"{EVENTS}.EventService/Read", events_pb.ReadRequest(
            stream=stream, start=events_pb.Start(sequence=at), limit=1000),
            events_pb.ReadResponse, 30)
        found += answer.deliveries
        if not answer.deliveries:
            return found
        at = answer.next_sequence


def place(event_id):
    revision, _, sub = event_id.partition(".")
    return int(revision), int(sub or 0)


def last_place(catalyst):
    try:
        with_client = Client(catalyst.address)
        info = with_client.unary(f"{EVENTS}.StreamService/Get",
                                 events_pb.GetStreamRequest(name=STREAM),
                                 events_pb.GetStreamResponse).stream
        last = with_client.unary(f"{EVENTS}.EventService/Read", events_pb.ReadRequest(
            stream=STREAM, start=events_pb.Start(sequence=max(1, info.last_sequence))),
            events_pb.ReadResponse).deliveries
        with_client.close()
        return place(last[-1].event.id)[0] if last else 0
    except grpc.RpcError:
        return 0


def watched(address, through):
    """Every change of records up to a revision, as a watch tells it: {revision: [(key, text)]}."""
    client, seen = Client(address), {}
    for answer in client.watch(start=1):
        for e in answer.events:
            text = None if e.type else kv_pb.Value.FromString(e.value.value).data
            seen.setdefault(e.meta.revision, []).append((e.key, text))
        if answer.revision >= through:
            break
    client.close()
    return {r: changes for r, changes in seen.items() if r <= through}


def kill_something(cluster, catalyst, number):
    """Catalyst, the leader, both, a follower, in turn; and back again."""
    victims = [[catalyst], [cluster.leader()], [catalyst, cluster.leader()],
               [random.choice(cluster.nodes)]][number % 4]
    victims = [v for v in victims if v]
    for victim in victims:
        victim.kill()
    threading.Event().wait(random.random())
    for victim in victims:
        victim.start(60)
    return " and ".join(v.name for v in victims)


def compare(deliveries, truth, acked, through, nodes):
    places = [place(d.event.id) for d in deliveries]
    for before, after in zip(places, places[1:]):
        if after <= before:
            raise Failed(f"{after} is stored behind {before}")
    check(True, f"{len(places)} events, each once and in the order of their revisions")
    records, others = {}, set()
    for d in deliveries:
        data = json.loads(d.event.text_data)
        revision = place(d.event.id)[0]
        if d.event.type.startswith("draft.blueprint.record."):
            deleted = d.event.type.endswith("deleted")
            records.setdefault(revision, []).append(
                (data["key"], None if deleted else data["value"]["data"]))
        else:
            others.add(revision)
    records = {r: changes for r, changes in records.items() if r <= through}
    wrong = [r for r in sorted(set(records) | set(truth)) if records.get(r) != truth.get(r)]
    check(not wrong, f"what they say is what a watch says, {len(truth)} revisions of records "
          f"(wrong: {[(r, records.get(r), truth.get(r)) for r in wrong[:5]]})")
    check(all(records.get(r, [None])[0] == change for r, change in acked.items()),
          f"all {len(acked)} acknowledged writes are among them")
    missing = set(range(1, through + 1)) - set(records) - others
    check(len(missing) <= nodes, f"every revision but those of the nodes' keys: {sorted(missing)}, "
          f"{len(others)} revisions of processes")


def every_change_of_blueprint_is_stored_once_and_in_order(running):
    catalyst = running.service("catalyst")
    cluster = running.cluster(3, [f"--brokers.catalyst.url=http://{catalyst.address}"])
    writers = [Writer(cluster.addresses, i) for i in range(3)]
    for writer in writers:
        writer.start()

    def revision():
        code, answer = status_of(lambda: Client(cluster.leader().address).records("leader")[1]
                                 if cluster.leader() else 0)
        return answer if code == "OK" else 0

    for number in range(ROUNDS):
        before = last_place(catalyst)
        wait_for("changes to be published", lambda b=before: last_place(catalyst) > b + 100, 60,
                 every=0.1)
        killed = kill_something(cluster, catalyst, number)
        note(f"round {number + 1}: {killed} killed at revision {last_place(catalyst)}")
    for writer in writers:
        writer.finish()
    final = wait_for("the last revision", revision, 60)
    wait_for("all of it to be published", lambda: last_place(catalyst) >= final, 60, every=0.1)
    truth = watched(wait_for("a leader", cluster.leader, 30).address, final)
    client = Client(catalyst.address)
    acked = {r: change for w in writers for r, change in w.acked.items()}
    compare(stored(client, STREAM), truth, acked, final, len(cluster.nodes))
    client.close()


def a_stream_that_was_deleted_is_made_again(running):
    catalyst = running.service("catalyst")
    cluster = running.cluster(1, [f"--brokers.catalyst.url=http://{catalyst.address}"])
    client = Client(cluster.addresses[0])
    first = client.set("a", "1").meta.revision
    wait_for("the first change", lambda: last_place(catalyst) >= first, 30, every=0.05)
    check(dctl(catalyst.address, "streams", "delete", STREAM).code == 0, "the stream is deleted")
    second = client.set("a", "2").meta.revision
    wait_for("the next change", lambda: last_place(catalyst) >= second, 30, every=0.05)
    check(True, "it is there again, with what came after")
    client.close()


def what_echo_is_told_arrives_at_audit_whoever_is_killed(running):
    catalyst = running.service("catalyst")
    url = f"--brokers.catalyst.url=http://{catalyst.address}"
    echo = running.service("echo", [url])
    audit = running.service("audit", [url])
    client = Client(echo.address)
    for n in range(300):
        answer = client.unary(SPEAK, echo_pb.SpeakRequest(input=f"word {n}"), echo_pb.SpeakResponse)
        if answer.output != f"word {n}":
            raise Failed(f"echo answers {answer.output!r}")
        if n in (100, 200):
            victim = catalyst if n == 100 else audit
            victim.kill()
            victim.start(60)
    client.close()
    echo.stop()  # what it has not sent yet is sent before it ends
    wanted = {f"word {n}" for n in range(300)}
    reader = Client(catalyst.address)

    def words():
        return [d.event.text_data for d in stored(reader, "default")]

    wait_for("all events to be stored", lambda: wanted <= set(words()), 60, every=0.2)
    check(words() == [f"word {n}" for n in range(300)], "300 events stored, each once, in order")

    def group():
        return reader.unary(f"{EVENTS}.GroupService/Get",
                            events_pb.GetGroupRequest(stream="default", name="audit"),
                            events_pb.GetGroupResponse).group

    wait_for("audit to be done", lambda: group().lag == 0, 60, every=0.2)
    check(group().dead_lettered == 0, "the group of audit has acknowledged all of them")
    reader.close()


def dctl_speaks_with_the_real_broker(running):
    catalyst = running.service("catalyst")

    def ask(*words, **options):
        done = dctl(catalyst.address, *words, **options)
        if done.code != 0:
            raise Failed(f"dctl {' '.join(words)}: {done.code} {done.err}")
        return done

    ask("streams", "create", "orders", "--take", "type=order.>", "--max-age", "7d")
    ask("streams", "create", "orders", "--take", "type=order.>", "--max-age", "7d")
    lines = "".join(json.dumps({"id": str(n), "source": "/shop", "type": "order.placed",
                                "subject": "eu" if n % 2 else "us", "data": {"n": n}}) + "\n"
                    for n in range(50))
    done = ask("events", "produce", "-o", "json", stdin=lines)
    check([json.loads(x)["sequence"] for x in done.out.splitlines()] == list(range(1, 51)),
          "50 events from standard input, acknowledged in order")
    done = ask("events", "produce", "-q", stdin=lines)
    check(ask("streams", "get", "orders", "-o", "json").json()["events"] == 50,
          "the same events again are not stored twice")
    done = ask("events", "consume", "orders", "--from", "earliest", "--until-end", "--subject",
               "eu", "--sql", "type LIKE 'order.%'", "-o", "json")
    seen = [json.loads(x)["event"]["data"]["n"] for x in done.out.splitlines()]
    check(seen == list(range(1, 50, 2)), "filters are evaluated by the server")
    ask("streams", "create", "copy")
    whole = ask("events", "consume", "orders", "--from", "earliest", "--until-end", "-o", "json")
    ask("events", "produce", "--stream", "copy", "--batch", "10", "-q", stdin=whole.out)
    again = ask("events", "consume", "copy", "--from", "earliest", "--until-end", "-o", "json")
    check([json.loads(x)["event"] for x in whole.out.splitlines()] ==
          [json.loads(x)["event"] for x in again.out.splitlines()],
          "what consume prints, produce takes")
    ask("groups", "create", "orders/billing", "--from", "earliest", "--deliveries", "1")
    ask("events", "consume", "orders", "--group", "billing", "-n", "40")
    ask("events", "consume", "orders", "--group", "billing", "-n", "10", "--answer", "term",
        "--reason", "no such customer")
    group = wait_for("the answers", lambda: (g := ask("groups", "get", "orders/billing", "-o",
                                                      "json").json())["lag"] == 0 and g, 30)
    check(group["dead_lettered"] == 10, "a member acknowledged 40 events and gave up 10")
    letters = ask("dlq", "peek", "orders/billing", "-o", "json").json()
    check(len(letters) == 10 and letters[0]["event"]["deadreason"] == "no such customer",
          "they are dead letters with their reason")
    ask("dlq", "replay", "orders/billing")
    done = ask("events", "consume", "orders", "--group", "billing", "-n", "10", "-o", "json")
    check(sorted(int(json.loads(x)["event"]["id"]) for x in done.out.splitlines()) ==
          list(range(40, 50)), "replayed, they come to the group again")
    ask("groups", "seek", "orders/billing", "earliest")
    check(ask("groups", "get", "orders/billing", "-o", "json").json()["lag"] == 50,
          "a group can be moved back")
    ask("streams", "purge", "orders", "--keep", "5")
    check(ask("streams", "get", "orders", "-o", "json").json()["first_sequence"] == 46,
          "a stream can be emptied from its front")
    ask("groups", "delete", "orders/billing")
    ask("streams", "delete", "orders")
    check(dctl(catalyst.address, "streams", "get", "orders").code == 3, "and removed")


main(every_change_of_blueprint_is_stored_once_and_in_order,
     a_stream_that_was_deleted_is_made_again,
     what_echo_is_told_arrives_at_audit_whoever_is_killed, dctl_speaks_with_the_real_broker)
