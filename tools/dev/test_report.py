# SPDX-License-Identifier: Apache-2.0
"""Counts test cases in the event files that Bazel writes, and ends with one plain line.

    test_report.py --bazel-status 0 [--named-in ROOT] events.json [events.json...]

A case is one GoogleTest case; a test without cases of its own counts as one. A target that did
not build, timed out or crashed counts as one failure at least. Each case that failed is named, with what it says;
so is one that passed when its test was run again: it depends on time, and wants mending. After a run of everything
(--named-in) each test that ROOT's SECURITY.md or docs/ATTACKS.md names and that did not run counts as
a failure too (named_runs.py). Of those that were skipped each reason is printed, with how many gave it, so
that a proof which did not take place is seen. The exit code is 0 only if Bazel said 0, something passed, and nothing failed.
"""

import argparse
import collections
import json
import sys
import urllib.parse

import named_runs


def count_cases(path):
    """(passed, failed, skipped) of one test.xml; None if it can't be read."""
    cases = named_runs.cases(path)
    if cases is None:
        return None
    passed = failed = skipped = 0
    for case in cases:
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        elif (
            case.find("skipped") is not None
            or case.get("result") == "skipped"
            or case.get("status") == "notrun"
        ):
            skipped += 1
        else:
            passed += 1
    return passed, failed, skipped


def failed_cases(paths):
    """"Suite.Case: how what it says begins" of each case that failed."""
    found = []
    for case in (case for path in paths for case in named_runs.cases(path) or []):
        for failure in case.findall("failure")[:1] + case.findall("error")[:1]:
            lines = (failure.get("message") or failure.text or "").split("\n")
            said = " | ".join(line.strip() for line in lines[:5] if line.strip())
            name = ".".join(filter(None, [case.get("classname"), case.get("name")]))
            found.append(f"{name}: {said[:300]}")
    return found


def skip_reasons(paths):
    """reason -> how many cases gave it."""
    reasons = collections.Counter()
    for case in (case for path in paths for case in named_runs.cases(path) or []):
        skip = case.find("skipped")
        if skip is not None or case.get("result") == "skipped":
            message = skip.get("message") if skip is not None else ""
            reasons[named_runs.reason(message) or "no reason given"] += 1
    return reasons


def folder_of(path):
    """Of a test.xml, the same for each attempt of one test or shard."""
    return path.removesuffix("/test.xml").rsplit("/test_attempts/", 1)[0]


class Target:
    def __init__(self):
        self.is_test = False
        self.built = None
        self.skipped = False
        self.status = None
        self.xml = []
        self.failed_xml = []


def read_events(path):
    """label -> Target."""
    targets = {}
    try:
        lines = open(path, encoding="utf-8").read().splitlines()
    except OSError:
        return targets
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue  # Bazel was stopped in the middle of a line
        kind = next(iter(event.get("id", {})), None)
        label = (event["id"][kind] or {}).get("label") if kind else None
        if not label:
            continue
        target = targets.setdefault(label, Target())
        if kind == "targetConfigured" and "configured" in event:
            target.is_test = "testSize" in event["configured"]
        elif kind == "targetCompleted":
            target.built = event.get("completed", {}).get("success", False)
            target.skipped = event.get("aborted", {}).get("reason") == "SKIPPED"
        elif kind == "testSummary":
            target.status = event.get("testSummary", {}).get("overallStatus")
        elif kind == "testResult":
            result = event.get("testResult", {})
            # FLAKY: of a cache, which has the last attempt alone.
            good = result.get("status") in ("PASSED", "FLAKY")
            xml = target.xml if good else target.failed_xml
            for output in result.get("testActionOutput", []):
                if output.get("name") == "test.xml" and output.get("uri", "").startswith("file://"):
                    xml.append(urllib.parse.unquote(output["uri"][len("file://") :]))
    return targets


def read_lines(path):
    """(test, passed) of each line of JSON in `path`; nothing where there is no such file."""
    try:
        lines = open(path, encoding="utf-8").read().splitlines() if path else []
    except FileNotFoundError:
        return []
    return [(line["test"], line["passed"]) for line in map(json.loads, lines)]


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--bazel-status", type=int, required=True)
    arguments.add_argument("--named-in", metavar="ROOT")
    arguments.add_argument("--also", metavar="FILE", help="lines of JSON: test, passed")
    arguments.add_argument("events", nargs="*")
    options = arguments.parse_args()

    passed = failed = skipped = 0
    bad = []
    unsteady = []
    xml = []
    for path in options.events:
        for label, target in sorted(read_events(path).items()):
            if target.status == "FLAKY":
                unsteady += [f"{label}: {case}" for case in failed_cases(target.failed_xml) or ["no case"]]
            else:
                # Of several attempts, the last.
                last = {folder_of(path): path for path in target.failed_xml}
                target.xml += [path for path in last.values() if path not in target.xml]
            xml += target.xml
            if target.skipped:
                skipped += target.is_test
            elif not target.is_test:
                if target.built is False:
                    failed += 1
                    bad.append((label, "does not build"))
            else:
                counts = [c for c in map(count_cases, target.xml) if c]
                p, f, s = (sum(column) for column in zip(*counts)) if counts else (0, 0, 0)
                if target.status in ("PASSED", "FLAKY"):
                    passed, failed, skipped = passed + max(p, int(p + s == 0)), failed + f, skipped + s
                else:
                    passed, failed, skipped = passed + p, failed + max(f, 1), skipped + s
                    bad.append((label, target.status or "does not build"))
                    bad += [(label, case) for case in failed_cases(target.xml)]

    for name, good in read_lines(options.also):
        passed, failed = passed + good, failed + (not good)
        if not good:
            bad.append((name, "failed"))

    for line in unsteady:
        print(f"passed only when it was run again {line}")
    for label, why in bad:
        print(f"FAIL {label}: {why.lower().replace('_', ' ') if why.isupper() else why}")
    if options.named_in and options.bazel_status in (0, 3):
        failures, skips = named_runs.check(options.named_in, xml)
        for line in skips:
            print(f"skipped {line}")
        for line in failures:
            print(f"FAIL {line}")
        failed += len(failures)
    if options.bazel_status != 0 and failed == 0:
        print(f"FAIL: bazel ended with {options.bazel_status} before it could test everything")
        failed = 1
    for reason, count in sorted(skip_reasons(xml).items(), key=lambda item: -item[1]):
        print(f"skipped {count}: {reason}")
    line = f"{passed} passed, {failed} failed"
    print(line + (f", {skipped} skipped" if skipped else ""))
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
