// @grpc/grpc-js with @grpc/grpc-js-xds, as ../xds/client.py.
import { createInterface } from "node:readline";

import grpc from "@grpc/grpc-js";
import xds from "@grpc/grpc-js-xds";
import loader from "@grpc/proto-loader";

xds.register();
const [source, target] = process.argv.slice(2);
const definition = loader.loadSync("examples/echo/v1/echo.proto",
  { includeDirs: [`${source}/proto`] });
const { EchoService } = grpc.loadPackageDefinition(definition).examples.echo.v1;
const client = new EchoService(target, grpc.credentials.createInsecure());
const speak = (input) => new Promise((resolve, reject) => client.Speak(
  { input }, { deadline: Date.now() + 10000 }, (error, v) => (error ? reject(error) : resolve(v))));

for await (const line of createInterface({ input: process.stdin })) {
  let succeeded = 0, failed = 0, last = "";
  for (let i = 0; i < Number(line); i += 1) {
    try {
      if ((await speak(String(i))).output === String(i)) succeeded += 1;
    } catch (error) {
      failed += 1;
      last = `${error.code} ${error.details}`;
    }
  }
  console.log(`${succeeded} ${failed} ${last.replace(/\s+/g, " ")}`);
}
process.exit(0);
