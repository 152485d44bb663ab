"""Turns what was measured into the text of RESULTS.md."""

import platform
from pathlib import Path

import hit
import origin
import redis_tier as redis
import servers
import tools
from classic import PATHS, ROUTES

# The most that a hit may cost, in nginx's CPU for the same.
CPU_GOALS = {"1k": 0.75, "4k": 0.75, "64k": 1.15}
# The same for a hit that Redis answers, in that of nginx with its Lua client for Redis.
REDIS_GOAL = 1.0
# The least that a cached list serves, in requests of the uncached one.
CACHED_GOAL = 20


def machine():
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    cores = sum(line.startswith("processor") for line in lines)
    versions = (
        "nginx " + tools.version("nginx", "-v"),
        "HAProxy " + tools.version("haproxy", "-v"),
        "wrk " + tools.version("wrk", "-v"),
        "valgrind " + tools.version("valgrind", "--version"),
    )
    linux = ".".join(platform.release().split(".")[:2])
    return f"{cores} × {model}, Linux {linux}; {', '.join(versions)}."


def hits(results, logged):
    """The table of one setting of the access log."""
    rows = ["| body | server | requests/s | CPU µs a request | sidecache ÷ it |", "|---|---|--:|--:|--:|"]
    for size in origin.SIZES:
        for name in hit.NAMES:
            sample = results.median(size, name)
            ratio = "" if name == "sidecache" else "{:.2f} ({:.2f}–{:.2f})".format(*results.ratio(size, name))
            rows.append(f"| {_size(size)} | {name} | {sample.rate:,.0f} | {sample.cpu:.2f} | {ratio} |")
    if logged:
        lines = ", ".join(f"{name} {results.lines_a_request(name):.2f}" for name in hit.NAMES)
        rows.append(f"\nLines in the log for each request: {lines}.")
    return "\n".join(rows)


def redis_tier(results):
    """The table of hits that Redis answers."""
    rows = [
        "| body | server | requests/s | CPU µs a request | sidecache ÷ it | added to a bare round trip |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for size in origin.SIZES:
        for name in redis.NAMES:
            sample = results.median(size, name)
            ours = name == "sidecache"
            ratio = "" if ours else "{:.2f} ({:.2f}–{:.2f})".format(*results.ratio(size))
            added = f"{results.added(size):.0f} µs" if ours else ""
            rows.append(f"| {_size(size)} | {name} | {sample.rate:,.0f} | {sample.cpu:.2f} | {ratio} | {added} |")
    return "\n".join(rows)


def classic(rows, seconds):
    table = [
        f"| path | route | `-n 100 -k` req/s | mean ms | `-c 50 -t {seconds} -k` req/s | mean ms | wrk, 50 connections, req/s |",
        "|---|---" + "|--:" * 5 + "|",
    ]
    for row in rows:
        (rate, latency), (rate_50, latency_50) = row.hundred, row.fifty
        table.append(
            f"| `{row.path}` | {row.route} | {rate:,.0f} | {latency:g} | {rate_50:,.0f} | {latency_50:g} | {row.wrk:,.0f} |"
        )
    return "\n".join(table)


def instructions(first, second):
    rows = ["| body | instructions | once more | difference |", "|---" + "|--:" * 3 + "|"]
    for size, count in first.items():
        rows.append(f"| {_size(size)} | {count:,.0f} | {second[size]:,.0f} | {second[size] / count - 1:+.2%} |")
    return "\n".join(rows)


def goals(quiet, rows, shared):
    """Each figure that was promised, and whether it was reached."""
    table = ["| goal | measured | |", "|---|--:|---|"]
    for other in servers.NGINX:
        for size, most in CPU_GOALS.items():
            ratio, _, _ = quiet.ratio(size, other)
            table.append(_goal(f"CPU for a hit of {_size(size)}: at most {most} × {other}'s", ratio, ratio <= most))
    for size in origin.SIZES:
        ratio, _, _ = shared.ratio(size)
        goal = f"CPU for a hit of {_size(size)} from Redis: at most {REDIS_GOAL} × that of nginx with Lua"
        table.append(_goal(goal, ratio, ratio <= REDIS_GOAL))
    through = {row.path: row for row in rows if row.route == ROUTES[1]}
    uncached, cached = (through[path] for path in PATHS)
    for client, ratio in (("loadtest", cached.fifty[0] / uncached.fifty[0]), ("wrk", cached.wrk / uncached.wrk)):
        goal = f"`{PATHS[1]}` serves at least {CACHED_GOAL} × the requests of `{PATHS[0]}`, by {client}"
        table.append(_goal(goal, ratio, ratio >= CACHED_GOAL))
    return "\n".join(table)


def _goal(goal, measured, reached):
    return f"| {goal} | {measured:.3f} | {'reached' if reached else '**missed**'} |"


def _size(size):
    return f"{size[:-1]} KiB"
