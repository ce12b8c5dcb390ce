# SPDX-License-Identifier: Apache-2.0
"""The plots of `./dev bench presets`: latency and processor time over the rate, log axes."""

from plots import LIMIT, OTHERS, PARLEY
from presets import FLAT_OUT, Presets
from results import ONE_WAY, ROUND_TRIP

# Where "flat out" stands on the axis of rates.
FLAT_OUT_AT = 10_000_000
LOOKS = {"lowest latency": (OTHERS[0], 4, 1), "balanced": (PARLEY[0], 7, 1),
         "balanced, futex": (PARLEY[1], 5, 1), "lowest power": (PARLEY[2], 9, 1),
         "pure spin": (LIMIT[0], 0, 2)}
LEAST_SHARE = 1e-5  # a share of nothing has no place on a log axis


def _latency(presets, name, direction, rate):
    ns = presets.latency(name, direction, rate)
    return None if ns is None else ns / 1000


def _share(presets, name, direction, rate):
    shares = sorted(presets.shares(name, direction, rate))
    return 100 * max(shares[len(shares) // 2], LEAST_SHARE) if shares else None


PLOTS = [
    ("presets-latency", "One way, from send to receipt (median), by the rate of messages",
     "microseconds (lower is better)", ONE_WAY, _latency),
    ("presets-round-trip", "Request and response (median), by the rate of requests",
     "microseconds (lower is better)", ROUND_TRIP, _latency),
    ("presets-processor", "Processor time of both ends, one way, by the rate of messages",
     "per cent of one processor (lower is better)", ONE_WAY, _share),
]


def script(plot, data, terminal, output):
    name, title, label, direction, value = plot
    presets = Presets(data)
    blocks, curves = [], []
    for preset in presets.names():
        points = [(rate if rate != FLAT_OUT else FLAT_OUT_AT, value(presets, preset, direction, rate))
                  for rate in presets.rates()]
        points = [(x, y) for x, y in points if y is not None and y > 0]
        if not points:
            continue
        colour, symbol, dash = LOOKS.get(preset, (OTHERS[3], 5, 1))
        block = f"$d{len(blocks)}"
        blocks.append(f"{block} << EOD\n" + "\n".join(f"{x:g} {y:.6g}" for x, y in points) + "\nEOD")
        curves.append(f"{block} using 1:2 with linespoints pt {symbol} ps 1.1 lw 2.5 dt {dash} "
                      f"lc rgb '{colour}' title '{preset}'")
    if not curves:
        return None
    machine = data["machine"]
    where = f"{machine['processor']}, {machine['kernel'].split('-')[0]}, {machine['date'].split()[0]}"
    return "\n".join([
        *blocks, f"set terminal {terminal}", f"set output '{output}'", "set encoding utf8",
        f'set title "{title}\\n{{/*0.75 64 B, each end on a processor of its own; {where}}}"',
        "set logscale xy", f"set xrange [0.6:{2 * FLAT_OUT_AT}]",
        f'set xtics ("1 Hz" 1, "60 Hz" 60, "1 kHz" 1000, "100 kHz" 100000, "flat out" {FLAT_OUT_AT})',
        "set xlabel 'rate'", f"set ylabel '{label}'", "set format y '%.10g'",
        "set grid xtics ytics lc rgb '#dddddd' lw 1 dt 1", "set border 3 lc rgb '#444444'",
        "set tics nomirror", "set key outside right center vertical Left reverse samplen 2.5 spacing 1.25",
        "plot " + ", \\\n     ".join(curves), ""])
