"""Counts what the tests said, tells it, and compares it with what was recorded."""

import json
import re
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

RECORDED = Path(__file__).with_name("recorded.json")
README = Path(__file__).with_name("README.md")
DECLINED = "## Declined"  # the section of README.md that names, in backquotes, what fails for a reason
JUDGED = ("required", "optimal")  # `check` tests ask what a cache does; no answer to them is wrong


def tell_totals(title, results):
    judged = [test for test in results if test["kind"] in JUDGED]
    print(f"\n{title}: {sum(map(_passed, judged))} of {len(judged)}")
    for kind in JUDGED:
        print(f"  {kind:9}{_share(results, kind)}")
    if checks := len(results) - len(judged):
        print(f"  check    {_share(results, 'check')} say yes (neither good nor bad)")


def tell_details(results):
    """Each group, then the failures by name."""
    _tell_groups(results)
    for kind in JUDGED:
        _tell_failures(kind, [test for test in results if test["kind"] == kind and not _passed(test)])


def tell_difference(results, others):
    """Which tests came out otherwise in another run."""
    before = {test["id"]: test for test in results}
    differing = [test for test in others if test["outcome"] != before[test["id"]]["outcome"]]
    print(f"  other than in the first run: {len(differing) or 'nothing'}")
    for test in differing:
        print(f"    {test['kind']:9}{test['group']}/{test['id']}: {before[test['id']]['outcome']}, now {test['outcome']}")


def tell_table(measured):
    """The totals, in Markdown."""
    print("\n| | required | optimal | check (yes) |\n|---|--:|--:|--:|")
    for run, results in measured:
        print(f"| {run.title} | {' | '.join(_cell(results, kind) for kind in (*JUDGED, 'check'))} |")


def drops(run, results):
    """What is lower than recorded, in words; nothing recorded is nothing to drop below."""
    recorded = _read().get(run.part, {}).get(run.name, {})
    counted = _counted(results)
    return [
        f"{run.title}: {kind} {counted[kind]}, recorded {number}"
        for kind, number in recorded.items()
        if counted[kind] < number
    ]


def record(measured):
    recorded = _read()
    for run, results in measured:
        recorded.setdefault(run.part, {})[run.name] = _counted(results)
    RECORDED.write_text(json.dumps(recorded, indent=2, sort_keys=True) + "\n")


def _counted(results):
    """How many passed of each kind that can fail."""
    return {kind: sum(_passed(test) for test in results if test["kind"] == kind) for kind in JUDGED}


def _read():
    return json.loads(RECORDED.read_text()) if RECORDED.exists() else {}


def _declined():
    """Names and patterns (`age-parse-*`)."""
    section = README.read_text().partition(DECLINED + "\n")[2].partition("\n## ")[0]
    return re.findall(r"`([\w*-]+)`", section)


def _passed(test):
    return test["outcome"] in ("pass", "yes")


def _share(results, kind):
    tests = [test for test in results if test["kind"] == kind]
    return f"{sum(map(_passed, tests)):4} of {len(tests):3}"


def _cell(results, kind):
    return " ".join(_share(results, kind).split()) if any(test["kind"] == kind for test in results) else "–"


def _tell_groups(results):
    print(f"  {'group':24}{'required':>12}{'optimal':>12}{'check':>12}")
    for group in dict.fromkeys(test["group"] for test in results):
        tests = [test for test in results if test["group"] == group]
        print(f"  {group:24}" + "".join(f"{_share(tests, kind):>12}" for kind in (*JUDGED, "check")))


def _tell_failures(kind, failures):
    outcomes = Counter(test["outcome"] for test in failures)
    print(f"  {kind} failures: {', '.join(f'{count} {outcome}' for outcome, count in outcomes.items()) or 'none'}")
    declined = _declined()
    for test in failures:
        reason = f"needs {', '.join(test['needs'])}" if test["outcome"] == "dependency" else test["message"]
        known = "; declined: see README.md" if any(fnmatch(test["id"], name) for name in declined) else ""
        print(f"    {test['group']}/{test['id']} ({test['outcome']}{known}): {reason}")
