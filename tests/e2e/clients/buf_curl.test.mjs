// `buf curl` knows nothing of our contracts: it finds them by reflection, then calls by gRPC,
// and by Connect with the schema from the same reflection.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, test } from "node:test";
import { promisify } from "node:util";

import { service } from "./servers.mjs";

const run = promisify(execFile);
let echo, blueprint;

before(async () => {
  [echo, blueprint] = await Promise.all([service("echo"), service("blueprint")]);
});
after(async () => {
  await echo?.stop();
  await blueprint?.stop();
});

function grpc(port, method, data) {
  return run("node_modules/.bin/buf", ["curl", "--protocol", "grpc", "--http2-prior-knowledge",
    "-d", JSON.stringify(data), `http://127.0.0.1:${port}/${method}`], { timeout: 30000 });
}

test("gRPC by reflection: echo answers", async () => {
  const { stdout } = await grpc(echo.rpc, "examples.echo.v1.EchoService/Speak", { input: "hello" });
  assert.match(JSON.parse(stdout).output, /hello/);
});

test("gRPC by reflection: an Any of a known kind goes in and comes out", async () => {
  const kind = "type.googleapis.com/core.registry.key_value.v1.Value";
  const method = "core.registry.key_value.v1.KeyValueService";
  await grpc(blueprint.rpc, `${method}/Set`, { key: "k", value: { "@type": kind, data: "text" } });
  const { stdout } = await grpc(blueprint.rpc, `${method}/Get`, { key: "k", value: { "@type": kind } });
  assert.equal(JSON.parse(stdout).value.data, "text");
});

test("an error shows code and words", async () => {
  const kind = "type.googleapis.com/core.registry.key_value.v1.Value";
  await assert.rejects(grpc(blueprint.rpc, "core.registry.key_value.v1.KeyValueService/Get",
    { key: "absent", value: { "@type": kind } }), (error) => {
    assert.match(error.stderr, /not_found/);
    return true;
  });
});

test("services are listed", async () => {
  const { stdout } = await run("node_modules/.bin/buf", ["curl", "--protocol", "grpc",
    "--http2-prior-knowledge", "--list-methods", `http://127.0.0.1:${blueprint.rpc}`],
  { timeout: 30000 });
  assert.match(stdout, /KeyValueService\/Watch/);
});
