// Start the servers under test and wait until they are ready; everything ends with the test.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

const bin = process.env.DRAFT_BIN;
const tmp = process.env.DRAFT_TMP ?? "/tmp";
export const source = process.env.DRAFT_SOURCE;

export async function until(what, condition, ms = 30000) {
  const end = Date.now() + ms;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`${what} did not happen within ${ms} ms`);
    await pause(20);
  }
}

function ended(child) {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) resolve();
    else child.once("exit", resolve);
  });
}

// A service of the chassis on free ports: { rpc, http, stop() }.
export async function service(name, flags = []) {
  mkdirSync(tmp, { recursive: true });
  const dir = mkdtempSync(join(tmp, `e2e-${name}-`));
  const portFile = join(dir, "ports");
  let log = "";
  const child = spawn(join(bin, name), [
    "--service.network.bind_port=0", "--service.network.http_port=0",
    "--service.network.admin_port=0",
    `--service.network.port_file=${portFile}`, `--service.data_directory=${join(dir, "data")}`,
    ...flags,
  ], { cwd: dir, stdio: ["ignore", "pipe", "pipe"] });
  child.stdout.on("data", (d) => { log += d; });
  child.stderr.on("data", (d) => { log += d; });
  const stop = async () => {
    child.kill("SIGTERM");
    await ended(child);
    rmSync(dir, { recursive: true, force: true });
    return { code: child.exitCode, log };
  };
  try {
    const ports = await until(`${name} to write its ports`, () => {
      if (child.exitCode !== null) throw new Error(`${name} ended with ${child.exitCode}:\n${log}`);
      return existsSync(portFile) && readPorts(readFileSync(portFile, "utf8"));
    });
    await until(`${name} to be ready`, async () => {
      try {
        return (await fetch(`http://127.0.0.1:${ports.http}/readyz`)).ok;
      } catch {
        return false;
      }
    });
    return { ...ports, stop, dir };
  } catch (error) {
    child.kill("SIGKILL");
    error.message += `\n${log}`;
    throw error;
  }
}

// The JSON object the runtime writes once it is ready.
function readPorts(text) {
  try {
    const ports = JSON.parse(text);
    return ports.rpc && ports.http ? ports : null;
  } catch {
    return null;
  }
}

// The interoperability server prints its port.
export async function interopServer() {
  const child = spawn(join(bin, "interop_server"), [], { stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  child.stdout.on("data", (d) => { text += d; });
  const port = await until("interop_server to print its port", () => text.match(/^(\d+)\n/)?.[1]);
  return {
    rpc: Number(port),
    stop: async () => { child.kill("SIGTERM"); await ended(child); },
  };
}
