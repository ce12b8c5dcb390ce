# SPDX-License-Identifier: Apache-2.0
"""Draws what `./dev bench media --json RUN.jsonl` wrote.

    media_plots.py RUN.jsonl FOLDER     FOLDER/media-rate, media-cpu and media-fan-out, .svg and .png
"""

import sys

import histograms
import plots


def _head(terminal, output, title, ylabel):
    return [f"set terminal {terminal}", f"set output '{output}'", f"set title '{title}'",
            f"set ylabel '{ylabel}'", "set grid ytics lc rgb '#dddddd' lw 1 dt 1", "set tics nomirror",
            "set key outside right top", "set style fill solid"]


def bars(lines, key, title, ylabel, terminal, output):
    """Groups of bars: a group for each size, a bar for each way."""
    lines = [line for line in lines if "way" in line]
    if not lines:
        return None
    sizes = list(dict.fromkeys(line["size"] for line in lines))
    ways = list(dict.fromkeys(line["way"] for line in lines))
    value = {(line["size"], line["way"]): line[key] for line in lines}
    rows = [" ".join([f'"{size}"', *(f"{value[size, way]:.6g}" for way in ways)]) for size in sizes]
    ours = [way for way in ways if way.startswith("arena")]
    colour = {way: (plots.PARLEY[ours.index(way)] if way in ours else plots.OTHERS[i % len(plots.OTHERS)])
              for i, way in enumerate(ways)}
    series = ", ".join(f"$d0 using {i + 2}:xtic(1) title '{way}' lc rgb '{colour[way]}'"
                       for i, way in enumerate(ways))
    return "\n".join(["$d0 << EOD", *rows, "EOD", *_head(terminal, output, title, ylabel),
                      "set style data histograms", "set style histogram clustered gap 1",
                      "set logscale y", "set format y '%.10g'", f"plot {series}", ""])


def fan_out(lines, terminal, output):
    rows = [f"{line['receivers']} {line['cpu_us']:.6g}" for line in lines if "receivers" in line]
    if not rows:
        return None
    return "\n".join(["$d0 << EOD", *rows, "EOD",
                      *_head(terminal, output, "one producer of 1080p pictures, which it renders",
                             "processor time of the producer, each picture, us"),
                      "set xlabel 'receivers'", "set logscale x 2", "set yrange [0:*]", "unset key",
                      f"plot $d0 using 1:2 with linespoints lw 3 pt 7 lc rgb '{plots.PARLEY[0]}'", ""])


def draw(lines, folder):
    return plots.draw_scripts({
        "media-rate": lambda *to: bars(lines, "rate", "pictures to another process, one at a time",
                                       "pictures a second", *to),
        "media-cpu": lambda *to: bars(lines, "cpu_us", "processor time above the work itself",
                                      "us of both processes, each picture", *to),
        "media-fan-out": lambda *to: fan_out(lines, *to),
    }, folder)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    for picture in draw(histograms.read(sys.argv[1]), sys.argv[2]):
        print(picture)
