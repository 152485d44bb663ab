"""Puts load on a server, and says what came of it."""

import re
import statistics
import subprocess
from dataclasses import dataclass

import tools

CONNECTIONS = 64


@dataclass
class Sample:
    """One run: what the server did and what it took for that."""

    requests: int
    rate: float  # requests a second
    cpu: float  # microseconds of the server process's CPU for a request


def median(samples):
    """The sample whose every figure is the median over all samples."""
    return Sample(
        sum(sample.requests for sample in samples),
        statistics.median(sample.rate for sample in samples),
        statistics.median(sample.cpu for sample in samples),
    )


def wrk(url, seconds, core=None, connections=CONNECTIONS):
    """How many requests were answered, and the rate."""
    pinned = ["taskset", "-c", str(core)] if core is not None else []
    said = _output([*pinned, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", url], seconds + 30)
    if "Non-2xx" in said or "Socket errors" in said:
        raise SystemExit(f"{url}: not all requests were answered:\n{said}")
    requests = int(re.search(r"(\d+) requests in", said)[1])
    return requests, float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1])


def hits(server, size, seconds, core):
    """Loads a server with one object that it has stored."""
    before = server.cpu()
    requests, rate = wrk(server.url(size), seconds, core)
    return Sample(requests, rate, (server.cpu() - before) / requests * 1e6)


def loadtest(url, *arguments):
    """The rate and the mean latency in milliseconds that npm's loadtest measures."""
    said = _output([tools.loadtest(), *arguments, url], 120)
    errors = re.search(r"Total errors:\s+(\d+)", said)
    if not errors or errors[1] != "0":
        raise SystemExit(f"{url}: not all requests were answered:\n{said}")
    rate = re.search(r"Effective rps:\s+([\d.]+)", said)[1]
    return float(rate), float(re.search(r"Mean latency:\s+([\d.]+)", said)[1])


def _output(command, limit):
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
    if done.returncode:
        raise SystemExit(f"{command[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout
