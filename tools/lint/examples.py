# SPDX-License-Identifier: Apache-2.0
"""Each example in a header that users hold compiles: tests/header_examples has it."""

import os
import re

import build_files
import face

TEST = "tests/header_examples/BUILD.bazel"
_PARAGRAPH = re.compile(r"(?:^//   .*\n)+", re.MULTILINE)
_CODE = re.compile(r"[;{}]\s*(?://.*)?$", re.MULTILINE)


def has_example(text):
    """As extract.awk goes by: an indented paragraph before the first #include, with code in it."""
    top = text.split("\n#include", 1)[0]
    return any(
        _CODE.search(re.sub(r"^//   ", "", line)) is not None
        for paragraph in _PARAGRAPH.findall(top + "\n")
        for line in paragraph.splitlines()
    )


def findings(tree):
    if TEST not in tree.paths:
        return
    tested = set(re.findall(r'"([\w/]+\.h)", \d', tree.read(TEST)))
    for package, targets in sorted(face.PUBLIC.items()):
        path = f"{package}/BUILD.bazel"
        if path not in tree.paths:
            continue
        try:
            rules = build_files.rules(tree.read(path))
        except SyntaxError:
            continue  # lint.py says so
        for rule in rules:
            if rule.name not in targets.split():
                continue
            for name in rule.strings("hdrs"):
                header = f"{package}/{name}"
                if header in tree.paths and header not in tested and has_example(tree.read(header)):
                    yield header, 1, f"has an example that {os.path.dirname(TEST)} does not compile"
