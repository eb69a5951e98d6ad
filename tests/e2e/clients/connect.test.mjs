// @connectrpc/connect-node against the HTTP port: Connect unary as JSON and binary, errors, a
// server stream; and against the gRPC port with the same generated code.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";

import { service, source } from "./servers.mjs";

let echo, blueprint, schemas;

function generate() {
  const out = mkdtempSync(join(process.cwd(), "generated-"));
  const protos = ["examples/echo/v1/echo.proto", "core/registry/key_value/v1/key_value.proto"];
  execFileSync("protoc", [`-I${source}/proto`, `--es_out=${out}`, "--es_opt=target=js",
    "--plugin=protoc-gen-es=node_modules/.bin/protoc-gen-es", ...protos]);
  return out;
}

before(async () => {
  const out = generate();
  schemas = {
    echo: await import(`${out}/examples/echo/v1/echo_pb.js`),
    kv: await import(`${out}/core/registry/key_value/v1/key_value_pb.js`),
  };
  [echo, blueprint] = await Promise.all([service("echo"), service("blueprint")]);
});
after(async () => {
  await echo?.stop();
  await blueprint?.stop();
});

for (const useBinaryFormat of [false, true]) {
  test(`unary over Connect, ${useBinaryFormat ? "binary" : "JSON"}`, async () => {
    const client = createClient(schemas.echo.EchoService, createConnectTransport({
      baseUrl: `http://127.0.0.1:${echo.http}`, httpVersion: "1.1", useBinaryFormat,
    }));
    assert.match((await client.speak({ input: "grüße ☺" })).output, /grüße ☺/);
  });
}

test("unary over gRPC with the same code", async () => {
  const client = createClient(schemas.echo.EchoService, createGrpcTransport({
    baseUrl: `http://127.0.0.1:${echo.rpc}`,
  }));
  assert.match((await client.speak({ input: "hello" })).output, /hello/);
});

test("an error keeps its code and its words", async () => {
  const client = createClient(schemas.kv.KeyValueService, createConnectTransport({
    baseUrl: `http://127.0.0.1:${blueprint.http}`, httpVersion: "1.1",
  }));
  const typeUrl = "type.googleapis.com/core.registry.key_value.v1.Value";
  await assert.rejects(client.get({ key: "absent", value: { typeUrl } }), (error) => {
    assert.ok(error instanceof ConnectError);
    assert.equal(error.code, Code.NotFound);
    assert.match(error.rawMessage, /absent/);
    return true;
  });
  await assert.rejects(client.set({ key: "", value: { typeUrl } }),
    (error) => error.code === Code.InvalidArgument);
});

test("a server stream over Connect delivers changes", async () => {
  const client = createClient(schemas.kv.KeyValueService, createConnectTransport({
    baseUrl: `http://127.0.0.1:${blueprint.http}`, httpVersion: "1.1",
  }));
  const typeUrl = "type.googleapis.com/core.registry.key_value.v1.Value";
  const value = { typeUrl, value: new Uint8Array([0x0a, 1, 0x31]) };
  const first = await client.set({ key: "stream/1", value });
  const abort = new AbortController();
  const keys = [];
  const reading = (async () => {
    for await (const response of client.watch(
      { kind: { typeUrl }, keyPrefix: "stream/", startRevision: first.meta.revision },
      { signal: abort.signal })) {
      for (const event of response.events) keys.push(event.key);
      if (keys.length === 2) abort.abort();
    }
  })().catch((error) => { if (!abort.signal.aborted) throw error; });
  await client.set({ key: "stream/2", value });
  await reading;
  assert.deepEqual(keys, ["stream/1", "stream/2"]);
});
