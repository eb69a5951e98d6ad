// The CloudEvents SDK of the specification's authors produces and consumes over HTTP.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";

import { CloudEvent, HTTP, Mode, emitterFor, httpTransport } from "cloudevents";

import { service, until } from "./servers.mjs";

let catalyst, url;

before(async () => {
  catalyst = await service("catalyst");
  url = `http://127.0.0.1:${catalyst.http}`;
});
after(async () => {
  await catalyst?.stop();
});

async function stream(name) {
  const response = await fetch(`${url}/draft.events.v1.StreamService/Create`, {
    method: "POST", headers: { "content-type": "application/json" },
    body: JSON.stringify({ config: { name } }),
  });
  assert.equal(response.status, 200, await response.text());
}

async function send(name, message) {
  const response = await fetch(`${url}/events/${name}`, { method: "POST", ...message });
  return { status: response.status, ...(await response.json()) };
}

// The first n events of a stream as the SDK reads them, by server-sent events.
async function follow(name, query, n, headers = {}) {
  const abort = new AbortController();
  const response = await fetch(`${url}/events/${name}?${query}`, {
    headers: { accept: "text/event-stream", ...headers }, signal: abort.signal,
  });
  assert.equal(response.status, 200);
  assert.match(response.headers.get("content-type"), /^text\/event-stream/);
  const events = [];
  let text = "";
  for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
      const lines = text.slice(0, end).split("\n");
      const data = lines.find((line) => line.startsWith("data: "));
      if (!data) continue;
      const body = data.slice("data: ".length);
      const event = HTTP.toEvent({ headers: { "content-type": "application/cloudevents+json" }, body });
      assert.ok(event.validate());
      events.push({ id: lines.find((line) => line.startsWith("id: "))?.slice(4), event });
    }
    if (events.length >= n) break;
  }
  abort.abort();
  return events.slice(0, n);
}

const made = (id, more = {}) => new CloudEvent({
  id, source: "https://shop.example/orders", type: "example.order.created",
  subject: "order/1", time: "2026-01-02T03:04:05.678Z", datacontenttype: "application/json",
  data: { amount: 12.5, items: ["a", "b"] }, tenant: "acme", ...more,
});

test("events sent in binary, structured and batched mode come back as they were", async () => {
  await stream("modes");
  assert.equal((await send("modes", HTTP.binary(made("1")))).lastSequence, 1);
  const german = made("2", { subject: "order/köln" });
  assert.equal((await send("modes", HTTP.structured(german))).lastSequence, 2);
  const batch = await send("modes", {
    headers: { "content-type": "application/cloudevents-batch+json" },
    body: JSON.stringify([made("3"), made("4")]),
  });
  assert.deepEqual([batch.status, batch.accepted, batch.lastSequence], [200, 2, 4]);
  const events = await follow("modes", "start=earliest", 4);
  assert.deepEqual(events.map((e) => e.id), ["1", "2", "3", "4"]);
  for (const [i, { event }] of events.entries()) {
    assert.equal(event.id, `${i + 1}`);
    assert.equal(event.source, "https://shop.example/orders");
    assert.equal(event.subject, i === 1 ? "order/köln" : "order/1");
    assert.equal(event.tenant, "acme");
    assert.equal(new Date(event.time).getTime(), Date.parse("2026-01-02T03:04:05.678Z"));
    assert.deepEqual(event.data, { amount: 12.5, items: ["a", "b"] });
  }
});

test("binary data survives", async () => {
  await stream("bytes");
  const data = Buffer.from([0, 1, 2, 253, 254, 255]);
  const sent = made("1", { datacontenttype: "application/octet-stream", data });
  assert.equal((await send("bytes", HTTP.binary(sent))).status, 200);
  const [{ event }] = await follow("bytes", "start=earliest", 1);
  assert.equal(event.data_base64, data.toString("base64"));
});

test("the SDK's emitter is told that an event is stored", async () => {
  await stream("emitter");
  for (const mode of [Mode.BINARY, Mode.STRUCTURED]) {
    const emit = emitterFor(httpTransport(`${url}/events/emitter`), { mode });
    const answer = await emit(made(`by-${mode}`));
    assert.match(String(answer.body), /"accepted":1/);
  }
  const events = await follow("emitter", "start=earliest", 2);
  assert.deepEqual(events.map((e) => e.event.id), ["by-binary", "by-structured"]);
});

test("an event sent twice is stored once", async () => {
  await stream("twice");
  assert.equal((await send("twice", HTTP.binary(made("1")))).duplicates, 0);
  assert.equal((await send("twice", HTTP.structured(made("1")))).duplicates, 1);
  await send("twice", HTTP.binary(made("2")));
  const events = await follow("twice", "start=earliest", 2);
  assert.deepEqual(events.map((e) => e.event.id), ["1", "2"]);
});

test("an event that breaks the rules is refused by the rule's name", async () => {
  const message = HTTP.binary(made("1"));
  delete message.headers["ce-type"];
  const answer = await send("default", message);
  assert.equal(answer.status, 400);
  assert.match(answer.message, /rule 'type-required'/);
});

test("a reader that comes back goes on behind the last event it saw, through a filter", async () => {
  await stream("resume");
  for (let i = 1; i <= 9; i++) {
    await send("resume", HTTP.binary(made(`${i}`, { type: i % 2 ? "odd" : "even" })));
  }
  const first = await follow("resume", "start=earliest&type=odd", 2);
  assert.deepEqual(first.map((e) => e.event.id), ["1", "3"]);
  const rest = await follow("resume", "start=earliest&type=odd", 3, { "last-event-id": first[1].id });
  assert.deepEqual(rest.map((e) => e.event.id), ["5", "7", "9"]);
});

test("the SDK understands what is pushed to a webhook", async () => {
  await stream("pushed");
  const got = [], asked = [];
  const hook = createServer((request, response) => {
    let body = "";
    if (request.method === "OPTIONS") {
      asked.push(request.headers["webhook-request-origin"]);
      response.writeHead(200, { "webhook-allowed-origin": asked.at(-1), "webhook-allowed-rate": "600" });
      response.end();
      return;
    }
    request.on("data", (chunk) => { body += chunk; });
    request.on("end", () => {
      const event = HTTP.toEvent({ headers: request.headers, body });
      got.push({ event, path: request.url, attempt: request.headers["draft-attempt"] });
      response.writeHead(got.length === 1 ? 503 : 204, got.length === 1 ? { "retry-after": "1" } : {});
      response.end();
    });
  });
  await new Promise((resolve) => hook.listen(0, "127.0.0.1", resolve));
  try {
    for (const structured of [false, true]) {
      const response = await fetch(`${url}/draft.events.v1.GroupService/Create`, {
        method: "POST", headers: { "content-type": "application/json" },
        body: JSON.stringify({ config: { name: `g-${structured}`, stream: "pushed",
          push: { url: `http://127.0.0.1:${hook.address().port}/${structured}`, structured } } }),
      });
      assert.equal(response.status, 200, await response.text());
    }
    await send("pushed", HTTP.binary(made("1")));
    await until("both groups and one repetition", () => got.length === 3);
    for (const path of ["/false", "/true"]) {
      const { event } = got.filter((g) => g.path === path).at(-1);
      assert.ok(event.validate());
      assert.equal(event.id, "1");
      assert.equal(event.tenant, "acme");
      assert.deepEqual(event.data, { amount: 12.5, items: ["a", "b"] });
    }
    assert.deepEqual(got.map((g) => g.attempt).sort(), ["1", "1", "2"]);
    assert.equal(asked.length, 2);
  } finally {
    hook.close();
    hook.closeAllConnections();
  }
});
