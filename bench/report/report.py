# SPDX-License-Identifier: Apache-2.0
"""Turns the run.json of bench/ into tables, plots and pages.

    report.py FOLDER                  tables to standard output and FOLDER/report.txt, plots to FOLDER
    report.py FOLDER --markdown DOCS  also replaces the table of targets in DOCS/BENCHMARKS.md, and writes
                                      all other tables and the plots to DOCS/bench
    report.py FOLDER --compare OTHER  the ratios of two runs, side by side
    report.py FOLDER --study NAME     the tables and plots of one study alone (presets, ...)
    report.py --self-test
"""

import argparse
import json
import os
import shutil
import sys

import plots
import studies
import tables
import targets
from results import Results

BEGIN = "<!-- targets: begin (written by ./dev bench report --markdown docs) -->"
END = "<!-- targets: end -->"
FIGURES = """# Every figure of the last run

Written by `./dev bench report --markdown docs`; [BENCHMARKS.md](../BENCHMARKS.md) says how it was
measured and what it means.
"""


def read_micro(folder):
    path = os.path.join(folder, "instructions.json")
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as stream:
        return json.load(stream)  # a list of cases, see bench/instructions/instructions.py


def figures_page(all_tables, pictures):
    parts = [FIGURES]
    for picture in pictures:
        name = os.path.basename(picture)
        parts.append(f"![{name[:-4].replace('-', ' ')}]({name})\n")
    parts += [table.markdown() for table in all_tables]
    return "\n".join(parts)


def replace_targets(path, text):
    with open(path, encoding="utf-8") as stream:
        page = stream.read()
    begin, end = page.index(BEGIN), page.index(END)
    page = page[:begin] + BEGIN + "\n\n" + text + "\n" + page[end:]
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(page)


def compare(ours, others):
    """Whether two runs agree on the targets' ratios within the ranges that both print."""
    theirs = {o.name: o for o in others}
    lines = []
    for outcome in ours:
        there = theirs.get(outcome.name)
        if there is not None:
            lines.append([outcome.name, outcome.text, there.text])
    return tables.TextTable("Two runs", ["target", "this run", "the other"], lines)


def outcomes_of(folder):
    """Of a run's folder, or of a run.json, packed or not, for which nothing else is known."""
    if os.path.isfile(folder):
        results = Results.load(folder)
        return results, targets.outcomes(results)
    results = Results.load(os.path.join(folder, "run.json"))
    return results, targets.outcomes(results, read_micro(folder), studies.load(folder))


def show_study(options):
    found = studies.load(options.folder, [options.study])
    print("\n".join(table.text() for table in studies.tables(found)))
    if not options.no_plots:
        for path in plots.draw_scripts(studies.scripts(found), options.folder):
            print(path)
    return 0


def main():
    arguments = argparse.ArgumentParser(prog="./dev bench report", description=__doc__,
                                        formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", nargs="?")
    arguments.add_argument("--markdown", metavar="DOCS", help="the folder docs")
    arguments.add_argument("--compare", metavar="OTHER", help="another run's folder or run.json(.xz)")
    arguments.add_argument("--study", choices=list(studies.TABLES))
    arguments.add_argument("--no-plots", action="store_true")
    arguments.add_argument("--self-test", action="store_true")
    options = arguments.parse_args()
    if options.self_test:
        import self_test

        return self_test.main()
    if not options.folder:
        arguments.error("which folder?")
    if options.study:
        return show_study(options)
    results, found = outcomes_of(options.folder)
    if options.compare:
        print(compare(found, outcomes_of(options.compare)[1]).text())
        return 0
    beside = studies.load(options.folder)
    all_tables = tables.all_tables(results, found, read_micro(options.folder))
    all_tables += studies.tables(beside)
    text = "\n".join(table.text() for table in all_tables)
    print(text)
    with open(os.path.join(options.folder, "report.txt"), "w", encoding="utf-8") as stream:
        stream.write(text)
    drawn = []
    if not options.no_plots:
        drawn = plots.draw(results, options.folder)
        drawn += plots.draw_scripts(studies.scripts(beside), options.folder)
    for path in drawn:
        print(path)
    if options.markdown:
        pictures = [path for path in drawn if path.endswith(".svg")]
        folder = os.path.join(options.markdown, "bench")
        os.makedirs(folder, exist_ok=True)
        for path in pictures:
            shutil.copy(path, folder)
        with open(os.path.join(folder, "FIGURES.md"), "w", encoding="utf-8") as stream:
            stream.write(figures_page(all_tables, pictures))
        replace_targets(os.path.join(options.markdown, "BENCHMARKS.md"),
                        tables.target_table(found).markdown())
    return 0


if __name__ == "__main__":
    sys.exit(main())
