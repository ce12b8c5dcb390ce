# SPDX-License-Identifier: Apache-2.0
"""What `./dev bench presets` measured: latency and processor time of each way to wait, by rate."""

import statistics

from layout import Table, number
from results import ONE_WAY, ROUND_TRIP

CONTROL = "control"
BALANCED = "balanced"
BALANCED_FUTEX = "balanced, futex"
PURE_SPIN = "pure spin"
FLAT_OUT = 0

WORDS = ("64 B between two processes, each on a processor of its own; socket doorbells unless "
         "said. One way: from the send to the "
         "receipt, by a time in the message; flat out that is the time in a full queue. Processor "
         "time is that of both ends, in per cent of one processor. Of it are taken off: what the "
         "sender's pacing spun, by its own count (100 kHz), and what pacing alone costs, by a "
         "control that sends nothing (timers, at lower rates).")


def rate_name(hz):
    if hz == FLAT_OUT:
        return "flat out"
    return f"{hz / 1000:g} kHz" if hz >= 1000 else f"{hz:g} Hz"


def _end_share(end):
    """Processors' worth of one end, without what its pacing spun."""
    if end["wall_s"] <= 0:
        return 0.0
    return (end["processor_s"] - end["pacing_spin_s"]) / end["wall_s"]


def gross_share(sample):
    return sum(_end_share(end) for end in sample["ends"])


class Presets:
    """The samples of a run. Medians are over its passes."""

    def __init__(self, data):
        self.data = data
        self._samples = {}
        for sample in data["samples"]:
            if not sample["failed"]:
                key = sample["preset"], sample["direction"], sample["rate"]
                self._samples.setdefault(key, []).append(sample)

    def names(self):
        return list(dict.fromkeys(s["preset"] for s in self.data["samples"]
                                  if s["preset"] != CONTROL))

    def rates(self):
        paced = sorted({s["rate"] for s in self.data["samples"]} - {FLAT_OUT})
        return paced + [FLAT_OUT]

    def samples(self, preset, direction, rate):
        return self._samples.get((preset, direction, rate), [])

    def median(self, preset, direction, rate, value):
        found = self.samples(preset, direction, rate)
        return statistics.median(map(value, found)) if found else None

    def control(self, rate):
        return self.median(CONTROL, ONE_WAY, rate, gross_share) or 0.0

    def shares(self, preset, direction, rate):
        """Of each pass: the processors' worth that both ends took, without the pacing."""
        return [max(gross_share(sample) - self.control(rate), 0.0)
                for sample in self.samples(preset, direction, rate)]

    def latency(self, preset, direction, rate, percentile="p50"):
        return self.median(preset, direction, rate, lambda s: s[f"{percentile}_ns"])

    def kept(self, preset, direction, rate):
        """Messages per second."""
        return self.median(preset, direction, rate,
                           lambda s: s["messages"] / max(s["ends"][0]["wall_s"], 1e-9))


def _table(presets, direction):
    lines = []
    for rate in presets.rates():
        for name in presets.names():
            samples = presets.samples(name, direction, rate)
            if not samples:
                continue
            shares = presets.shares(name, direction, rate)
            line = [f"{rate_name(rate)}, {name}"]
            line += [number(presets.latency(name, direction, rate, key) / 1000)
                     for key in ("p50", "p90", "p99", "p99_9", "max")]
            line += [f"{100 * statistics.median(shares):.2f}",
                     f"{100 * min(shares):.2f} to {100 * max(shares):.2f}",
                     number(presets.kept(name, direction, rate)),
                     number(sum(s["messages"] for s in samples))]
            lines.append(line)
    what = "from send to receipt" if direction == ONE_WAY else "request and response"
    return Table(f"Knowing when to sleep, {what}: us, and per cent of a processor",
                 ["rate, preset", "p50", "p90", "p99", "p99.9", "max", "processor %", "range",
                  "per second", "messages"], lines, WORDS)


def _control_table(presets):
    lines = [[rate_name(rate), f"{100 * presets.control(rate):.2f}"]
             for rate in presets.rates() if presets.samples(CONTROL, ONE_WAY, rate)]
    return Table("The control: what pacing costs where nothing is sent, less its counted spin",
                 ["rate", "processor %"], lines)


def tables(data):
    presets = Presets(data)
    return [_table(presets, ONE_WAY), _table(presets, ROUND_TRIP), _control_table(presets)]


def balanced_share(data, direction, preset=BALANCED):
    """The median share at 60 Hz and 1 kHz, the worse of both, with its range and where; None if
    one is missing."""
    presets = Presets(data)
    found = []
    for rate in (60, 1000):
        shares = presets.shares(preset, direction, rate)
        if not shares:
            return None
        found.append((statistics.median(shares), min(shares), max(shares), rate_name(rate)))
    return max(found)


def balanced_ratio(data):
    """Balanced over pure spin, the medians at 100 kHz request and response, with the range over the
    passes; None if one is missing."""
    presets = Presets(data)
    by_pass = [{s["pass"]: s["p50_ns"] for s in presets.samples(name, ROUND_TRIP, 100_000)}
               for name in (BALANCED, PURE_SPIN)]
    if not all(by_pass):
        return None
    value = statistics.median(by_pass[0].values()) / statistics.median(by_pass[1].values())
    ratios = [by_pass[0][p] / by_pass[1][p] for p in by_pass[0] if p in by_pass[1]] + [value]
    return value, min(ratios), max(ratios), len(by_pass[0])
