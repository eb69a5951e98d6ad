// Our subset of the xDS contracts (proto/envoy) against the true ones, which @grpc/grpc-js-xds ships:
// every file, message, field, enum and method of ours is there, with the same number, type, label,
// oneof and name. And resources as Fuse makes them (golden files of the unit tests), read with the
// true ones: they know every field.
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { test } from "node:test";

import protobuf from "protobufjs";

const ours = join(process.env.DRAFT_SOURCE, "proto");
const packages = createRequire(import.meta.url);
const theirs = join(dirname(packages.resolve("@grpc/grpc-js-xds/package.json")), "deps");
const common = dirname(packages.resolve("protobufjs/package.json"));

const files = readdirSync(join(ours, "envoy"), { recursive: true })
  .filter((name) => name.endsWith(".proto")).map((name) => `envoy/${name}`).sort();

function load(folders, names) {
  const root = new protobuf.Root();
  root.resolvePath = (_, name) => folders.map((folder) => join(folder, name)).find(existsSync) ?? name;
  root.loadSync(names, { keepCase: true });
  root.resolveAll();
  return root;
}

// Every named thing below `envoy`, as "full.name" → a description of it that can be compared.
function describe(root) {
  const found = new Map();
  const file = (object) => object.filename?.slice(object.filename.indexOf("envoy/"));
  const field = (f) => ({
    kind: "field", id: f.id, type: f.resolvedType?.fullName ?? f.type, label: f.repeated ? "repeated" : "",
    key: f.keyType ?? "", oneof: f.partOf?.name ?? "",
  });
  const method = (m) => ({
    kind: "method", request: m.resolvedRequestType.fullName, response: m.resolvedResponseType.fullName,
    requestStream: Boolean(m.requestStream), responseStream: Boolean(m.responseStream),
  });
  const walk = (object) => {
    if (object instanceof protobuf.Type) {
      found.set(object.fullName, { kind: "message", file: file(object) });
      for (const f of object.fieldsArray) found.set(`${object.fullName}.${f.name}`, field(f));
    } else if (object instanceof protobuf.Enum) {
      found.set(object.fullName, { kind: "enum", file: file(object) });
      for (const [name, id] of Object.entries(object.values)) {
        found.set(`${object.fullName}.${name}`, { kind: "value", id });
      }
    } else if (object instanceof protobuf.Service) {
      found.set(object.fullName, { kind: "service", file: file(object) });
      for (const m of object.methodsArray) found.set(`${object.fullName}.${m.name}`, method(m));
    }
    for (const nested of object.nestedArray ?? []) walk(nested);
  };
  walk(root.lookup("envoy"));
  return found;
}

// What ours says and the truth does not, as text.
function differences(mine, truth) {
  const list = [];
  for (const [name, thing] of mine) {
    const want = truth.get(name);
    for (const key of want ? Object.keys(thing) : []) {
      if (thing[key] !== want[key]) list.push(`${name}: ${key} is '${thing[key]}', not '${want[key]}'`);
    }
    if (!want) list.push(`${name}: there is no such ${thing.kind}`);
  }
  return list;
}

const true_root = load(
  ["envoy-api", "xds", "googleapis", "protoc-gen-validate"].map((name) => join(theirs, name)).concat(common),
  files);
const truth = describe(true_root);
const load_ours = () => load([ours, common], files);

test("every name, number, type and label of ours is the true one", () => {
  const mine = describe(load_ours());
  const count = (kind) => [...mine.values()].filter((thing) => thing.kind === kind).length;
  console.log(`${files.length} files, ${count("message")} messages, ${count("field")} fields, ` +
    `${count("value")} enum values, ${count("method")} methods`);
  assert.deepEqual(differences(mine, truth), []);
  assert.ok(count("message") > 100 && count("field") > 350 && count("method") === 19);
});

test("a wrong number, type, label, oneof, name or direction would be found", () => {
  const wrong = [
    ["envoy.config.cluster.v3.Cluster", (t) => { t.fields.lb_policy.id = 60; }],
    ["envoy.config.cluster.v3.Cluster", (t) => { t.fields.name.type = "bytes"; }],
    ["envoy.config.core.v3.Node", (t) => { t.fields.id.repeated = true; }],
    ["envoy.config.core.v3.SocketAddress", (t) => { t.fields.port_value.partOf = null; }],
    ["envoy.config.core.v3.Locality", (t) => { t.name = "Place"; }],
    ["envoy.config.core.v3.HealthStatus", (t) => { t.values.DEGRADED = 6; }],
    ["envoy.service.listener.v3.ListenerDiscoveryService",
      (t) => { t.methods.FetchListeners.responseStream = true; }],
  ];
  for (const [name, spoil] of wrong) {
    const root = load_ours();
    spoil(root.lookup(name));
    assert.notEqual(differences(describe(root), truth).length, 0, `spoilt ${name}`);
  }
});

const golden = join(process.env.DRAFT_SOURCE, "tests/unit/fuse_xds/golden");
const types = {
  Cluster: "envoy.config.cluster.v3.Cluster",
  ClusterLoadAssignment: "envoy.config.endpoint.v3.ClusterLoadAssignment",
  Listener: "envoy.config.listener.v3.Listener",
  RouteConfiguration: "envoy.config.route.v3.RouteConfiguration",
  Secret: "envoy.extensions.transport_sockets.tls.v3.Secret",
};

// A decoder drops fields it does not know: then less is encoded again. Any is looked into.
function known(type, bytes) {
  const message = type.decode(bytes);
  assert.equal(type.encode(message).finish().length, bytes.length, `${type.fullName} has unknown fields`);
  let n = 1;
  const walk = (value) => {
    if (value === null || typeof value !== "object" || value instanceof Uint8Array) return;
    if (typeof value.type_url === "string" && value.value instanceof Uint8Array) {
      n += known(true_root.lookupType(value.type_url.slice(value.type_url.indexOf("/") + 1)), value.value);
    }
    Object.values(value).forEach(walk);
  };
  walk(message);
  return n;
}

test("the true contracts know every field of Fuse's resources", () => {
  const names = readdirSync(golden);
  assert.ok(names.length >= 20);
  const inside = names.map((name) => {
    const type = true_root.lookupType(types[name.slice(0, name.indexOf("@"))]);
    const bytes = readFileSync(join(golden, name));
    assert.throws(() => known(type, Buffer.concat([bytes, Buffer.from([0xfa, 0x3f, 1, 0])])), /unknown/);
    return known(type, bytes);
  });
  console.log(`${names.length} resources, ${inside.reduce((a, b) => a + b)} messages in Any and outside`);
});
