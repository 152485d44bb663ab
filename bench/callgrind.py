"""Counts the instructions that a hit takes in user space: unlike times, the same on a loaded machine.

Runs of N and of 2 N hits differ by exactly N hits: start, priming and end cancel out.
"""

import http.client
import re
import statistics
import subprocess
from collections import Counter
from pathlib import Path

import origin
import servers
import tools

HITS = 2000
RECORD = Path(__file__).with_name("instructions.txt")
HEAD = "# Instructions for a hit in user space, by size of the body; bench/instructions compares with these.\n"


def measured(binary, sizes=origin.SIZES, counted=False):
    """Instructions for a hit by size, over one kept connection; counted: with metrics."""
    with servers.temporary() as folder, origin.static() as (upstream, _):
        return {size: _difference(binary, size, folder, upstream, counted) for size in sizes}


def recorded():
    """What was written last; nothing when nothing was."""
    lines = RECORD.read_text().splitlines() if RECORD.exists() else []
    pairs = (line.split() for line in lines if not line.startswith("#"))
    return {size: float(count) for size, count in pairs}


def record(counts):
    RECORD.write_text(HEAD + "".join(f"{size} {count:.0f}\n" for size, count in counts.items()))


def profile(binary, size):
    """Instructions for a hit by function, most first: in the function itself, and with what it calls."""
    with servers.temporary() as folder, origin.static() as (upstream, _):
        once, twice = _both(binary, size, folder, upstream)
        return _by_function(once, twice, "no"), _by_function(once, twice, "yes")


def _by_function(once, twice, inclusive):
    before, after = _annotated(once, inclusive), _annotated(twice, inclusive)
    counts = {function: (count - before[function]) / HITS for function, count in after.items()}
    return sorted(counts.items(), key=lambda pair: -pair[1])


def _annotated(trace, inclusive):
    command = ["callgrind_annotate", "--auto=no", "--threshold=100", f"--inclusive={inclusive}", trace]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    counts = Counter()
    # A name stands in several lines, for the code inlined into it, and again where calls of that name nest.
    join = max if inclusive == "yes" else int.__add__
    # As in "1,234 ( 5.67%)  file:function [binary]".
    for count, function in re.findall(r"^ *([\d,]+) \([ \d.]+%\) +[^:\n]*:(.+?)(?: \[[^][]*\])?$", said, re.MULTILINE):
        counts[function] = join(counts[function], int(count.replace(",", "")))
    return counts


def _difference(binary, size, folder, upstream, counted):
    """The median of three: now and then a start takes a few million instructions more than another."""
    return statistics.median(_single(binary, size, folder, upstream, counted) for _ in range(3))


def _single(binary, size, folder, upstream, counted):
    once, twice = _both(binary, size, folder, upstream, counted)
    return (_total(twice) - _total(once)) / HITS


def _both(binary, size, folder, upstream, counted=False):
    return [_run(binary, size, hits, folder, upstream, counted) for hits in (HITS, 2 * HITS)]


def _run(binary, size, hits, folder, upstream, counted):
    core, _ = tools.cores()  # on one core the proxy runs on one thread
    trace = folder / f"callgrind.{size}.{hits}"
    valgrind = ["valgrind", "--tool=callgrind", "-q", f"--callgrind-out-file={trace}"]
    with servers.sidecache(binary, folder, upstream, core, counted=counted, under=valgrind) as server:
        _ask(server, size, hits)
    return trace


def _ask(server, size, hits):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    for number in range(hits + 1):
        connection.request("GET", server.path(size))
        response = connection.getresponse()
        response.read()
        status = response.getheader("Cache-Status", "")
        if response.status != 200 or (number > 0 and "; hit" not in status):
            raise SystemExit(f"request {number} was no hit: {response.status}, Cache-Status: {status}")
    connection.close()


def _total(trace):
    return int(re.search(r"^summary: (\d+)", trace.read_text(), re.MULTILINE)[1])
