# SPDX-License-Identifier: Apache-2.0
"""Merges the runs of `dev fuzz` into fuzz/results.tsv, and that into the table of docs/FUZZING.md, so
that no figure is typed and a machine may go.

The tracked file holds each finished run once, of whichever machine. A run counts for a target if the
sources that it was built from are those of today. Of the runs that count, times and executions are
added up; coverage is the largest.

    fuzz_record.py --self-test
"""

import argparse
import collections
import pathlib
import re
import sys
import tempfile

from fuzz_run import COLUMNS, digests

BEGIN = "<!-- written by ./dev fuzz --record -->"
END = "<!-- end of what it wrote -->"

# What a cell may hold: nothing of a machine has a place in it. STOPPED is no finished run.
CELLS = {
    "target": r"[a-z0-9_]+",
    "commit": r"[0-9a-f]{10,40}(\+| with changes)?",
    "wall_s": r"\d+",
    "cpu_s": r"\d+\.\d",
    "executions": r"\d+",
    "edges": r"\d+",
    "features": r"\d+",
    "corpus": r"\d+",
    "verdict": r"PASS|FAIL (?:[a-z-]+-[0-9a-f]{40}|exit -?\d+)",
    "sources": r"[0-9a-f]{12}",
    "ended_utc": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
}


def finished(text):
    """The runs in a file of results that came to an end, as tuples."""
    runs = []
    for line in text.splitlines()[1:]:
        run = tuple(line.split("\t"))
        if len(run) == len(COLUMNS) and all(re.fullmatch(CELLS[c], cell) for c, cell in zip(COLUMNS, run)):
            runs.append(run)
    return runs


def merged(recorded, new):
    """The text of the tracked file with the finished runs of both: each once, in an order that two
    branches agree about."""
    runs = sorted(set(finished(recorded)) | set(finished(new)), key=lambda run: (run[0], run[-1], run))
    return "".join("\t".join(run) + "\n" for run in [COLUMNS, *runs])


def table(results, sources):
    runs = collections.defaultdict(list)
    for cells in finished(results):
        run = dict(zip(COLUMNS, cells))
        if sources.get(run["target"]) == run["sources"]:
            runs[run["target"]].append(run)
    lines = ["| target | runs | wall s | CPU s | executions | edges | features | corpus | findings | last commit |",
             "|---|--:|--:|--:|--:|--:|--:|--:|--:|---|"]
    for target in sorted(sources):
        those = runs[target]
        if not those:
            lines.append(f"| `{target}` | not since its last change | | | | | | | | |")
            continue
        total = {c: sum(float(run[c]) for run in those) for c in ("wall_s", "cpu_s", "executions")}
        most = {c: max(int(run[c]) for run in those) for c in ("edges", "features", "corpus")}
        findings = [run["verdict"] for run in those if run["verdict"].startswith("FAIL")]
        last = max(those, key=lambda run: run["ended_utc"])["commit"]
        lines.append(f"| `{target}` | {len(those)} | {total['wall_s']:,.0f} | {total['cpu_s']:,.0f} |"
                     f" {total['executions']:,.0f} | {most['edges']:,} | {most['features']:,} | {most['corpus']:,} |"
                     f" {len(findings) or 'none'} | {last} |")
    return "\n".join(lines)


def _row(**cells):
    usual = dict(zip(COLUMNS, ["a_fuzzer", "0123456789", "900", "880.5", "1000", "10", "20", "5", "PASS", "0" * 12,
                               "2026-01-02T03:04:05Z"]))
    return "\t".join({**usual, **cells}.values())


def _file(*rows):
    return "\n".join(["\t".join(COLUMNS), *rows]) + "\n"


# (what, the row that was run, whether it is recorded)
_SAMPLES = [
    ("a run", _row(), True),
    ("one of a tree with changes", _row(commit="0123456789 with changes"), True),
    ("one of such a tree, as it was noted once", _row(commit="0123456789+"), True),
    ("a finding", _row(verdict="FAIL crash-" + "ab" * 20), True),
    ("one that ended by itself", _row(verdict="FAIL exit -9"), True),
    ("one that was stopped", _row(verdict="STOPPED"), False),
    ("a path", _row(verdict="FAIL /somewhere/crash-" + "ab" * 20), False),
    ("half a line", _row()[:40], False),
    ("more than a line", _row() + "\tx", False),
]


def _digests_of(files, graph):
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            path = pathlib.Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return digests(pathlib.Path(folder), graph, ["//fuzz:a_fuzzer"])["//fuzz:a_fuzzer"]


def self_test():
    wrong = []

    def expect(what, condition):
        if not condition:
            wrong.append(what)

    for what, row, recorded in _SAMPLES:
        expect(what, merged("", _file(row)) == _file(*[row] * recorded))
    one, two = _row(), _row(ended_utc="2026-01-02T04:04:05Z", wall_s="100")
    both = merged(_file(two), _file(one))
    expect("sorted", both == _file(one, two))
    expect("the same run twice", merged(both, _file(one, two)) == both and merged(both, "") == both)
    expect("added up", "| 2 | 1,000 | 1,761 | 2,000 |" in table(both, {"a_fuzzer": "0" * 12}))
    expect("other sources", "not since" in table(both, {"a_fuzzer": "1" * 12}))
    expect("a finding shows", "| 1 | 0123456789 |" in table(_file(_row(verdict="FAIL exit 1")), {"a_fuzzer": "0" * 12}))

    graph = '"//fuzz:a_fuzzer" -> "//fuzz:a.cc"\n  "//fuzz:a_fuzzer" -> "//x:y"\n"//x:y" -> "//x:y.h"\n'
    graph += '"//fuzz:a_fuzzer" -> "//fuzz:a_fuzzer_corpus"\n"//fuzz:a_fuzzer_corpus" -> "//fuzz:seed"\n'
    files = {"fuzz/a.cc": 'int a = f("// b");\n', "x/y.h": "int f();\n", "fuzz/seed": "1", "x/z.h": "1",
             "x/BUILD.bazel": "1", "docs/x.md": "1"}
    usual = _digests_of(files, graph)
    expect("a digest", re.fullmatch(CELLS["sources"], usual))
    for name, text, same in [
        ("fuzz/seed", "2", True),
        ("x/BUILD.bazel", "# 2", True),
        ("docs/x.md", "2", True),
        ("x/z.h", "2", True),
        ("x/y.h", "// What it is.\n\n  int /* one */ f();  // more\n", True),
        ("x/y.h", "int f(); int g();\n", False),
        ("fuzz/a.cc", 'int a = f("// c");\n', False),
        ("fuzz/a.cc", 'int a = f("//  b");\n', False),
        ("fuzz/a.cc", 'inta = f("// b");\n', False),
    ]:
        expect(f"{name} with {text!r}", (_digests_of({**files, name: text}, graph) == usual) == same)
    for what in wrong:
        print(f"self-test: {what}")
    print(f"fuzz record --self-test: {len(wrong)} wrong")
    return 1 if wrong else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=pathlib.Path, required=True)
    parser.add_argument("--new", type=pathlib.Path, required=True, help="what dev fuzz wrote; may be missing")
    parser.add_argument("--results", type=pathlib.Path, required=True, help="the tracked file")
    parser.add_argument("--graph", type=pathlib.Path, required=True, help="bazel query --output=graph")
    parser.add_argument("--document", type=pathlib.Path, required=True)
    parser.add_argument("labels", nargs="+")
    options = parser.parse_args()

    sources = {label.split(":")[1]: digest
               for label, digest in digests(options.root, options.graph.read_text(), options.labels).items()}
    text = options.document.read_text()
    if BEGIN not in text or END not in text:
        sys.exit(f"dev: no place for the table in {options.document}")
    recorded = options.results.read_text() if options.results.exists() else ""
    results = merged(recorded, options.new.read_text() if options.new.exists() else "")
    options.results.write_text(results)
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    new = table(results, sources)
    options.document.write_text(f"{before}{BEGIN}\n{new}\n{END}{after}")
    print(new)
    print(f"{len(finished(results)) - len(finished(recorded))} runs added; {len(finished(results))} recorded", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(self_test() if sys.argv[1:] == ["--self-test"] else main())
