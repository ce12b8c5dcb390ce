# SPDX-License-Identifier: Apache-2.0
"""Line coverage of the hostile surface's folders, and a reason for each line that no test reaches.

    coverage_report.py --root DIR --profile ALL.profdata --reasons FILE [--markdown] BINARY...

Each binary is asked by itself and a line counts as reached if it was in any: one binary's unused
copy of an inline function must not hide another's used one. Exit code 1: a folder is below the
limit, a line is unreached without a reason, or a reason names a line that is not there any more.
"""

import argparse
import collections
import json
import os
import re
import subprocess
import sys

FOLDERS = ("boundary", "sealing", "shm", "ring", "handshake", "frames")
LIMIT_PERCENT = 95.0
# Headers are seen through the links that give them their include path.
_VIRTUAL = re.compile(r".*/_virtual_includes/[^/]+/parley/(.*)")
_FOR_TESTS = re.compile(r"_test\.cc$|test_support\.(?:h|cc)$")


def source_of(name):
    """A file's path from the root, or None if it is not asked about."""
    name = os.path.normpath(name)
    match = _VIRTUAL.match(name)
    path = match.group(1) if match else name
    if path.split("/")[0] not in FOLDERS or _FOR_TESTS.search(path):
        return None
    return path


def export(binary, profile, form):
    result = subprocess.run(
        ["llvm-cov-19", "export", f"-format={form}", "-skip-branches", "-instr-profile", profile, binary],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    return result.stdout


def counts(binaries, profile):
    """path -> line -> the most often that it ran in one binary's view; the same of regions."""
    lines = collections.defaultdict(dict)
    regions = collections.defaultdict(dict)
    for binary in binaries:
        path = None
        for line in export(binary, profile, "lcov").splitlines():
            if line.startswith("SF:"):
                path = source_of(line[3:])
            elif path and line.startswith("DA:"):
                number, count = (int(word) for word in line[3:].split(",")[:2])
                lines[path][number] = max(lines[path].get(number, 0), count)
        for function in json.loads(export(binary, profile, "text"))["data"][0]["functions"]:
            paths = [source_of(name) for name in function["filenames"]]
            for *place, count, file, _, kind in function["regions"]:
                if kind == 0 and paths[file]:
                    seen = regions[paths[file]]
                    seen[tuple(place)] = max(seen.get(tuple(place), 0), count)
    return lines, regions


class Reasons:
    """`path | lines | first line | reason`: so many unreached lines, from the one that reads so."""

    def __init__(self, path):
        self.entries = []
        self.errors = []
        for number, line in enumerate(open(path, encoding="utf-8"), 1):
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            words = [word.strip() for word in line.split(" | ")]
            if len(words) != 4 or not words[1].isdigit() or not words[3]:
                self.errors.append(f"{path}:{number}: wants `path | lines | first line | reason`")
                continue
            self.entries.append(words)

    def apply(self, sources, unreached):
        """(path, line) -> reason; complains of entries that name no line."""
        given = {}
        for path, lines, first, reason in self.entries:
            text = sources(path)
            places = [n for n, code in enumerate(text, 1) if code.strip() == first]
            if not places:
                self.errors.append(f"{path}: no line reads `{first}`; its reason is out of date")
            for place in places:
                for number in range(place, place + int(lines)):
                    if number in unreached.get(path, ()):
                        given[path, number] = reason
        return given


def stretches(numbers):
    """Consecutive numbers as (first, last)."""
    result = []
    for number in sorted(numbers):
        if result and number == result[-1][1] + 1:
            result[-1][1] = number
        else:
            result.append([number, number])
    return result


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--root", required=True)
    arguments.add_argument("--profile", required=True)
    arguments.add_argument("--reasons", required=True)
    arguments.add_argument("--markdown", action="store_true")
    arguments.add_argument("binaries", nargs="+")
    options = arguments.parse_args()

    found, regions = counts(options.binaries, options.profile)
    texts = {}

    def sources(path):
        if path not in texts:
            full = os.path.join(options.root, path)
            texts[path] = open(full, encoding="utf-8").read().splitlines() if os.path.exists(full) else []
        return texts[path]

    # A comment between two statements is no line of code, though it lies in a region.
    for path, lines in found.items():
        code = sources(path)
        for number in list(lines):
            if number > len(code) or not code[number - 1].strip() or code[number - 1].strip().startswith("//"):
                del lines[number]
    unreached = {p: {n for n, count in lines.items() if count == 0} for p, lines in found.items()}
    reasons = Reasons(options.reasons)
    given = reasons.apply(sources, unreached)

    failed = False
    table = []
    for folder in FOLDERS:
        paths = [p for p in found if p.split("/")[0] == folder]
        lines = sum(len(found[p]) for p in paths)
        missing = sum(len(unreached[p]) for p in paths)
        percent = 100.0 * (lines - missing) / lines if lines else 0.0
        failed |= percent < LIMIT_PERCENT
        ran = [count > 0 for p in regions if p.split("/")[0] == folder for count in regions[p].values()]
        table.append((folder, lines, missing, percent, len(ran), 100.0 * sum(ran) / max(1, len(ran))))

    if options.markdown:
        print("| folder | lines | unreached | reached | regions | reached |\n|---|---|---|---|---|---|")
        for folder, lines, missing, percent, total, share in table:
            print(f"| `{folder}` | {lines} | {missing} | {percent:.1f} % | {total} | {share:.1f} % |")
        print("\n## Unreached lines\n\n| line | code | why |\n|---|---|---|")
    else:
        for folder, lines, missing, percent, total, share in table:
            print(
                f"{folder:12} {lines:5} lines {missing:4} unreached {percent:6.1f} % reached, "
                f"{share:.1f} % of {total} regions"
            )
    for path in sorted(unreached):
        by_reason = collections.defaultdict(set)
        for number in unreached[path]:
            by_reason[given.get((path, number))].add(number)
        for reason, numbers in sorted(by_reason.items(), key=lambda item: min(item[1])):
            for first, last in stretches(numbers):
                code = sources(path)[first - 1].strip() if first <= len(sources(path)) else "?"
                where = f"{path}:{first}" + (f"-{last}" if last != first else "")
                if options.markdown:
                    code = code.replace("|", "\\|")
                    print(f"| `{where}` | `{code}` | {reason or '**none given**'} |")
                else:
                    print(f"{where}: {code}\n    {reason or 'NO REASON GIVEN'}")
            failed |= reason is None
    for error in reasons.errors:
        print(error, file=sys.stderr)
    return 1 if failed or reasons.errors else 0


if __name__ == "__main__":
    sys.exit(main())
