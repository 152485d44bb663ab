"""The programs that the benchmark needs, and how to get those that are missing."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
NODE = TARGET / "bench"  # npm packages lie here, where git looks at nothing

PACKAGES = {
    "nginx": "nginx-light",
    "haproxy": "haproxy",
    "wrk": "wrk",
    "h2load": "nghttp2-client",
    "valgrind": "valgrind",
    "slowhttptest": "slowhttptest",
    "npm": "npm",
    "taskset": "util-linux",
    "redis-server": "redis-server",
    "redis-benchmark": "redis-tools",
}
# Of nginx, for its client for Redis.
LUA = {
    "/usr/lib/nginx/modules/ngx_http_lua_module.so": "libnginx-mod-http-lua",
    "/usr/share/lua/5.1/nginx/redis.lua": "lua-nginx-redis",
}
SERVICES = {"nginx", "haproxy", "redis-server"}  # Debian starts these when it installs them


def need(*programs):
    """Installs what is missing, or says what to install."""
    missing = [program for program in programs if not shutil.which(program)]
    files = [file for file in LUA if not Path(file).exists()]
    if not missing and not files:
        return
    packages = [PACKAGES[program] for program in missing] + [LUA[file] for file in files]
    missing += files
    if not shutil.which("apt-get") or os.geteuid() != 0:
        sys.exit(f"missing: {', '.join(missing)} (on Debian: apt-get install {' '.join(packages)})")
    print(f"installing {' '.join(packages)}", flush=True)
    subprocess.run(["apt-get", "update", "-qq"], check=True)
    subprocess.run(
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages],
        check=True,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
    )
    # They were not here a moment ago, so nobody relies on them: we bring our own configuration.
    for program in SERVICES.intersection(missing):
        subprocess.run(["service", program, "stop"], check=False)


def loadtest():
    """The path of npm's `loadtest`, installed without a trace in the repository."""
    script = NODE / "node_modules/.bin/loadtest"
    if not script.exists():
        need("npm")
        print("installing loadtest", flush=True)
        NODE.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["npm", "install", "--silent", "--no-save", "--no-package-lock", "--prefix", NODE, "loadtest@8"],
            check=True,
        )
    return script


def build():
    """Builds both binaries as they are released, but with symbols; returns where they lie."""
    # Cargo puts the profile `bench` in the folder `release`.
    subprocess.run(
        ["cargo", "build", "--profile", "bench", "--locked", "-p", "sidecache", "-p", "origin"], cwd=ROOT, check=True
    )
    return TARGET / "release"


def cores():
    """One core for the server, another for who asks it; taskset counts as /proc/cpuinfo does."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        sys.exit("the benchmark needs two cores: one for the server, one for its clients")
    return usable[0], usable[-1]


def version(program, *arguments):
    """The first number with a point in what a program says of its version."""
    said = subprocess.run([program, *arguments], capture_output=True, text=True)  # wrk -v ends with 1
    return re.search(r"\d+(\.\d+)+", said.stdout + said.stderr)[0]


def unwind_on_sigterm():
    """Lets SIGTERM end every server that was started, as Ctrl-C does."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
