# SPDX-License-Identifier: Apache-2.0
"""Draws the histograms of times that examples/effect and examples/call write with --json.

    histograms.py RUN.jsonl FOLDER     FOLDER/<name of the histogram>.svg and .png
"""

import json
import re
import sys

import plots


def script(line, terminal, output):
    """`line`: what examples/latency/latency_report.h writes. Boxes from one upper end to the next."""
    boxes, below = [], None
    for upper_ns, count in line["buckets"]:
        # A bucket is 1/32 of its value wide, or 1.
        width = max(1, upper_ns / 32)
        below = upper_ns - width if below is None else max(below, upper_ns - width)
        boxes.append(f"{(below + upper_ns) / 2e3:.6g} {count} {(upper_ns - below) / 1e3:.6g}")
        below = upper_ns
    if not boxes:
        return None
    what = (f"{line['count']} values, p50 {line['p50_ns'] / 1e3:.1f}, p99 {line['p99_ns'] / 1e3:.1f}, "
            f"p99.9 {line['p99_9_ns'] / 1e3:.1f}, max {line['max_ns'] / 1e3:.1f} us")
    return "\n".join([
        "$d0 << EOD", *boxes, "EOD",
        f"set terminal {terminal}", f"set output '{output}'",
        f'set title "{line["name"]}\\n{{/*0.75 {what}}}"',
        "set logscale xy", "set yrange [0.5:*]",
        "set xlabel 'microseconds'", "set ylabel 'how many'", "set format xy '%.10g'",
        "set grid ytics lc rgb '#dddddd' lw 1 dt 1", "set tics nomirror", "unset key",
        "set style fill solid",
        f"plot $d0 using 1:2:3 with boxes lc rgb '{plots.PARLEY[0]}'", "",
    ])


def read(path):
    with open(path, encoding="utf-8") as stream:
        return [json.loads(line) for line in stream if line.strip()]


def draw(lines, folder):
    return plots.draw_scripts(
        {re.sub(r"\W+", "-", line["name"]): lambda *to, line=line: script(line, *to) for line in lines},
        folder)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    for picture in draw(read(sys.argv[1]), sys.argv[2]):
        print(picture)
