// @grpc/grpc-js against the TestService on the chassis: the four kinds of call, deadline, cancel,
// metadata, status; and against Blueprint, whose watch is a long-lived stream.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

import { interopServer, service, source } from "./servers.mjs";

function load(path) {
  const definition = loader.loadSync(path, {
    includeDirs: [`${source}/proto`], longs: String, enums: String, defaults: true, oneofs: true,
  });
  return grpc.loadPackageDefinition(definition);
}

let server, client;
const zeros = (n) => ({ body: Buffer.alloc(n) });

before(async () => {
  server = await interopServer();
  const { TestService } = load("grpc/testing/test.proto").grpc.testing;
  client = new TestService(`127.0.0.1:${server.rpc}`, grpc.credentials.createInsecure());
});
after(async () => {
  client?.close();
  await server?.stop();
});

test("unary returns as many bytes as asked for", async () => {
  const response = await new Promise((resolve, reject) => client.UnaryCall(
    { responseSize: 314159, payload: zeros(271828) },
    (error, value) => (error ? reject(error) : resolve(value))));
  assert.equal(response.payload.body.length, 314159);
});

test("server streaming delivers every message in order", async () => {
  const sizes = [31415, 9, 2653, 58979];
  const got = [];
  for await (const message of client.StreamingOutputCall(
    { responseParameters: sizes.map((size) => ({ size })) })) {
    got.push(message.payload.body.length);
  }
  assert.deepEqual(got, sizes);
});

test("client streaming counts what was sent", async () => {
  const response = await new Promise((resolve, reject) => {
    const call = client.StreamingInputCall((error, value) => (error ? reject(error) : resolve(value)));
    for (const size of [27182, 8, 1828, 45904]) call.write({ payload: zeros(size) });
    call.end();
  });
  assert.equal(response.aggregatedPayloadSize, 74922);
});

test("bidirectional streaming answers each message before the next is sent", async () => {
  const call = client.FullDuplexCall();
  const answers = call[Symbol.asyncIterator]();
  for (const size of [31415, 9, 2653, 58979]) {
    call.write({ responseParameters: [{ size }], payload: zeros(10) });
    const { value } = await answers.next();
    assert.equal(value.payload.body.length, size);
  }
  call.end();
  assert.equal((await answers.next()).done, true);
});

test("a deadline ends a call that the server keeps open", async () => {
  const call = client.FullDuplexCall({ deadline: Date.now() + 150 });
  const error = await new Promise((resolve) => call.on("error", resolve).on("data", () => {}));
  assert.equal(error.code, grpc.status.DEADLINE_EXCEEDED);
});

test("a cancelled stream ends as cancelled and the connection goes on", async () => {
  const call = client.FullDuplexCall();
  call.write({ responseParameters: [{ size: 10 }] });
  const error = await new Promise((resolve) => {
    call.on("data", () => call.cancel());
    call.on("error", resolve);
  });
  assert.equal(error.code, grpc.status.CANCELLED);
  await new Promise((resolve, reject) => client.EmptyCall({}, (e) => (e ? reject(e) : resolve())));
});

test("metadata comes back as header and binary trailer", async () => {
  const metadata = new grpc.Metadata();
  metadata.set("x-grpc-test-echo-initial", "test_initial_metadata_value");
  metadata.set("x-grpc-test-echo-trailing-bin", Buffer.from([0xab, 0xab, 0xab]));
  let header, trailer;
  await new Promise((resolve, reject) => {
    const call = client.UnaryCall({ responseSize: 1 }, metadata,
      (error) => (error ? reject(error) : null));
    call.on("metadata", (m) => { header = m; });
    call.on("status", (s) => { trailer = s.metadata; resolve(); });
  });
  assert.deepEqual(header.get("x-grpc-test-echo-initial"), ["test_initial_metadata_value"]);
  assert.deepEqual(trailer.get("x-grpc-test-echo-trailing-bin"), [Buffer.from([0xab, 0xab, 0xab])]);
});

test("status code and message arrive unchanged, whatever characters they have", async () => {
  const message = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n";
  const error = await new Promise((resolve) => client.UnaryCall(
    { responseStatus: { code: 2, message } }, resolve));
  assert.equal(error.code, 2);
  assert.equal(error.details, message);
});

test("unknown methods are refused, never left hanging", async () => {
  const error = await new Promise((resolve) => client.UnimplementedCall({}, resolve));
  assert.equal(error.code, grpc.status.UNIMPLEMENTED);
});

test("a watch of Blueprint delivers what is set and deleted, in order", async () => {
  const blueprint = await service("blueprint");
  const { KeyValueService, Value } = load("core/registry/key_value/v1/key_value.proto")
    .core.registry.key_value.v1;
  const kv = new KeyValueService(`127.0.0.1:${blueprint.rpc}`, grpc.credentials.createInsecure());
  const type_url = "type.googleapis.com/core.registry.key_value.v1.Value";
  const call = (method, request) => new Promise((resolve, reject) =>
    kv[method](request, (e, v) => (e ? reject(e) : resolve(v))));
  try {
    const set = await call("Set", { key: "a", value: { type_url, value: Buffer.from([0x0a, 1, 0x31]) } });
    const watch = kv.Watch({ kind: { type_url }, keyPrefix: "a", startRevision: set.meta.revision });
    const events = [];
    const seen = new Promise((resolve) => watch.on("data", (response) => {
      for (const event of response.events) events.push(`${event.type} ${event.key}`);
      if (events.length === 3) resolve();
    }));
    watch.on("error", () => {});
    await call("Set", { key: "a2", value: { type_url, value: Buffer.from([0x0a, 1, 0x32]) } });
    await call("Delete", { key: "a", value: { type_url } });
    await seen;
    assert.deepEqual(events, ["PUT a", "PUT a2", "DELETE a"]);
    watch.cancel();
  } finally {
    kv.close();
    await blueprint.stop();
  }
});
