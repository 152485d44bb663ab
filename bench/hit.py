"""A hit, side by side: sidecache, nginx (as usual, and tuned) and HAProxy answer the same objects from their caches."""

import os
import statistics
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass, field

import load
import origin
import servers
import tools

NAMES = ("sidecache", *servers.NGINX, "haproxy")


@dataclass
class Results:
    """Samples of one setting of the access log, in the order of the rounds."""

    samples: dict = field(default_factory=dict)  # by (size, name)
    lines: dict = field(default_factory=lambda: dict.fromkeys(NAMES, 0))  # of the access logs

    def median(self, size, name):
        return load.median(self.samples[size, name])

    def ratio(self, size, other):
        """Sidecache's CPU for a request ÷ the other's in the same round: the median, least, most."""
        rounds = zip(self.samples[size, "sidecache"], self.samples[size, other])
        ratios = sorted(one.cpu / another.cpu for one, another in rounds)
        return statistics.median(ratios), ratios[0], ratios[-1]

    def lines_a_request(self, name):
        requests = sum(sample.requests for key, runs in self.samples.items() if key[1] == name for sample in runs)
        return self.lines[name] / requests


def measure(binary, rounds, seconds, *, logged):
    """Round by round, so that what else happens on the machine happens to all."""
    core, client = tools.cores()
    results = Results()
    with ExitStack() as stack:
        folder = stack.enter_context(servers.temporary())
        upstream, asked = stack.enter_context(origin.static())
        contestants = [
            stack.enter_context(server)
            for server in (
                servers.sidecache(binary, folder, upstream, core, logged=logged),
                *(servers.nginx(name, folder, upstream, core, logged=logged) for name in servers.NGINX),
                servers.haproxy(folder, upstream, core, logged=logged),
            )
        ]
        _prime(contestants, asked)
        for number in range(rounds):
            turn = number % len(contestants)
            for size in origin.SIZES:
                for server in contestants[turn:] + contestants[:turn]:
                    sample = load.hits(server, size, seconds, client)
                    results.samples.setdefault((size, server.name), []).append(sample)
                    results.lines[server.name] += _lines_taken(server.log)
            print(f"  round {number + 1} of {rounds}", flush=True)
        _only_hits(contestants, asked)
    return results


def _prime(contestants, asked):
    """Stores every object, and asks again: that must not reach the origin."""
    for server in contestants:
        for size, length in origin.SIZES.items():
            for _ in range(2):
                with urllib.request.urlopen(server.url(size), timeout=10) as response:
                    if len(response.read()) != length:
                        raise SystemExit(f"{server.name} cuts the body of {size}")
        os.truncate(server.log, 0)
    _only_hits(contestants, asked)


def _only_hits(contestants, asked):
    for server in contestants:
        for size in origin.SIZES:
            times = asked[server.path(size)]
            if times != 1:
                raise SystemExit(f"{server.name} asked the origin {times} times for {size}: this measures no hits")


def _lines_taken(log):
    """How many lines a log has; empties it, because it lies in memory."""
    lines = log.read_bytes().count(b"\n")
    os.truncate(log, 0)
    return lines
