"""Starts and ends what a run needs, on loopback: the suite's origin server, sidecache, and Redis."""

import os
import re
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

START_LIMIT = 60  # seconds
STOP_LIMIT = 40  # longer than sidecache's `timeouts.drain`
CONFIG = Path(__file__).with_name("config.yaml")


@contextmanager
def origin(package, folder):
    """The suite's own origin server; gives its URL."""
    environment = {
        "npm_config_protocol": "http",
        "npm_config_port": "0",
        "npm_config_pidfile": str(folder / "origin.pid"),
    }
    ready = r"Listening on http://\S+:(\d+)/"
    with _running(["node", "server/server.mjs"], ready, folder / "origin.log", environment, package) as port:
        yield f"http://127.0.0.1:{port}"


@contextmanager
def sidecache(binary, folder, number, variables):
    """A proxy with config.yaml; gives its URL."""
    admin = folder / f"admin-{number}.sock"
    environment = {"LISTEN": "127.0.0.1:0", "ADMIN": f"unix:{admin}", "REDIS_URL": "", **variables}
    command = [binary, "--config", CONFIG, "--log-format", "json", "--log", "info,access=off"]
    ready = r'"listening":"[^"]*?127\.0\.0\.1:(\d+)"'
    with _running(command, ready, folder / f"sidecache-{number}.log", environment) as port:
        if environment["REDIS_URL"]:
            _wait_until_tracked(admin)
        yield f"http://127.0.0.1:{port}"


def _wait_until_tracked(admin):
    """Until then memory goes on without Redis, and is emptied when Redis is there."""
    limit = time.monotonic() + START_LIMIT
    while time.monotonic() < limit:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(admin))
            client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            page = b"".join(iter(lambda: client.recv(65536), b""))
        if b"\nsidecache_store_tracked 1\n" in page:
            return
        time.sleep(0.02)
    raise SystemExit(f"sidecache does not hear of changes in Redis:\n{page.decode()}")


@contextmanager
def redis(folder):
    """An empty Redis that keeps nothing on disk; gives its URL."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    with _running([*command, "--dir", folder], "(Ready to accept connections)", folder / "redis.log"):
        yield f"redis://127.0.0.1:{port}"


@contextmanager
def _running(command, ready, log, environment=None, folder=None):
    """Runs a command until the block is left; enters it when `ready` is in its log, and gives the group of that."""
    with open(log, "wb") as sink:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
        )
    try:
        yield _wait_for(process, ready, log)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(process, ready, log):
    limit = time.monotonic() + START_LIMIT
    while process.poll() is None and time.monotonic() < limit:
        if found := re.search(ready, log.read_text()):
            return found[1]
        time.sleep(0.02)
    raise SystemExit(f"{process.args[0]} does not start:\n{log.read_text()}")
