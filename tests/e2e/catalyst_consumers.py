#!/usr/bin/python3
"""A thousand consumers of one stream, of whom two are stuck: everybody else gets every event, the
stuck ones cost little memory, and when one of them reads again it is told what it has missed."""
import asyncio
import os
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from e2e import (CHANNEL, Client, Failed, check, events_pb, grpc, main, note,  # noqa: E402
                 processes, raw)

CONSUMERS, CONNECTIONS = 1000, 10
SMALL, LARGE = 200, 3000  # events; the large ones have 10 KB each
KEPT = 8 << 20
METHOD = "/draft.events.v1.EventService/"


def make_stream(client):
    config = events_pb.StreamConfig(name="crowd", bytes_max=KEPT)
    config.takes.add(type="crowd.*")
    client.unary("draft.events.v1.StreamService/Create",
                 events_pb.CreateStreamRequest(config=config), events_pb.CreateStreamResponse)


def publish(client, first, n, size):
    for start in range(first, first + n, 20):
        request = events_pb.PublishRequest(stream="crowd")
        for i in range(start, min(start + 20, first + n)):
            request.batch.events.add(id=str(i), source="/e2e", spec_version="1.0", type="crowd.x",
                                     text_data="x" * size)
        answer = client.unary("draft.events.v1.EventService/Publish", request,
                              events_pb.PublishResponse)
        if answer.accepted != len(request.batch.events):
            raise Failed(str(answer))


def subscribe(channel, **fields):
    call = channel.stream_stream(METHOD + "Subscribe", raw, events_pb.SubscribeResponse.FromString)()
    request = events_pb.SubscribeRequest(stream="crowd", credit=1000000, progress_ms=100, **fields)
    return call, request


class Consumer:
    """Counts what it is given, in order."""

    def __init__(self, channel):
        self.call, self.request = subscribe(channel)
        self.next, self.ready = 1, asyncio.Event()

    async def run(self, through):
        if self.next == 1:
            await self.call.write(self.request)
        while self.next <= through:
            answer = await self.call.read()
            if answer is grpc.aio.EOF or answer.HasField("gap"):
                raise Failed(f"a consumer at {self.next}: {answer}")
            self.ready.set()
            for delivery in answer.deliveries:
                if delivery.sequence != self.next:
                    raise Failed(f"event {delivery.sequence} in place of {self.next}")
                self.next += 1


async def crowd(catalyst, client, stuck):
    """Publish while all but the stuck one read; their channels."""
    channels = [grpc.aio.insecure_channel(catalyst.address, CHANNEL) for _ in range(CONNECTIONS)]
    consumers = [Consumer(channels[i % CONNECTIONS]) for i in range(CONSUMERS)]
    tasks = [asyncio.create_task(c.run(SMALL)) for c in consumers]
    await asyncio.gather(*(asyncio.wait_for(c.ready.wait(), 60) for c in consumers))
    check(True, f"{CONSUMERS} subscriptions stand")
    call, request = subscribe(stuck)
    await call.write(request)
    await call.read()
    await asyncio.to_thread(publish, client, 0, SMALL, 100)
    await asyncio.wait_for(asyncio.gather(*tasks), 120)
    check(all(c.next == SMALL + 1 for c in consumers), f"each was given all {SMALL} events, in order")
    for consumer in consumers[10:]:
        consumer.call.cancel()
    return channels, consumers[:10], call


async def a_crowd_and_a_stuck_one(catalyst):
    client = Client(catalyst.address)
    make_stream(client)
    deaf = socket.create_connection(("127.0.0.1", catalyst.ports["http"]))
    deaf.sendall(b"GET /events/crowd?start=earliest HTTP/1.1\r\nhost: x\r\n"
                 b"accept: text/event-stream\r\n\r\n")
    stuck = grpc.aio.insecure_channel(catalyst.address, CHANNEL)
    channels, readers, call = await crowd(catalyst, client, stuck)
    before = catalyst.server.memory()["RssAnon"]
    tasks = [asyncio.create_task(c.run(SMALL + LARGE)) for c in readers]
    await asyncio.to_thread(publish, client, SMALL, LARGE, 10000)
    await asyncio.wait_for(asyncio.gather(*tasks), 120)
    check(True, f"the others go on: {LARGE} events of 10 KB beside two that do not read")
    grown = (catalyst.server.memory()["RssAnon"] - before) / 1e6
    check(grown < 100, f"memory grew by {grown:.0f} MB while {LARGE * 10000 / 1e6:.0f} MB passed by")
    seen, gap, next_sequence = 0, None, 1
    while next_sequence <= SMALL + LARGE:
        answer = await asyncio.wait_for(call.read(), 60)
        if answer is grpc.aio.EOF:
            raise Failed("the stuck one's subscription has ended")
        if answer.HasField("gap"):
            gap = answer.gap
            if gap.from_sequence != next_sequence:
                raise Failed(f"a gap from {gap.from_sequence} in place of {next_sequence}")
            next_sequence = gap.to_sequence
        for delivery in answer.deliveries:
            if delivery.sequence != next_sequence:
                raise Failed(f"event {delivery.sequence} in place of {next_sequence}")
            next_sequence += 1
            seen += 1
    check(gap is not None and seen > 0,
          f"the stuck one reads again: {seen} events, and is told that {gap.from_sequence} to "
          f"{gap.to_sequence - 1} are gone")
    deaf.close()
    for channel in [*channels, stuck]:
        await channel.close()
    client.close()


def a_thousand_consumers_of_whom_one_is_stuck(running):
    catalyst = running.service("catalyst")
    asyncio.run(a_crowd_and_a_stuck_one(catalyst))
    status = processes.http(catalyst.url("/readyz"))[0]
    check(status == 200, "the service is well")
    note(f"{catalyst.server.cpu_s():.1f} s of CPU")


main(a_thousand_consumers_of_whom_one_is_stuck)
