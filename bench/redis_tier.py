"""A hit that Redis answers: sidecache without memory in front, beside nginx with its Lua client for Redis."""

import os
import re
import statistics
import subprocess
import time
import urllib.request
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import load
import origin
import servers
import tools

MODULES = Path("/usr/lib/nginx/modules")
# One GET for each request, over connections that are kept, and no policy at all.
LUA = """\
local redis = require "nginx.redis"
local connection = redis:new()
connection:set_timeout(1000)
assert(connection:connect("127.0.0.1", {redis}))
local body = assert(connection:get(ngx.var.uri))
assert(connection:set_keepalive(60000, 128))
ngx.header["Content-Type"] = "text/plain"
ngx.header["Content-Length"] = #body
ngx.print(body)
"""
NAMES = ("sidecache", "nginx-lua")


@dataclass
class Results:
    samples: dict = field(default_factory=dict)  # by (size, name)
    alone: dict = field(default_factory=dict)  # by size: microseconds for one request at a time: sidecache's, Redis' own

    def median(self, size, name):
        return load.median(self.samples[size, name])

    def ratio(self, size):
        """Sidecache's CPU for a request ÷ nginx's in the same round: the median, least, most."""
        rounds = zip(self.samples[size, "sidecache"], self.samples[size, "nginx-lua"])
        ratios = sorted(one.cpu / another.cpu for one, another in rounds)
        return statistics.median(ratios), ratios[0], ratios[-1]

    def added(self, size):
        """What sidecache adds to a bare round trip to Redis, in microseconds, in the middle round."""
        return statistics.median(ours - bare for ours, bare in self.alone[size])


def measure(binary, rounds, seconds):
    core, client = tools.cores()
    results = Results()
    with ExitStack() as stack:
        folder = stack.enter_context(servers.temporary())
        upstream, _ = stack.enter_context(origin.static())
        redis = stack.enter_context(redis_server(folder, client))
        contestants = [
            stack.enter_context(sidecache(binary, folder, upstream, redis, core)),
            stack.enter_context(nginx_lua(folder, redis, core)),
        ]
        for server in contestants:
            for size, length in origin.SIZES.items():
                _prime(server, size, length, redis)
        for number in range(rounds):
            turn = number % len(contestants)
            for size, length in origin.SIZES.items():
                for server in contestants[turn:] + contestants[:turn]:
                    sample = load.hits(server, size, seconds, client)
                    results.samples.setdefault((size, server.name), []).append(sample)
                pair = (_one_by_one(contestants[0].url(size), client), _bare(redis, length, client))
                results.alone.setdefault(size, []).append(pair)
            print(f"  round {number + 1} of {rounds}", flush=True)
        _still_hits(contestants[0])
    return results


@contextmanager
def redis_server(folder, core):
    port = servers.free_port()
    command = ["taskset", "-c", core, "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with servers.running(command, port, folder / "redis.log"):
        yield port


@contextmanager
def sidecache(binary, folder, upstream, redis, core):
    port, config, log = servers.free_port(), folder / "redis-tier.yaml", folder / "redis-tier.log"
    config.write_text(
        f"listen: 127.0.0.1:{port}\n"
        f"upstream: http://127.0.0.1:{upstream}\n"
        f"store: {{ memory: off, redis: redis://127.0.0.1:{redis}, prefix: bench }}\n"
        "routes: [{ match: /**, cache: origin }]\n"
    )
    command = ["taskset", "-c", core, binary, "--config", config, "--log", "off"]
    with servers.running(command, port, log) as process:
        yield servers.Server("sidecache", port, process.pid, log)


@contextmanager
def nginx_lua(parent, redis, core):
    folder = parent / "nginx-lua"
    folder.mkdir()
    (folder / "get.lua").write_text(LUA.format(redis=redis))
    port, log = servers.free_port(), folder / "nginx.log"
    log.touch()
    config = folder / "nginx.conf"
    config.write_text(f"""\
{"user root;" if os.geteuid() == 0 else ""}
load_module {MODULES}/ndk_http_module.so;
load_module {MODULES}/ngx_http_lua_module.so;
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.error;
events {{ worker_connections 1024; }}
http {{
    lua_package_path "/usr/share/lua/5.1/?.lua;;";
    access_log off;
    keepalive_requests 1000000000;
    server {{
        listen 127.0.0.1:{port};
        location / {{ content_by_lua_file {folder}/get.lua; }}
    }}
}}
""")
    command = ["taskset", "-c", core, "nginx", "-p", folder, "-e", folder / "nginx.error", "-c", config]
    with servers.running(command, port, folder / "nginx.output") as master:
        yield servers.Server("nginx-lua", port, servers.worker(master.pid), log)


def _prime(server, size, length, redis):
    """Puts the object where the server finds it, and sees to it that it does."""
    if server.name == "nginx-lua":
        command = ["redis-cli", "-p", str(redis), "-x", "SET", server.path(size)]
        subprocess.run(command, input=b"x" * length, stdout=subprocess.DEVNULL, check=True)
    limit = time.monotonic() + 10
    while time.monotonic() < limit:
        with urllib.request.urlopen(server.url(size), timeout=10) as response:
            said = response.headers.get("Cache-Status", "; hit")
            if len(response.read()) != length:
                raise SystemExit(f"{server.name} cuts the body of {size}")
            if "; hit" in said:
                return
        time.sleep(0.05)
    raise SystemExit(f"{server.name} has no hit for {size}: {said}")


def _still_hits(server):
    for size in origin.SIZES:
        with urllib.request.urlopen(server.url(size), timeout=10) as response:
            if "; hit" not in response.headers["Cache-Status"]:
                raise SystemExit(f"{server.name} no longer hits: {response.headers['Cache-Status']}")


def _one_by_one(url, core):
    """Microseconds for a request, one at a time."""
    _, rate = load.wrk(url, 1, core, connections=1)
    return 1e6 / rate


def _bare(redis, length, core):
    """The same for a GET of so many bytes from Redis."""
    command = ["taskset", "-c", str(core), "redis-benchmark", "-p", str(redis), "-c", "1", "-n", "20000", "-d", str(length)]
    said = subprocess.run([*command, "-t", "set,get", "--csv"], capture_output=True, text=True, check=True).stdout
    return 1e6 / float(re.search(r'"GET","([\d.]+)"', said)[1])
