"""Counts the instructions that a hit takes in user space: unlike times, the same on a loaded machine.

Runs of N and of 2 N hits differ by exactly N hits: start, priming and end cancel out.
"""

import http.client
import re
import subprocess
from pathlib import Path

import origin
import servers
import tools

HITS = 2000
RECORD = Path(__file__).with_name("instructions.txt")
HEAD = "# Instructions for a hit in user space, by size of the body; bench/instructions compares with these.\n"


def measured(binary, sizes=origin.SIZES):
    """Instructions for a hit by size, over one kept connection."""
    with servers.temporary() as folder, origin.static() as (upstream, _):
        return {size: _difference(binary, size, folder, upstream) for size in sizes}


def recorded():
    """What was written last; nothing when nothing was."""
    lines = RECORD.read_text().splitlines() if RECORD.exists() else []
    pairs = (line.split() for line in lines if not line.startswith("#"))
    return {size: float(count) for size, count in pairs}


def record(counts):
    RECORD.write_text(HEAD + "".join(f"{size} {count:.0f}\n" for size, count in counts.items()))


def profile(binary, size, functions):
    """Lines of callgrind_annotate on the functions that take most: alone, and with what they call."""
    with servers.temporary() as folder, origin.static() as (upstream, _):
        trace = _run(binary, size, 5 * HITS, folder, upstream)
        yield from _annotated(trace, functions)


def _annotated(trace, functions):
    for title, inclusive in (("in the function itself", "no"), ("with what it calls", "yes")):
        command = ["callgrind_annotate", "--auto=no", "--threshold=100", f"--inclusive={inclusive}", trace]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        lines = [line for line in said.splitlines() if re.match(r"\s*[\d,]+ \(", line) and "PROGRAM TOTALS" not in line]
        yield title, lines[:functions]


def _difference(binary, size, folder, upstream):
    once, twice = (_run(binary, size, hits, folder, upstream) for hits in (HITS, 2 * HITS))
    return (_total(twice) - _total(once)) / HITS


def _run(binary, size, hits, folder, upstream):
    core, _ = tools.cores()  # on one core the proxy runs on one thread
    trace = folder / f"callgrind.{size}.{hits}"
    valgrind = ["valgrind", "--tool=callgrind", "-q", f"--callgrind-out-file={trace}"]
    with servers.sidecache(binary, folder, upstream, core, under=valgrind) as server:
        _ask(server, size, hits)
    return trace


def _ask(server, size, hits):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    for number in range(hits + 1):
        connection.request("GET", f"/{server.name}/{size}")
        response = connection.getresponse()
        response.read()
        status = response.getheader("Cache-Status", "")
        if response.status != 200 or (number > 0 and "; hit" not in status):
            raise SystemExit(f"request {number} was no hit: {response.status}, Cache-Status: {status}")
    connection.close()


def _total(trace):
    return int(re.search(r"^summary: (\d+)", trace.read_text(), re.MULTILINE)[1])
