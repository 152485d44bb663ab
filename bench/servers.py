"""Starts and ends the servers: on free loopback ports, from configurations of their own, in a temporary folder."""

import os
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_LIMIT = 60  # seconds; a binary under valgrind takes a few
STOP_LIMIT = 30
TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class Server:
    """A running server. `pid` is the process that answers requests: for nginx the worker."""

    name: str
    port: int
    pid: int
    log: Path

    def url(self, size):
        return f"http://127.0.0.1:{self.port}{self.path(size)}"

    def path(self, size):
        return f"/{self.name.replace(' ', '-')}/{size}"

    def cpu(self):
        """Seconds of CPU, user and system, that the process has used, all its threads included."""
        # The second field, the name in parentheses, may hold spaces.
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK


@contextmanager
def temporary():
    """A folder in memory, so that no disk is measured, removed at the end."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="sidecache-bench-", dir=memory) as folder:
        yield Path(folder)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def running(command, port, output, **options):
    """Runs a command until the block is left; enters it when the port takes connections."""
    with open(output, "ab") as sink:
        process = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, **options
        )
    try:
        _wait_for(process, port, output)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(process, port, output):
    limit = time.monotonic() + START_LIMIT
    while process.poll() is None and time.monotonic() < limit:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.02)
    raise SystemExit(f"{process.args[0]} does not start:\n{Path(output).read_text()}")


@contextmanager
def sidecache(binary, folder, upstream, core, *, logged=False, counted=False, name="sidecache", under=()):
    """On the memory store, with one rule that does what the origin says. Counted: with an admin listener, and so with
    metrics."""
    port, config, log = free_port(), folder / f"{name}.yaml", folder / f"{name}.log"
    admin = f"admin: 127.0.0.1:{free_port()}\n" if counted else ""
    config.write_text(
        f"listen: 127.0.0.1:{port}\n"
        f"{admin}"
        f"upstream: http://127.0.0.1:{upstream}\n"
        "store: { memory: 64MiB }\n"
        "routes: [{ match: /**, cache: origin }]\n"
    )
    level = "info" if logged else "off"
    command = ["taskset", "-c", core, *under, binary, "--config", config, "--log", level]
    with running(command, port, log) as process:
        yield Server(name, port, process.pid, log)


# As it is mostly set up, and with what makes a hit on small objects cheapest for it: files kept open,
# head and body in one write.
NGINX = {
    "nginx": "sendfile on;",
    "tuned nginx": "sendfile off; output_buffers 2 64k; open_file_cache max=1000 inactive=1d; open_file_cache_valid 1d;",
}


@contextmanager
def nginx(name, parent, upstream, core, *, logged=False):
    """`name` is one of NGINX."""
    folder = parent / name.replace(" ", "-")
    folder.mkdir()
    port, log = free_port(), folder / "nginx.log"
    log.touch()
    temporary_paths = "".join(
        f"    {kind}_temp_path {folder}/nginx-{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = folder / "nginx.conf"
    config.write_text(f"""\
{"user root;" if os.geteuid() == 0 else ""}
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.error;
events {{ worker_connections 1024; }}
http {{
{temporary_paths}
    access_log {log if logged else "off"};
    {NGINX[name]}
    keepalive_requests 1000000000;
    proxy_cache_path {folder}/nginx-cache levels=1:2 keys_zone=bench:10m max_size=64m inactive=1d use_temp_path=off;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{upstream};
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_cache bench;
        }}
    }}
}}
""")
    command = ["taskset", "-c", core, "nginx", "-p", folder, "-e", folder / "nginx.error", "-c", config]
    with running(command, port, folder / "nginx.output") as master:
        yield Server(name, port, worker(master.pid), log)


def worker(master):
    """The process that answers. Who can connect already may only be in the queue: it comes a moment later."""
    limit = time.monotonic() + START_LIMIT
    while time.monotonic() < limit:
        children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        workers = [pid for pid in children if b"worker process" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        if workers:
            return int(workers[0])
        time.sleep(0.02)
    raise SystemExit("nginx starts no worker")


@contextmanager
def haproxy(folder, upstream, core, *, logged=False):
    port, log = free_port(), folder / "haproxy.log"
    config = folder / "haproxy.cfg"
    config.write_text(f"""\
global
    nbthread 1
    maxconn 1000
    {"log stdout format raw local0 info" if logged else ""}
cache bench
    total-max-size 64
    max-object-size 1048576
    max-age 86400
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout http-keep-alive 60s
    http-reuse always
    {"log global" if logged else "no log"}
    {"option httplog" if logged else ""}
frontend in
    bind 127.0.0.1:{port}
    http-request cache-use bench
    http-response cache-store bench
    default_backend out
backend out
    server origin 127.0.0.1:{upstream}
""")
    with running(["taskset", "-c", core, "haproxy", "-db", "-f", config], port, log) as process:
        yield Server("haproxy", port, process.pid, log)
