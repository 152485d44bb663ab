"""What `run` and `planted` share: how targets are built, from what they start, and how one is run."""

import os
import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
TESTS = HERE.parent / "proxy" / "tests"
TRIPLE = "x86_64-unknown-linux-gnu" if os.uname().machine == "x86_64" else f"{os.uname().machine}-unknown-linux-gnu"

# What libFuzzer needs to see of the code: which edges were taken, and what was compared.
FLAGS = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
    "--cfg fuzzing",
    "-Cdebug-assertions",
]

# Beyond these an input of the target is cut by its own limits.
LONGEST = {"config": 4096, "proxy_header": 4352, "admin": 2048, "differential": 2048}
# The slowest that one input may be, in seconds, and the most memory, in MiB.
SLOWEST, LARGEST = 20, 2048


def targets():
    """All of them, by their files."""
    return sorted(path.stem for path in (HERE / "targets").glob("*.rs"))


def build(names, feature=None):
    """Builds these targets with the versions that are shipped. Their binaries."""
    shutil.copy(HERE.parent / "Cargo.lock", HERE / "Cargo.lock")
    command = ["cargo", "+nightly", "build", "--release", "--target", TRIPLE]
    command += [word for name in names for word in ("--bin", name)]
    command += ["--features", feature] if feature else []
    environment = {**os.environ, "RUSTFLAGS": " ".join(FLAGS)}
    subprocess.run(command, cwd=HERE, env=environment, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", HERE / "target"))
    return {name: target / TRIPLE / "release" / name for name in names}


def case(path):
    """The bytes of a case of proxy/tests/threats."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith(("#", "@", ">"))]
    text = re.sub(r"\\\{(\d+)\*(.)\}", lambda m: m[2] * min(int(m[1]), 64), "".join(lines))
    return re.sub(r"\\(x..|.)", escaped, text).encode("latin-1", "replace")


def escaped(match):
    word = match[1]
    if word[0] == "x":
        return chr(int(word[1:], 16))
    return {"r": "\r", "n": "\n", "t": "\t", "0": "\0"}.get(word, word)


# Sections that are right, behind what a file needs: what is long is seldom right after a change.
SECTIONS = [
    "limits: { header_bytes: 16KiB, uri_bytes: 4KiB }",
    "limits: { headers: 64, connections: 9 }",
    "timeouts: { header: 5s, idle: 2m }",
    "store: { memory: 64MiB }",
    "hosts: [a, 'b:1']",
    "trusted_proxies: [10.0.0.0/8]",
    "purge_on:\n- { match: /a, tags: x }",
]

PURGE = b"POST /purge HTTP/1.1\r\nHost: %s\r\n%sContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"


def purge(host, fields, body):
    """A purge; the bytes before it say how the listener is set, and that the rest is a request."""
    return PURGE % (host, fields, len(body), body)


def seeds(name):
    """Inputs that the tests have already."""
    if name in ("head", "differential"):
        raw = b"\1" if name == "differential" else b""
        for path in sorted((TESTS / "threats" / "cases").glob("*.http")):
            yield raw + case(path)
    if name == "config":
        for path in sorted((TESTS / "config").glob("*/*.yaml")):
            yield path.read_bytes()
        for section in SECTIONS:
            yield f"{section}\n".encode()
    if name == "admin":
        token = b"Authorization: Bearer 0123456789abcdef\r\n"
        for setting in range(4):
            for body in (b'{"all": true}', b'{"urls": ["http://a/b"], "soft": true}', b'{"tags": ["x"]}', b"{}"):
                yield bytes([setting, 1]) + purge(b"localhost:9090", token if setting & 2 else b"", body)
            for path in (b"/", b"/metrics", b"/readyz", b"/nothing"):
                yield bytes([setting, 1]) + b"GET %s HTTP/1.1\r\nHost: 127.0.0.1:9090\r\n\r\n" % path
    if name == "proxy_header":
        yield b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\nGET / HTTP/1.1\r\n"
        yield b"PROXY TCP6 2001:db8::1 ::1 1 0\r\n"
        yield b"PROXY UNKNOWN ffff::1 whatever\r\n"
        for command, family, length in ((0x20, 0, 0), (0x21, 0x11, 12), (0x21, 0x21, 36), (0x21, 0x31, 216)):
            yield b"\r\n\r\n\0\r\nQUIT\n" + bytes([command, family, 0, length]) + bytes(range(length)) + b"GET /"
    if name == "stored":
        yield b"content-type: text/html\r\ncache-control: max-age=60\r\n"
        yield b"etag: \"x\"\r\nlast-modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nvary: accept\r\n"


@dataclass
class Result:
    """What a run has found."""

    executions: int
    seconds: float
    coverage: tuple
    inputs: int
    finding: str


def start(name, into):
    """Writes what a target starts from."""
    into.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(seeds(name)):
        (into / f"seed-{number:03}").write_bytes(data)
    for path in (HERE / "corpus" / name).glob("*"):
        shutil.copy(path, into / path.name)


def fuzz(name, binary, corpus, seconds, artifacts, sabotage=None):
    """Runs a target for so long, or until it finds something."""
    artifacts.mkdir(parents=True, exist_ok=True)
    command = [binary, corpus, f"-max_total_time={seconds}", f"-artifact_prefix={artifacts}/", "-print_final_stats=1"]
    command += [f"-timeout={SLOWEST}", f"-rss_limit_mb={LARGEST}", f"-max_len={LONGEST.get(name, 1024)}"]
    words = HERE / "dictionaries" / f"{name}.dict"
    command += [f"-dict={words}"] if words.exists() else []
    began = time.monotonic()
    done = execute(command, sabotage)
    seconds = time.monotonic() - began
    return read(done.stderr.decode("utf-8", "replace"), done.returncode, seconds)


def execute(command, sabotage=None):
    """Runs a target's binary; what it makes for itself, as the socket of an origin, goes with it."""
    environment = {key: value for key, value in os.environ.items() if key != "SIDECACHE_SABOTAGE"}
    environment |= {"SIDECACHE_SABOTAGE": sabotage} if sabotage else {}
    with scratch() as own:
        environment["TMPDIR"] = own
        return subprocess.run(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, check=False)


def read(log, code, seconds):
    """What libFuzzer says of a run."""
    covered = [int(number) for number in re.findall(r"cov: (\d+)", log)]
    executed = re.findall(r"number_of_executed_units: *(\d+)", log) or re.findall(r"^#(\d+)", log, re.M) or [0]
    said = re.search(r"panicked at [^\n]*\n([^\n]*)", log) or re.search(r"(ERROR: libFuzzer[^\n]*)", log)
    finding = (said[1] if said else log[-400:]) if code else ""
    inputs = re.findall(r"new_units_added: *(\d+)", log) or [0]
    ends = (covered[0], covered[-1]) if covered else (0, 0)
    return Result(int(executed[-1]), seconds, ends, int(inputs[-1]), finding)


def scratch():
    """A directory for a run that leaves nothing."""
    return tempfile.TemporaryDirectory(prefix="sidecache-fuzz-")
