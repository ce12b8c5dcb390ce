# SPDX-License-Identifier: Apache-2.0
"""Whether the tests that SECURITY.md and docs/ATTACKS.md name did run, by the test.xml files of a run.

A GoogleTest case counts if it passed, or was skipped with a reason; so does each instance of a
parametrised one, under the name of all. A case of the villain counts if a test recorded it as a
property "villain: name" whose value is PASS, or SKIP and the reason.

    named_runs.py --self-test
"""

import os
import sys
import tempfile
import xml.etree.ElementTree as ElementTree

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lint"))
import named_tests

_CASE = "villain: "


def reason(message):
    """GoogleTest's skip message without the place: its first line is file:line."""
    lines = [line for line in (message or "").split("\n") if line.strip()]
    return " ".join(lines[1:] if lines and ":" in lines[0] else lines).strip()


def cases(path):
    """The testcase elements of a test.xml; None if it can't be read."""
    try:
        return list(ElementTree.parse(path).getroot().iter("testcase"))
    except (OSError, ElementTree.ParseError):
        return None


class Runs:
    """What ran: by test (suite, name) and by the villain's case, "" or why it was skipped."""

    def __init__(self):
        self.tests = {}
        self.cases = {}

    def _add(self, where, key, skipped):
        # Of several instances or runs, one that was not skipped shows it.
        if where.get(key) != "":
            where[key] = skipped

    def read(self, path):
        for case in cases(path) or []:
            if case.get("status") == "notrun":
                continue
            skip = case.find("skipped")
            skipped = ""
            if skip is not None or case.get("result") == "skipped":
                skipped = reason(skip.get("message") if skip is not None else "") or "no reason"
            name = case.get("name", "").split("/")[0]
            # Instance/Suite, Suite/0 (typed), Instance/Suite/0
            for suite in case.get("classname", "").split("/"):
                self._add(self.tests, (suite, name), skipped)
            for field in case.iter("property"):
                if field.get("name", "").startswith(_CASE):
                    value = field.get("value", "")
                    verdict, _, why = value.partition(": ")
                    if verdict in ("PASS", "SKIP"):
                        skipped_case = (why or "no reason") if verdict == "SKIP" else ""
                        self._add(self.cases, field.get("name")[len(_CASE) :], skipped_case)


def report(runs, documents):
    """(failures, skips) for {path: text}, as lines to print."""
    failures, skips = [], set()
    for path, text in sorted(documents.items()):
        tests, cases = named_tests.named_in(text)
        wanted = [(f"{suite}.{name}", runs.tests.get((suite, name))) for suite, name in tests]
        wanted += [(_CASE + name, runs.cases.get(name)) for name in cases]
        for name, skipped in sorted(wanted):
            if skipped is None:
                failures.append(f"{path} names {name}, which did not run")
            elif skipped == "no reason":
                failures.append(f"{path} names {name}, which was skipped without a reason")
            elif skipped:
                skips.add(f"{name}: {skipped}")
    return failures, sorted(skips)


def check(root, xml_paths):
    runs = Runs()
    for path in xml_paths:
        runs.read(path)
    documents = {}
    for path in named_tests.MUST_RUN:
        with open(os.path.join(root, path), encoding="utf-8") as stream:
            documents[path] = stream.read()
    return report(runs, documents)


_XML = """<?xml version="1.0"?><testsuites><testsuite name="x">%s</testsuite></testsuites>"""
_PASSED = '<testcase name="B" status="run" result="completed" classname="A"/>'
_SKIPPED = '<testcase name="B" status="run" result="skipped" classname="A"><skipped message="%s"/></testcase>'
_RECORDED = (
    '<testcase name="Z" status="run" result="completed" classname="Y"><properties>'
    '<property name="villain: c" value="%s"/></properties></testcase>'
)
_ROW = "| W1 | x | y | - | `c` |"
# (what, the test cases that ran, the document, how many failures and skips)
_SAMPLES = [
    ("a test that passed", _PASSED, "`A.B`", (0, 0)),
    ("a test that did not run", _PASSED, "`A.C`", (1, 0)),
    ("a test that was filtered out", _PASSED.replace("run", "notrun", 1), "`A.B`", (1, 0)),
    ("an instance", _PASSED.replace('"B"', '"B/open"').replace('"A"', '"All/A"'), "`A.B`", (0, 0)),
    ("a typed test", _PASSED.replace('"A"', '"A/1"'), "`A.B`", (0, 0)),
    ("a skip with a reason", _SKIPPED % "a_test.cc:3&#x0A;no Landlock", "`A.B`", (0, 1)),
    ("a skip without a reason", _SKIPPED % "a_test.cc:3&#x0A;", "`A.B`", (1, 0)),
    ("skipped here, passed there", _SKIPPED % "a_test.cc:3&#x0A;x" + _PASSED, "`A.B`", (0, 0)),
    ("a case that passed", _RECORDED % "PASS", _ROW, (0, 0)),
    ("a case named in a sentence", _RECORDED % "PASS", "see `villain: c`, `villain: d`", (1, 0)),
    ("a case that failed", _RECORDED % "FAIL: it crashed", _ROW, (1, 0)),
    ("a case that was skipped", _RECORDED % "SKIP: no FUSE", _ROW, (0, 1)),
    ("a case skipped without a reason", _RECORDED % "SKIP", _ROW, (1, 0)),
    ("a case that did not run", _PASSED, _ROW, (1, 0)),
]


def self_test():
    wrong = 0
    for what, cases, document, expected in _SAMPLES:
        runs = Runs()
        with tempfile.NamedTemporaryFile("w", suffix=".xml") as stream:
            stream.write(_XML % cases)
            stream.flush()
            runs.read(stream.name)
        failures, skips = report(runs, {"x.md": document})
        if (len(failures), len(skips)) != expected:
            wrong += 1
            print(f"self-test: {what}: wanted {expected}, got {failures} {skips}")
    print(f"named runs --self-test: {len(_SAMPLES)} samples, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(self_test() if sys.argv[1:] == ["--self-test"] else 2)
