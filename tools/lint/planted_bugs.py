# SPDX-License-Identifier: Apache-2.0
"""Each patch in fuzz/planted/ still says what it plants, who must catch it, and applies.

The head is as tools/dev/planted.sh says. A patch applies as `patch -F0` takes it: the lines of each
hunk stand in the file in one piece, one hunk after the other. Who must catch it exists: the fuzz
target's source, the test's package, the model's variant. And each fuzz target has one to find.
docs/PLANTED.md has a row for each patch, and none for another.
"""

import os
import re

FOLDER = "fuzz/planted/"
PAGE = "docs/PLANTED.md"
_HEAD = ("Bug", "Target", "Test", "Case", "Sanitizer", "Build", "Model")
_HUNK = re.compile(r"^@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")
_KINDS = {
    "an off by one in the capacity": ("tail_capacity_off_by_one",),
    "a missing mask": ("consumer_no_mask",),
    "a second fetch": ("header_fetched_twice",),
    "a lost fence": ("ringer_without_fence", "sleeper_without_fence"),
    "a missing seal": ("region_without_future_write",),
    "a forgotten close": ("surplus_descriptors_leak",),
    "a write that blocks": ("doorbell_blocks",),
    "a sign error": ("tail_compared_signed",),
    "an unchecked alignment": ("tail_alignment_unchecked",),
    "a stale length": ("stale_length",),
}
FEWEST = 20


def _hunks(lines):
    """(file, the lines that the hunk wants to find) for each hunk."""
    file, at = None, 0
    while at < len(lines):
        if lines[at].startswith("+++ b/"):
            file = lines[at][6:]
        match = _HUNK.match(lines[at])
        at += 1
        if not match:
            continue
        left, right = (int(n or 1) for n in match.groups())
        old = []
        while (left or right) and at < len(lines):
            kind = lines[at][:1] or " "
            if kind in " -":
                old.append(lines[at][1:])
                left -= 1
            right -= kind in " +"
            at += 1
        yield file, old


def _after(lines, wanted, start):
    """Behind where `wanted` stands in `lines`, from `start` on; None: nowhere."""
    for at in range(start, len(lines) - len(wanted) + 1):
        if lines[at : at + len(wanted)] == wanted:
            return at + len(wanted)
    return None


def _catcher(tree, key, value):
    """Why nobody can catch the bug in this way; None if somebody can."""
    if key == "Target" and f"fuzz/{value}.cc" not in tree.paths:
        return f"there is no fuzz target {value}"
    if key == "Case" and not any(
        f'"{value}"' in tree.read(path) for path in tree.paths if path.startswith("villain/") and path.endswith(".cc")
    ):
        return f"there is no case {value}"
    if key in ("Test", "Sanitizer", "Build"):
        label = (value.split() + ["", ""])[1 if key == "Sanitizer" else 0]
        package, _, name = label.removeprefix("//").partition(":")
        if not name or f"{package}/BUILD.bazel" not in tree.paths:
            return f"there is no {label or 'label'} in '{value}'"
    if key == "Model":
        wanted = value.split()
        variants = [
            line.split("):", 1)[1].split()
            for path in tree.paths
            if path.startswith("verify/") and path.endswith(".pml")
            for line in tree.read(path).split("\n")
            if line.startswith("// must fail (")
        ]
        if wanted not in variants:
            return f"no model must fail with {value}"
    return None


def _of_patch(tree, path):
    text = tree.read(path)
    head, _, body = text.partition("\n\n")
    keys = set()
    for number, line in enumerate(head.split("\n"), 1):
        key, _, value = line.partition(": ")
        keys.add(key)
        if key not in _HEAD or not value:
            yield number, f"what is '{line}'?"
        elif why := _catcher(tree, key, value):
            yield number, why
    if "Bug" not in keys or len(keys) < 2:
        yield 1, f"wants a line Bug and one of {', '.join(_HEAD[1:])}"
    hunks = 0
    reached = {}
    for file, old in _hunks(body.split("\n")):
        hunks += 1
        if file not in tree.paths:
            yield 1, f"there is no {file}"
            continue
        end = _after(tree.read(file).split("\n"), old, reached.get(file, 0))
        if end is None:
            yield 1, f"does not apply to {file} any more: {old[0].strip()} ..."
        reached[file] = end or 0
    if not hunks:
        yield 1, "changes nothing"


def _targets_without(tree, patches):
    """Sources of fuzz targets that no patch names."""
    named = {line for path in patches for line in tree.read(path).split("\n") if line.startswith("Target: ")}
    for path in tree.paths:
        target = re.fullmatch(r"fuzz/(\w+_fuzzer)\.cc", path)
        if target and f"Target: {target.group(1)}" not in named:
            yield path


def _rows(tree, patches):
    """(line, message) for docs/PLANTED.md: a row that is missing, or about no patch."""
    names = {os.path.basename(path).removesuffix(".patch") for path in patches}
    for number, line in enumerate(tree.read(PAGE).split("\n"), 1):
        row = re.match(r"\| `(\w+)`:", line)
        if row and row.group(1) not in names:
            yield number, f"there is no {FOLDER}{row.group(1)}.patch"
        names -= {row.group(1)} if row else set()
    for name in sorted(names):
        yield 1, f"has no row for {name}"


def findings(tree):
    """(path, line, message)."""
    patches = [path for path in tree.paths if path.startswith(FOLDER) and path.endswith(".patch")]
    for path in patches:
        for line, message in _of_patch(tree, path):
            yield path, line, message
    if PAGE in tree.paths:
        for line, message in _rows(tree, patches):
            yield PAGE, line, message
    if len(patches) < FEWEST and "tools/dev/planted.py" in tree.paths:
        yield FOLDER, 1, f"{len(patches)} planted bugs; there must be {FEWEST}"
    if patches:
        for path in _targets_without(tree, patches):
            yield path, 1, f"no planted bug for it: {FOLDER} has a patch for each fuzz target"
    if len(patches) >= FEWEST:
        names = {os.path.basename(path).removesuffix(".patch") for path in patches}
        for kind, those in _KINDS.items():
            if not names & set(those):
                yield FOLDER, 1, f"plants no {kind.split(' ', 1)[1]}: {' or '.join(those)}"
