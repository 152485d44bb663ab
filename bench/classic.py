"""The classic comparison: a list out of a database, uncached and cached, by npm's loadtest."""

from contextlib import ExitStack
from dataclasses import dataclass

import load
import servers
import tools

PATHS = ("/products", "/cached_products")
ROUTES = ("direct", "through sidecache")


@dataclass
class Row:
    path: str
    route: str
    hundred: tuple  # rate and mean latency in ms of 100 requests
    fifty: tuple  # the same of 50 clients for some seconds
    wrk: float  # rate, by a client that costs less than what it measures


def measure(binaries, seconds):
    """The demo as it comes: its service, its config.yaml, the store in memory, nothing pinned."""
    with ExitStack() as stack:
        folder = stack.enter_context(servers.temporary())
        ports = dict(zip(ROUTES, _start(stack, binaries, folder)))
        return [_row(path, route, ports[route], seconds) for path in PATHS for route in ROUTES]


def _start(stack, binaries, folder):
    app, proxy, admin = (servers.free_port() for _ in range(3))
    environment = {
        "LISTEN": f"127.0.0.1:{proxy}",
        "ADMIN": f"127.0.0.1:{admin}",
        "UPSTREAM": f"http://127.0.0.1:{app}",
        "TMPDIR": str(folder),
    }
    service = [binaries / "origin", "--listen", f"127.0.0.1:{app}"]
    stack.enter_context(servers.running(service, app, folder / "origin.log", env=environment))
    sidecache = [binaries / "sidecache", "--config", tools.ROOT / "config.yaml", "--log", "info,access=off"]
    stack.enter_context(servers.running(sidecache, proxy, folder / "sidecache.log", env=environment))
    return app, proxy


def _row(path, route, port, seconds):
    url = f"http://127.0.0.1:{port}{path}"
    hundred = load.loadtest(url, "-n", "100", "-k")
    fifty = load.loadtest(url, "-c", "50", "-t", str(seconds), "-k")
    _, rate = load.wrk(url, seconds, connections=50)
    print(f"  {path} {route}", flush=True)
    return Row(path, route, hundred, fifty, rate)
