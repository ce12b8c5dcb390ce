"""Turns the results of `dev fuzz` into the table of docs/FUZZING.md, so that no figure is typed.

A run counts for a target if the sources that it was built from are those of today. Of the runs that
count, times and executions are added up; coverage is the largest.
"""

import argparse
import collections
import pathlib
import sys

from fuzz_run import COLUMNS, digests

BEGIN = "<!-- written by ./dev fuzz --record -->"
END = "<!-- end of what it wrote -->"


def duration(seconds):
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def table(results, sources):
    runs = collections.defaultdict(list)
    for line in results.read_text().splitlines()[1:]:
        run = dict(zip(COLUMNS, line.split("\t")))
        if sources.get(run["target"]) == run["sources"]:
            runs[run["target"]].append(run)
    lines = ["| target | commit | wall time | CPU time | executions | edges | features | corpus | findings |",
             "|---|---|---|---|---|---|---|---|---|"]
    for target in sorted(sources):
        those = runs[target]
        if not those:
            lines.append(f"| `{target}` | not run since its last change | | | | | | | |")
            continue
        commits = ", ".join(dict.fromkeys(run["commit"] for run in those))
        total = {c: sum(float(run[c]) for run in those) for c in ("wall_s", "cpu_s", "executions")}
        most = {c: max(int(run[c]) for run in those) for c in ("edges", "features", "corpus")}
        findings = [run["verdict"] for run in those if run["verdict"].startswith("FAIL")]
        lines.append(f"| `{target}` | {commits} | {duration(total['wall_s'])} | {duration(total['cpu_s'])} |"
                     f" {total['executions']:,.0f} | {most['edges']:,} | {most['features']:,} | {most['corpus']:,} |"
                     f" {len(findings) or 'none'} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=pathlib.Path, required=True)
    parser.add_argument("--results", type=pathlib.Path, required=True)
    parser.add_argument("--graph", type=pathlib.Path, required=True, help="bazel query --output=graph")
    parser.add_argument("--document", type=pathlib.Path, required=True)
    parser.add_argument("labels", nargs="+")
    options = parser.parse_args()

    sources = {label.split(":")[1]: digest
               for label, digest in digests(options.root, options.graph.read_text(), options.labels).items()}
    text = options.document.read_text()
    if BEGIN not in text or END not in text or not options.results.exists():
        sys.exit(f"dev: no place for the table in {options.document}, or no results in {options.results}")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    new = table(options.results, sources)
    options.document.write_text(f"{before}{BEGIN}\n{new}\n{END}{after}")
    print(new)


if __name__ == "__main__":
    main()
