"""Turns the run.json of bench/ into tables, plots and the pages of docs/BENCHMARKS.md.

    report.py FOLDER                  tables to standard output and FOLDER/report.txt, plots to FOLDER
    report.py FOLDER --markdown FILE  also replaces what stands between the markers in FILE, and puts
                                      the plots beside it
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

BEGIN = "<!-- figures: begin (written by ./dev bench --markdown) -->"
END = "<!-- figures: end -->"


def read_micro(folder):
    path = os.path.join(folder, "instructions.json")
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as stream:
        return json.load(stream)  # a list of cases, see bench/instructions/instructions.py


def markdown(results, all_tables, pictures):
    parts = []
    for picture in pictures:
        name = os.path.basename(picture)
        parts.append(f"![{name[:-4].replace('-', ' ')}](bench/{name})\n")
    parts += [table.markdown() for table in all_tables]
    return "\n".join(parts)


def replace_figures(path, text):
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
    arguments.add_argument("--markdown", metavar="FILE")
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
        beside = os.path.join(os.path.dirname(os.path.abspath(options.markdown)), "bench")
        os.makedirs(beside, exist_ok=True)
        for path in pictures:
            shutil.copy(path, beside)
        replace_figures(options.markdown, markdown(results, all_tables, pictures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
