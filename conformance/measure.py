"""What is measured, and how: each run has servers of its own and gives what came of each test."""

import subprocess
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import servers

RUN_LIMIT = 300  # seconds; a run takes about 15, most of them pauses
# Requests that the suite's client makes for a test, at most: three, and those that tell the origin of the
# test and ask it what it saw.
REQUESTS_OF_A_TEST = 5
HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Run:
    """One run, which is recorded under its part and name."""

    part: str
    name: str
    title: str
    rule: dict = field(default_factory=dict)  # variables of config.yaml
    redis: bool = False
    processes: int = 1  # requests of one test take turns among them
    ours: bool = False  # the tests in newer/ instead of the suite


SAFE = {"SET_COOKIE": "bypass", "STALE_IF_ERROR": "0s"}
RUNS = (
    Run("memory", "rfc", "memory, as RFC 9111 has it"),
    Run("memory", "safe", "memory, safe defaults", SAFE),
    Run("redis", "rfc", "Redis, as RFC 9111 has it", redis=True),
    Run("redis", "safe", "Redis, safe defaults", SAFE, redis=True),
    Run("cold", "rfc", "Redis, cold memory", redis=True, processes=REQUESTS_OF_A_TEST),
    Run("newer", "memory", "newer, memory", ours=True),
    Run("newer", "redis", "newer, Redis", redis=True, ours=True),
)


def measure(run, package, binary, test=""):
    """One run; gives what it printed: JSON, or of one test what was sent and received."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sidecache-conformance-")))
        return (_ours if run.ours else _suite)(run, package, binary, test, folder, stack)


def _suite(run, package, binary, test, folder, stack):
    upstream = stack.enter_context(servers.origin(package, folder))
    proxies = _proxies(run, binary, upstream, folder, stack)
    command = ["node", HERE / "suite.mjs", package, proxies, *([test] if test else [])]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=RUN_LIMIT).stdout
    return said + (folder / "origin.log").read_text() if test else said


def _ours(run, _package, binary, test, folder, stack):
    """Our own tests hold their origin in one process with their client: it says where, and is told of the proxy."""
    command = ["node", HERE / "newer/run.mjs", *([test] if test else [])]
    tests = stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    stack.callback(tests.kill)
    upstream = tests.stdout.readline().strip()
    if not upstream:
        raise SystemExit("newer/run.mjs does not start")
    said, _ = tests.communicate(_proxies(run, binary, upstream, folder, stack), timeout=RUN_LIMIT)
    if tests.returncode:
        raise SystemExit(f"newer/run.mjs ended with status {tests.returncode}")
    return said


def _proxies(run, binary, upstream, folder, stack):
    """The addresses of its processes, which share a store."""
    variables = {**run.rule, "UPSTREAM": upstream}
    if run.redis:
        variables["REDIS_URL"] = stack.enter_context(servers.redis(folder))
    started = (servers.sidecache(binary, folder, number, variables) for number in range(run.processes))
    return ",".join(stack.enter_context(proxy) for proxy in started)
