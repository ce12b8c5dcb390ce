#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The tables of what ran in which place, from the events that run_cases.py wrote.

    report.py [--markdown --title TEXT --command TEXT --commit TEXT] [--manifest FILE] NAME=PLACE=EVENTS...

NAME heads a column, PLACE is one of expectations.txt. Prints a table, each failure, each case that is not
judged or passed only when it was repeated, and each reason to skip with how many cases gave it. Exit code 0 if every run
got to its end, something passed and nothing failed.
"""

import argparse
import collections
import datetime
import json
import os
import sys

import expectations


class Run:
    def __init__(self, name, place, path):
        self.name, self.rules = name, expectations.Expectations(place)
        self.place, self.ended = {}, False
        self.results = collections.OrderedDict()  # (target, case) -> (column, why, tries, event's result)
        try:
            lines = open(path, encoding="utf-8", errors="replace").read().splitlines()
        except OSError:
            lines = []
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if "place" in event:
                self.place = event["place"]
            elif "case" in event:
                self._add(event)
            elif "end" in event:
                self.ended = True

    def _add(self, event):
        result, why = event["result"], event["why"].replace("/src/", "")  # where a root has our sources
        if result == "failed":
            reason = self.rules.not_judged(event["case"], why) or self.rules.not_judged(event["target"])
            if reason:
                result, why = "not judged", f"{reason} ({why[:160]})"
        elif result == "passed" and event["tries"] > 1:
            result = "repeated"
        self.results[event["target"], event["case"]] = (result, why, event["tries"])

    def count(self, result):
        return sum(1 for found, _, _ in self.results.values() if found == result)

    def having(self, result):
        return [(key, why, tries) for key, (found, why, tries) in self.results.items() if found == result]

    def failed(self):
        return not self.ended or self.count("failed") > 0 or self.count("passed") == 0


_COLUMNS = ("passed", "repeated", "failed", "not judged", "skipped")


def table(runs, markdown):
    head = ["", *(run.name for run in runs)]
    rows = [["kernel", *(run.place.get("kernel", "-") for run in runs)],
            ["C library", *(run.place.get("libc", "-") for run in runs)]]
    rows.append(["programs", *(str(len({t for t, _ in run.results})) for run in runs)])
    names = {"repeated": "passed, when repeated"}
    for column in _COLUMNS:
        rows.append([names.get(column, column), *(str(run.count(column)) for run in runs)])
    rows.append(["villain's cases of these",
                 *(str(sum(1 for _, c in run.results if c.startswith("villain: "))) for run in runs)])
    rows.append(["got to its end", *("yes" if run.ended else "NO" for run in runs)])
    if markdown:
        yield "| " + " | ".join(head) + " |"
        yield "|---" * len(head) + "|"
        for row in rows:
            yield "| " + " | ".join(row) + " |"
        return
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()


def details(runs, markdown):
    bullet = "* " if markdown else "  "
    quote = (lambda text: f"`{text}`") if markdown else (lambda text: text)
    for run in runs:
        for column, title in (("failed", "failed"), ("not judged", "failed, and not judged there"),
                              ("repeated", "passed only when repeated alone")):
            found = run.having(column)
            if not found:
                continue
            yield ""
            yield f"{run.name}: {title}:" if not markdown else f"**{run.name}**: {title}"
            if markdown:
                yield ""
            for (_, case), why, tries in found:
                often = f" (try {tries})" if column == "repeated" else ""
                yield f"{bullet}{quote(case)}{often}: {' '.join(why.split())[:300]}"
        skipped = collections.Counter(why for _, why, _ in run.having("skipped"))
        if skipped:
            yield ""
            yield f"{run.name}: skipped:" if not markdown else f"**{run.name}**: skipped"
            if markdown:
                yield ""
            for why, count in sorted(skipped.items(), key=lambda item: -item[1]):
                yield f"{bullet}{count}: {' '.join(why.split())[:300]}"


def left_out(path, markdown):
    if not os.path.exists(path):
        return
    with open(path, encoding="utf-8") as manifest:
        found = json.load(manifest)["left_out"]
    by_reason = collections.defaultdict(list)
    for entry in found:
        by_reason[entry["why"]].append(entry["target"])
    if by_reason:
        yield ""
        yield "Not run anywhere here:" if not markdown else "Programs that are not run there:"
        if markdown:
            yield ""
    for reason, targets in sorted(by_reason.items()):
        names = ", ".join(f"`{t}`" if markdown else t for t in targets)
        yield f"{'* ' if markdown else '  '}{reason}: {names}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--title", default="")
    parser.add_argument("--command", default="")
    parser.add_argument("--commit", default="")
    parser.add_argument("--note", action="append", default=[])
    parser.add_argument("--manifest", default="")
    parser.add_argument("runs", nargs="+")
    options = parser.parse_args()
    runs = [Run(*argument.split("=", 2)) for argument in options.runs]
    if options.markdown:
        print(f"# {options.title}\n")
        print(f"Written by `{options.command}` on {datetime.date.today().isoformat()}, commit {options.commit}.")
        for note in options.note:
            print(f"\n{note}")
        print()
    for line in table(runs, options.markdown):
        print(line)
    for line in left_out(options.manifest, options.markdown):
        print(line)
    for line in details(runs, options.markdown):
        print(line)
    return int(any(run.failed() for run in runs))


if __name__ == "__main__":
    sys.exit(main())
