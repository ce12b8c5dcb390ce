"""The documents name the tests that show a claim; each such test must exist.

In README.md, SECURITY.md, CHANGELOG.md and docs/*.md a test is written `Suite.Name`. In docs/ATTACKS.md each row
`| M1 | ... | tests |` names at least one, or says "no test yet" for as long as that is true: a test
named after an attack (AttackM1..., M1...) makes "no test yet" a finding. Each promise in
docs/DESIGN.md has a test named after it (PromiseP1...).
"""

import re

_TEST = re.compile(r"^\s*(?:TYPED_)?TEST(?:_[FP])?\(\s*(\w+),\s*(\w+)\s*\)", re.MULTILINE)
_NAMED = re.compile(r"`([A-Z]\w*)\.([A-Z]\w*)`")
_ATTACK = re.compile(r"^\|\s*([A-Z]\d+)\s*\|.*\|\s*([^|]*?)\s*\|\s*$")
_NOT_YET = "no test yet"
_ATTACKS = "docs/ATTACKS.md"
_DESIGN = "docs/DESIGN.md"
_PROMISES = range(1, 10)


def _documents(paths):
    return [p for p in paths if p in ("README.md", "SECURITY.md", "CHANGELOG.md") or re.match(r"docs/[^/]*\.md$", p)]


def _tests_of(attack, tests):
    """The tests that are named after an attack: AttackF7F8Only..., M6AndM7More..."""
    pattern = re.compile(rf"(?:Attack|^|And)(?:[A-Z]\d+)*?{attack}(?!\d)")
    return sorted(f"{suite}.{name}" for suite, name in tests if pattern.search(name))


def findings(tree):
    """(path, line, message) for each claim that has lost its test."""
    documents = _documents(tree.paths)
    if not documents:
        return []
    tests = set()
    for path in tree.paths:
        if path.endswith(".cc"):
            tests.update(_TEST.findall(tree.read(path)))

    found = []
    for path in documents:
        for number, line in enumerate(tree.read(path).split("\n"), 1):
            for suite, name in _NAMED.findall(line):
                if (suite, name) not in tests:
                    found.append((path, number, f"there is no test {suite}.{name}"))
            row = _ATTACK.match(line) if path == _ATTACKS else None
            if not row:
                continue
            attack, shown_by = row.groups()
            if _NOT_YET in shown_by:
                for test in _tests_of(attack, tests):
                    found.append((path, number, f"{attack} has a test: {test}"))
            elif not _NAMED.search(shown_by):
                found.append((path, number, f"{attack} names no test: name one, or say '{_NOT_YET}'"))
    if _DESIGN in documents:
        for promise in _PROMISES:
            if not any(re.search(rf"PromiseP{promise}(?!\d)", name) for _, name in tests):
                found.append((_DESIGN, 1, f"no test is named after promise P{promise}"))
    return found
