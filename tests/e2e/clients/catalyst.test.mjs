// @grpc/grpc-js, from the contract's .proto alone, produces to and consumes from Catalyst.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

import { service, source, until } from "./servers.mjs";

function load(path) {
  const definition = loader.loadSync(path, {
    includeDirs: [`${source}/proto`], longs: Number, enums: String, defaults: true, oneofs: true,
  });
  return grpc.loadPackageDefinition(definition);
}

const { Producer, Consumer } = load("core/message_broker/actors/v1/actors.proto")
  .core.message_broker.actors.v1;
const { StreamService, EventService, GroupService } = load("draft/events/v1/events.proto")
  .draft.events.v1;

let catalyst, clients;

before(async () => {
  catalyst = await service("catalyst");
  const at = (Type) => new Type(`127.0.0.1:${catalyst.rpc}`, grpc.credentials.createInsecure());
  clients = { producer: at(Producer), consumer: at(Consumer), streams: at(StreamService),
    events: at(EventService), groups: at(GroupService) };
});
after(async () => {
  for (const client of Object.values(clients ?? {})) client.close();
  await catalyst?.stop();
});

const call = (client, method, request) => new Promise((resolve, reject) =>
  client[method](request, (error, value) => (error ? reject(error) : resolve(value))));
const made = (id, type = "js.event") => ({
  id: `${id}`, source: "/grpc-js", specVersion: "1.0", type, textData: `data of ${id}`,
  attributes: { subject: { ceString: `subject ${id}` } },
});

// Everything a stream says, and how it ended.
function tap(stream) {
  const seen = { messages: [], error: null };
  stream.on("data", (message) => seen.messages.push(message));
  stream.on("error", (error) => { seen.error = error; });
  return seen;
}

test("2,000 events are acknowledged by id, in order", async () => {
  await call(clients.streams, "Create", { config: { name: "js", takes: [{ type: "js.*" }] } });
  const stream = clients.producer.Produce();
  const seen = tap(stream);
  for (let i = 1; i <= 2000; i++) stream.write({ message: made(i) });
  await until("all acknowledgements", () => seen.messages.length === 2000);
  assert.deepEqual(seen.messages.map((m) => Number(m.id)), Array.from({ length: 2000 }, (_, i) => i + 1));
  stream.end();
  const { stream: described } = await call(clients.streams, "Get", { name: "js" });
  assert.equal(described.events, 2000);
});

test("a bad event is refused in its place, the others are stored", async () => {
  const stream = clients.producer.Produce();
  const seen = tap(stream);
  stream.write({ message: made("good-1") });
  stream.write({ message: { ...made("bad"), source: "" } });
  stream.write({ message: made("good-2") });
  await until("three answers", () => seen.messages.length === 3);
  assert.deepEqual(seen.messages.map((m) => m.id), ["good-1", "", "good-2"]);
  assert.equal(seen.messages[1].refusal.id, "bad");
  assert.match(seen.messages[1].refusal.text, /rule 'source-required'/);
  stream.end();
});

test("every consumer gets what its template selects", async () => {
  const template = { message: { source: "/grpc-js", type: "js.chosen",
    attributes: { stream: { ceString: "js" }, start: { ceString: "earliest" } } } };
  const streams = [1, 2, 3].map(() => clients.consumer.Consume(template));
  const taps = streams.map(tap);
  const producer = clients.producer.Produce();
  tap(producer);
  for (let i = 1; i <= 20; i++) producer.write({ message: made(`c${i}`, i % 2 ? "js.chosen" : "js.other") });
  for (const seen of taps) {
    await until("ten events", () => seen.messages.length === 10);
    assert.deepEqual(seen.messages.map((m) => m.message.id),
      Array.from({ length: 10 }, (_, i) => `c${2 * i + 1}`));
    assert.equal(seen.messages[0].message.textData, "data of c1");
    assert.equal(seen.messages[0].message.attributes.subject.ceString, "subject c1");
  }
  producer.end();
  for (const stream of streams) stream.cancel();
});

test("a subscription replays in batches and keeps to its credit", async () => {
  await call(clients.streams, "Create", { config: { name: "replay" } });
  const events = Array.from({ length: 500 }, (_, i) => made(i + 1));
  const published = await call(clients.events, "Publish",
    { stream: "replay", batch: { events }, request: 7 });
  assert.deepEqual([published.accepted, published.lastSequence, published.request], [500, 500, 7]);
  const stream = clients.events.Subscribe();
  const seen = tap(stream);
  const ids = () => seen.messages.flatMap((m) => m.deliveries.map((d) => Number(d.event.id)));
  stream.write({ stream: "replay", start: { earliest: true }, credit: 100, batchMax: 50 });
  await until("the credit to be used", () => ids().length >= 100);
  assert.equal(ids().length, 100);
  stream.write({ credit: 1000 });
  await until("the rest", () => ids().length >= 500);
  assert.deepEqual(ids(), Array.from({ length: 500 }, (_, i) => i + 1));
  stream.cancel();
});

test("members of a group share its events; what one does not answer another gets", async () => {
  await call(clients.streams, "Create", { config: { name: "work" } });
  await call(clients.groups, "Create", { config: { name: "g", stream: "work", start: { earliest: true } } });
  await call(clients.events, "Publish",
    { stream: "work", batch: { events: Array.from({ length: 100 }, (_, i) => made(i + 1)) } });
  const first = clients.groups.Join(), forgetful = clients.groups.Join();
  const done = new Set();
  const forgotten = tap(forgetful);
  forgetful.write({ stream: "work", group: "g", credit: 10 });
  await until("the forgetful member to have some",
    () => forgotten.messages.flatMap((m) => m.deliveries).length === 10);
  first.on("error", () => {});
  first.on("data", (message) => {
    for (const delivery of message.deliveries) done.add(delivery.event.id);
    if (message.deliveries.length !== 0) {
      first.write({ credit: message.deliveries.length,
        answers: message.deliveries.map((d) => ({ sequence: d.sequence, kind: "ACK" })) });
    }
  });
  first.write({ stream: "work", group: "g", credit: 50 });
  await until("the others", () => done.size === 90);
  forgetful.cancel();
  await until("all of them", () => done.size === 100);
  await until("the group to be done", async () => {
    const { group } = await call(clients.groups, "Get", { stream: "work", name: "g" });
    return group.ackFloor === 101 && group.lag === 0;
  });
  first.cancel();
});
