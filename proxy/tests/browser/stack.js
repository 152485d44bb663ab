// A stack for a test: the demo shop, sidecache, and redis-server where it is asked for, on free ports, in a
// folder of its own.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";

const TARGET = process.env.CARGO_TARGET_DIR ?? resolve(import.meta.dirname, "../../../target");
const program = name => join(TARGET, "debug", name);

/** For a program to say that it has started. */
const PATIENCE = 20_000;

export const RULES = `
  - match: /cached_products
    cache: { ttl: 300s, tags: [products] }
  - match: /products/*
    cache: 60s
  - match: /products
    cache: off
`;

export class Stack {
  #folder;
  #running = [];

  /** With a token and a Redis, or without; `delay` is what the shop's list takes. */
  static async start({ token, redis = false, delay = "20ms" } = {}) {
    const stack = new Stack();
    stack.#folder = await mkdtemp(join(tmpdir(), "sidecache-browser-"));
    try {
      if (redis) await stack.startRedis();
      const shop = await stack.#run("origin", ["--listen", "127.0.0.1:0", "--delay", delay], {}, [/address=(\S+)/]);
      stack.shop = `http://${shop.found[0]}`;
      await stack.edit(RULES);
      const env = token === undefined ? {} : { SIDECACHE_ADMIN_TOKEN: token };
      const marks = [/admin listener is open.*address=(\S+)/, /ready.*listening="?([\d.:]+)/];
      const sidecar = await stack.#run("sidecache", ["--config", stack.file, "--log-format", "human"], env, marks);
      [stack.admin, stack.data] = sidecar.found.map(address => `http://${address}`);
      await stack.#isReady();
      return stack;
    } catch (error) {
      await stack.stop();
      throw error;
    }
  }

  get file() {
    return join(this.#folder, "config.yaml");
  }

  /** Puts a file with these rules in the place of the one before, as editors do. */
  async edit(rules) {
    const redis = this.redis ? `, redis: "redis+unix://${join(this.#folder, "redis.sock")}", prefix: browser` : "";
    const written = `${this.file}.new`;
    await writeFile(written, `listen: 127.0.0.1:0
admin: 127.0.0.1:0
upstream: ${this.shop}
store: { memory: 8MiB${redis} }
routes:${rules}`);
    await rename(written, this.file);
  }

  async startRedis() {
    const settings = ["--port", "0", "--unixsocket", "redis.sock", "--save", "", "--appendonly", "no"];
    this.redis = await this.#run("redis-server", settings, {}, [/[Rr]eady to accept connections/]);
  }

  /** Until the sidecar has its Redis, if any. */
  async #isReady() {
    const until = Date.now() + PATIENCE;
    for (let status; status !== "ready"; await setTimeout(20)) {
      assert(Date.now() < until, `still ${status}`);
      ({ status } = await (await fetch(`${this.admin}/readyz`)).json());
    }
  }

  async killRedis() {
    await end(this.redis.child, "SIGKILL");
  }

  /** A request to the proxy: what its `Cache-Status` says, without the proxy's name. */
  async get(path, headers = {}) {
    const response = await fetch(this.data + path, { headers });
    await response.arrayBuffer();
    return response.headers.get("cache-status")?.replace(/^sidecache; /, "");
  }

  async stop() {
    for (const child of this.#running.reverse()) await end(child, "SIGKILL");
    await rm(this.#folder, { recursive: true, force: true });
  }

  /** Starts a program, and waits until its log has each of the marks; `found` is what they captured. */
  async #run(name, parameters, env, marks) {
    const path = name === "redis-server" ? name : program(name);
    const child = spawn(path, parameters, { cwd: this.#folder, env: { ...process.env, ...env, NO_COLOR: "1" } });
    this.#running.push(child);
    const found = marks.map(() => null);
    const said = [];
    const heard = new Promise((done, failed) => {
      const fail = what => () => failed(new Error(`${name} ${what}:\n${said.join("\n")}`));
      const late = globalThis.setTimeout(fail("does not start"), PATIENCE);
      child.on("error", failed);
      child.on("exit", fail("ended"));
      for (const stream of [child.stdout, child.stderr]) {
        createInterface({ input: stream }).on("line", line => {
          if (said.length < 100) said.push(line);
          marks.forEach((mark, at) => found[at] ??= line.match(mark)?.at(-1) ?? null);
          if (found.every(each => each !== null)) done(clearTimeout(late));
        });
      }
    });
    await heard;
    return { child, found };
  }
}

async function end(child, signal) {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const ended = once(child, "exit");
  assert(child.kill(signal));
  await ended;
}
