// A stack for a test: the demo shop, sidecache, and redis-server where it is asked for, on free ports, in a
// folder of its own.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { createServer } from "node:net";
import { setTimeout } from "node:timers/promises";
import { promisify } from "node:util";

const TOP = resolve(import.meta.dirname, "../../..");
const TARGET = process.env.CARGO_TARGET_DIR ?? join(TOP, "target");
const OURS = ["origin", "sidecache"];
const program = name => OURS.includes(name) ? join(TARGET, "debug", name) : name;

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
      await stack.startShop(delay);
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

  /** Where it was before, if it was. */
  async startShop(delay = "20ms") {
    const listen = this.shop ? new URL(this.shop).host : "127.0.0.1:0";
    this.origin = await this.#run("origin", ["--listen", listen, "--delay", delay], {}, [/address=(\S+)/]);
    this.shop = `http://${this.origin.found[0]}`;
  }

  async startRedis() {
    const settings = ["--port", "0", "--unixsocket", "redis.sock", "--save", "", "--appendonly", "no"];
    this.redis = await this.#run("redis-server", settings, {}, [/[Rr]eady to accept connections/]);
  }

  /** What a command of sidecache prints, asked of this one. */
  async command(...words) {
    const env = { ...process.env, SIDECACHE_ADMIN: this.admin, NO_COLOR: "1" };
    const { stdout } = await promisify(execFile)(program("sidecache"), words, { env });
    return stdout;
  }

  /** Debian's Prometheus, by the configuration of the compose file, but for whom it asks and how often. */
  async startPrometheus() {
    const config = await readFile(join(TOP, "observe/prometheus.yml"), "utf8");
    const asked = config.replace("127.0.0.1:9090", new URL(this.admin).host).replace(/scrape_interval: \S+/, "scrape_interval: 1s");
    const file = join(this.#folder, "prometheus.yml");
    await writeFile(file, asked);
    await writeFile(join(this.#folder, "alerts.yml"), await readFile(join(TOP, "observe/alerts.yml")));
    const address = `127.0.0.1:${await freePort()}`;
    const settings = [`--config.file=${file}`, `--storage.tsdb.path=${join(this.#folder, "tsdb")}`,
      `--web.listen-address=${address}`];
    await this.#run("prometheus", settings, {}, [/Server is ready to receive web requests/]);
    this.prometheus = `http://${address}`;
  }

  /** What Prometheus has of a series, or nothing yet. */
  async measured(query) {
    const answer = await fetch(`${this.prometheus}/api/v1/query?query=${encodeURIComponent(query)}`);
    const { data } = await answer.json();
    return data.result.map(({ value }) => Number(value[1])).at(0);
  }

  /** Until the sidecar has its Redis, if any. */
  async #isReady() {
    const until = Date.now() + PATIENCE;
    for (let status; status !== "ready"; await setTimeout(20)) {
      assert(Date.now() < until, `still ${status}`);
      ({ status } = await (await fetch(`${this.admin}/readyz`)).json());
    }
  }

  async killShop() {
    await end(this.origin.child, "SIGKILL");
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
    const child = spawn(program(name), parameters, { cwd: this.#folder, env: { ...process.env, ...env, NO_COLOR: "1" } });
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

/** Waits until something is so. */
export async function until(what, is) {
  const late = Date.now() + PATIENCE;
  for (let last; !await is(said => last = said); await setTimeout(50)) {
    assert(Date.now() < late, `${what}: still ${last}`);
  }
}

/** One that nobody listens on now. */
async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  await new Promise(done => server.close(done));
  return port;
}

async function end(child, signal) {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const ended = once(child, "exit");
  assert(child.kill(signal));
  await ended;
}
