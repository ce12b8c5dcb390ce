# SPDX-License-Identifier: Apache-2.0
"""The plots of a run, by gnuplot: SVG and PNG, log axes, colours that colour-blind people can tell
apart (and a symbol for each line besides), the legend beside the plot."""

import os
import subprocess

import targets
from results import ONE_WAY, ROUND_TRIP, cpu_ns

# Okabe and Ito's palette; the last two are for limits.
PARLEY = ("#0072B2", "#56B4E9", "#009E73", "#004B76")
OTHERS = ("#D55E00", "#E69F00", "#CC79A7", "#8C510A", "#B8860B", "#7F3C8D", "#A5AA99", "#E15759")
LIMIT = ("#000000", "#888888")

TICKS = ('set xtics ("8 B" 8, "64 B" 64, "512 B" 512, "4 KiB" 4096, "32 KiB" 32768, '
         '"256 KiB" 262144, "2 MiB" 2097152)')


class Line:
    """A title and the rows of which the fastest at each size is shown."""

    def __init__(self, title, rows, kind):
        self.title = title
        self.rows = rows
        self.kind = kind  # "parley", "other" or "limit"


def _both(name):
    return (name, name + ", non-blocking")


STREAM_LINES = [
    Line("Parley, in place", targets.ALL_IN_PLACE, "parley"),
    Line("Parley, copied", targets.ALL_COPIED, "parley"),
    Line("Parley, typed", ("parley typed",), "parley"),
    Line("iceoryx", _both("iceoryx"), "other"),
    Line("boost spsc\\_queue", ("boost spsc_queue",), "other"),
    Line("ZeroMQ", _both("ZeroMQ"), "other"),
    Line("nng", _both("nng"), "other"),
    Line("pipe", _both("pipe"), "other"),
    Line("unix socket", _both("unix stream") + _both("unix seqpacket"), "other"),
    Line("TCP loopback", _both("TCP loopback"), "other"),
    Line("message queue", _both("POSIX message queue"), "other"),
    Line("ring without checks", ("unchecked ring",), "limit"),
    Line("memcpy", ("memcpy",), "limit"),
]

SPIN_LINES = [
    Line("Parley, in place", targets.ALL_IN_PLACE, "parley"),
    Line("Parley, copied", targets.ALL_COPIED, "parley"),
    Line("iceoryx", ("iceoryx, non-blocking",), "other"),
    Line("boost spsc\\_queue", ("boost spsc_queue",), "other"),
    Line("ZeroMQ", ("ZeroMQ, non-blocking",), "other"),
    Line("nng", ("nng, non-blocking",), "other"),
    Line("pipe", ("pipe, non-blocking",), "other"),
    Line("unix socket", ("unix stream, non-blocking", "unix seqpacket, non-blocking"), "other"),
    Line("TCP loopback", ("TCP loopback, non-blocking",), "other"),
    Line("ring without checks", ("unchecked ring",), "limit"),
    Line("two bare lines", ("bare two-line exchange",), "limit"),
]

SLEEP_LINES = [
    Line("Parley, adaptive", ("parley in place, adaptive",), "parley"),
    Line("Parley, socket doorbell", ("parley in place, socket doorbell",), "parley"),
    Line("Parley, eventfd doorbell", ("parley in place, eventfd doorbell",), "parley"),
    Line("Parley, futex doorbell", ("parley in place, futex doorbell",), "parley"),
    Line("iceoryx", ("iceoryx",), "other"),
    Line("ZeroMQ", ("ZeroMQ",), "other"),
    Line("nng", ("nng",), "other"),
    Line("pipe", ("pipe",), "other"),
    Line("unix socket", ("unix stream", "unix seqpacket"), "other"),
    Line("TCP loopback", ("TCP loopback",), "other"),
    Line("message queue", ("POSIX message queue",), "other"),
    Line("bare eventfd", ("eventfd and shared memory",), "limit"),
    Line("bare futex", ("futex and shared memory",), "limit"),
]


class Plot:
    def __init__(self, name, title, y_label, direction, lines, value, scale=1.0):
        self.name = name
        self.title = title
        self.y_label = y_label
        self.direction = direction
        self.lines = lines
        self.value = value  # of a Figure's samples: None: the time
        self.scale = scale

    def points(self, results, line):
        for size in results.sizes():
            row = results.fastest(line.rows, self.direction, size)
            if row is None:
                continue
            figure = results.figure(row, self.direction, size, value=self.value)
            if figure.low > 0:
                yield size, *(x * self.scale for x in (figure.median, figure.low, figure.high))


def _gigabytes(sample):
    return sample["size"] / sample["mean_ns"]


PLOTS = [
    Plot("one-way", "One way, two processes, every byte written and read: time per message",
         "nanoseconds per message (lower is better)", ONE_WAY, STREAM_LINES, None),
    Plot("throughput", "One way, two processes, every byte written and read: throughput",
         "gigabytes per second (higher is better)", ONE_WAY, STREAM_LINES, _gigabytes),
    Plot("round-trip-spinning", "Round trip while both ends spin (median)",
         "microseconds per round trip (lower is better)", ROUND_TRIP, SPIN_LINES, None, 1e-3),
    Plot("round-trip-sleeping", "Round trip of ends that sleep while they wait (median)",
         "microseconds per round trip (lower is better)", ROUND_TRIP, SLEEP_LINES, None, 1e-3),
    Plot("processor-time", "Processor time of both ends together, ends that sleep while they wait",
         "nanoseconds of processor time per message (lower is better)", ONE_WAY, SLEEP_LINES,
         cpu_ns),
]


def script(plot, results, terminal, output):
    counters = {"parley": 0, "other": 0, "limit": 0}
    points = {"parley": (7, 5, 9, 11), "other": (4, 6, 8, 10, 12, 1, 2, 3), "limit": (0, 0)}
    data, curves = [], []
    for line in plot.lines:
        number = counters[line.kind]
        counters[line.kind] += 1
        found = list(plot.points(results, line))
        if not found:
            continue
        palette = {"parley": PARLEY, "other": OTHERS, "limit": LIMIT}[line.kind]
        colour = palette[number % len(palette)]
        symbol = points[line.kind][number % len(points[line.kind])]
        width = {"parley": 3.5, "other": 1.8, "limit": 2}[line.kind]
        dash = {"parley": 1, "other": 1, "limit": 2 + number}[line.kind]
        name = f"$d{len(data)}"
        data.append(f"{name} << EOD\n" + "\n".join(" ".join(f"{x:.6g}" for x in p) for p in found)
                    + "\nEOD")
        if len(found) == 1 and line.kind == "limit":
            # One figure for all sizes: a line across.
            curves.append(f"{found[0][1]:.6g} with lines lw {width} dt {dash} lc rgb '{colour}' "
                          f"title '{line.title}'")
            continue
        style = "lines" if line.kind == "limit" else f"linespoints pt {symbol} ps 0.9"
        curves.append(f"{name} using 1:2 with {style} lw {width} dt {dash} lc rgb '{colour}' "
                      f"title '{line.title}'")
    if not curves:
        return None
    machine = results.data["machine"]
    regime = results.regimes()[0]["centre_ns"] if results.regimes() else 0
    where = (f"{machine['processor']}, {machine['kernel'].split('-')[0]}, "
             f"bare exchange {regime:.0f} ns, {machine['date'].split()[0]}")
    return "\n".join([
        *data,
        f"set terminal {terminal}", f"set output '{output}'",
        "set encoding utf8",
        f'set title "{plot.title}\\n{{/*0.75 {where}}}"',
        "set logscale xy", "set logscale x 2",
        TICKS,
        "set xlabel 'message size'", f"set ylabel '{plot.y_label}'",
        "set format y '%.10g'",
        "set grid xtics ytics lc rgb '#dddddd' lw 1 dt 1",
        "set border 3 lc rgb '#444444'", "set tics nomirror",
        "set key outside right center vertical Left reverse samplen 2.5 spacing 1.25 width 1",
        "set xrange [6:6000000]",
        "plot " + ", \\\n     ".join(curves), "",
    ])


def draw(results, folder):
    return draw_scripts({plot.name: lambda *to, plot=plot: script(plot, results, *to)
                         for plot in PLOTS}, folder)


def draw_scripts(scripts, folder):
    """`scripts`: name -> function of a terminal and an output file that gives gnuplot's script, or
    None. The files that were drawn; an empty list, with the reason printed, without gnuplot."""
    drawn = []
    for name, script_for in scripts.items():
        for kind, terminal in (
                ("svg", "svg size 1100,640 font 'sans,15' background rgb 'white'"),
                ("png", "pngcairo size 1650,960 font 'sans,17' background rgb 'white'")):
            path = os.path.join(folder, f"{name}.{kind}")
            text = script_for(terminal, path)
            if text is None:
                continue
            try:
                subprocess.run(["gnuplot"], input=text, text=True, check=True)
            except FileNotFoundError:
                print("no plots: gnuplot is missing (apt-get install gnuplot-nox)")
                return drawn
            drawn.append(path)
    return drawn
