"""Counts what the suite said, tells it, and compares it with what was recorded."""

import json
from collections import Counter
from pathlib import Path

RECORDED = Path(__file__).with_name("recorded.json")
JUDGED = ("required", "optimal")  # `check` tests ask what a cache does; no answer to them is wrong


def counted(results):
    """How many passed of each kind that can fail."""
    return {kind: sum(_passed(test) for test in results if test["kind"] == kind) for kind in JUDGED}


def tell_totals(title, results):
    print(f"\n{title}")
    for kind in JUDGED:
        print(f"  {kind:9}{_share(results, kind)}")
    print(f"  check    {_share(results, 'check')} say yes (neither good nor bad)")


def tell_details(results):
    """Each group, then the failures by name."""
    _tell_groups(results)
    for kind in JUDGED:
        _tell_failures(kind, [test for test in results if test["kind"] == kind and not _passed(test)])


def tell_difference(results, others):
    """Which tests came out otherwise in the second run."""
    before = {test["id"]: test for test in results}
    differing = [test for test in others if test["outcome"] != before[test["id"]]["outcome"]]
    print(f"  other than above: {len(differing) or 'nothing'}")
    for test in differing:
        print(f"    {test['kind']:9}{test['group']}/{test['id']}: {before[test['id']]['outcome']}, now {test['outcome']}")


def drops(store, scores):
    """What is lower than recorded, in words; nothing recorded is nothing to drop below."""
    recorded = _read().get(store, {})
    return [
        f"{store}, {run}: {kind} {scores[run][kind]}, recorded {number}"
        for run, numbers in recorded.items()
        for kind, number in numbers.items()
        if scores[run][kind] < number
    ]


def record(store, scores):
    RECORDED.write_text(json.dumps({**_read(), store: scores}, indent=2, sort_keys=True) + "\n")


def _read():
    return json.loads(RECORDED.read_text()) if RECORDED.exists() else {}


def _passed(test):
    return test["outcome"] in ("pass", "yes")


def _share(results, kind):
    tests = [test for test in results if test["kind"] == kind]
    return f"{sum(map(_passed, tests)):4} of {len(tests):3}"


def _tell_groups(results):
    print(f"  {'group':24}{'required':>12}{'optimal':>12}{'check':>12}")
    for group in dict.fromkeys(test["group"] for test in results):
        tests = [test for test in results if test["group"] == group]
        print(f"  {group:24}" + "".join(f"{_share(tests, kind):>12}" for kind in (*JUDGED, "check")))


def _tell_failures(kind, failures):
    outcomes = Counter(test["outcome"] for test in failures)
    print(f"  {kind} failures: {', '.join(f'{count} {outcome}' for outcome, count in outcomes.items()) or 'none'}")
    for test in failures:
        reason = f"needs {', '.join(test['needs'])}" if test["outcome"] == "dependency" else test["message"]
        print(f"    {test['group']}/{test['id']} ({test['outcome']}): {reason}")
