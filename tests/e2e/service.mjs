// Starts the real binary on a temporary data directory.
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** Starts a program of target/debug and waits until it says where it serves. */
export async function start(program = "todo-api", env = {}) {
  const dir = await mkdtemp(path.join(tmpdir(), "todo-api-e2e-"));
  const binary = path.join(process.env.CARGO_TARGET_DIR ?? path.join(root, "target"), "debug", program);
  const child = spawn(binary, {
    cwd: dir,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, PORT: "0", TODO_DATA_DIR: path.join(dir, "data"), ...env },
    stdio: ["ignore", "ignore", "pipe"],
  });
  const log = [];
  const address = await new Promise((resolve, reject) => {
    createInterface({ input: child.stderr }).on("line", (line) => {
      log.push(line);
      const ready = line.match(/is ready: http:\/\/([^/\s]+)/);
      if (ready) resolve(ready[1]);
    });
    child.on("error", reject);
    child.on("exit", (code) => reject(new Error(`${program} ended with ${code}:\n${log.join("\n")}`)));
  });
  child.removeAllListeners("exit");
  return {
    address,
    url: `http://${address}/graphql`,
    async stop() {
      const ended = new Promise((resolve) => child.on("exit", resolve));
      child.kill("SIGTERM");
      await ended;
      await rm(dir, { recursive: true, force: true });
    },
  };
}
