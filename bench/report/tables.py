# SPDX-License-Identifier: Apache-2.0
"""The tables of a run, as text and as Markdown."""

from layout import Table, TextTable, number
from results import APART, LARGEST, ONE_CORE, ONE_WAY, ROUND_TRIP, UNPINNED, cpu_ns, switches
from targets import _size as size_name


def _cell(results, row, direction, size, placement=APART):
    figure = results.figure(row, direction, size, placement)
    if not figure:
        return "-"
    return number(figure.median) + ("" if figure.regime == LARGEST else "*")


def times(results, direction, waiting, placement=APART):
    """Rows by sizes: the medians."""
    sizes = [s for s in results.sizes()
             if any(results.samples(row, direction, s, placement) for row in results.order)]
    lines = []
    for row in results.row_names(waiting):
        cells = [_cell(results, row, direction, size, placement) for size in sizes]
        if any(cell != "-" for cell in cells):
            lines.append([row] + cells)
    where = {APART: "each end on a processor of its own", UNPINNED: "not pinned",
             ONE_CORE: "both ends on one processor"}[placement]
    how = " or ".join("spinning" if w == "spin" else "sleeping" if w == "sleep" else w
                      for w in waiting)
    what = "ns per message" if direction == ONE_WAY else "ns per round trip, the median one"
    marked = any(cell.endswith("*") for line in lines for cell in line[1:])
    return Table(f"{direction.capitalize()}, {how}, {where}: {what}",
                 ["row"] + [size_name(size) for size in sizes], lines,
                 "*: in another regime of the machine, and not to be compared with the rest."
                 if marked else "")


def ranges(results, direction, size):
    """One size: the median, the range over the samples, and the percentiles of the median sample."""
    lines = []
    for row in results.order:
        samples = results.samples(row, direction, size)
        if not samples:
            continue
        figure = results.figure(row, direction, size)
        middle = sorted(samples, key=results.time_of)[len(samples) // 2]
        line = [row, number(figure.median), f"{number(figure.low)} to {number(figure.high)}",
                str(figure.count)]
        line += [number(middle[f"{key}_ns"]) for key in ("p50", "p90", "p99", "p99_9", "p99_99", "max")]
        lines.append(line)
    blocks = " Percentiles are those of short runs of messages, of at least 2 us." \
        if direction == ONE_WAY else ""
    return Table(f"{direction.capitalize()}, {size_name(size)}: range over the samples, and "
                 "percentiles of the middle one, ns",
                 ["row", "median", "range", "samples", "p50", "p90", "p99", "p99.9", "p99.99", "max"],
                 lines, blocks.strip())


def costs(results, direction, size):
    lines = []
    for row in results.order:
        samples = results.samples(row, direction, size)
        if not samples or results.rows[row]["family"] == "limit":
            continue
        calls = results.system_calls(row, direction, size)
        lines.append([
            row, results.rows[row]["waiting"],
            number(results.figure(row, direction, size).median),
            number(results.figure(row, direction, size, value=cpu_ns).median),
            number(results.figure(row, direction, size, value=switches).median),
            number(calls["sender"]) if calls else "-",
            number(calls["receiver"]) if calls else "-",
        ])
    per = "message" if direction == ONE_WAY else "round trip"
    return Table(f"What it costs, {direction}, {size_name(size)}, per {per}",
                 ["row", "waits by", "ns", "processor ns, both ends", "context switches",
                  "system calls, sender", "receiver"], lines,
                 "System calls were counted in samples of their own, under ptrace, which slows both "
                 "ends down.")


def missing(results):
    lines = []
    for entry in results.data["missing"]:
        if entry["whole_row"]:
            lines.append([entry["row"], "all", entry["why"]])
    cells = {}
    for entry in results.data["missing"]:
        if not entry["whole_row"]:
            why = ("FAILED: " if entry["failed"] else "") + entry["why"]
            cells.setdefault((entry["row"], why), []).append(entry)
    for (row, why), entries in cells.items():
        sizes = sorted({int(entry["size"]) for entry in entries})
        lines.append([row, ", ".join(size_name(size) for size in sizes), why])
    return TextTable("Not measured", ["row", "sizes", "why"], lines)


def target_table(found):
    lines = [[o.name, o.limit, o.text, o.verdict(), o.detail] for o in found]
    return TextTable("Targets", ["target", "wanted", "measured (range)", "", "of"], lines)


def machine(results):
    lines = [[key, str(value)] for key, value in results.data["machine"].items() if value]
    run = results.data["run"]
    lines.append(["run", f"{run['kind']}, {run['seconds']:.0f} s, {run['passes']} passes, "
                         f"{run['measured_ms']:g} ms a sample"
                         + (", INTERRUPTED" if run["interrupted"] else "")])
    total = len([s for s in results.data["samples"] if s["placement"] != ONE_CORE])
    regimes = ", ".join(f"{r['centre_ns']:.0f} ns ({r['samples']:.0f} samples)"
                        for r in results.regimes()) or "none"
    mixed = total - sum(r["samples"] for r in results.regimes())
    lines.append(["bare exchange, by regime", f"{regimes}; changed meanwhile: {mixed:.0f} samples"])
    return TextTable("Machine and run", ["what", "value"], lines)


def notes(results):
    lines = [[name, results.rows[name]["family"], results.rows[name]["waiting"],
              results.rows[name]["note"]] for name in results.order]
    return TextTable("Rows", ["row", "family", "waits by", "note"], lines)


def instructions(micro):
    lines = [[case["what"], case["variant"], f"{case['instructions']:.1f}", number(case["ns"]),
              f"{number(case['low_ns'])} to {number(case['high_ns'])}"] for case in micro or ()]
    return Table("A send and a receive in one thread: instructions (callgrind) and ns",
                 ["what", "variant", "instructions", "ns", "range"], lines)


def all_tables(results, found, micro=None):
    tables = [machine(results), target_table(found)]
    for direction in (ONE_WAY, ROUND_TRIP):
        tables.append(times(results, direction, ("spin",)))
        tables.append(times(results, direction, ("sleep", "adaptive")))
    for placement in (UNPINNED, ONE_CORE):
        for direction in (ONE_WAY, ROUND_TRIP):
            tables.append(times(results, direction, ("spin", "sleep", "adaptive"), placement))
    for direction in (ONE_WAY, ROUND_TRIP):
        tables.append(ranges(results, direction, 64))
        for size in (64, 65536):
            tables.append(costs(results, direction, size))
    tables += [instructions(micro), missing(results), notes(results)]
    return [table for table in tables if table.lines]
