#!/usr/bin/python3
"""kill -9 of Catalyst under load: no acknowledged event is lost or stored twice, a subscriber sees
each once and in order, a group is given each until it has answered, never out of its key's order,
and what it cannot digest stands once in its dead letters.

Rounds: 10, with DRAFT_ALL=1 30, or DRAFT_E2E_ROUNDS."""
import os
import queue
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from e2e import (ALL, Client, Failed, actors_pb, check, events_pb, grpc, main,  # noqa: E402
                 note, wait_for)

ROUNDS = int(os.environ.get("DRAFT_E2E_ROUNDS", "30" if ALL else "10"))
STREAM, GROUP, TYPE = "orders", "billing", "shop.order"
WRITERS, MEMBERS, WINDOW, POISON = 3, 2, 64, 97
KEYS = 8     # of each writer
AHEAD = 3000  # events a writer may be ahead of the group
ACK_WAIT_MS, DELIVERIES = 2000, 3
GONE = ("UNAVAILABLE", "CANCELLED", "DEADLINE_EXCEEDED", "UNKNOWN", "INTERNAL")
EVENTS = "draft.events.v1"


class Worker(threading.Thread):
    """A thread that opens its stream again until told to stop; what ends it otherwise is kept."""

    def __init__(self, address):
        super().__init__(daemon=True)
        self.address = address
        self.stopping = threading.Event()
        self.error, self.stream, self.breaks = None, None, 0

    def run(self):
        try:
            while not self.stopping.is_set():
                client = Client(self.address)
                try:
                    self.step(client)
                except grpc.RpcError as error:
                    if error.code().name not in GONE and not self.stopping.is_set():
                        raise
                    self.breaks += 1
                    self.stopping.wait(0.05)
                finally:
                    client.close()
        except BaseException as error:  # pylint: disable=broad-except
            self.error = error

    def finish(self):
        self.stopping.set()
        if self.stream:
            self.stream.cancel()
        self.join(30)
        if self.is_alive():
            raise Failed(f"{type(self).__name__} hangs")
        if self.error:
            raise self.error


class Writer(Worker):
    """Pipelined single events with rising numbers; what was not acknowledged before the connection
    broke is sent again under the same ids."""

    def __init__(self, address, number):
        super().__init__(address)
        self.key = f"w{number}"
        self.acked = 0  # events 0 … acked - 1
        self.ending = False

    def event(self, n):
        made = actors_pb.CloudEvent(id=f"{self.key}-{n}", source=f"/shop/{self.key}",
                                    spec_version="1.0", type=TYPE, text_data=str(n))
        made.attributes["partitionkey"].ce_string = f"{self.key}.{n % KEYS}"
        return actors_pb.ProduceRequest(message=made)

    def step(self, client):
        room = threading.Semaphore(WINDOW)
        first = self.acked

        def requests():
            n = first
            while not self.stopping.is_set():
                if WRITERS * n > len(Member.done) + AHEAD:
                    self.stopping.wait(0.01)
                elif room.acquire(timeout=0.1):
                    yield self.event(n)
                    n += 1

        self.stream = client.bidi("core.message_broker.actors.v1.Producer/Produce", requests(),
                                  actors_pb.ProduceResponse)
        for answer in self.stream:
            if answer.id != f"{self.key}-{self.acked}":
                raise Failed(f"{self.key}: '{answer.id}' acknowledged in place of {self.acked}")
            self.acked += 1
            room.release()


class Subscriber(Worker):
    """Follows the stream from where it stood."""

    def __init__(self, address):
        super().__init__(address)
        self.next, self.seen = 1, {}

    def step(self, client):
        requests = queue.Queue()
        requests.put(events_pb.SubscribeRequest(
            stream=STREAM, start=events_pb.Start(sequence=self.next), credit=1000))
        self.stream = client.bidi(f"{EVENTS}.EventService/Subscribe", iter(requests.get, None),
                                  events_pb.SubscribeResponse)
        try:
            for answer in self.stream:
                if answer.HasField("gap"):
                    raise Failed(f"a gap from {answer.gap.from_sequence}")
                for delivery in answer.deliveries:
                    self.take(delivery)
                requests.put(events_pb.SubscribeRequest(credit=len(answer.deliveries)))
        finally:
            requests.put(None)

    def take(self, delivery):
        if delivery.sequence != self.next:
            raise Failed(f"event {delivery.sequence} came in place of {self.next}")
        name = delivery.event.id
        if name in self.seen:
            raise Failed(f"'{name}' is stored twice: as {self.seen[name]} and {delivery.sequence}")
        self.seen[name] = delivery.sequence
        self.next += 1


class Member(Worker):
    """One member of the group; refuses poison, acknowledges the rest."""

    lock = threading.Lock()
    done = {}       # id → times acknowledged
    delivered = []  # (boot, key, n, attempt) in the order the members had them
    boot = 0        # counts the lives of the server

    def step(self, client):
        requests = queue.Queue()
        requests.put(events_pb.JoinRequest(stream=STREAM, group=GROUP, credit=50))
        self.stream = client.bidi(f"{EVENTS}.GroupService/Join", iter(requests.get, None),
                                  events_pb.JoinResponse)
        boot = Member.boot
        try:
            for answer in self.stream:
                reply = events_pb.JoinRequest(credit=len(answer.deliveries))
                for delivery in answer.deliveries:
                    self.take(boot, delivery, reply)
                requests.put(reply)
        finally:
            requests.put(None)

    def take(self, boot, delivery, reply):
        event = delivery.event
        n = int(event.text_data)
        key = event.attributes["partitionkey"].ce_string
        poison = n % POISON == POISON - 1
        with Member.lock:
            Member.delivered.append((boot, key, n, delivery.attempt))
            if not poison:
                Member.done[event.id] = Member.done.get(event.id, 0) + 1
        reply.answers.add(sequence=delivery.sequence, reason="poison",
                          kind=events_pb.Answer.NACK if poison else events_pb.Answer.ACK)


def set_up(catalyst):
    client = Client(catalyst.address)
    config = events_pb.StreamConfig(name=STREAM)
    config.takes.add(type="shop.*")
    client.unary(f"{EVENTS}.StreamService/Create",
                 events_pb.CreateStreamRequest(config=config), events_pb.CreateStreamResponse)
    group = events_pb.GroupConfig(name=GROUP, stream=STREAM, ack_wait_ms=ACK_WAIT_MS,
                                  deliveries_max=DELIVERIES, ordered_by_key=True,
                                  start=events_pb.Start(earliest=True))
    client.unary(f"{EVENTS}.GroupService/Create", events_pb.CreateGroupRequest(config=group),
                 events_pb.CreateGroupResponse)
    client.close()


def dead_letters(client):
    found, at = [], 0
    while True:
        answer = client.unary(
            f"{EVENTS}.DeadLetterService/Peek",
            events_pb.PeekDeadLettersRequest(stream=STREAM, group=GROUP, from_sequence=at,
                                             limit=1000), events_pb.PeekDeadLettersResponse)
        if not answer.deliveries:
            return found
        found += [d.event for d in answer.deliveries]
        at = answer.next_sequence


def check_order():
    """Within one life of the server no event of a key is given before an earlier one is done with."""
    place = {}
    for boot, key, n, attempt in Member.delivered:
        last = place.get((boot, key), -1)
        if n < last:
            raise Failed(f"{key}: event {n} (attempt {attempt}) was given after {last}")
        place[(boot, key)] = n
    check(True, f"{len(Member.delivered)} deliveries in the order of their keys")


def no_acknowledged_event_is_lost(running):
    catalyst = running.service("catalyst")
    set_up(catalyst)
    writers = [Writer(catalyst.address, i) for i in range(WRITERS)]
    members = [Member(catalyst.address) for _ in range(MEMBERS)]
    subscriber = Subscriber(catalyst.address)
    workers = [subscriber, *members, *writers]
    for worker in workers:
        worker.start()

    def goes_on(enough):
        failed = [w.error for w in workers if w.error]
        if failed:
            raise failed[0]
        return sum(w.acked for w in writers) > enough and len(Member.done) > enough - AHEAD

    for number in range(ROUNDS):
        before = sum(w.acked for w in writers)
        wait_for("events before the kill", lambda b=before: goes_on(b + 1000), 60)
        catalyst.kill()
        Member.boot += 1
        catalyst.start(60)
        note(f"round {number + 1}: {sum(w.acked for w in writers)} acknowledged, "
             f"{len(Member.done)} done by the group")
    before = sum(w.acked for w in writers)
    wait_for("events after the last kill", lambda: goes_on(before + 1000), 60)
    for writer in writers:
        writer.finish()
    acked = {f"{w.key}-{n}" for w in writers for n in range(w.acked)}
    poison = {e for e in acked if int(e.split("-")[1]) % POISON == POISON - 1}
    wait_for("the subscriber to see all that was acknowledged",
             lambda: subscriber.error or acked <= set(subscriber.seen), 60)
    wait_for("the group to be done with it",
             lambda: any(m.error for m in members) or acked - poison <= set(Member.done), 120)
    client = Client(catalyst.address)
    wait_for("dead letters", lambda: poison <= {e.id for e in dead_letters(client)}, 60)
    for worker in workers[:-WRITERS]:
        worker.finish()
    check(len(acked) > ROUNDS * 1000, f"{len(acked)} events acknowledged in {ROUNDS} rounds, over "
          f"{sum(w.breaks for w in workers)} broken connections")
    check(acked <= set(subscriber.seen), f"all of them stored once and seen once, in order "
          f"({len(subscriber.seen)} events)")
    check_order()
    dead = [e.id for e in dead_letters(client)]
    check(len(dead) == len(set(dead)), f"{len(dead)} dead letters, each once")
    again = sum(1 for n in Member.done.values() if n > 1)
    note(f"{again} events were acknowledged more than once by the group")
    client.close()


def what_a_lost_member_had_is_given_to_another_in_time(running):
    catalyst = running.service("catalyst")
    set_up(catalyst)
    client = Client(catalyst.address)
    batch = events_pb.PublishRequest(stream=STREAM)
    for n in range(10):
        event = batch.batch.events.add(id=str(n), source="/shop", spec_version="1.0", type=TYPE,
                                       text_data=str(n))
        event.attributes["partitionkey"].ce_string = str(n)
    client.unary(f"{EVENTS}.EventService/Publish", batch, events_pb.PublishResponse)
    client.close()
    silent, given = Client(catalyst.address), {}
    requests = queue.Queue()
    requests.put(events_pb.JoinRequest(stream=STREAM, group=GROUP, credit=10))
    first = silent.bidi(f"{EVENTS}.GroupService/Join", iter(requests.get, None),
                        events_pb.JoinResponse)
    while len(given) < 10:
        given.update({d.sequence: d.attempt for d in next(first).deliveries})
    check(set(given.values()) == {1}, "a member is given ten events and falls silent")
    catalyst.kill()
    catalyst.start()
    client, again, requests2 = Client(catalyst.address), {}, queue.Queue()
    requests2.put(events_pb.JoinRequest(stream=STREAM, group=GROUP, credit=100))
    second = client.bidi(f"{EVENTS}.GroupService/Join", iter(requests2.get, None),
                         events_pb.JoinResponse, seconds=30)
    while len(again) < 10:
        again.update({d.sequence: d.attempt for d in next(second).deliveries})
    check(set(again) == set(given), "after kill -9 another member is given the same ten")
    requests.put(None)
    requests2.put(None)
    silent.close()
    client.close()


main(no_acknowledged_event_is_lost, what_a_lost_member_had_is_given_to_another_in_time)
