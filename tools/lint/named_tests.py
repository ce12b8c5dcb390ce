# SPDX-License-Identifier: Apache-2.0
"""The documents name the tests that show a claim; each such test must exist.

In README.md, SECURITY.md, CHANGELOG.md and docs/*.md a test is written `Suite.Name`, and a case of the
villain `villain: name`. In docs/ATTACKS.md each row `| M1 | attack | defence | tests | cases |` names
all of the villain's cases of that row, each in backquotes, and what tests there are, at least one of
either. "those of K1" in the last column are cases of another row that show this one, too. A row that says "no test yet" is a finding once a test is named after its attack (AttackM1...,
M1...). Every row of the villain has a row there. Each promise in docs/DESIGN.md has a test named
after it (PromiseP1...).

That those of MUST_RUN also ran is for tools/dev/test_report.py to say.
"""

import re

_TEST = re.compile(r"^\s*(?:TYPED_)?TEST(?:_[FP])?\(\s*(\w+),\s*(\w+)\s*\)", re.MULTILINE)
_NAMED = re.compile(r"`([A-Z]\w*)\.([A-Z]\w*)`")
# A case in the villain's table: {"name", "row", ... or inside("name", "row", ...
_CASE = re.compile(r'[{(]\s*"([a-z0-9-]+)",\s*"([A-Z]\d+|-)",')
_NAMED_CASE = re.compile(r"`villain: ([a-z0-9-]+)`")
_CASE_IN_ROW = re.compile(r"`([a-z0-9-]+)`")
_CASES_OF = re.compile(r"\bthose of ([A-Z]\d+)(?: and ([A-Z]\d+))?")
_ATTACK = re.compile(r"^\|\s*([A-Z]\d+)\s*\|.*\|\s*([^|]*?)\s*\|\s*([^|]*?)\s*\|\s*$")
_NOT_YET = "no test yet"
_ATTACKS = "docs/ATTACKS.md"
_DESIGN = "docs/DESIGN.md"
_PROMISES = range(1, 10)
# Whose tests must have run when everything was tested.
MUST_RUN = ("SECURITY.md", _ATTACKS, "docs/WHERE.md")


def _documents(paths):
    return [p for p in paths if p in ("README.md", "SECURITY.md", "CHANGELOG.md") or re.match(r"docs/[^/]*\.md$", p)]


def _tests_of(attack, tests):
    """The tests that are named after an attack: AttackF7F8Only..., M6AndM7More..."""
    pattern = re.compile(rf"(?:Attack|^|And)(?:[A-Z]\d+)*?{attack}(?!\d)")
    return sorted(f"{suite}.{name}" for suite, name in tests if pattern.search(name))


def named_in(text):
    """The tests {(suite, name)} and the villain's cases {name} that a document names."""
    cases = set(_NAMED_CASE.findall(text))
    for line in text.split("\n"):
        row = _ATTACK.match(line)
        if row:
            cases.update(_CASE_IN_ROW.findall(row.group(3)))
    return set(_NAMED.findall(text)), cases


def _row_findings(row, tests, cases):
    attack, shown_by, last = row.groups()
    if _NOT_YET in shown_by:
        for test in _tests_of(attack, tests):
            yield f"{attack} has a test: {test}"
    others = {other for pair in _CASES_OF.findall(last) for other in pair if other}
    for other in sorted(others):
        if other == attack or other not in cases.values():
            yield f"the villain has no case of {other} that would show {attack}"
    named = set(_CASE_IN_ROW.findall(last))
    if not named and _NOT_YET not in shown_by and not _NAMED.search(shown_by):
        yield f"{attack} names no test: name one, or say '{_NOT_YET}'"
    of_row = {name for name, its_row in cases.items() if its_row == attack}
    for name in sorted(named - of_row):
        yield f"the villain has no case {name} of row {attack}"
    for name in sorted(of_row - named):
        yield f"{attack} does not name the villain's case {name}"


def findings(tree):
    """(path, line, message) for each claim that has lost its test."""
    documents = _documents(tree.paths)
    if not documents:
        return []
    tests = set()
    cases = {}
    for path in tree.paths:
        if path.endswith(".cc"):
            tests.update(_TEST.findall(tree.read(path)))
        if re.match(r"villain/\w*cases\.cc$", path):
            cases.update(_CASE.findall(tree.read(path)))

    found = []
    for path in documents:
        rows = set()
        for number, line in enumerate(tree.read(path).split("\n"), 1):
            for suite, name in _NAMED.findall(line):
                if (suite, name) not in tests:
                    found.append((path, number, f"there is no test {suite}.{name}"))
            for name in _NAMED_CASE.findall(line):
                if name not in cases:
                    found.append((path, number, f"the villain has no case {name}"))
            row = _ATTACK.match(line) if path == _ATTACKS else None
            if row:
                rows.add(row.group(1))
                found += [(path, number, message) for message in _row_findings(row, tests, cases)]
        if path == _ATTACKS:
            for attack in sorted(set(cases.values()) - rows - {"-"}):
                found.append((path, 1, f"no row {attack}, which the villain has cases of"))
    if _DESIGN in documents:
        for promise in _PROMISES:
            if not any(re.search(rf"PromiseP{promise}(?!\d)", name) for _, name in tests):
                found.append((_DESIGN, 1, f"no test is named after promise P{promise}"))
    return found
