// @grpc/grpc-js-xds as a client of fuse_resources.py: calls as JSON in, their results as JSON out.
import { readFileSync } from "node:fs";

import grpc from "@grpc/grpc-js";
import { register } from "@grpc/grpc-js-xds";

register();
const client = new grpc.Client("xds:///echo", grpc.credentials.createInsecure());
const same = (bytes) => bytes;

function once({ path, metadata, seconds }) {
  const headers = new grpc.Metadata({ waitForReady: true });
  for (const [key, value] of Object.entries(metadata)) headers.set(key, value);
  return new Promise((resolve) => client.makeUnaryRequest(
    path, same, same, Buffer.alloc(0), headers, { deadline: Date.now() + seconds * 1000 },
    (error, answer) => resolve(error ? grpc.status[error.code] : answer.toString())));
}

const results = [];
for (const call of JSON.parse(readFileSync(0))) {
  const answers = [];
  for (let i = 0; i < call.times; i++) answers.push(await once(call));
  results.push(answers);
}
console.log(JSON.stringify(results));
process.exit(0);
